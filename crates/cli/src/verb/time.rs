//! Times as people type them: `30s`, `10m`, `1h30m`.

use std::time::Duration;

use thiserror::Error;

/// The value is no time.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum TimeError {
    #[error("write whole numbers with units, such as 30s, 10m or 1h30m")]
    NoTime,
    #[error("it must be at least one second")]
    TooShort,
}

/// Reads a time of at least a second.
///
/// # Errors
/// [`TimeError`] for everything else.
pub(crate) fn parse(text: &str) -> Result<Duration, TimeError> {
    let mut seconds: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(TimeError::NoTime);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(TimeError::NoTime)?;
        let (number, unit) = rest.split_at_checked(digits).ok_or(TimeError::NoTime)?;
        let number: u64 = number.parse().map_err(|_| TimeError::NoTime)?;
        let factor = match unit.bytes().next() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            _ => return Err(TimeError::NoTime),
        };
        seconds = number.checked_mul(factor).and_then(|n| n.checked_add(seconds)).ok_or(TimeError::NoTime)?;
        rest = unit.get(1..).unwrap_or_default();
    }
    if seconds == 0 { Err(TimeError::TooShort) } else { Ok(Duration::from_secs(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_units() {
        let seconds = |text| parse(text).map(|time| time.as_secs());
        assert_eq!(seconds("2s"), Ok(2));
        assert_eq!(seconds("10m"), Ok(600));
        assert_eq!(seconds("1h30m5s"), Ok(5405));
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            "",
            "10",
            "m",
            "10x",
            "-1s",
            "1.5h",
            "10ms",
            "10 m",
            "ä",
            "99999999999999999999s",
            "9999999999999999h",
        ] {
            assert_eq!(parse(wrong), Err(TimeError::NoTime), "{wrong}");
        }
        assert_eq!(parse("0s"), Err(TimeError::TooShort));
    }
}

//! Whether a text is a point in time for Go's yaml.v2. Only `!!timestamp` asks: without that tag it is text anyway.

/// Go's `time.Parse` with the layouts `2006-1-2`, the same with `15:4:5.999999999` behind a blank, or behind `T`
/// or `t` and with a zone.
pub(super) fn is_timestamp(text: &str) -> bool {
    let Some((date, rest)) = date(text) else { return false };
    if !date {
        return false;
    }
    match rest.as_bytes().first() {
        None => true,
        Some(b' ') => clock(rest.trim_start_matches(' ')).is_some_and(str::is_empty),
        Some(b'T' | b't') => clock(rest.get(1..).unwrap_or_default()).is_some_and(is_zone),
        _ => false,
    }
}

/// Whether the date at the text's start exists, and what follows it.
fn date(text: &str) -> Option<(bool, &str)> {
    let (year, rest) = (text.get(..4)?, text.get(4..)?.strip_prefix('-')?);
    if !year.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let year: u32 = year.parse().ok()?;
    let (month, rest) = one_or_two_digits(rest)?;
    let (day, rest) = one_or_two_digits(rest.strip_prefix('-')?)?;
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    Some(((1..=days).contains(&day), rest))
}

/// What follows the time of day at the text's start.
fn clock(text: &str) -> Option<&str> {
    let (hours, rest) = one_or_two_digits(text)?;
    let (minutes, rest) = one_or_two_digits(rest.strip_prefix(':')?)?;
    let (seconds, rest) = one_or_two_digits(rest.strip_prefix(':')?)?;
    if hours >= 24 || minutes >= 60 || seconds >= 60 {
        return None;
    }
    let Some(fraction) = rest.strip_prefix(['.', ',']) else { return Some(rest) };
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 { Some(rest) } else { fraction.get(digits..) }
}

/// `Z` or `+07:00`
fn is_zone(text: &str) -> bool {
    if text == "Z" {
        return true;
    }
    let digits = |range| text.get(range).and_then(|digits: &str| digits.parse::<u32>().ok());
    text.len() == 6
        && text.starts_with(['+', '-'])
        && text.get(3..4) == Some(":")
        && text.bytes().filter(u8::is_ascii_digit).count() == 4
        && digits(1..3).is_some_and(|hours| hours <= 24)
        && digits(4..6).is_some_and(|minutes| minutes <= 60)
}

fn one_or_two_digits(text: &str) -> Option<(u32, &str)> {
    let count = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    Some((text.get(..count)?.parse().ok()?, text.get(count..)?))
}

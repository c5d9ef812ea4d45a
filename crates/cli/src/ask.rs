//! A question to the person at the terminal before something is written. Without a terminal nobody is asked and
//! nothing is written, unless --yes says so beforehand.

use std::io::{self, BufRead, IsTerminal, Write};

use thiserror::Error;

/// Why nothing is done.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    #[error(
        "nobody is there to be asked, so nothing was written; look at what is printed above and pass --yes"
    )]
    Nobody,
    #[error("nothing was written")]
    No,
    #[error("can't ask: {0}")]
    Terminal(#[from] io::Error),
}

/// Goes on if `yes`, or if the person at the terminal says so.
///
/// # Errors
/// [`AskError`] where it must not go on.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), AskError> {
    if yes {
        return Ok(());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(AskError::Nobody);
    }
    answered(question, &mut stdin.lock(), &mut io::stderr().lock())
}

fn answered(question: &str, answers: &mut dyn BufRead, out: &mut dyn Write) -> Result<(), AskError> {
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(AskError::No),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_goes_on() {
        for (answer, goes_on) in
            [("y\n", true), (" YES \n", true), ("\n", false), ("", false), ("yep\n", false)]
        {
            let mut asked = Vec::new();
            let went_on = answered("write?", &mut answer.as_bytes(), &mut asked).is_ok();
            assert_eq!(went_on, goes_on, "{answer:?}");
            assert_eq!(asked, b"write? [y/N] ");
        }
    }
}

//! `awsiam completions SHELL`: prints what a shell needs to complete our command line.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::error::Error;

/// Print completions for a shell, as in: source <(awsiam completions bash)
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints them.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::arguments::command(), "awsiam", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

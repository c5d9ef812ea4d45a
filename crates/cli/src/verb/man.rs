//! `awsiam man`: prints or writes manual pages, for those who package us.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::error::Error;

/// Print the manual page awsiam(1), or write it and those of the verbs into a folder
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Write every page into this folder
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// Prints or writes them.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let command = crate::arguments::command();
    if let Some(folder) = &arguments.to {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(command, folder)?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        std::io::stdout().lock().write_all(&page)?;
    }
    Ok(ExitCode::SUCCESS)
}

//! `awsiam crd`: prints the CRDs that this version is made for.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use crate::error::Error;

/// Print the CustomResourceDefinitions AWSIamConfig and Cluster, to be applied by kubectl
#[derive(Args, Debug)]
pub(crate) struct Arguments {}

/// Prints them.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn run(_: &Arguments) -> Result<ExitCode, Error> {
    std::io::stdout().lock().write_all(awsiam_api::crds_yaml().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

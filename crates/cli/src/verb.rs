//! The verbs, one file each: what is typed after them, and what they do.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod control_plane;
pub(crate) mod controller;
pub(crate) mod crd;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod kubeconfig;
pub(crate) mod man;
pub(crate) mod probe_mappings;
pub(crate) mod release;
pub(crate) mod render;
pub(crate) mod rollback;
mod time;
pub(crate) mod upgrade;
pub(crate) mod validate;
pub(crate) mod write_webhook_file;

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::Error;

/// `-o`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Writes a value for programs: one document, with a final line break.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn print_json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Error> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}

//! Where logs go and what they look like. What is logged, each place decides for itself.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FromEnvError, LevelFilter};

use super::LogFormat;

/// What is logged unless RUST_LOG says otherwise: kube's client quotes whole answers that it can't read; what matters of
/// them we say ourselves.
const DEFAULT: &str = "info,kube_client::client=off";

/// Starts logging to standard error, as RUST_LOG says, else from level info.
///
/// # Errors
/// When RUST_LOG cannot be read.
pub(super) fn start(format: LogFormat) -> Result<(), FromEnvError> {
    let filter = match std::env::var_os(EnvFilter::DEFAULT_ENV) {
        Some(_) => EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env()?,
        None => EnvFilter::new(DEFAULT),
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => logs.json().flatten_event(true).init(),
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}

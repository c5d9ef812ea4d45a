//! SIGTERM and SIGINT: the first asks to stop, the second ends the process at once.

use std::process;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that a signal ended: 128 and the signal's number.
const ENDED_BY: i32 = 128;

/// Listens in the background, and cancels `stop` at the first signal.
///
/// # Errors
/// When the operating system refuses to tell of signals.
pub(super) fn listen(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let kind = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            if stop.is_cancelled() {
                process::exit(ENDED_BY + kind.as_raw_value());
            }
            tracing::info!("stopping; a second signal ends the process at once");
            stop.cancel();
        }
    });
    Ok(())
}

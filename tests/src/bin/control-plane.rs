//! Runs a control plane to try things on, until Ctrl-C or SIGTERM.

use std::error::Error;

use awsiam_tests::control_plane::{ControlPlane, Options};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let options = Options { controller_manager: true, scheduler: true, ..Options::default() };
    let control_plane = ControlPlane::start_with(options).await?;
    let kubectl = control_plane.kubectl()?;

    println!("export KUBECONFIG={}", control_plane.kubeconfig_path().display());
    println!("alias kubectl={}", kubectl.get_program().display());
    println!("# Ctrl-C stops the control plane and removes its data.");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

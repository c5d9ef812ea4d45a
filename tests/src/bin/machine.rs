//! Runs a test machine with a real node to try things on, until Ctrl-C or SIGTERM.

use std::error::Error;

use awsiam_tests::machine::Machine;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let machine = Machine::start().await?;
    let plane = machine.control_plane();

    println!("export KUBECONFIG={}", plane.kubeconfig_path().display());
    println!("alias kubectl={}", plane.kubectl()?.get_program().display());
    println!("alias inside='{}'", machine.entrance_words());
    println!("# Ctrl-C ends the machine and everything in it.");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

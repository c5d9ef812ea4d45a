//! Runs a test machine with a real node to try things on, until Ctrl-C or SIGTERM. With `--check` it only says whether
//! this computer can run one, and which tests did without.

use std::error::Error;

use awsiam_tests::machine::{Machine, requirements};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("--check") {
        if let Err(error) = requirements::check() {
            requirements::tell_skipped("machine, login and kubeadm, where they run pods", &error);
        }
        return Ok(());
    }
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

//! Finds the programs of the control plane, and has them built where they are missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ControlPlaneError;

/// Names a folder with ready programs; nothing is built then.
const FOLDER_VARIABLE: &str = "AWSIAM_CONTROL_PLANE_BIN";

/// The folder that holds all of `programs`. Where they are not built yet this takes minutes, with progress on standard
/// error; otherwise milliseconds.
pub(crate) fn folder_with(programs: &[&str]) -> Result<PathBuf, ControlPlaneError> {
    match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) => ready_folder(PathBuf::from(folder), programs),
        None => built_folder(programs),
    }
}

fn ready_folder(folder: PathBuf, programs: &[&str]) -> Result<PathBuf, ControlPlaneError> {
    let missing = programs.iter().map(|program| folder.join(program)).find(|program| !program.is_file());
    missing.map_or(Ok(folder), |program| Err(ControlPlaneError::NoProgram(program)))
}

fn built_folder(programs: &[&str]) -> Result<PathBuf, ControlPlaneError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("control-plane/build");
    let output =
        Command::new(&script).args(programs).stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(
            |source| ControlPlaneError::BuildScript { script: script.display().to_string(), source },
        )?;
    if !output.status.success() {
        return Err(ControlPlaneError::Build { programs: programs.join(" ") });
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()))
}

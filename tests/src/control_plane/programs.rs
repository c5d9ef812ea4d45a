//! Finds the programs of the control plane, and has them built where they are missing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::ControlPlaneError;

/// Names a folder with ready programs; nothing is built then.
const FOLDER_VARIABLE: &str = "AWSIAM_CONTROL_PLANE_BIN";

/// The folder that holds all of `programs`. Where they are not built yet this takes minutes, with progress on standard
/// error; otherwise milliseconds.
pub(crate) fn folder_with(programs: &[&str]) -> Result<PathBuf, ControlPlaneError> {
    match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) => ready_folder(PathBuf::from(folder), programs),
        None => once_built_folder(programs),
    }
}

/// What the script said to the same question before: a test may run hundreds of programs.
fn once_built_folder(programs: &[&str]) -> Result<PathBuf, ControlPlaneError> {
    static KNOWN: LazyLock<Mutex<HashMap<String, PathBuf>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let question = programs.join(" ");
    if let Some(folder) = known.get(&question) {
        return Ok(folder.clone());
    }
    let folder = built_folder(programs)?;
    known.insert(question, folder.clone());
    Ok(folder)
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

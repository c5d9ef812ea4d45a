//! What can go wrong with a machine, told so that the next step is plain.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::control_plane::{ControlPlaneError, LogTail};

/// Why a machine could not be started or used.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// This computer can't run one.
    #[error("this computer can't run pods: {0}")]
    Missing(String),
    /// Another machine didn't end.
    #[error("another test machine holds {} and doesn't end; `make check-no-leftovers` names what is left of it", lock.display())]
    Taken {
        /// The file that a running machine holds locked.
        lock: PathBuf,
    },
    /// Something of an earlier machine is still there.
    #[error(
        "{0} of an earlier test machine is still there; `make check-no-leftovers` names what else is left of it"
    )]
    Leftover(String),
    /// A command of the set-up failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The command line.
        command: String,
        /// What it printed, or why it could not be run.
        output: String,
    },
    /// A file or folder could not be written or read.
    #[error("could not {action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// No cache folder can be found or written.
    #[error("no folder for what is built once: {0}")]
    Cache(#[from] io::Error),
    /// A program of the machine ended.
    #[error("{program} ended or could not be started ({reason}); {log}")]
    Program {
        /// The program's file name.
        program: String,
        /// What is known.
        reason: String,
        /// The log and its last lines.
        log: LogTail,
    },
    /// The control plane on it, or a program beside it.
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
}

/// The same as the message: it is what a test's `unwrap` prints.
impl fmt::Debug for MachineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl MachineError {
    /// An adapter for `map_err`: `action` on `path` failed.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}

//! What can go wrong with a control plane, told so that the next step is plain.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use std::{fmt, io};

/// Lines of a program's log that an error repeats.
const LOG_LINES: usize = 20;

/// Why a control plane could not be started or used.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ControlPlaneError {
    /// The build script could not be run at all.
    #[error("could not run {script}: {source}; it needs bash")]
    BuildScript {
        /// The script.
        script: String,
        /// The reason.
        source: io::Error,
    },
    /// The build script ran and failed.
    #[error(
        "could not build {programs}: the reason is above; to see it alone, run tests/control-plane/build {programs}"
    )]
    Build {
        /// The programs that were wanted.
        programs: String,
    },
    /// The Python environment of the pretended AWS could not be made.
    #[error("could not install what plays AWS: the reason is above; to see it alone, run {script}")]
    NoSts {
        /// The script that installs it.
        script: String,
    },
    /// The folder that `AWSIAM_CONTROL_PLANE_BIN` names lacks a program.
    #[error("{} isn't there: AWSIAM_CONTROL_PLANE_BIN must name a folder with all programs, or be unset to have them built", .0.display())]
    NoProgram(PathBuf),
    /// A file or folder of the control plane could not be written or read.
    #[error("could not {action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// No certificate could be made.
    #[error("could not make the control plane's certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// A program could not be run.
    #[error("could not start {program}: {source}")]
    Spawn {
        /// The program's file name.
        program: String,
        /// The reason.
        source: io::Error,
    },
    /// A program ended when it should have gone on.
    #[error("{program} ended ({status}); {log}")]
    Ended {
        /// The program's file name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The log and its last lines.
        log: LogTail,
    },
    /// A program did not become ready in time.
    #[error("{program} isn't ready after {} s ({reason}); {log}", deadline.as_secs())]
    NotReady {
        /// The program's file name.
        program: String,
        /// How long was waited.
        deadline: Duration,
        /// What the last look at it said.
        reason: String,
        /// The log and its last lines.
        log: LogTail,
    },
    /// No port in our range is free.
    #[error(
        "found no free loopback port between {first} and {last}; look for servers left over (`ss -ltnp`)"
    )]
    NoPort {
        /// First port that was considered.
        first: u16,
        /// Last port that was considered.
        last: u16,
    },
    /// The API server was asked to start while it runs.
    #[error("the API server is running already: stop it first")]
    AlreadyRunning,
    /// The kubeconfig that was written can't be read back.
    #[error("could not read the control plane's kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// A manifest can't be read.
    #[error("could not read {}: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// A request to the API server failed.
    #[error("could not {action}: {source}")]
    Request {
        /// What was asked for.
        action: String,
        /// The reason.
        source: Box<kube::Error>,
    },
    /// A line of the audit log isn't an audit event.
    #[error("could not read an event in {}: {source}", path.display())]
    Audit {
        /// The audit log.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
}

/// The same as the message: it is what a test's `unwrap` prints, and a log in escapes is hard to read.
impl fmt::Debug for ControlPlaneError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl ControlPlaneError {
    /// An adapter for `map_err`: `action` on `path` failed.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }

    /// An adapter for `map_err`: the request for `action` failed.
    pub(crate) fn request(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Request { action: action.into(), source: Box::new(source) }
    }

    /// Whether a program ended because somebody else took its port.
    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Ended { log, .. } if log.lines.contains("address already in use"))
    }
}

/// Where a program's log lies, and how it ends.
#[derive(Debug, Default)]
pub struct LogTail {
    path: PathBuf,
    lines: String,
}

impl LogTail {
    pub(crate) fn of(path: &Path) -> Self {
        let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.unwrap_or_else(|error| format!("(unreadable: {error})"));
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        Self { path: path.to_owned(), lines: tail.join("\n  ") }
    }
}

impl fmt::Display for LogTail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "its log is {} and ends with:\n  {}", self.path.display(), self.lines)
    }
}

//! A program that never outlives this process, and a folder that doesn't either.
//!
//! A process that is killed runs no destructor, so the ending must not depend on one: a small shell stands between,
//! holding the read end of a pipe whose write end is ours alone. However this process ends, the kernel closes the
//! pipe, and the shell does the rest. Nothing here knows what the programs are.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Runs `"$@"` until it ends by itself or standard input is closed, and ends as the program ended.
const RUN_UNTIL_STDIN_CLOSES: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
program=$!
exec >/dev/null 2>&1
( read -r _ <&3; kill -9 "$program" ) &
watcher=$!
exec 3<&-
wait "$program"
status=$?
kill -9 "$watcher"
exit "$status"
"#;

/// Waits until standard input is closed, then removes the folder `$1` unless it holds a file `keep`. The programs that
/// write into it die at the same moment, hence more than one try.
const REMOVE_WHEN_STDIN_CLOSES: &str = r#"
read -r _
[ -e "$1/keep" ] && exit
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 0.1; done
"#;

/// A shell in a process group of its own (a Ctrl-C in the terminal reaches only us), watching our pipe.
fn shell(script: &str, log: Stdio, error_log: Stdio) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]);
    shell.stdin(Stdio::piped()).stdout(log).stderr(error_log).process_group(0);
    shell
}

/// Closes our end of the pipe and waits for the shell to finish its work.
fn finish(shell: &mut Child) {
    drop(shell.stdin.take());
    // It can only fail when the shell was waited for already.
    let _ = shell.wait();
}

/// A running program. Killed when dropped, and by its shell when this process is gone.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    log: PathBuf,
    shell: Child,
}

impl Program {
    /// Starts `program` with everything it prints appended to `log`.
    pub(crate) fn start(program: &Path, arguments: &[String], log: &Path) -> io::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let mut shell = shell(RUN_UNTIL_STDIN_CLOSES, output.try_clone()?.into(), output.into());
        shell.arg(program).args(arguments);
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, log: log.to_owned(), shell: shell.spawn()? })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// How the program ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.shell.try_wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        finish(&mut self.shell);
    }
}

/// A folder that is removed when dropped, and by its shell when this process is gone; but kept when the dropping
/// thread panics or [`Folder::keep`] was called.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    shell: Option<Child>,
}

impl Folder {
    /// A new folder below the system's folder for temporary files, readable by its owner alone.
    pub(super) fn temporary() -> io::Result<Self> {
        let path = tempfile::Builder::new().prefix("awsiam-control-plane-").tempdir()?.keep();
        let shell = shell(REMOVE_WHEN_STDIN_CLOSES, Stdio::null(), Stdio::null()).arg(&path).spawn()?;
        Ok(Self { path, shell: Some(shell) })
    }

    /// A folder of the caller's, made when it isn't there and never removed.
    pub(super) fn lasting(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self { path: path.canonicalize()?, shell: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on the folder stays, for somebody to read the logs in it.
    pub(super) fn keep(&self) {
        if self.shell.is_some() {
            // Nothing can be done about a failure, and the folder would then just be gone.
            let _ = File::create(self.path.join("keep"));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep();
            eprintln!("the control plane's logs are kept in {}", self.path.display());
        }
        if let Some(shell) = &mut self.shell {
            finish(shell);
        }
    }
}

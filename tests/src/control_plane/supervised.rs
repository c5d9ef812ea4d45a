//! A program that never outlives this process, and a folder that doesn't either.
//!
//! A process that is killed runs no destructor, so the ending must not depend on one: a small shell stands between,
//! holding the read end of a pipe whose write end is ours alone. However this process ends, the kernel closes the
//! pipe, and the shell does the rest. Nothing here knows what the programs are.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::{fmt, io};

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

/// Waits until standard input is closed, then removes the cgroup folders `$2…`, and the folder `$1` unless it holds a
/// file `keep`. The programs in the first and those that write into the second die at the same moment, hence more than
/// one try.
const REMOVE_WHEN_STDIN_CLOSES: &str = r#"
read -r _
folder=$1
shift
tries=100
while [ "$tries" -gt 0 ]; do
  left=
  for cgroup; do
    [ -d "$cgroup" ] && find "$cgroup" -depth -type d -exec rmdir {} \;
    [ -d "$cgroup" ] && left=yes
  done
  [ -e "$folder/keep" ] || rm -rf "$folder" || left=yes
  [ -z "$left" ] && exit
  tries=$((tries - 1))
  sleep 0.1
done
"#;

/// What leads to where programs run: words in front of a command line that take it there. Empty: here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entrance(Vec<OsString>);

impl Entrance {
    /// Into the namespaces of the process `pid`, all but its user namespace.
    pub(crate) fn into_namespaces_of(pid: u32) -> Self {
        let pid = format!("--target={pid}");
        let words = ["nsenter", &pid, "--mount", "--net", "--pid", "--uts", "--"];
        Self(words.into_iter().map(OsString::from).collect())
    }

    /// Into the network of the process `pid` alone: everything else, process ids too, is as here.
    pub(crate) fn into_network_of(pid: u32) -> Self {
        let pid = format!("--target={pid}");
        Self(["nsenter", &pid, "--net", "--"].into_iter().map(OsString::from).collect())
    }

    /// A command that runs `program` there.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some((first, rest)) = self.0.split_first() else { return Command::new(program) };
        let mut command = Command::new(first);
        command.args(rest).arg(program);
        command
    }
}

impl fmt::Display for Entrance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|word| word.to_string_lossy()).collect();
        write!(formatter, "{}", words.join(" "))
    }
}

/// A shell in a process group of its own (a Ctrl-C in the terminal reaches only us), watching our pipe.
fn shell(entrance: &Entrance, script: &str, log: Stdio, error_log: Stdio) -> Command {
    let mut shell = entrance.command("sh");
    shell.args(["-c", script, "sh"]);
    shell.stdin(Stdio::piped()).stdout(log).stderr(error_log).process_group(0);
    // Servers live for a minute or so: a fifth of what an API server's start costs is collecting garbage (measured).
    if std::env::var_os("GOGC").is_none() {
        shell.env("GOGC", "400");
    }
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
    pub(crate) fn start(
        entrance: &Entrance,
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> io::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        // The shell must be where the program is: it knows the program by its process id there.
        let mut shell = shell(entrance, RUN_UNTIL_STDIN_CLOSES, output.try_clone()?.into(), output.into());
        shell.arg(program).args(arguments).envs(environment.iter().cloned());
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, log: log.to_owned(), shell: shell.spawn()? })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn end(&mut self) {
        finish(&mut self.shell);
    }

    /// How the program ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.shell.try_wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// A folder that is removed when dropped, and by its shell when this process is gone; but kept when the dropping
/// thread panics or [`Folder::keep`] was called.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    shell: Option<Child>,
}

impl Folder {
    /// A new folder below the system's folder for temporary files, readable by its owner alone.
    pub(crate) fn temporary() -> io::Result<Self> {
        Self::temporary_with("awsiam-control-plane-", &[])
    }

    /// A new folder as before, whose name starts with `prefix`. The cgroup folders of the same name below `cgroup_roots`
    /// go too, even if it is kept.
    pub(crate) fn temporary_with(prefix: &str, cgroup_roots: &[PathBuf]) -> io::Result<Self> {
        let path = tempfile::Builder::new().prefix(prefix).tempdir()?.keep();
        let name = path.file_name().unwrap_or_default();
        let cgroups = cgroup_roots.iter().map(|root| root.join(name));
        let mut shell = shell(&Entrance::default(), REMOVE_WHEN_STDIN_CLOSES, Stdio::null(), Stdio::null());
        let shell = shell.arg(&path).args(cgroups).spawn()?;
        Ok(Self { path, shell: Some(shell) })
    }

    /// A folder of the caller's, made when it isn't there and never removed.
    pub(crate) fn lasting(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self { path: path.canonicalize()?, shell: None })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on the folder stays, for somebody to read the logs in it.
    pub(crate) fn keep(&self) {
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
            eprintln!("the logs are kept in {}", self.path.display());
        }
        if let Some(shell) = &mut self.shell {
            finish(shell);
        }
    }
}

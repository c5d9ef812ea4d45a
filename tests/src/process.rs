//! The operator as a process of its own: for what can only be shown by killing one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::secrets::Secrets;

/// What the chart tells glibc's allocator, for who measures memory.
pub const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

/// The binary `awsiam` beside the test program that runs.
///
/// # Panics
/// When it is not built: `make test` builds it first.
#[expect(clippy::panic, reason = "only tests call this")]
#[must_use]
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let found =
        own.ancestors().skip(1).take(2).map(|folder| folder.join("awsiam")).find(|path| path.exists());
    match found {
        Some(path) => path,
        None => panic!("awsiam is not built beside {}; run cargo build --workspace --bins", own.display()),
    }
}

/// The statically linked `awsiam` for an image.
///
/// # Panics
/// When it is not built: `make test` builds it first.
#[must_use]
pub fn image_binary() -> PathBuf {
    let path = binary().ancestors().nth(2).map(|target| target.join("image/awsiam")).unwrap_or_default();
    assert!(path.exists(), "{} is not built; run make programs", path.display());
    path
}

/// A running `awsiam controller`; killed when it goes out of scope, and then its log is searched for secrets.
pub struct Process {
    child: Child,
    log: PathBuf,
    secrets: Secrets,
}

impl Process {
    /// Starts it for a local Cluster, with more arguments. Its log goes to `log`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(kubeconfig: &Path, cluster: &str, more: &[&str], log: &Path) -> std::io::Result<Self> {
        let own = ["controller", "--log-format", "text", "--resync", "2s", "--local-cluster", cluster];
        Self::run(kubeconfig, &[&own, more].concat(), log)
    }

    /// Starts it with these words and no others. Its log goes to `log`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn run(kubeconfig: &Path, words: &[&str], log: &Path) -> std::io::Result<Self> {
        let (name, secrets) = (log, Secrets::of(kubeconfig));
        let log = std::fs::File::options().create(true).append(true).open(name)?;
        let mut command = Command::new(binary());
        command
            .args(words)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Self { child: command.spawn()?, log: name.to_owned(), secrets })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its connections that are open, and of each when the kernel asks next whether the peer is there, if it does: the timers
    /// of `/proc/net/tcp` (<https://docs.kernel.org/networking/proc_net_tcp.html>), in hundredths of a second.
    ///
    /// # Errors
    /// When that can't be read.
    pub fn connections(&self) -> std::io::Result<Vec<Option<u64>>> {
        const ESTABLISHED: &str = "01";
        const NO_TIMER: &str = "00";
        let folder = PathBuf::from(format!("/proc/{}", self.id()));
        let mut own = Vec::new();
        for entry in std::fs::read_dir(folder.join("fd"))? {
            // One that was closed meanwhile is no connection.
            let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
            let inode = target.to_str().and_then(|name| name.strip_prefix("socket:[")?.strip_suffix(']'));
            own.extend(inode.map(str::to_owned));
        }
        let table = std::fs::read_to_string(folder.join("net/tcp"))?;
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let of_us = rows.filter_map(|row| {
            let [_, _, _, state, _, timer, _, _, _, inode, ..] = row.as_slice() else { return None };
            let is_open = *state == ESTABLISHED && own.iter().any(|own| own == inode);
            let (kind, expires) = timer.split_once(':')?;
            let expires = u64::from_str_radix(expires, 16).ok()?;
            is_open.then(|| (kind != NO_TIMER).then_some(expires))
        });
        Ok(of_us.collect())
    }

    /// SIGSTOP: it is there, and does nothing until [`Process::wake`].
    ///
    /// # Errors
    /// When it can't be told.
    pub fn sleep(&self) -> std::io::Result<()> {
        self.signal("-STOP")
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it can't be told.
    pub fn wake(&self) -> std::io::Result<()> {
        self.signal("-CONT")
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    fn signal(&self, signal: &str) -> std::io::Result<()> {
        Command::new("kill").args([signal, &self.child.id().to_string()]).status().map(drop)
    }

    /// SIGKILL, on the spot.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM; how it ended, and after how long.
    ///
    /// # Errors
    /// When it has not ended after ten seconds, or can't be waited for.
    pub fn terminate(&mut self) -> std::io::Result<(ExitStatus, Duration)> {
        let asked = Instant::now();
        self.signal("-TERM")?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, asked.elapsed()));
            }
            if asked.elapsed() > Duration::from_secs(10) {
                return Err(std::io::Error::other("it is still there 10 s after SIGTERM"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        // A test that failed already has its own words, and a folder that is gone has no log any more.
        let log = std::fs::read(&self.log).unwrap_or_default();
        let found = self.secrets.line_in(&String::from_utf8_lossy(&log));
        assert!(
            found.is_none() || std::thread::panicking(),
            "a secret stands in the operator's log {}, line and kind: {found:?}",
            self.log.display()
        );
    }
}

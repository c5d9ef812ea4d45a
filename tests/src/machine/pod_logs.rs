//! What the containers of a machine log: kept until the machine ends, though their pods go earlier, and then searched for
//! secrets.
//!
//! Kubelet removes a log with its pod. A second name for the file (a hard link) outlives that, and sees what is still written.

use std::io::ErrorKind::{AlreadyExists, NotADirectory, NotFound};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

use super::MachineError;
use crate::secrets::Secrets;
use crate::sts;

/// Between two looks for new logs: kubelet takes longer to remove one.
const POLL: Duration = Duration::from_millis(200);
/// Logs lie in kubelet's folder as `NAMESPACE_POD_UID/CONTAINER/N.log`.
const DEPTH: usize = 3;

/// The logs of all containers. When it is dropped they are searched.
#[derive(Debug)]
pub(super) struct PodLogs {
    folder: PathBuf,
    is_over: Arc<AtomicBool>,
    keeper: Option<JoinHandle<io::Result<()>>>,
}

impl PodLogs {
    /// Keeps what kubelets write into the folders `pods` from now on. `folder` is the machine's, on the same disk.
    pub(super) fn keep(folder: &Path, pods: Vec<PathBuf>) -> Result<Self, MachineError> {
        let kept = kept_in(folder);
        fs::create_dir_all(&kept).map_err(MachineError::file("create", &kept))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let keeper = thread::spawn(move || keep_until(&until, &pods, &kept));
        Ok(Self { folder: folder.to_owned(), is_over, keeper: Some(keeper) })
    }

    /// Those of now.
    pub(super) fn kept(&self) -> io::Result<Vec<PathBuf>> {
        entries(&kept_in(&self.folder))
    }

    /// Has the last ones kept.
    fn end(&mut self) -> io::Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        let Some(keeper) = self.keeper.take() else { return Ok(()) };
        keeper.thread().unpark();
        keeper.join().unwrap_or_else(|_| Err(io::Error::other("whoever keeps the logs panicked")))
    }

    /// What the machine's own files have to hide: the credentials of its kubeconfigs, and of the identities of its STS.
    fn secrets(&self) -> io::Result<Secrets> {
        let files = entries(&self.folder)?;
        let kubeconfigs = files.iter().filter(|file| file.extension().is_some_and(|end| end == "kubeconfig"));
        let of_sts = sts::secrets_below(&self.folder)?;
        Ok(kubeconfigs.fold(of_sts, |secrets, kubeconfig| secrets.and(Secrets::of(kubeconfig))))
    }

    /// The logs with a secret in them, with its kind and line.
    fn bad(&self) -> io::Result<Vec<String>> {
        let secrets = self.secrets()?;
        let mut bad = Vec::new();
        for log in self.kept()? {
            if let Some((line, what)) = secrets.line_in(&String::from_utf8_lossy(&fs::read(&log)?)) {
                bad.push(format!("{what} in line {line} of {}", log.display()));
            }
        }
        Ok(bad)
    }
}

impl Drop for PodLogs {
    fn drop(&mut self) {
        let ended = self.end();
        // A test that failed already has its own words.
        if !thread::panicking() {
            let bad = ended.and_then(|()| self.bad());
            assert!(bad.is_ok(), "logs of containers could not be kept and searched: {bad:?}");
            assert!(bad.as_ref().is_ok_and(Vec::is_empty), "secrets stand in logs of containers: {bad:#?}");
        }
    }
}

fn kept_in(folder: &Path) -> PathBuf {
    folder.join("container-logs")
}

/// Goes on until it is over, and looks once more then. What went wrong first is told at the end.
fn keep_until(is_over: &AtomicBool, pods: &[PathBuf], kept: &Path) -> io::Result<()> {
    let mut so_far = Ok(());
    loop {
        let is_last = is_over.load(Ordering::Relaxed);
        so_far = so_far.and(pods.iter().try_for_each(|pods| keep_all(pods, kept)));
        if is_last {
            return so_far;
        }
        thread::park_timeout(POLL);
    }
}

/// Gives each log a name in `kept` that it keeps when kubelet begins another one under the old name. What goes meanwhile is
/// left out.
fn keep_all(pods: &Path, kept: &Path) -> io::Result<()> {
    let mut logs = vec![pods.to_owned()];
    for _ in 0..DEPTH {
        let inside: Vec<Vec<PathBuf>> =
            logs.iter().map(|folder| entries(folder)).collect::<io::Result<_>>()?;
        logs = inside.concat();
    }
    for log in logs {
        let name = log.strip_prefix(pods).unwrap_or(&log).display().to_string().replace('/', " ");
        let linked = fs::metadata(&log)
            .and_then(|file| fs::hard_link(&log, kept.join(format!("{} {name}", file.ino()))));
        if let Err(error) = linked
            && ![AlreadyExists, NotFound].contains(&error.kind())
        {
            return Err(error);
        }
    }
    Ok(())
}

/// What lies in a folder; nothing where there is none, or where it goes meanwhile.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let found: io::Result<Vec<PathBuf>> =
        fs::read_dir(folder).and_then(|found| found.map(|entry| entry.map(|entry| entry.path())).collect());
    match found {
        Err(error) if [NotFound, NotADirectory].contains(&error.kind()) => Ok(Vec::new()),
        found => found,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::time::Instant;

    use super::*;

    const READY: &str = r#"{"port": 1, "identities": {"alice":
        {"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_SESSION_TOKEN": "t0ken"}}}"#;

    /// The end of a machine whose only pod has logged this line, and went before.
    fn a_machine_ends_whose_pod_logged(line: &str) {
        let folder = tempfile::tempdir().unwrap();
        let pods = folder.path().join("pods");
        let log = pods.join("default_it_uid/it/0.log");
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::create_dir_all(folder.path().join("sts")).unwrap();
        fs::write(folder.path().join("sts/ready.json"), READY).unwrap();
        fs::write(&log, "starting\n").unwrap();
        let logs = PodLogs::keep(folder.path(), vec![pods.clone()]).unwrap();
        let started = Instant::now();
        while logs.kept().unwrap().is_empty() {
            assert!(started.elapsed() < Duration::from_secs(30), "nothing is kept");
            thread::sleep(Duration::from_millis(1));
        }
        // The same file: a container that goes on.
        fs::write(&log, format!("starting\n{line}\n")).unwrap();
        fs::remove_dir_all(&pods).unwrap();
        drop(logs);
    }

    #[test]
    fn an_access_key_id_is_no_secret() {
        a_machine_ends_whose_pod_logged("access granted accesskeyid=AKIA1");
    }

    #[test]
    #[should_panic(expected = "a secret access key in line 2 of ")]
    fn a_secret_access_key_in_the_log_of_a_pod_that_is_gone_is_found() {
        a_machine_ends_whose_pod_logged("signing with s3cr3t");
    }

    #[test]
    #[should_panic(expected = "a session token in line 2 of ")]
    fn a_session_token_is_found_as_well() {
        a_machine_ends_whose_pod_logged("asking with t0ken");
    }
}

//! `awsiam write-webhook-file`: runs on a control-plane node (rollout HostPath) and keeps the file there by which the API
//! server finds the authenticator. Talks to nobody, changes no other file, and never takes this one away: an API server
//! with the flag and without the file does not start.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use awsiam_authenticator::distribution::Distribution;
use awsiam_authenticator::objects::WEBHOOK_KUBECONFIG;
use clap::Args;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::whole;

/// Between two looks at the file.
const PAUSE: Duration = Duration::from_secs(5);
/// As `awsiam control-plane --for kubeadm` says: its reader is root.
const MODE: u32 = Distribution::Kubeadm.mode();

/// Keep the API server's webhook kubeconfig on this node
///
/// Writes the file where it is missing or not as wanted, whole or not at all, and looks again every five seconds until
/// it is told to end. Ends with an error when it can't write. With --check: exit code 0 if the file is as wanted, else
/// 1; nothing is written.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The file
    #[arg(long, value_name = "FILE")]
    file: PathBuf,

    /// Look once, and write nothing
    #[arg(long)]
    check: bool,

    /// What it is to hold
    #[arg(long, value_name = "TEXT", env = WEBHOOK_KUBECONFIG, hide_env_values = true)]
    content: String,
}

/// Why the file is not as wanted.
#[derive(Debug, Error)]
enum FileError {
    #[error("there is nothing to write: {WEBHOOK_KUBECONFIG} is empty")]
    Empty,
    #[error("{} is not as wanted", .0.display())]
    Differs(PathBuf),
    #[error(
        "{} is a folder: the kubelet makes one where an API server's mount without type File finds nothing. Take the flag and the mount out of that API server, then remove the folder", .0.display()
    )]
    Folder(PathBuf),
    #[error("can't read {}: {why}", file.display())]
    Read { file: PathBuf, why: io::Error },
    #[error("can't write {}: {why}", file.display())]
    Write { file: PathBuf, why: io::Error },
    #[error("can't wait: {0}")]
    Wait(io::Error),
}

/// Keeps it, or looks.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let done = if arguments.check { arguments.check() } else { arguments.keep() };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("awsiam write-webhook-file: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn check(&self) -> Result<(), FileError> {
        if self.is_there()? { Ok(()) } else { Err(FileError::Differs(self.file.clone())) }
    }

    fn keep(&self) -> Result<(), FileError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(FileError::Wait)?.block_on(async {
            let mut end = signal(SignalKind::terminate()).map_err(FileError::Wait)?;
            loop {
                if self.refresh()? {
                    println!("wrote {}", self.file.display());
                }
                if tokio::time::timeout(PAUSE, end.recv()).await.is_ok() {
                    return Ok(());
                }
            }
        })
    }

    /// Whether it had to be written.
    fn refresh(&self) -> Result<bool, FileError> {
        if self.content.trim().is_empty() {
            return Err(FileError::Empty);
        }
        if self.is_there()? {
            return Ok(false);
        }
        let failed = |why| FileError::Write { file: self.file.clone(), why };
        whole::replace(&self.file, &self.content, MODE).map_err(failed)?;
        Ok(true)
    }

    /// Whether it holds just this, and whoever may read it is who should.
    fn is_there(&self) -> Result<bool, FileError> {
        is_as_wanted(&self.file, &self.content).map_err(|why| match why.kind() {
            io::ErrorKind::IsADirectory => FileError::Folder(self.file.clone()),
            _ => FileError::Read { file: self.file.clone(), why },
        })
    }
}

fn is_as_wanted(file: &Path, content: &str) -> io::Result<bool> {
    let found = match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let is_ours = found.is_file() && found.permissions().mode() & 0o7777 == MODE;
    Ok(is_ours && fs::read(file)? == content.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn wanted(file: PathBuf, content: &str) -> Arguments {
        Arguments { file, check: false, content: content.to_owned() }
    }

    #[test]
    fn the_file_is_written_once_and_again_when_it_is_not_as_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token-webhook.yaml");
        let one = wanted(file.clone(), "one\n");
        assert!(one.check().is_err() && !file.exists(), "a look writes nothing");
        assert!(one.refresh().unwrap());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        let inode = fs::metadata(&file).unwrap().ino();
        assert!(!one.refresh().unwrap(), "the same bytes are not written again");
        assert_eq!(fs::metadata(&file).unwrap().ino(), inode);
        one.check().unwrap();

        fs::write(&file, "by hand").unwrap();
        assert!(one.check().is_err() && one.refresh().unwrap());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(one.check().is_err() && one.refresh().unwrap());
        assert!(wanted(file.clone(), "two\n").refresh().unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "two\n");

        // A link is replaced, and what it leads to is left alone.
        let other = folder.path().join("other");
        fs::write(&other, "theirs").unwrap();
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&other, &file).unwrap();
        assert!(one.refresh().unwrap());
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        assert!(fs::symlink_metadata(&file).unwrap().is_file());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn what_can_not_be_written_is_left_as_it_is_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token-webhook.yaml");
        assert!(wanted(file.clone(), " \n").refresh().unwrap_err().to_string().contains("nothing to write"));
        fs::create_dir(&file).unwrap();
        let said = wanted(file.clone(), "one\n").refresh().unwrap_err().to_string();
        assert!(said.contains("is a folder"), "{said}");
        let nowhere = folder.path().join("missing/token-webhook.yaml");
        let said = wanted(nowhere, "one\n").refresh().unwrap_err().to_string();
        assert!(said.starts_with("can't write"), "{said}");
        // What a killed writer left is in nobody's way.
        fs::remove_dir(&file).unwrap();
        fs::write(folder.path().join(format!("token-webhook.yaml.{}", std::process::id())), "half").unwrap();
        assert!(wanted(file, "one\n").refresh().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

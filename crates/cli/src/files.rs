//! The files that `-f` names, read whole: files, standard input, and folders. Understands nothing of them.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use thiserror::Error;

/// The name of standard input on the command line.
pub(crate) const STDIN: &str = "-";

/// What the files in a folder are called that count.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// `-f` as typed.
#[derive(Args, Clone, Debug)]
pub(crate) struct FileArguments {
    /// Manifests: files of YAML or JSON, - for standard input, or folders, of which every *.yaml, *.yml and
    /// *.json counts in the order of their names. Objects of other kinds are skipped with a note
    #[arg(short = 'f', long = "filename", value_name = "FILE", num_args = 1.., required = true)]
    files: Vec<PathBuf>,
}

/// A text and where it comes from.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path, or `stdin`.
    pub(crate) name: String,
    /// What it says.
    pub(crate) text: String,
}

/// Why a file could not be read.
#[derive(Debug, Error)]
pub(crate) enum FileError {
    #[error("can't read {path}: {source}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} is not text in UTF-8; save it as such")]
    NotText(String),
    #[error(
        "the folder {0} holds no *.yaml, *.yml or *.json file; name one that does, or the files themselves"
    )]
    EmptyFolder(String),
    #[error("standard input (-) is named twice and can be read once; write one of the two to a file")]
    StdinTwice,
}

impl FileArguments {
    /// Reads everything, in the order in which it is named.
    ///
    /// # Errors
    /// [`FileError`] for the first thing that cannot be read.
    pub(crate) fn read(&self) -> Result<Vec<Source>, FileError> {
        read_all(&self.files)
    }

    /// Whether standard input is among them.
    pub(crate) fn name_stdin(&self) -> bool {
        self.files.iter().any(|file| is_stdin(file))
    }
}

/// Reads `files` in order; a folder stands for the files in it.
///
/// # Errors
/// [`FileError`] for the first thing that cannot be read.
pub(crate) fn read_all(files: &[PathBuf]) -> Result<Vec<Source>, FileError> {
    if files.iter().filter(|file| is_stdin(file)).count() > 1 {
        return Err(FileError::StdinTwice);
    }
    let mut sources = Vec::new();
    for file in files {
        if !is_stdin(file) && file.is_dir() {
            let found = in_folder(file)?;
            for file in &found {
                sources.push(read_one(file)?);
            }
        } else {
            sources.push(read_one(file)?);
        }
    }
    Ok(sources)
}

/// Reads one file, or standard input.
///
/// # Errors
/// [`FileError::Read`] or [`FileError::NotText`].
pub(crate) fn read_one(path: &Path) -> Result<Source, FileError> {
    let name = if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() };
    let bytes = if is_stdin(path) {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.map_err(|source| FileError::Read { path: name.clone(), source: plainer(source) })?;
    let text = String::from_utf8(bytes).map_err(|_| FileError::NotText(name.clone()))?;
    Ok(Source { name, text })
}

/// Whether this is the name of standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// "No such file" without the operating system's number.
fn plainer(error: std::io::Error) -> std::io::Error {
    match error.kind() {
        ErrorKind::NotFound => std::io::Error::new(ErrorKind::NotFound, "there is no such file or folder"),
        ErrorKind::PermissionDenied => std::io::Error::new(ErrorKind::PermissionDenied, "permission denied"),
        _ => error,
    }
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let unreadable = |source| FileError::Read { path: folder.display().to_string(), source: plainer(source) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let counts = path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e == *known));
        if counts && path.is_file() {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(FileError::EmptyFolder(folder.display().to_string()));
    }
    found.sort();
    Ok(found)
}

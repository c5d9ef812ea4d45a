//! The folder for what is built once and outlives `make clean`.

use std::path::{Path, PathBuf};
use std::{env, io};

/// `AWSIAM_CACHE`, else `$XDG_CACHE_HOME/awsiam`, else `~/.cache/awsiam`; made where it isn't there.
///
/// # Errors
/// When none of these is set, or the folder can't be made.
pub(crate) fn folder() -> io::Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("AWSIAM_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("awsiam")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/awsiam")))
        .ok_or_else(|| io::Error::other("set AWSIAM_CACHE to a folder that can be written"))?;
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Where `program` lies on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .chain([Path::new("/usr/sbin").into(), Path::new("/sbin").into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

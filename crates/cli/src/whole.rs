//! A file that is replaced whole or not at all: whoever reads it meanwhile, or after a crash, finds the old one or the
//! new one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Writes `text` to `file` with these permissions, under another name in the same folder first. A link is replaced, not
/// followed.
///
/// # Errors
/// What the system says; the file is as it was then.
pub(crate) fn replace(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let unfinished = file.with_file_name(name);
    // In a container every process has the same id: one that was killed may have left this.
    if let Err(error) = fs::remove_file(&unfinished)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let written = || -> io::Result<()> {
        let mut to = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
        // The umask may have taken something away.
        to.set_permissions(Permissions::from_mode(mode))?;
        to.write_all(text.as_bytes())?;
        to.sync_all()?;
        fs::rename(&unfinished, file)
    };
    written().inspect_err(|_| {
        // What is left of it is of no use to anybody.
        let _ = fs::remove_file(&unfinished);
    })?;
    // It is there; that it is still there after a power cut is worth a try.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

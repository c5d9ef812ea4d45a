//! The inputs that are kept under `fuzz/seeds` and `fuzz/found`, and the texts under `tests/texts`: what the
//! fuzz targets check holds for each of them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::path::{Path, PathBuf};

use support::checks;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

/// Texts at the limit of what aliases may unfold to: reading one takes a second in a debug build.
fn is_slow(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains("aliases"))
}

/// Runs the check on each file; a failing one is named by the last line on standard output.
fn check(folders: &[&str], skip: impl Fn(&Path) -> bool, check: impl Fn(&[u8])) {
    let files = folders.iter().flat_map(|folder| files(folder));
    let files: Vec<PathBuf> = files.filter(|path| !skip(path)).collect();
    assert!(files.len() > 50, "the stored cases are gone from {folders:?}");
    for file in files {
        println!("{}", file.display());
        check(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn every_stored_text_is_read_or_refused() {
    check(
        &["tests/texts", "fuzz/seeds/read", "fuzz/found/read"],
        |_| false,
        |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                checks::reads(text);
            }
        },
    );
}

#[test]
fn in_every_stored_text_our_entries_come_and_go_without_a_trace() {
    check(&["tests/texts", "fuzz/seeds/merge", "fuzz/found/merge"], is_slow, |bytes| {
        checks::merges(bytes);
        // With adoption.
        checks::merges(&[bytes, &[0, 6, 0x0b, 0xbf]].concat());
    });
}

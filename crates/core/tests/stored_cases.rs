//! The inputs that are kept under `fuzz/seeds` and `fuzz/found`, and the texts under `tests/texts`: what the
//! fuzz targets check holds for each of them.

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

/// Runs the check on each file; a failing one is named by the last line on standard output.
fn check(folders: &[&str], check: impl Fn(&[u8])) {
    let files: Vec<PathBuf> = folders.iter().flat_map(|folder| files(folder)).collect();
    assert!(files.len() > 50, "the stored cases are gone from {folders:?}");
    for file in files {
        println!("{}", file.display());
        check(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn every_stored_text_is_read_or_refused() {
    check(&["tests/texts", "fuzz/seeds/read", "fuzz/found/read"], |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            checks::reads(text);
        }
    });
}

#[test]
fn in_every_stored_text_our_entries_come_and_go_without_a_trace() {
    check(&["tests/texts", "fuzz/seeds/merge", "fuzz/found/merge"], |bytes| {
        checks::merges(bytes);
        for list in 0..6 {
            checks::merges(&[bytes, &[0, list, 0x0b, 0x46, 0xbf]].concat());
        }
    });
}

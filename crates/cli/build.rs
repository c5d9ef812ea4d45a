//! Tells the program which commit it is built from. Needs no network; outside of this repository's own
//! checkout, as in a source archive, the commit is what `AWSIAM_COMMIT` says, else `unknown`.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=AWSIAM_COMMIT");
    let told = std::env::var("AWSIAM_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = told.or_else(of_checkout).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=AWSIAM_COMMIT={commit}");
}

fn of_checkout() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?.canonicalize().ok()?;
    // An archive unpacked inside of another repository is not of that repository's commit.
    let top = PathBuf::from(git(&root, &["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root {
        return None;
    }
    for name in ["HEAD", "logs/HEAD", "refs/heads", "packed-refs"] {
        let path = git(&root, &["rev-parse", "--git-path", name]).map(|path| root.join(path));
        // A path that does not exist would have this program built anew each time.
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&root, &["rev-parse", "--short=12", "--verify", "HEAD"])
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

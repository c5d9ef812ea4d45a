//! Writes the CRDs into the folder given, one file each: `cargo run -p awsiam-api --example write-crds crds`.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args().nth(1).unwrap_or_else(|| "crds".to_owned()));
    for crd in awsiam_api::crds() {
        fs::write(folder.join(format!("{}.yaml", crd.spec.names.plural)), awsiam_api::crd::crd_yaml(&crd))?;
    }
    Ok(())
}

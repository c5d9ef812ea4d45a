//! The images of the control plane's static pods, from our own programs under the names that kubeadm gives them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::image::Image;
use crate::machine::MachineError;
use crate::machine::holder::run;

/// Programs that kubeadm runs as pods.
const PODS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// kubeadm's own version, `vX.Y.Z`: that of all its images.
pub(super) fn version(bin: &Path) -> Result<String, MachineError> {
    let mut kubeadm = Command::new(bin.join("kubeadm"));
    Ok(run(kubeadm.args(["version", "--output=short"]))?.trim().to_owned())
}

/// Writes their docker archives into `folder`.
pub(super) fn write(bin: &Path, folder: &Path) -> Result<Vec<PathBuf>, MachineError> {
    let mut kubeadm = Command::new(bin.join("kubeadm"));
    // Without the version it would be asked for in the internet.
    let names = run(kubeadm.args(["config", "images", "list", "--kubernetes-version", &version(bin)?]))?;
    let mut archives = Vec::new();
    for program in PODS {
        let of_program = |name: &&str| {
            name.rsplit_once('/').is_some_and(|(_, tail)| tail.starts_with(&format!("{program}:")))
        };
        let Some(name) = names.lines().find(of_program) else {
            let output = format!("no image of {program} among {names}");
            return Err(MachineError::Command { command: "kubeadm config images list".to_owned(), output });
        };
        // Where a runtime looks for a command without a path.
        let path = format!("/usr/local/bin/{program}");
        let image = Image::new(name, &path).executable(&path, &bin.join(program))?;
        let archive = folder.join(format!("{program}.tar"));
        image.write(&archive).map_err(MachineError::file("write", &archive))?;
        archives.push(archive);
    }
    Ok(archives)
}

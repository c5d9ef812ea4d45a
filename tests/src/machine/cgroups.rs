//! The cgroup folders below which kubelet puts its pods. Whoever makes them has to remove them: no namespace does.

use std::fs;
use std::path::{Path, PathBuf};

use super::MachineError;

/// Name of the folder in each hierarchy, and kubelet's `cgroupRoot` with a slash in front.
pub(super) const NAME: &str = "awsiam-machine";

/// Whether each controller has a hierarchy of its own (version 1, or both versions side by side).
pub(super) fn are_version_1() -> bool {
    mounts().iter().any(|(kind, _)| kind == "cgroup")
}

/// Makes a folder in every hierarchy; their paths.
pub(super) fn make() -> Result<Vec<PathBuf>, MachineError> {
    let version = if are_version_1() { "cgroup" } else { "cgroup2" };
    let roots = mounts().into_iter().filter(|(kind, _)| kind == version).map(|(_, path)| path);
    roots.map(|root| make_in(&root)).collect()
}

fn make_in(root: &Path) -> Result<PathBuf, MachineError> {
    let folder = root.join(NAME);
    fs::create_dir_all(&folder).map_err(MachineError::file("create", &folder))?;
    // A set of processors starts out empty in version 1, and takes no process then.
    for file in ["cpuset.cpus", "cpuset.mems"].into_iter().filter(|_| are_version_1()) {
        if let Ok(value) = fs::read_to_string(root.join(file)) {
            fs::write(folder.join(file), value.trim())
                .map_err(MachineError::file("write", &folder.join(file)))?;
        }
    }
    // In version 2 a child has the controllers that its parent hands down. The root may be somebody else's to set.
    if let Ok(controllers) = fs::read_to_string(folder.join("cgroup.controllers")) {
        for controller in controllers.split_whitespace() {
            let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    Ok(folder)
}

/// Kind and folder of each mounted hierarchy.
fn mounts() -> Vec<(String, PathBuf)> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let path = fields.next()?;
            let kind = fields.next()?;
            kind.starts_with("cgroup").then(|| (kind.to_owned(), PathBuf::from(path)))
        })
        .collect()
}

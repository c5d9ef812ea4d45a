//! The cgroup folders below which kubelet puts its pods. Whoever makes them has to remove them: no namespace does.

use std::fs;
use std::path::{Path, PathBuf};

use super::MachineError;

/// The path of a machine's folder in each hierarchy, and kubelet's `cgroupRoot`: a slash and the name of the machine's
/// own folder.
pub(super) fn path(folder: &Path) -> String {
    format!("/{}", folder.file_name().unwrap_or_default().to_string_lossy())
}

/// Where the hierarchies are mounted. Where version 1 is in use runc makes folders in version 2 as well.
pub(super) fn roots() -> Vec<PathBuf> {
    mounts().into_iter().map(|(_, path)| path).collect()
}

/// Makes this folder, one of a machine, in each hierarchy that kubelet uses.
pub(super) fn make(path: &str) -> Result<(), MachineError> {
    let version = if are_version_1() { "cgroup" } else { "cgroup2" };
    let roots = mounts().into_iter().filter(|(kind, _)| kind == version).map(|(_, path)| path);
    roots.map(|root| root.join(path.trim_start_matches('/'))).try_for_each(|folder| make_in(&folder))
}

/// Whether each controller has a hierarchy of its own (version 1, or both versions side by side).
fn are_version_1() -> bool {
    mounts().iter().any(|(kind, _)| kind == "cgroup")
}

fn make_in(folder: &Path) -> Result<(), MachineError> {
    fs::create_dir_all(folder).map_err(MachineError::file("create", folder))?;
    // A set of processors starts out empty in version 1, and takes no process then.
    for file in ["cpuset.cpus", "cpuset.mems"].into_iter().filter(|_| are_version_1()) {
        let parent = folder.parent().unwrap_or(folder);
        if let Ok(value) = fs::read_to_string(parent.join(file)) {
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
    Ok(())
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

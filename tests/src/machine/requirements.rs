//! What a computer must have to run a test machine, and which of it is missing here.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::MachineError;
use crate::cache::on_path;

/// Program, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 9] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("find", "findutils"),
];

/// Where Debian's package containernetworking-plugins puts them.
pub(super) const NETWORK_PLUGINS: &str = "/usr/lib/cni";

/// Names in one line what is missing.
///
/// # Errors
///
/// [`MachineError::Missing`].
pub fn check() -> Result<(), MachineError> {
    missing().map_or(Ok(()), |what| Err(MachineError::Missing(what)))
}

/// Says that tests of `part` did not run their pods, even in the output of a test that passes.
pub fn tell_skipped(part: &str, error: &MachineError) {
    // Not by a macro: the output of those is only shown when the test fails. Nothing can be done about a failure.
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED in {part}: {error}");
}

fn missing() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("it doesn't run Linux".to_owned());
    }
    let programs: Vec<String> = PROGRAMS
        .iter()
        .filter(|(program, _)| on_path(program).is_none())
        .map(|(program, package)| format!("{program} (Debian package {package})"))
        .collect();
    if !programs.is_empty() {
        return Some(format!("there is no {}", programs.join(", ")));
    }
    if !Path::new(NETWORK_PLUGINS).join("bridge").exists() {
        return Some(format!(
            "there is no {NETWORK_PLUGINS}/bridge (Debian package containernetworking-plugins)"
        ));
    }
    if !is_root() {
        return Some("the tests don't run as root".to_owned());
    }
    (!can_make_namespaces()).then(|| "it may not make mount, network and process-id namespaces".to_owned())
}

/// The effective user id, fourth field of <https://docs.kernel.org/filesystems/proc.html>, `Uid:` in `status`.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

fn can_make_namespaces() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--net", "--pid", "--uts", "--fork", "--mount-proc", "true"]);
    unshare.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    unshare.status().is_ok_and(|status| status.success())
}

//! The process that holds the machine's namespaces, and the network that leads there.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::MachineError;
use crate::control_plane::LogTail;
use crate::control_plane::supervised::{Entrance, Program};

/// The machine's address, and the node's. From the range that is set aside for measuring between networks
/// (RFC 2544), which nobody routes.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 2);
/// This side's address.
const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 1);
/// This side's end of the pair of network devices. The kernel removes it with the other end.
const DEVICE: &str = "awsiam0";
/// The API server's port, as everywhere: nobody else is inside.
pub(super) const API_SERVER_PORT: u16 = 6443;
/// For what takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs in the new namespaces, with the machine's folder as `$1` and the program that stays as `$2`. What is
/// written to the system's folders, by a program or by a pod with a host path, goes into memory.
const SET_UP: &str = r#"
set -e
read -r pid _ </proc/self/stat # still the outer /proc: our process id out there
echo awsiam-node >/proc/sys/kernel/hostname
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
for folder in etc opt var/lib var/log; do
  upper=/run/upper/$folder
  work=/run/work/$folder
  mkdir -p "$upper" "$work"
  mount -t overlay -o "lowerdir=/$folder,upperdir=$upper,workdir=$work" overlay "/$folder"
done
mount --make-rshared /
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "$pid" >"$1/holder.part"
mv "$1/holder.part" "$1/holder"
exec "$2" "$1" # its argument is for whoever looks for what is left
"#;

/// The running holder. When it is dropped everything inside is killed.
#[derive(Debug)]
pub(super) struct Holder {
    program: Program,
    pid: u32,
}

impl Holder {
    /// Starts it, with its network.
    pub(super) async fn start(folder: &Path, bin: &Path) -> Result<Self, MachineError> {
        let folder_text = folder.display().to_string();
        let pause = bin.join("pause").display().to_string();
        // Without --kill-child the holder would outlive unshare, which is what is killed in the end.
        let mut arguments: Vec<String> =
            ["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child=KILL", "--propagation=private"]
                .map(str::to_owned)
                .into();
        arguments.extend(["sh", "-c", SET_UP, "sh", &folder_text, &pause].map(str::to_owned));
        let log = folder.join("holder.log");
        let program = Program::start(&Entrance::default(), Path::new("unshare"), &arguments, &[], &log)
            .map_err(MachineError::file("start unshare with its output in", &log))?;
        let mut holder = Self { program, pid: 0 };
        holder.pid = holder.wait_for_pid(&folder.join("holder")).await?;
        holder.connect()?;
        Ok(holder)
    }

    /// The way in.
    pub(super) fn entrance(&self) -> Entrance {
        Entrance::into_namespaces_of(self.pid)
    }

    async fn wait_for_pid(&mut self, file: &Path) -> Result<u32, MachineError> {
        let started = Instant::now();
        loop {
            if let Some(pid) = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
                return Ok(pid);
            }
            let ended = self.program.ended().ok().flatten();
            if ended.is_some() || started.elapsed() > DEADLINE {
                return Err(MachineError::Program {
                    program: "unshare".to_owned(),
                    reason: ended.map_or("not ready in time".to_owned(), |status| status.to_string()),
                    log: LogTail::of(self.program.log()),
                });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn connect(&self) -> Result<(), MachineError> {
        let outside = Entrance::default();
        let inside = self.entrance();
        let peer = self.pid.to_string();
        let (ours, theirs) = (format!("{OUR_ADDRESS}/30"), format!("{ADDRESS}/30"));
        let gateway = OUR_ADDRESS.to_string();
        ip(&outside, &["link", "add", DEVICE, "type", "veth", "peer", "name", "eth0", "netns", &peer])?;
        ip(&outside, &["address", "add", &ours, "dev", DEVICE])?;
        ip(&outside, &["link", "set", DEVICE, "up"])?;
        ip(&inside, &["address", "add", &theirs, "dev", "eth0"])?;
        ip(&inside, &["link", "set", "eth0", "up"])?;
        // Nobody is reached through it, but without it an address of a Service has no route that could be changed.
        ip(&inside, &["route", "add", "default", "via", &gateway])?;
        // Who asks for EC2's instance metadata learns at once that there is none, and not after seconds of silence.
        ip(&inside, &["route", "add", "unreachable", "169.254.0.0/16"])
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The kernel would take it away with the namespace, once the last connection in that has timed out: minutes.
        let _ = ip(&Entrance::default(), &["link", "delete", DEVICE]);
    }
}

/// Takes away the network device of a machine that ended without a chance to do so. Only for who has the turn: then
/// there is no other machine.
pub(super) async fn wait_until_gone() -> Result<(), MachineError> {
    let started = Instant::now();
    while Path::new("/sys/class/net").join(DEVICE).exists() {
        let _ = ip(&Entrance::default(), &["link", "delete", DEVICE]);
        if started.elapsed() > DEADLINE {
            return Err(MachineError::Leftover(format!("network device {DEVICE}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn ip(at: &Entrance, arguments: &[&str]) -> Result<(), MachineError> {
    let mut command = at.command("ip");
    command.args(arguments);
    run(&mut command).map(drop)
}

/// Runs a command to its end; what it printed.
pub(super) fn run(command: &mut Command) -> Result<String, MachineError> {
    let line = format!("{command:?}");
    let failed = |output: String| MachineError::Command { command: line, output };
    match command.output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

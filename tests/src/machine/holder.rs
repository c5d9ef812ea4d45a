//! The process that holds the machine's namespaces, and the network that leads there.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
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
/// This side's end of the pair of network devices.
const DEVICE: &str = "awsiam0";
/// The API server's port, as everywhere: nobody else is inside.
pub(super) const API_SERVER_PORT: u16 = 6443;
/// For what takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs in the new namespaces, with the machine's folder as `$1` and the program that stays as `$2`; `$3` is the host
/// name, `$4` the disk, and the rest are the system's folders. What is written to those, by a program or by a pod with a
/// host path, goes to the disk.
const SET_UP: &str = r#"
set -e
read -r pid _ </proc/self/stat # still the outer /proc: our process id out there
folder=$1
stay=$2
echo "$3" >/proc/sys/kernel/hostname
disk=$4
shift 4
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
for system; do
  upper=$disk/upper/$system
  work=$disk/work/$system
  mkdir -p "$upper" "$work"
  mount -t overlay -o "lowerdir=/$system,upperdir=$upper,workdir=$work" overlay "/$system"
done
mount --make-rshared /
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "$pid" >"$folder/holder.part"
mv "$folder/holder.part" "$folder/holder"
exec "$stay" "$folder" # its argument is for whoever looks for what is left
"#;

/// What is different from machine to machine.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    /// The machine's own folder, the same path inside.
    pub(super) folder: PathBuf,
    /// Its host name.
    pub(super) name: &'static str,
    /// Where what is written to the system's folders goes: memory below `/run`, or a folder that outlives the machine.
    pub(super) disk: PathBuf,
    /// The system's folders that may be written to, without a slash in front.
    pub(super) system: &'static [&'static str],
    /// The way to its network.
    pub(super) line: Line,
}

/// A pair of virtual network devices that leads into a machine.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// From where: here, or the network of another machine.
    pub(super) from: Entrance,
    /// The near end. The kernel removes it with the other end.
    pub(super) device: &'static str,
    /// Address of the near end.
    pub(super) near: Ipv4Addr,
    /// Address of the machine.
    pub(super) far: Ipv4Addr,
    /// The address by which the near side speaks to the machine where it has a better one: etcd takes no peer whose
    /// certificate names another.
    pub(super) speaks_as: Option<Ipv4Addr>,
}

impl Plot {
    /// The one machine of a computer, or the first of two: in memory, and reached from here.
    pub(super) fn first(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            name: "awsiam-node",
            disk: "/run".into(),
            system: &["etc", "opt", "var/lib", "var/log"],
            line: Line {
                from: Entrance::default(),
                device: DEVICE,
                near: OUR_ADDRESS,
                far: ADDRESS,
                speaks_as: None,
            },
        }
    }
}

/// The running holder. When it is dropped everything inside is killed.
#[derive(Debug)]
pub(super) struct Holder {
    program: Program,
    pid: u32,
    line: Line,
}

impl Holder {
    /// Starts it, with its network.
    pub(super) async fn start(plot: &Plot, bin: &Path) -> Result<Self, MachineError> {
        let text = |path: &Path| path.display().to_string();
        let (folder, pause, disk) = (text(&plot.folder), text(&bin.join("pause")), text(&plot.disk));
        // Of a machine that was here before.
        let _ = std::fs::remove_file(plot.folder.join("holder"));
        // Without --kill-child the holder would outlive unshare, which is what is killed in the end.
        let mut arguments: Vec<String> =
            ["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child=KILL", "--propagation=private"]
                .map(str::to_owned)
                .into();
        arguments.extend(["sh", "-c", SET_UP, "sh", &folder, &pause, plot.name, &disk].map(str::to_owned));
        arguments.extend(plot.system.iter().map(ToString::to_string));
        let log = plot.folder.join("holder.log");
        let program = Program::start(&Entrance::default(), Path::new("unshare"), &arguments, &[], &log)
            .map_err(MachineError::file("start unshare with its output in", &log))?;
        let mut holder = Self { program, pid: 0, line: plot.line.clone() };
        holder.pid = holder.wait_for_pid(&plot.folder.join("holder")).await?;
        holder.connect()?;
        Ok(holder)
    }

    /// Ends it, and returns when nothing of it uses its disk any more.
    pub(super) async fn end(self) -> Result<(), MachineError> {
        let mounts = PathBuf::from(format!("/proc/{}/ns/mnt", self.pid));
        drop(self);
        let started = Instant::now();
        while std::fs::read_link(&mounts).is_ok() {
            if started.elapsed() > DEADLINE {
                return Err(MachineError::Leftover("the process that holds the namespaces".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Its network alone, for another machine's line.
    pub(super) fn network(&self) -> Entrance {
        Entrance::into_network_of(self.pid)
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
        let Line { from, device, near, far, speaks_as } = &self.line;
        let inside = self.entrance();
        let peer = self.pid.to_string();
        let (ours, theirs, gateway) = (format!("{near}/30"), format!("{far}/30"), near.to_string());
        ip(from, &["link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", &peer])?;
        ip(from, &["address", "add", &ours, "dev", device])?;
        ip(from, &["link", "set", device, "up"])?;
        if let Some(own) = speaks_as {
            ip(from, &["route", "add", &far.to_string(), "dev", device, "src", &own.to_string()])?;
        }
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
        let _ = ip(&self.line.from, &["link", "delete", self.line.device]);
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

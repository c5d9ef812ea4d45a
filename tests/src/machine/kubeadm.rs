//! A cluster that kubeadm makes: two throw-away machines, each with containerd, a kubelet that kubeadm starts, and
//! kube-proxy. The control plane runs as static pods, from images of the programs that the other tests run as processes.
//!
//! A machine has a disk here: what is written to the system's folders outlives a restart, as it must for a node that
//! comes back. The second machine is reached through the first.
//!
//! Settings: <https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/>.

mod images;
mod settings;

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::containerd::Containerd;
use super::holder::{self, Holder, Line, Plot, run};
use super::pod_logs::PodLogs;
use super::{MachineError, cgroups, node, requirements, turn};
use crate::control_plane::programs;
use crate::control_plane::supervised::{Entrance, Folder, Program};
use crate::login::{self, WhoAmI};
use crate::sts::{Accounts, Identity, Sts};

/// The programs that are put into images, or run on the nodes.
const PROGRAMS: [&str; 9] = [
    "kubeadm",
    "kubelet",
    "kubectl",
    "kube-proxy",
    "pause",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];
/// The second machine's address and the near end of its line, as the first one's: nobody routes them (RFC 2544).
const SECOND_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 78, 2);
const SECOND_NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 78, 1);
const SECOND_DEVICE: &str = "awsiam1";
/// The system's folders that kubeadm, the kubelet and its pods write to.
const SYSTEM: &[&str] = &["etc", "opt", "usr", "var/lib", "var/log"];
/// For an API server to come up, or to come back with other flags.
const DEADLINE: Duration = Duration::from_mins(2);

/// Starts the kubelet as soon as kubeadm has written what it is told, and again when it ends: what systemd does with the
/// unit of kubeadm's package.
const KUBELET: &str = r#"
while :; do
  if [ -f /var/lib/kubelet/config.yaml ] && [ -f /var/lib/kubelet/kubeadm-flags.env ]; then
    . /var/lib/kubelet/kubeadm-flags.env
    "$1" --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \
      --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
  fi
  sleep 0.2
done
"#;

/// Run in each machine before anything else: names are looked up nowhere, rather than after seconds of silence.
const NAMES: &str = r#"
rm -f /etc/resolv.conf
echo "nameserver 127.0.0.1" >/etc/resolv.conf
cat >>/etc/hosts
mkdir -p /run/awsiam
"#;

/// A running cluster. Dropping it removes it, and fails where a container has logged a secret.
#[derive(Debug)]
pub struct KubeadmCluster {
    // Dropped in this order: the line to the second machine lies in the first, and logs are searched when both are gone.
    second: KubeadmNode,
    first: KubeadmNode,
    _pod_logs: PodLogs,
    bin: PathBuf,
    folder: Folder,
    _turn: File,
}

/// One machine of it.
#[derive(Debug)]
pub struct KubeadmNode {
    // Dropped in this order: with the holder everything inside ends at once.
    holder: Option<Holder>,
    running: Option<Running>,
    plot: Plot,
    pods: &'static str,
    bin: PathBuf,
    cgroup: String,
}

/// What runs on a machine beside its pods.
#[derive(Debug)]
struct Running {
    containerd: Containerd,
    _kubelet: Program,
    kube_proxy: Option<Program>,
}

impl KubeadmCluster {
    /// Starts both machines and makes a cluster of the first one; the second is ready to join. Returns when the API
    /// server answers and Services are reached. There is one at a time on a computer, as of [`super::Machine`].
    ///
    /// # Errors
    ///
    /// [`MachineError::Missing`] where this computer can't run one; otherwise what did not start.
    pub async fn init() -> Result<Self, MachineError> {
        requirements::check()?;
        let bin = programs::folder_with(&PROGRAMS)?;
        let turn = turn().await?;
        let folder = Folder::temporary_with("awsiam-machine-", &cgroups::roots())
            .map_err(MachineError::file("create", &std::env::temp_dir()))?;
        let (mut first, second) = Self::start_in(&folder, &bin).await.inspect_err(|_| folder.keep())?;
        let pods = [&first, &second].map(|node| node::pod_logs(node.folder()));
        let pod_logs = PodLogs::keep(folder.path(), pods.into())?;
        first.run_kubeadm("init", &settings::init(&first, &bin)?).inspect_err(|_| folder.keep())?;
        first.startkube_proxy().inspect_err(|_| folder.keep())?;
        let cluster = Self { second, first, _pod_logs: pod_logs, bin, folder, _turn: turn };
        cluster.write_admin_kubeconfig().inspect_err(|_| cluster.folder.keep())?;
        cluster.wait_for_services().await.inspect_err(|_| cluster.folder.keep())?;
        Ok(cluster)
    }

    async fn start_in(folder: &Folder, bin: &Path) -> Result<(KubeadmNode, KubeadmNode), MachineError> {
        let cgroup = cgroups::path(folder.path());
        cgroups::make(&cgroup)?;
        let mut first = KubeadmNode::plan(first_plot(folder.path())?, node::POD_ADDRESSES, bin, &cgroup)?;
        first.start().await?;
        let near = first.network();
        let mut second = KubeadmNode::plan(
            second_plot(folder.path(), near)?,
            "10.88.1.0/24",
            bin,
            &format!("{cgroup}/second"),
        )?;
        second.start().await?;
        let archives = images::write(bin, folder.path())?;
        // One after the other would take twice as long.
        std::thread::scope(|scope| {
            let other = scope.spawn(|| second.import_all(&archives));
            first.import_all(&archives)?;
            other.join().unwrap_or(Ok(()))
        })?;
        Ok((first, second))
    }

    /// Makes the second machine another control-plane node of the cluster, as an administrator does.
    ///
    /// # Errors
    ///
    /// What kubeadm printed.
    pub fn join(&mut self) -> Result<(), MachineError> {
        let settings = settings::join(&self.second, self.first.address());
        self.second.run_kubeadm("join", &settings).inspect_err(|_| self.folder.keep())?;
        self.second.startkube_proxy().inspect_err(|_| self.folder.keep())
    }

    /// The machine that the cluster was made on.
    #[must_use]
    pub fn first(&self) -> &KubeadmNode {
        &self.first
    }

    /// The machine that joins.
    #[must_use]
    pub fn second(&self) -> &KubeadmNode {
        &self.second
    }

    /// The second machine, to start it anew.
    pub fn second_mut(&mut self) -> &mut KubeadmNode {
        &mut self.second
    }

    /// The folder of everything; logs are in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The administrator's kubeconfig, with a certificate.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.folder().join("admin.kubeconfig")
    }

    /// Starts STS on the first machine, where both reach it.
    ///
    /// # Errors
    ///
    /// As [`Sts::start`].
    pub async fn sts(&self, accounts: &Accounts) -> Result<Sts, MachineError> {
        let first = &self.first;
        Ok(Sts::start_at(&first.entrance(), self.folder(), first.address(), accounts).await?)
    }

    /// Gives both nodes an image.
    ///
    /// # Errors
    ///
    /// Where containerd refuses it.
    pub fn import_image(&self, archive: &Path) -> Result<(), MachineError> {
        [&self.first, &self.second].into_iter().try_for_each(|node| node.import_all(&[archive.to_owned()]))
    }

    /// As [`login::whoami`], from the first machine.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn whoami(&self, sts: &Sts, kubeconfig: &Path, identity: &Identity) -> Result<WhoAmI, String> {
        login::whoami_at(&self.first.entrance(), self.folder(), sts, kubeconfig, identity)
    }

    /// Keeps the folder, with the logs.
    pub fn keep(&self) {
        self.folder.keep();
    }

    fn write_admin_kubeconfig(&self) -> Result<(), MachineError> {
        let text = run(self.first.command("cat").arg("/etc/kubernetes/admin.conf"))?;
        node::write(&self.admin_kubeconfig(), &text)
    }

    async fn wait_for_services(&self) -> Result<(), MachineError> {
        let started = Instant::now();
        loop {
            let mut kubectl = self.first.command(self.bin.join("kubectl"));
            kubectl.args(["--server=https://10.96.0.1", "--request-timeout=2s", "get", "--raw=/readyz"]);
            match run(&mut kubectl) {
                Ok(_) => return Ok(()),
                Err(error) if started.elapsed() > DEADLINE => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// The first machine; its disk lies in its folder.
fn first_plot(folder: &Path) -> Result<Plot, MachineError> {
    let own = made(folder, "first")?;
    Ok(Plot { folder: own.clone(), disk: made(&own, "disk")?, system: SYSTEM, ..Plot::first(folder) })
}

fn second_plot(folder: &Path, near: Entrance) -> Result<Plot, MachineError> {
    let own = made(folder, "second")?;
    let line = Line {
        from: near,
        device: SECOND_DEVICE,
        near: SECOND_NEAR,
        far: SECOND_ADDRESS,
        speaks_as: Some(holder::ADDRESS),
    };
    Ok(Plot { disk: made(&own, "disk")?, folder: own, name: "awsiam-node-2", system: SYSTEM, line })
}

fn made(folder: &Path, name: &str) -> Result<PathBuf, MachineError> {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).map_err(MachineError::file("create", &folder))?;
    Ok(folder)
}

impl KubeadmNode {
    fn plan(plot: Plot, pods: &'static str, bin: &Path, cgroup: &str) -> Result<Self, MachineError> {
        cgroups::make(cgroup)?;
        let cgroup = cgroup.to_owned();
        Ok(Self { holder: None, running: None, plot, pods, bin: bin.to_owned(), cgroup })
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.plot.name
    }

    /// Where its API server is reached, from here for the first machine and from the first one for both.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.plot.line.far
    }

    /// Its folder, the same path inside.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.plot.folder
    }

    /// A command that runs `program` on it, as its administrator does: kubeadm and kubectl are found, and kubectl is an
    /// administrator of the cluster.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.entrance().command(program);
        command.env("PATH", self.path()).env("KUBECONFIG", "/etc/kubernetes/admin.conf");
        for proxy in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(proxy);
        }
        command
    }

    /// Runs the lines of a shell on it, one after the other until one fails, and gives what they print.
    ///
    /// # Errors
    ///
    /// What they printed when they failed.
    pub fn shell(&self, script: &str) -> Result<String, MachineError> {
        let folder = self.folder().join("home");
        std::fs::create_dir_all(&folder).map_err(MachineError::file("create", &folder))?;
        let script = format!("cd {}\nset -e\n{script}", folder.display());
        run(self.command("sh").args(["-c", &script]))
    }

    /// The folder of patches that kubeadm is told of.
    #[must_use]
    pub fn patches(&self) -> PathBuf {
        self.folder().join("patches")
    }

    /// Ends it as a power cut does, and starts it again with what is on its disk. Returns as soon as containerd runs.
    ///
    /// # Errors
    ///
    /// What did not end or start.
    pub async fn restart(&mut self) -> Result<(), MachineError> {
        // The kernel ends what runs inside; these only wait for that.
        let running = self.running.take();
        if let Some(holder) = self.holder.take() {
            holder.end().await?;
        }
        drop(running);
        self.start().await?;
        self.startkube_proxy()
    }

    async fn start(&mut self) -> Result<(), MachineError> {
        let holder = Holder::start(&self.plot, &self.bin).await?;
        let entrance = holder.entrance();
        self.holder = Some(holder);
        let hosts = format!(
            "\n{} awsiam-node\n{SECOND_ADDRESS} awsiam-node-2\n127.0.0.1 localhost\n",
            holder::ADDRESS
        );
        feed(self.command("sh").args(["-ec", NAMES]), &hosts)?;
        let root = self.folder().join("containerd");
        let mut containerd = Containerd::start(&entrance, self.folder(), &root, self.pods)?;
        containerd.ready().await?;
        containerd.import_pause(&self.bin)?;
        let kubelet = self.bin.join("kubelet").display().to_string();
        let arguments = ["-c", KUBELET, "kubelet", &kubelet].map(str::to_owned);
        let environment = [("PATH".to_owned(), self.path())];
        let log = self.folder().join("kubelet.log");
        let kubelet = Program::start(&entrance, Path::new("sh"), &arguments, &environment, &log)
            .map_err(MachineError::file("start the kubelet with its output in", &log))?;
        self.running = Some(Running { containerd, _kubelet: kubelet, kube_proxy: None });
        Ok(())
    }

    /// With the rights of an administrator: kubeadm's own way is an addon, whose image and DNS nobody needs here.
    fn startkube_proxy(&mut self) -> Result<(), MachineError> {
        let entrance = self.entrance();
        let kubeconfig = Path::new("/etc/kubernetes/admin.conf");
        let started = node::kube_proxy(&entrance, self.folder(), &self.bin, kubeconfig, self.name())?;
        if let Some(running) = &mut self.running {
            running.kube_proxy = Some(started);
        }
        Ok(())
    }

    fn run_kubeadm(&self, verb: &str, documents: &str) -> Result<(), MachineError> {
        let config = self.folder().join("kubeadm.yaml");
        node::write(&config, documents)?;
        for (file, patch) in settings::patches(&self.cgroup, &node::pod_logs(self.folder())) {
            node::write(&self.patches().join(file), &patch)?;
        }
        let mut kubeadm = self.command(self.bin.join("kubeadm"));
        kubeadm.arg(verb).arg("--config").arg(&config).args(settings::arguments(verb));
        let said = run(&mut kubeadm)?;
        node::write(&self.folder().join(format!("kubeadm-{verb}.log")), &said)
    }

    fn import_all(&self, archives: &[PathBuf]) -> Result<(), MachineError> {
        let Some(running) = &self.running else { return Ok(()) };
        archives.iter().try_for_each(|archive| running.containerd.import(archive))
    }

    fn network(&self) -> Entrance {
        self.holder.as_ref().map(Holder::network).unwrap_or_default()
    }

    fn entrance(&self) -> Entrance {
        self.holder.as_ref().map(Holder::entrance).unwrap_or_default()
    }

    fn path(&self) -> String {
        let own = self.bin.display();
        std::env::var("PATH").map_or_else(|_| own.to_string(), |path| format!("{own}:{path}"))
    }
}

/// Runs a command with `input`.
fn feed(command: &mut Command, input: &str) -> Result<(), MachineError> {
    use std::io::Write as _;
    use std::process::Stdio;
    let line = format!("{command:?}");
    let failed = |output: String| MachineError::Command { command: line.clone(), output };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

//! A throw-away machine for tests: a control plane and a real node, in namespaces of their own, with pods that run.
//!
//! One process holds private mount, network, process-id and host-name namespaces; etcd, the API server, the
//! controllers, containerd, kubelet and kube-proxy run inside. When the holder ends, the kernel takes every process,
//! mount and network device with it; and the holder ends with this process, however that ends. A pair of virtual
//! network devices leads in, so that the same address of the API server holds on both sides. There is no way out.
//!
//! Linux with root is needed, and the programs of [`requirements`]. What is tested is never known here.

mod cgroups;
mod containerd;
mod error;
mod holder;
pub mod kubeadm;
mod node;
mod pod_logs;
pub mod requirements;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub use self::error::MachineError;
pub use self::node::NODE;

use self::holder::{Holder, Plot};
use self::node::Node;
use self::pod_logs::PodLogs;
use crate::cache;
use crate::control_plane::supervised::{Entrance, Folder};
use crate::control_plane::{ControlPlane, Options, place::Place};
use crate::login::{self, WhoAmI};
use crate::sts::{Identity, Sts};

/// How long a machine waits for another one of this computer to end. One lives for a minute or two.
const TURN_DEADLINE: Duration = Duration::from_mins(15);

/// A running machine. Dropping it removes it, and fails where a container has logged a secret.
#[derive(Debug)]
pub struct Machine {
    // Dropped in this order: with the holder everything inside ends at once, and what was logged until then is searched.
    holder: Holder,
    node: Node,
    control_plane: ControlPlane,
    pod_logs: PodLogs,
    folder: Folder,
    _turn: File,
}

impl Machine {
    /// Starts a machine and returns when its node is ready, labelled as a control plane, and Services are reached.
    /// There is one at a time on a computer: this waits for its turn.
    ///
    /// # Errors
    ///
    /// [`MachineError::Missing`] where this computer can't run one; otherwise what did not start, with its log.
    pub async fn start() -> Result<Self, MachineError> {
        requirements::check()?;
        let programs = ["kubelet", "kube-proxy", "pause", "kubectl"];
        let bin = crate::control_plane::programs::folder_with(&programs)?;
        let turn = turn().await?;
        let folder = Folder::temporary_with("awsiam-machine-", &cgroups::roots())
            .map_err(MachineError::file("create", &std::env::temp_dir()))?;
        cgroups::make(&cgroups::path(folder.path()))?;
        Self::start_in(folder, &bin, turn).await
    }

    async fn start_in(folder: Folder, bin: &Path, turn: File) -> Result<Self, MachineError> {
        let holder = Holder::start(&Plot::first(folder.path()), bin).await.inspect_err(|_| folder.keep())?;
        let place = Place {
            entrance: holder.entrance(),
            address: holder::ADDRESS,
            port: Some(holder::API_SERVER_PORT),
        };
        let options = Options {
            controller_manager: true,
            scheduler: true,
            folder: Some(folder.path().to_owned()),
            ..Options::default()
        };
        let mut node =
            Node::start_containerd(&place.entrance, folder.path()).inspect_err(|_| folder.keep())?;
        let control_plane = ControlPlane::start_at(place, options).await.inspect_err(|_| folder.keep())?;
        node.join(&control_plane, bin).await.inspect_err(|_| folder.keep())?;
        let pod_logs = PodLogs::keep(folder.path(), vec![node::pod_logs(folder.path())])?;
        Ok(Self { holder, node, control_plane, pod_logs, folder, _turn: turn })
    }

    /// What runs on it, reached from here under the same address.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// As [`Machine::control_plane`], to start its API server anew.
    pub fn control_plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    /// Where logs and kubeconfigs lie; the same path inside.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command that runs `program` inside.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        self.entrance().command(program)
    }

    /// [`login::whoami`] on it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn whoami(&self, sts: &Sts, kubeconfig: &Path, identity: &Identity) -> Result<WhoAmI, String> {
        login::whoami(&self.control_plane, sts, kubeconfig, identity)
    }

    /// Gives the node an image from a docker archive, as [`crate::image::Image`] writes them.
    ///
    /// # Errors
    ///
    /// Where containerd refuses it.
    pub fn import_image(&self, archive: &Path) -> Result<(), MachineError> {
        self.node.import_image(archive)
    }

    /// Folders of what kubelet keeps of the pods' output: `NAMESPACE_POD_UID/CONTAINER/N.log`.
    #[must_use]
    pub fn pod_logs(&self) -> PathBuf {
        node::pod_logs(self.folder())
    }

    /// The logs of all containers so far, those too whose pods are gone: a new one is among them a moment later.
    ///
    /// # Errors
    ///
    /// Where their folder can't be read.
    pub fn kept_logs(&self) -> std::io::Result<Vec<PathBuf>> {
        self.pod_logs.kept()
    }

    /// The words that take a command line inside, for somebody at a terminal.
    #[must_use]
    pub fn entrance_words(&self) -> String {
        self.entrance().to_string()
    }

    fn entrance(&self) -> Entrance {
        self.holder.entrance()
    }
}

/// Waits until no other machine runs, and keeps others from starting while the file is open.
async fn turn() -> Result<File, MachineError> {
    let path = cache::folder()?.join("machine.lock");
    let lock = File::create(&path).map_err(MachineError::file("create", &path))?;
    let started = Instant::now();
    let mut told = false;
    while lock.try_lock().is_err() {
        if started.elapsed() > TURN_DEADLINE {
            return Err(MachineError::Taken { lock: path });
        }
        if !told {
            eprintln!("waiting for another test machine to end ...");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    holder::wait_until_gone().await?;
    Ok(lock)
}

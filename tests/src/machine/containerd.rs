//! The container runtime of a machine, and the network of its pods.
//!
//! Settings: <https://github.com/containerd/containerd/blob/release/1.6/docs/cri/config.md>.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::MachineError;
use super::holder::run;
use super::node::{STATE, start, write};
use super::requirements::NETWORK_PLUGINS;
use crate::cache::on_path;
use crate::control_plane::servers::until;
use crate::control_plane::supervised::{Entrance, Program};
use crate::image::Image;

/// The image that every pod starts with.
const PAUSE_IMAGE: &str = "awsiam.test/pause:1";
/// Where it listens.
pub(super) const SOCKET: &str = "/run/awsiam/containerd.sock";

/// A running containerd.
#[derive(Debug)]
pub(super) struct Containerd {
    entrance: Entrance,
    folder: PathBuf,
    pub(super) program: Program,
}

impl Containerd {
    /// Starts it, with its images and containers below `root` and its files in `folder`, and returns at once. `pods` are
    /// the addresses of this machine's pods.
    pub(super) fn start(
        entrance: &Entrance,
        folder: &Path,
        root: &Path,
        pods: &str,
    ) -> Result<Self, MachineError> {
        write(&folder.join("cni/10-bridge.conflist"), &format!("{:#}", network(pods)))?;
        write(&folder.join("containerd.toml"), &settings(&folder.join("cni"), root))?;
        let containerd = on_path("containerd").unwrap_or_else(|| "containerd".into());
        let arguments = ["--config".to_owned(), folder.join("containerd.toml").display().to_string()];
        let program = start(entrance, folder, &containerd, &arguments, &[])?;
        Ok(Self { entrance: entrance.clone(), folder: folder.to_owned(), program })
    }

    /// Returns when it answers.
    pub(super) async fn ready(&mut self) -> Result<(), MachineError> {
        let entrance = self.entrance.clone();
        let answers = async || {
            let mut ctr = entrance.command("ctr");
            ctr.args(["--address", SOCKET, "version"]);
            run(&mut ctr).map(drop).map_err(|error| error.to_string())
        };
        Ok(until(&mut [&mut self.program], answers).await?)
    }

    /// Gives it the image that every pod starts with.
    pub(super) fn import_pause(&self, bin: &Path) -> Result<(), MachineError> {
        let image = Image::new(PAUSE_IMAGE, "/pause").executable("/pause", &bin.join("pause"))?;
        let archive = self.folder.join("pause.tar");
        image.write(&archive).map_err(MachineError::file("write", &archive))?;
        self.import(&archive)
    }

    /// Gives it an image.
    pub(super) fn import(&self, archive: &Path) -> Result<(), MachineError> {
        let mut ctr = self.entrance.command("ctr");
        ctr.args(["--address", SOCKET, "--namespace", "k8s.io", "images", "import"]);
        run(ctr.arg(archive)).map(drop)
    }
}

/// `restrict_oom_score_adj`: runc dies where it may not lower the score, as in most containers.
fn settings(network: &Path, root: &Path) -> String {
    let (network, root) = (network.display(), root.display());
    format!(
        r#"version = 2
root = "{root}"
state = "{STATE}/containerd/state"

[grpc]
address = "{STATE}/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{NETWORK_PLUGINS}"
conf_dir = "{network}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#
    )
}

fn network(pods: &str) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "awsiam",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": format!("{STATE}/addresses"),
                    "ranges": [[{ "subnet": pods }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

//! The machine's node: containerd, kubelet and kube-proxy, and what they are told.
//!
//! Settings: <https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/>,
//! <https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/>.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::MachineError;
use super::cgroups;
use super::containerd::{Containerd, SOCKET};
use super::holder::{self, run};
use crate::control_plane::ControlPlane;
use crate::control_plane::servers::until;
use crate::control_plane::supervised::{Entrance, Program};

/// Name of the node.
pub const NODE: &str = "awsiam-node";
/// Addresses of pods.
pub(super) const POD_ADDRESSES: &str = "10.88.0.0/24";
/// In the machine's own /run: nobody outside sees it, and it goes with the machine.
pub(super) const STATE: &str = "/run/awsiam";

/// What runs on the node beside the control plane.
#[derive(Debug)]
pub(super) struct Node {
    entrance: Entrance,
    folder: PathBuf,
    containerd: Containerd,
    others: Vec<Program>,
}

impl Node {
    /// Starts containerd and returns at once.
    pub(super) fn start_containerd(entrance: &Entrance, folder: &Path) -> Result<Self, MachineError> {
        let root = Path::new(STATE).join("containerd/root");
        let containerd = Containerd::start(entrance, folder, &root, POD_ADDRESSES)?;
        Ok(Self { entrance: entrance.clone(), folder: folder.to_owned(), containerd, others: Vec::new() })
    }

    /// Starts the rest; returns when the node is ready and labelled, and the API server's Service is reached.
    pub(super) async fn join(&mut self, plane: &ControlPlane, bin: &Path) -> Result<(), MachineError> {
        self.containerd.ready().await?;
        self.containerd.import_pause(bin)?;
        self.start_kubelet(plane, bin)?;
        self.start_kube_proxy(plane, bin)?;
        self.wait_for_node(plane).await?;
        self.wait_for_services(plane, bin).await
    }

    pub(super) fn import_image(&self, archive: &Path) -> Result<(), MachineError> {
        self.containerd.import(archive)
    }

    fn start_kubelet(&mut self, plane: &ControlPlane, bin: &Path) -> Result<(), MachineError> {
        let kubeconfig =
            plane.certificate_kubeconfig("kubelet", &format!("system:node:{NODE}"), "system:nodes")?;
        let settings = self.folder.join("kubelet.json");
        write(&settings, &format!("{:#}", kubelet_settings(&self.folder)))?;
        let arguments = [
            format!("--config={}", settings.display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--root-dir={STATE}/kubelet"),
            format!("--cert-dir={STATE}/kubelet-certificates"),
            format!("--hostname-override={NODE}"),
            format!("--node-ip={}", holder::ADDRESS),
        ];
        self.others.push(start(&self.entrance, &self.folder, &bin.join("kubelet"), &arguments, &[])?);
        Ok(())
    }

    fn start_kube_proxy(&mut self, plane: &ControlPlane, bin: &Path) -> Result<(), MachineError> {
        let kubeconfig =
            plane.certificate_kubeconfig("kube-proxy", "system:kube-proxy", "system:node-proxier")?;
        self.others.push(kube_proxy(&self.entrance, &self.folder, bin, &kubeconfig, NODE)?);
        Ok(())
    }

    /// Kubelet may not label its own node as a control plane: that takes the API.
    async fn wait_for_node(&mut self, plane: &ControlPlane) -> Result<(), MachineError> {
        let nodes: Api<NodeObject> = Api::all(plane.client());
        let labels = json!({ "metadata": { "labels": { "node-role.kubernetes.io/control-plane": "" } } });
        let mut programs: Vec<&mut Program> =
            [&mut self.containerd.program].into_iter().chain(&mut self.others).collect();
        until(&mut programs, async || {
            let node = nodes.get(NODE).await.map_err(|error| error.to_string())?;
            if is_ready(&node) { Ok(()) } else { Err(format!("node {NODE} isn't ready")) }
        })
        .await?;
        let labelled = nodes.patch(NODE, &PatchParams::default(), &Patch::Merge(&labels)).await;
        labelled.map_err(crate::control_plane::ControlPlaneError::request("label the node"))?;
        Ok(())
    }

    /// Whether kube-proxy has done its first round shows in the address of the one Service that is always there.
    async fn wait_for_services(&mut self, plane: &ControlPlane, bin: &Path) -> Result<(), MachineError> {
        let entrance = self.entrance.clone();
        let mut programs: Vec<&mut Program> = self.others.iter_mut().collect();
        let reached = async || {
            let mut kubectl = entrance.command(bin.join("kubectl"));
            kubectl.arg("--kubeconfig").arg(plane.kubeconfig_path());
            kubectl.args(["--server=https://10.96.0.1", "--request-timeout=2s", "get", "--raw=/readyz"]);
            kubectl.env_remove("HTTPS_PROXY").env_remove("https_proxy");
            run(&mut kubectl).map(drop).map_err(|error| error.to_string())
        };
        Ok(until(&mut programs, reached).await?)
    }
}

pub(super) fn pod_logs(folder: &Path) -> PathBuf {
    folder.join("pods")
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// Starts kube-proxy of the node `name`, with the rights of `kubeconfig`.
pub(super) fn kube_proxy(
    entrance: &Entrance,
    folder: &Path,
    bin: &Path,
    kubeconfig: &Path,
    name: &str,
) -> Result<Program, MachineError> {
    let settings = folder.join("kube-proxy.json");
    write(&settings, &format!("{:#}", kube_proxy_settings(kubeconfig, name)))?;
    let arguments = [format!("--config={}", settings.display())];
    start(entrance, folder, &bin.join("kube-proxy"), &arguments, &[])
}

pub(super) fn start(
    entrance: &Entrance,
    folder: &Path,
    program: &Path,
    arguments: &[String],
    environment: &[(String, String)],
) -> Result<Program, MachineError> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let log = folder.join(format!("{name}.log"));
    Program::start(entrance, program, arguments, environment, &log)
        .map_err(MachineError::file("start a program with its output in", &log))
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), MachineError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(MachineError::file("create", folder))?;
    }
    fs::write(path, text).map_err(MachineError::file("write", path))
}

fn kubelet_settings(folder: &Path) -> Value {
    let mut settings = kubelet_surroundings(&cgroups::path(folder), &pod_logs(folder));
    let more = json!({
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": folder.join("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "readOnlyPort": 0,
        "healthzPort": 0,
        "staticPodPath": format!("{STATE}/static-pods"),
    });
    if let (Value::Object(settings), Value::Object(more)) = (&mut settings, more) {
        settings.extend(more);
    }
    settings
}

/// What a kubelet is told of where it runs, in a machine whose pods get their cgroups below `cgroup`.
pub(super) fn kubelet_surroundings(cgroup: &str, pod_logs: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        // Version 1 still works, but must be asked for.
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        // The machine's disk is not ours to watch over.
        "localStorageCapacityIsolation": false,
        "evictionHard": { "nodefs.available": "0%", "imagefs.available": "0%", "memory.available": "1Mi" },
        "imageGCHighThresholdPercent": 100,
        // A registry is never reached: every image is imported.
        "podLogsDir": pod_logs,
        "volumePluginDir": format!("{STATE}/volume-plugins"),
        // How soon kubelet looks again at a pod that isn't as it should be, and how long a container that failed waits at most:
        // ten seconds and more would be most of the time that such tests take. Beta since 1.35.
        "syncFrequency": "2s",
        "featureGates": { "KubeletCrashLoopBackOffMax": true },
        "crashLoopBackOff": { "maxContainerRestartPeriod": "2s" },
    })
}

fn kube_proxy_settings(kubeconfig: &Path, name: &str) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": { "kubeconfig": kubeconfig },
        "clusterCIDR": POD_ADDRESSES,
        "hostnameOverride": name,
        // These limits are not this namespace's to set.
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    })
}

//! What kubeadm is told. Only what a machine of ours needs is not as it comes.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};

use super::{KubeadmNode, images};
use crate::control_plane::servers::SERVICE_ADDRESSES;
use crate::machine::MachineError;
use crate::machine::containerd::SOCKET;
use crate::machine::holder::API_SERVER_PORT;
use crate::machine::node::{STATE, kubelet_surroundings};

const VERSION: &str = "kubeadm.k8s.io/v1beta4";
/// By which the second machine joins. No secrets: the machines end with the test.
const TOKEN: &str = "awsiam.0123456789abcdef";
const CERTIFICATE_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// For `kubeadm init`.
pub(super) fn init(node: &KubeadmNode, bin: &Path) -> Result<String, MachineError> {
    let configuration = json!({
        "apiVersion": VERSION,
        "kind": "InitConfiguration",
        "bootstrapTokens": [{ "token": TOKEN }],
        "certificateKey": CERTIFICATE_KEY,
        "localAPIEndpoint": endpoint(node),
        "nodeRegistration": registration(node),
        "patches": { "directory": node.patches() },
    });
    let cluster = json!({
        "apiVersion": VERSION,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": images::version(bin)?,
        "clusterName": "awsiam-test",
        "controlPlaneEndpoint": format!("{}:{API_SERVER_PORT}", node.address()),
        "networking": { "serviceSubnet": SERVICE_ADDRESSES },
        // The data need not survive a power cut.
        "etcd": { "local": { "dataDir": "/var/lib/etcd", "extraArgs": [argument("unsafe-no-fsync", "true")] } },
        // By default a folder in /usr, which the kubelet has elsewhere here.
        "controllerManager": {
            "extraArgs": [argument("flex-volume-plugin-dir", &format!("{STATE}/volume-plugins"))],
        },
    });
    // Cgroup and log folder differ from node to node: see `patches`.
    let mut kubelet = kubelet_surroundings("/", Path::new("/var/log/pods"));
    if let Some(kubelet) = kubelet.as_object_mut() {
        kubelet.insert("fileCheckFrequency".to_owned(), json!("2s"));
    }
    Ok(documents(&[configuration, cluster, kubelet]))
}

/// For `kubeadm join` as a control-plane node.
pub(super) fn join(node: &KubeadmNode, at: Ipv4Addr) -> String {
    documents(&[json!({
        "apiVersion": VERSION,
        "kind": "JoinConfiguration",
        "discovery": { "bootstrapToken": {
            "token": TOKEN,
            "apiServerEndpoint": format!("{at}:{API_SERVER_PORT}"),
            "unsafeSkipCAVerification": true,
        } },
        "controlPlane": { "localAPIEndpoint": endpoint(node), "certificateKey": CERTIFICATE_KEY },
        "nodeRegistration": registration(node),
        "patches": { "directory": node.patches() },
    })])
}

/// What is not checked: a machine of ours is none to run a cluster on for good.
const UNCHECKED: &str = "--ignore-preflight-errors=SystemVerification,NumCPU,Mem,FileExisting-conntrack";

/// Beside the settings.
pub(super) fn arguments(verb: &str) -> &'static [&'static str] {
    match verb {
        "init" => &["--upload-certs", UNCHECKED, "--skip-phases=addon/coredns,addon/kube-proxy"],
        _ => &[UNCHECKED],
    }
}

/// Files of a folder for `--patches`: what differs from node to node, and a short end for the API server, which else
/// takes half a minute to go.
pub(super) fn patches(cgroup: &str, pod_logs: &Path) -> [(&'static str, String); 2] {
    let kubelet = json!({ "cgroupRoot": cgroup, "podLogsDir": pod_logs });
    let api_server = json!({ "spec": { "terminationGracePeriodSeconds": 2 } });
    [("kubeletconfiguration.json", kubelet.to_string()), ("kube-apiserver.json", api_server.to_string())]
}

fn endpoint(node: &KubeadmNode) -> Value {
    json!({ "advertiseAddress": node.address(), "bindPort": API_SERVER_PORT })
}

fn registration(node: &KubeadmNode) -> Value {
    json!({
        "name": node.name(),
        "criSocket": format!("unix://{SOCKET}"),
        // A registry is never reached: every image is imported.
        "imagePullPolicy": "Never",
        "kubeletExtraArgs": [argument("node-ip", &node.address().to_string())],
    })
}

fn argument(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

/// JSON, which every reader of YAML reads, with the marks of YAML between.
fn documents(all: &[Value]) -> String {
    all.iter().map(|document| format!("{document:#}")).collect::<Vec<_>>().join("\n---\n")
}

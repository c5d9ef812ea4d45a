//! The three things of ours in a KubeadmControlPlane: a file, a flag, a mount; and where they stand in its JSON.

use serde_json::{Map, Value, json};

/// Flag of kube-apiserver that names the webhook's kubeconfig, as kubeadm spells it: without dashes.
/// <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>
pub const FLAG: &str = "authentication-token-webhook-config-file";

/// Where the API server's container sees the file, and the value of [`FLAG`]. A folder of our own: the authenticator
/// itself writes to `/etc/kubernetes/aws-iam-authenticator` by default, and EKS Anywhere mounts that folder whole.
pub const MOUNT_PATH: &str = "/etc/kubernetes/awsiam/token-webhook.yaml";

/// Where the file lies on Bottlerocket: what its bootstrap container calls `/etc/kubernetes` is `/var/lib/kubeadm` on
/// the host (<https://anywhere.eks.amazonaws.com/docs/clustermgmt/security/manually-renew-certs/>).
pub const BOTTLEROCKET_PATH: &str = "/var/lib/kubeadm/awsiam/token-webhook.yaml";

/// Name of the mount in the API server's pod.
pub const VOLUME: &str = "awsiam-token-webhook";

pub(super) const CONFIG: &str = "/spec/kubeadmConfigSpec";
pub(super) const FILES: &str = "/spec/kubeadmConfigSpec/files";
pub(super) const CLUSTER: &str = "/spec/kubeadmConfigSpec/clusterConfiguration";
pub(super) const API_SERVER: &str = "/spec/kubeadmConfigSpec/clusterConfiguration/apiServer";
pub(super) const ARGUMENTS: &str = "/spec/kubeadmConfigSpec/clusterConfiguration/apiServer/extraArgs";
pub(super) const VOLUMES: &str = "/spec/kubeadmConfigSpec/clusterConfiguration/apiServer/extraVolumes";

/// Every place that we may have to make, innermost first: path, the path around it, its name there.
pub(super) const PLACES: [(&str, &str, &str); 5] = [
    (FILES, CONFIG, "files"),
    (ARGUMENTS, API_SERVER, "extraArgs"),
    (VOLUMES, API_SERVER, "extraVolumes"),
    (API_SERVER, CLUSTER, "apiServer"),
    (CLUSTER, CONFIG, "clusterConfiguration"),
];

/// The kubeconfig by which the API server asks the authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookFile {
    /// The whole text, certificate authority inline. It is public: no key is in it. Each change of a single
    /// character replaces every machine of the control plane.
    pub content: String,
}

/// Where the file lies on the machines of this KubeadmControlPlane.
pub(super) fn host_path(object: &Value) -> &'static str {
    // `format: bottlerocket` exists in the Cluster API of EKS Anywhere alone.
    let format = object.pointer("/spec/kubeadmConfigSpec/format").and_then(Value::as_str);
    if format == Some("bottlerocket") { BOTTLEROCKET_PATH } else { MOUNT_PATH }
}

/// The item of `files`. Its folder is made by whoever writes it.
pub(super) fn file(object: &Value, webhook: &WebhookFile) -> Value {
    json!({
        "path": host_path(object),
        "owner": "root:root",
        "permissions": "0640",
        "content": webhook.content,
    })
}

/// The item of `extraVolumes`: this one file, read-only. With `pathType: File` the kubelet looks before it starts the
/// API server: where the file isn't there yet, it says so and tries again until it is. Without a type the container
/// runtime would put a folder in the file's place, for good; mounted as a folder, the API server would start, miss
/// the file and end, over and over.
pub(super) fn volume(object: &Value) -> Value {
    json!({
        "name": VOLUME,
        "hostPath": host_path(object),
        "mountPath": MOUNT_PATH,
        "readOnly": true,
        "pathType": "File",
    })
}

/// Equal but for members that say nothing: those that a conversion between versions adds or drops.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    fn telling(item: &Value) -> Option<Map<String, Value>> {
        let mut members = item.as_object()?.clone();
        members.retain(|name, value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !(text.is_empty() || name == "contentFormat" && text == "Raw"),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        });
        Some(members)
    }
    telling(one).is_some_and(|one| telling(other) == Some(one))
}

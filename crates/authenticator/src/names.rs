//! Names that stand in targets and may never change without a migration.

/// Namespace of the authenticator's objects.
pub const NAMESPACE: &str = "kube-system";
/// ServiceAccount, Role, RoleBinding, ConfigMap and DaemonSet, as EKS Anywhere and the authenticator's own
/// manifests call them.
pub const NAME: &str = "aws-iam-authenticator";
/// Secret with the serving certificate.
pub const SERVING_SECRET: &str = "aws-iam-authenticator-serving";
/// DaemonSet of rollout HostPath, and the [`POD_LABEL`] of its pods: apart from the authenticator's, which must not
/// notice what becomes of it.
pub const WEBHOOK_FILE: &str = "awsiam-webhook-file";
/// Cluster-scoped rights that only backend CRD needs.
pub const CRD_ROLE: &str = "awsiam:aws-iam-authenticator";

/// Label of everything of ours: whoever has it with [`MANAGER`] is ours to change.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const MANAGER: &str = "awsiam-operator";
/// Label by which the pods are selected.
pub const POD_LABEL: &str = "app.kubernetes.io/name";

/// Annotation: SHA-256 of the CA certificate that the API server is to trust, hexadecimal.
pub const CA_SHA256: &str = "awsiam-operator.dev/ca-sha256";
/// Annotation of the ConfigMap: the cluster id, recorded for good.
pub const CLUSTER_ID: &str = "awsiam-operator.dev/cluster-id";
/// Annotation of the pod template: SHA-256 of the configuration.
pub const CONFIG_SHA256: &str = "awsiam-operator.dev/config-sha256";
/// Annotation of the pod template: SHA-256 of the serving certificate.
pub const SERVING_SHA256: &str = "awsiam-operator.dev/serving-sha256";
/// Annotation of the DaemonSet: the authenticator's image that we gave it last.
pub const IMAGE: &str = "awsiam-operator.dev/image";
/// Annotation of the DaemonSet: what asked for that image, as [`crate::image::Source`] puts it.
pub const IMAGE_SOURCE: &str = "awsiam-operator.dev/image-source";
/// Annotation of an object of ours: SHA-256 of what was last applied.
pub const APPLIED_SHA256: &str = "awsiam-operator.dev/applied-sha256";

/// Labels of control-plane nodes; kubeadm gives them no value, k3s and RKE2 `true`. The second went with
/// Kubernetes 1.24.
pub const CONTROL_PLANE_LABELS: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// Port of the authenticator: the API server's webhook, `/healthz` and `/metrics`, on loopback.
pub const PORT: u16 = 21362;

/// The Secret with the CA of a Cluster's authenticator, in the Cluster's namespace.
#[must_use]
pub fn ca_secret(cluster: &str) -> String {
    format!("{cluster}-aws-iam-authenticator-ca")
}

/// The Secret with the kubeconfig that users log in with, in the Cluster's namespace.
#[must_use]
pub fn kubeconfig_secret(cluster: &str) -> String {
    format!("{cluster}-aws-iam-kubeconfig")
}

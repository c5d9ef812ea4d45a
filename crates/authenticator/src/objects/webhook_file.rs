//! The DaemonSet of rollout HostPath: on each control-plane node a pod that keeps the API server's webhook kubeconfig
//! there, in the one folder that it sees. The content stands in the pod's template: the pod needs no rights and no
//! network, and another content is a rollout of its own, which the authenticator does not notice.

use std::path::Path;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HostPathVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    SeccompProfile, Taint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::daemon_set::{confined, of_awsiam, on_control_plane, selector, tolerations, variable};
use super::labels;
use crate::kubeadm_control_plane::MOUNT_PATH;
use crate::names::{NAMESPACE, WEBHOOK_FILE};

/// Environment variable by which `awsiam write-webhook-file` learns what the file is to hold.
pub const WEBHOOK_KUBECONFIG: &str = "WEBHOOK_KUBECONFIG";
/// Name of the container and of the volume.
const CONTAINER: &str = "webhook-file";
const VOLUME: &str = "folder";

/// The DaemonSet that writes `kubeconfig` ([`crate::kubeconfig::webhook`]) to [`MOUNT_PATH`] on nodes with a
/// control-plane label, whatever they are tainted with of `taints`. `image` is awsiam's own.
#[must_use]
pub fn webhook_file(image: &str, taints: &[Taint], kubeconfig: &str) -> DaemonSet {
    DaemonSet {
        metadata: ObjectMeta {
            name: Some(WEBHOOK_FILE.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            labels: Some(labels(WEBHOOK_FILE)),
            ..ObjectMeta::default()
        },
        spec: Some(DaemonSetSpec {
            selector: selector(WEBHOOK_FILE),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(WEBHOOK_FILE)), ..ObjectMeta::default() }),
                spec: Some(pod(image, taints, kubeconfig)),
            },
            // Nobody waits for these pods: a node that is down, or whose file can't be written, holds up no other.
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(IntOrString::String("100%".to_owned())),
                    max_surge: Some(IntOrString::Int(0)),
                }),
            }),
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

fn pod(image: &str, taints: &[Taint], kubeconfig: &str) -> PodSpec {
    PodSpec {
        containers: vec![writer(image, kubeconfig)],
        affinity: Some(on_control_plane()),
        tolerations: Some(tolerations(taints)),
        volumes: Some(vec![Volume {
            name: VOLUME.to_owned(),
            host_path: Some(HostPathVolumeSource {
                path: folder().to_owned(),
                type_: Some("DirectoryOrCreate".to_owned()),
            }),
            ..Volume::default()
        }]),
        // It talks to nobody.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(5),
        security_context: Some(PodSecurityContext {
            // The kubelet makes the folder as root, for root.
            run_as_user: Some(0),
            run_as_group: Some(0),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

fn writer(image: &str, kubeconfig: &str) -> Container {
    let verb = ["write-webhook-file".to_owned(), format!("--file={MOUNT_PATH}")];
    let check = [vec!["/awsiam".to_owned()], verb.to_vec(), vec!["--check".to_owned()]].concat();
    Container {
        name: CONTAINER.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(verb.to_vec()),
        env: Some(vec![variable(WEBHOOK_KUBECONFIG, kubeconfig)]),
        resources: Some(of_awsiam()),
        // Ready is: the file is there and holds this.
        readiness_probe: Some(Probe {
            exec: Some(ExecAction { command: Some(check) }),
            period_seconds: Some(5),
            timeout_seconds: Some(5),
            failure_threshold: Some(1),
            ..Probe::default()
        }),
        // The end of its log tells the operator why it could not write.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(confined()),
        // At the node's own path, so that what it says names the node's file.
        volume_mounts: Some(vec![VolumeMount {
            name: VOLUME.to_owned(),
            mount_path: folder().to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

/// The file's folder on the node.
fn folder() -> &'static str {
    Path::new(MOUNT_PATH).parent().and_then(Path::to_str).unwrap_or_default()
}

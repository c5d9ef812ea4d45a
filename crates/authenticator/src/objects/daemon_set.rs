//! The DaemonSet: one authenticator on each control-plane node, and beside it a probe that makes the pod ready
//! only when the mappings can be loaded from that node (docs/adr/0011).

use std::collections::BTreeMap;

use awsiam_core::desired::Backend;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, EnvVar, ExecAction, HTTPGetAction, KeyToPath,
    NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Taint,
    Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{AUTHORITY_KEY, CERTIFICATE_KEY, PRIVATE_KEY, labels, namespaced, serving_mark};
use crate::facts::Facts;
use crate::names::{
    CONFIG_SHA256, CONTROL_PLANE_LABELS, IMAGE, IMAGE_SOURCE, NAME, POD_LABEL, PORT, SERVING_SECRET,
    SERVING_SHA256,
};

/// Name of the probe's container.
pub const PROBE: &str = "mappings";
/// uid and gid of the authenticator's image.
const USER: i64 = 65532;
/// The authenticator ignores the first SIGTERM and serves until this many seconds are over.
const GRACE_SECONDS: i64 = 5;
const CONFIG_FOLDER: &str = "/etc/aws-iam-authenticator";
const STATE_FOLDER: &str = "/var/aws-iam-authenticator";
/// Where the probe finds the CA.
const AUTHORITY_FOLDER: &str = "/etc/awsiam";

pub(super) fn daemon_set(facts: &Facts, config_sha256: &str, serving_sha256: &str) -> DaemonSet {
    DaemonSet {
        metadata: ObjectMeta {
            // Not in the pods: what asked for an image is no reason to restart one.
            annotations: Some(BTreeMap::from([
                (IMAGE.to_owned(), facts.image.reference.clone()),
                (IMAGE_SOURCE.to_owned(), facts.image.source.to_string()),
            ])),
            ..namespaced(NAME)
        },
        spec: Some(DaemonSetSpec {
            selector: selector(NAME),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels(NAME)),
                    annotations: Some(BTreeMap::from([
                        (CONFIG_SHA256.to_owned(), config_sha256.to_owned()),
                        (SERVING_SHA256.to_owned(), serving_sha256.to_owned()),
                    ])),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(facts, serving_sha256)),
            },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(IntOrString::Int(1)),
                    max_surge: Some(IntOrString::Int(0)),
                }),
            }),
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

/// The pods of one DaemonSet.
pub(super) fn selector(of: &str) -> LabelSelector {
    let label = (POD_LABEL.to_owned(), of.to_owned());
    LabelSelector { match_labels: Some(BTreeMap::from([label])), ..LabelSelector::default() }
}

fn pod(facts: &Facts, serving_sha256: &str) -> PodSpec {
    let mut containers = vec![authenticator(facts)];
    containers.extend(facts.probe_image.as_ref().map(|image| probe(facts, image)));
    PodSpec {
        containers,
        affinity: Some(on_control_plane()),
        tolerations: Some(tolerations(&facts.taints)),
        volumes: Some(volumes(facts, serving_sha256)),
        service_account_name: Some(NAME.to_owned()),
        automount_service_account_token: Some(true),
        host_network: Some(true),
        // STS is looked up as the node does: the cluster's DNS may need logins to be mended.
        dns_policy: Some("Default".to_owned()),
        priority_class_name: Some("system-node-critical".to_owned()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

fn authenticator(facts: &Facts) -> Container {
    let mut env = vec![
        variable("AWS_REGION", &facts.region),
        // Off EC2 there is no metadata service; asking for it costs seconds at start.
        variable("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    env.extend(facts.env.iter().cloned());
    Container {
        name: NAME.to_owned(),
        image: Some(facts.image.reference.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(vec![
            "server".to_owned(),
            format!("--config={CONFIG_FOLDER}/config.yaml"),
            format!("--state-dir={STATE_FOLDER}"),
            // The API server gets its file from us; the authenticator is to write none.
            "--kubeconfig-pregenerated=true".to_owned(),
            format!("--partition={}", facts.partition),
            backend_argument(&facts.backends),
        ]),
        env: Some(env),
        resources: Some(facts.resources.clone()),
        liveness_probe: Some(Probe { period_seconds: Some(10), failure_threshold: Some(3), ..health() }),
        readiness_probe: Some(Probe { period_seconds: Some(2), failure_threshold: Some(3), ..health() }),
        // The end of its log tells the operator why it ended, such as a port that is taken.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(confined()),
        volume_mounts: Some(vec![mount("config", CONFIG_FOLDER), mount("serving", STATE_FOLDER)]),
        ..Container::default()
    }
}

/// Says whether the mappings can be loaded from this node, with the authenticator's own identity.
fn probe(facts: &Facts, image: &str) -> Container {
    let arguments = |more: &[&str]| {
        let mut arguments = vec!["probe-mappings".to_owned()];
        arguments.extend(more.iter().map(ToString::to_string));
        arguments.push(format!("--authority={AUTHORITY_FOLDER}/{AUTHORITY_KEY}"));
        arguments.push(backend_argument(&facts.backends));
        arguments
    };
    let check = [vec!["/awsiam".to_owned()], arguments(&["--once"])].concat();
    Container {
        name: PROBE.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(arguments(&[])),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        resources: Some(of_awsiam()),
        readiness_probe: Some(Probe {
            exec: Some(ExecAction { command: Some(check) }),
            period_seconds: Some(10),
            timeout_seconds: Some(5),
            failure_threshold: Some(3),
            ..Probe::default()
        }),
        security_context: Some(confined()),
        volume_mounts: Some(vec![mount("authority", AUTHORITY_FOLDER)]),
        ..Container::default()
    }
}

/// The flag of the authenticator, and of the probe, that names the backends.
const BACKEND_FLAG: &str = "--backend-mode=";

fn backend_argument(backends: &[Backend]) -> String {
    format!("{BACKEND_FLAG}{}", backend_mode(backends))
}

/// The backends that the authenticator of this pod runs with, in their order; none where it does not say, or names one
/// that is not ours.
#[must_use]
pub fn backends_of(pod: &PodSpec) -> Option<Vec<Backend>> {
    let authenticator = pod.containers.iter().find(|container| container.name == NAME)?;
    let mode =
        authenticator.args.as_ref()?.iter().find_map(|argument| argument.strip_prefix(BACKEND_FLAG))?;
    parse_backends(mode)
}

/// Backends as the authenticator's flag names them: with commas between.
#[must_use]
pub fn parse_backends(mode: &str) -> Option<Vec<Backend>> {
    let parse = |name: &str| match name.trim() {
        "EKSConfigMap" => Some(Backend::EksConfigMap),
        "CRD" => Some(Backend::Crd),
        _ => None,
    };
    mode.split(',').map(parse).collect()
}

/// The backends as the authenticator's flag and the probe take them, in their order.
#[must_use]
pub fn backend_mode(backends: &[Backend]) -> String {
    let names: Vec<&str> = backends
        .iter()
        .map(|backend| match backend {
            Backend::EksConfigMap => "EKSConfigMap",
            Backend::Crd => "CRD",
        })
        .collect();
    names.join(",")
}

fn health() -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            host: Some("127.0.0.1".to_owned()),
            path: Some("/healthz".to_owned()),
            port: IntOrString::Int(i32::from(PORT)),
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

pub(super) fn confined() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}

fn volumes(facts: &Facts, serving_sha256: &str) -> Vec<Volume> {
    let secret = |name: &str, items: Vec<KeyToPath>| Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(SERVING_SECRET.to_owned()),
            default_mode: Some(0o440),
            items: Some(items),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    let item = |key: &str, path: &str| KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None };
    let mut volumes = vec![
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: NAME.to_owned(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        // The first two file names are the authenticator's own.
        secret(
            "serving",
            vec![
                item(CERTIFICATE_KEY, "cert.pem"),
                item(PRIVATE_KEY, "key.pem"),
                item(&serving_mark(serving_sha256), "sha256"),
            ],
        ),
    ];
    if facts.probe_image.is_some() {
        volumes.push(secret("authority", vec![item(AUTHORITY_KEY, AUTHORITY_KEY)]));
    }
    volumes
}

/// On nodes with either label, whatever its value.
pub(super) fn on_control_plane() -> Affinity {
    let term = |label: &str| NodeSelectorTerm {
        match_expressions: Some(vec![NodeSelectorRequirement {
            key: label.to_owned(),
            operator: "Exists".to_owned(),
            values: None,
        }]),
        ..NodeSelectorTerm::default()
    };
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: CONTROL_PLANE_LABELS.iter().map(|label| term(label)).collect(),
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// What control-plane nodes are commonly tainted with, and the Cluster's own taints.
pub(super) fn tolerations(taints: &[Taint]) -> Vec<Toleration> {
    let exists = |key: &str, effect: Option<&str>| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: effect.map(str::to_owned),
        ..Toleration::default()
    };
    let mut tolerations: Vec<Toleration> =
        CONTROL_PLANE_LABELS.iter().map(|label| exists(label, Some("NoSchedule"))).collect();
    tolerations.push(exists("CriticalAddonsOnly", None));
    // Until the cloud provider has seen the node: it may need logins to do so.
    tolerations.push(exists("node.cloudprovider.kubernetes.io/uninitialized", Some("NoSchedule")));
    for taint in taints {
        let toleration = Toleration {
            key: Some(taint.key.clone()),
            operator: Some("Equal".to_owned()),
            value: Some(taint.value.clone().unwrap_or_default()),
            effect: Some(taint.effect.clone()),
            ..Toleration::default()
        };
        if !tolerations.iter().any(|t| covers(t, &toleration)) {
            tolerations.push(toleration);
        }
    }
    tolerations
}

/// Whether a toleration of any value is there already.
fn covers(one: &Toleration, other: &Toleration) -> bool {
    one.operator.as_deref() == Some("Exists")
        && one.key == other.key
        && (one.effect.is_none() || one.effect == other.effect)
        || one == other
}

pub(super) fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), ..EnvVar::default() }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// CPU and memory of awsiam where it only looks, or keeps a file.
pub(super) fn of_awsiam() -> ResourceRequirements {
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "5m"), ("memory", "16Mi")])),
        limits: Some(quantities(&[("memory", "64Mi")])),
        ..ResourceRequirements::default()
    }
}

fn quantities(amounts: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    amounts.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect()
}

/// CPU and memory of the authenticator where the Cluster says nothing: it takes about 12 MiB under load and
/// 24 MiB of file pages; a tight limit kills it, and a CPU limit throttles its handshakes.
#[must_use]
pub fn default_resources() -> ResourceRequirements {
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "10m"), ("memory", "32Mi")])),
        limits: Some(quantities(&[("memory", "128Mi")])),
        ..ResourceRequirements::default()
    }
}

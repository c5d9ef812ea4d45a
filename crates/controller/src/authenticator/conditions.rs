//! What is said of the authenticator's parts. Words only.

use std::time::Duration;

use awsiam_api::conditions::{API_SERVER_CONFIGURED, AUTHENTICATOR_READY, KUBECONFIG_READY, Status, reasons};
use awsiam_api::{Cluster, Reason, validate_cluster};
use awsiam_authenticator::image::ImageError;
use awsiam_authenticator::kubeadm_control_plane::MOUNT_PATH;
use awsiam_authenticator::names::ca_secret;
use awsiam_authenticator::rollout::{Fault, Readiness};
use awsiam_authenticator::webhook::Webhook;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::certificates::Certificates;
use crate::error::Error;
use crate::hands_off::Pause;

/// So long before its end a certificate is spoken of, in seconds.
const SOON: i64 = 30 * 24 * 60 * 60;

/// A part that has a condition of its own.
pub(crate) type Part = &'static str;

/// One condition: its part, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) part: Part,
    pub(crate) status: Status,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Of the API server: what ends by itself, or in Cluster API, whose objects are not watched.
const WAITED_FOR: [&str; 6] = [
    reasons::ROLLING_OUT,
    reasons::WAITING_FOR_TURN,
    reasons::ROLLOUT_STALLED,
    reasons::PENDING,
    reasons::READ_FAILED,
    reasons::WRITE_FAILED,
];
/// Of the API server: what an administrator ends elsewhere.
const DONE_ELSEWHERE: [&str; 2] = [reasons::CONTROL_PLANE_MANAGED_ELSEWHERE, reasons::OTHER_WEBHOOK];

impl Said {
    /// Whether a Cluster that is being deleted waits for this: its control plane still has to lose what we put in.
    pub(crate) fn holds_deletion(&self) -> bool {
        self.part == API_SERVER_CONFIGURED && WAITED_FOR.contains(&self.reason)
    }

    /// When to look again at what is not watched.
    pub(crate) fn again(&self) -> Option<Duration> {
        match self.reason {
            _ if self.part != API_SERVER_CONFIGURED => None,
            reason if WAITED_FOR.contains(&reason) => Some(Duration::from_secs(10)),
            reason if DONE_ELSEWHERE.contains(&reason) => Some(Duration::from_mins(1)),
            _ => None,
        }
    }
}

pub(super) fn no(part: Part, reason: &'static str, message: impl Into<String>) -> Said {
    Said { part, status: Status::False, reason, message: message.into() }
}

pub(super) fn yes(part: Part, reason: &'static str, message: impl Into<String>) -> Said {
    Said { part, status: Status::True, reason, message: message.into() }
}

fn unknown(part: Part, reason: &'static str, message: impl Into<String>) -> Said {
    Said { part, status: Status::Unknown, reason, message: message.into() }
}

pub(super) fn failed(error: &Error) -> Said {
    no(AUTHENTICATOR_READY, error.reason(), format!("the last pass failed and is tried again: {error}"))
}

pub(super) fn no_cluster_id() -> Said {
    let text = "there is no cluster id: the uid of namespace kube-system is no UUID, and there is no ConfigMap kube-system/aws-iam-authenticator that names one";
    no(AUTHENTICATOR_READY, reasons::CLUSTER_ID, text)
}

pub(super) fn image(error: &ImageError) -> Said {
    let reason = match error {
        ImageError::UnknownVersion { .. } => reasons::UNKNOWN_KUBERNETES_VERSION,
        ImageError::NotAllowed { .. } => reasons::IMAGE_NOT_ALLOWED,
    };
    no(AUTHENTICATOR_READY, reason, error.to_string())
}

/// What a Cluster asks for and does not get.
pub(super) fn refused(cluster: &Cluster, id: &str) -> Option<Said> {
    let block = cluster.spec.authenticator();
    if let Some(asked) = block.cluster_id.as_deref().filter(|asked| *asked != id) {
        return Some(no(
            AUTHENTICATOR_READY,
            reasons::CLUSTER_ID,
            format!(
                "spec.iamAuthenticator.clusterID is {asked:?} and this cluster has the id {id:?}, which every kubeconfig that was handed out carries; take the field out (it is for mode External)"
            ),
        ));
    }
    let wrong = cluster.spec.taints().iter().position(|taint| {
        taint.key.is_empty()
            || !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&taint.effect.as_str())
    });
    wrong.map(|index| {
        no(
            AUTHENTICATOR_READY,
            reasons::INVALID_TAINT,
            format!("spec.controlPlaneConfiguration.taints[{index}]: key must be set, and effect one of NoSchedule, PreferNoSchedule, NoExecute"),
        )
    })
}

pub(super) fn foreign(objects: &[String]) -> Said {
    no(
        AUTHENTICATOR_READY,
        reasons::FOREIGN_OBJECT,
        format!(
            "{} was not made by awsiam and is left as it is. To hand it over, label it app.kubernetes.io/managed-by=awsiam-operator, or delete it",
            objects.join(", ")
        ),
    )
}

/// The backends that are asked for are held back; whatever else is said of the authenticator makes way for that.
pub(super) fn unasked_nodes(said: &mut Vec<Said>, message: String) {
    instead(said, reasons::UNASKED_NODES, message);
}

/// A variable that no pod gets: the CRD refuses it, but that CRD may be somebody else's. Otherwise the authenticator is kept up;
/// whatever else is said of it makes way.
pub(super) fn unknown_variable(said: &mut Vec<Said>, cluster: &Cluster) {
    let mut findings = validate_cluster(&cluster.spec).into_iter();
    if let Some(variable) = findings.find(|finding| finding.reason == Reason::UnknownVariable) {
        instead(said, reasons::UNKNOWN_VARIABLE, variable.to_string());
    }
}

/// Says this of the authenticator in place of all else.
fn instead(said: &mut Vec<Said>, reason: &'static str, message: String) {
    said.retain(|said| said.part != AUTHENTICATOR_READY);
    said.push(no(AUTHENTICATOR_READY, reason, message));
}

pub(super) fn pending(objects: &[String], pause: Option<Pause>) -> Said {
    let reason = if pause == Some(Pause::ObserveOnly) { reasons::OBSERVE_ONLY } else { reasons::SUSPENDED };
    let why = pause.map(Pause::message).unwrap_or_default();
    no(AUTHENTICATOR_READY, reason, format!("{why}. Pending: {}", objects.join(", ")))
}

/// How a rollout stands; a certificate that ends soon is told before all is well.
pub(super) fn readiness(readiness: &Readiness, certificates: Option<(&Certificates, i64)>) -> Said {
    match readiness {
        Readiness::Ready { nodes } => match certificates.and_then(|(c, now)| expiring(c, now)) {
            Some(said) => said,
            None => yes(
                AUTHENTICATOR_READY,
                reasons::ROLLED_OUT,
                format!("runs with the mappings on {}", counted(*nodes)),
            ),
        },
        Readiness::Running { nodes } => unknown(
            AUTHENTICATOR_READY,
            reasons::MAPPINGS_NOT_OBSERVED,
            format!(
                "runs on {}; whether it has the mappings is not looked at, because the operator was started without --probe-image",
                counted(*nodes)
            ),
        ),
        Readiness::NoControlPlaneNodes => no(
            AUTHENTICATOR_READY,
            reasons::NO_CONTROL_PLANE_NODES,
            "no node has the label node-role.kubernetes.io/control-plane (or master), so the authenticator runs nowhere. Where the control plane has no nodes, as on Amazon EKS, set spec.iamAuthenticator.mode to External",
        ),
        Readiness::RollingOut(what) => no(AUTHENTICATOR_READY, reasons::ROLLING_OUT, what.clone()),
        Readiness::Failing { fault, node, detail } => {
            let reason = match fault {
                Fault::PortTaken => reasons::PORT_TAKEN,
                Fault::CrashLooping => reasons::CRASH_LOOPING,
                Fault::ImagePull => reasons::IMAGE_PULL_FAILED,
                Fault::NotScheduled => reasons::NOT_SCHEDULED,
                Fault::ClockOff => reasons::CLOCK_OFF,
                Fault::MappingsNotLoaded => reasons::MAPPINGS_NOT_LOADED,
            };
            no(AUTHENTICATOR_READY, reason, on_node(node, detail))
        }
    }
}

/// What is wrong, and where.
pub(super) fn on_node(node: &str, detail: &str) -> String {
    if node.is_empty() { format!("a pod without a node: {detail}") } else { format!("node {node}: {detail}") }
}

fn counted(nodes: usize) -> String {
    if nodes == 1 { "1 control-plane node".to_owned() } else { format!("{nodes} control-plane nodes") }
}

fn expiring(certificates: &Certificates, now: i64) -> Option<Said> {
    let soon = |until: i64| until - now < SOON;
    let date = |until: i64| Timestamp::from_second(until).map(|t| t.to_string()).unwrap_or_default();
    let (what, until, remedy) = if soon(certificates.authority_until) {
        ("CA", certificates.authority_until, "put another one in its place, see the runbook")
    } else if soon(certificates.leaf_until) {
        ("serving certificate", certificates.leaf_until, "it could not be renewed, see the runbook")
    } else {
        return None;
    };
    let text = format!("the authenticator's {what} ends on {}: {remedy}", date(until));
    Some(no(AUTHENTICATOR_READY, reasons::CERTIFICATE_EXPIRING, text))
}

/// The CA's key is gone; `serves` is whether a certificate of that CA is still there to serve with.
pub(super) fn ca_lost(cluster: &Cluster, serves: bool) -> Said {
    let secret = format!("{}/{}", cluster.namespace().unwrap_or_default(), ca_secret(&cluster.name_any()));
    let so = if serves {
        "Logins go on until the serving certificate ends. Restore the Secret from a backup, or put another CA in its place as the runbook says"
    } else {
        "The serving certificate is gone too: an authenticator that starts now has none, and logins by AWS fail. Restore the Secret from a backup, or have a new CA made as the runbook says under Restored from a backup"
    };
    let text = format!("Secret {secret} is gone, and the API server trusts that CA. {so}");
    no(AUTHENTICATOR_READY, reasons::CA_LOST, text)
}

pub(super) fn ca_unusable(cluster: &Cluster, why: &str) -> Said {
    let secret = format!("{}/{}", cluster.namespace().unwrap_or_default(), ca_secret(&cluster.name_any()));
    no(AUTHENTICATOR_READY, reasons::CA_UNUSABLE, format!("Secret {secret} is not used: {why}"))
}

pub(super) fn removal_waits(why: &str) -> Said {
    no(AUTHENTICATOR_READY, reasons::REMOVING, format!("the authenticator is still there: {why}"))
}

pub(super) fn removal_waits_for_administrator(cluster: &Cluster) -> Said {
    no(
        AUTHENTICATOR_READY,
        reasons::FLAG_STILL_SET,
        format!(
            "our entries are gone; the authenticator stays while the API server asks it, because every login would wait for it in vain. Take the flag out of every API server (awsiam control-plane {}/{} says how); the rest then goes by itself",
            cluster.namespace().unwrap_or_default(),
            cluster.name_any()
        ),
    )
}

pub(super) fn api_server(webhook: Webhook, without_flag: &[String], cluster: &Cluster) -> Said {
    let how = format!(
        "awsiam control-plane {}/{} prints the file and the settings",
        cluster.namespace().unwrap_or_default(),
        cluster.name_any()
    );
    let waiting = |text: String| no(API_SERVER_CONFIGURED, reasons::WAITING_FOR_ADMINISTRATOR, text);
    match webhook {
        Webhook::Absent => waiting(format!("the API server does not ask the authenticator yet: {how}")),
        Webhook::Asked if !without_flag.is_empty() => waiting(format!(
            "the API servers of these nodes do not ask the authenticator yet: {}; {how}",
            without_flag.join(", ")
        )),
        Webhook::Asked => yes(
            API_SERVER_CONFIGURED,
            reasons::CONFIGURED,
            "an API server that was asked asks the authenticator and is answered",
        ),
        Webhook::SomethingElse => no(
            API_SERVER_CONFIGURED,
            reasons::OTHER_WEBHOOK,
            format!(
                "the API server asks another webhook than the authenticator; it can ask one only. If the authenticator is to be that one, {how}"
            ),
        ),
        Webhook::Unanswered => no(
            API_SERVER_CONFIGURED,
            reasons::WEBHOOK_UNREACHABLE,
            "the API server asks on 127.0.0.1:21362 and nothing answers; see condition AuthenticatorReady",
        ),
        Webhook::NotTrusted => no(
            API_SERVER_CONFIGURED,
            reasons::WEBHOOK_NOT_TRUSTED,
            format!(
                "the API server does not trust the authenticator's certificate: its file holds another CA; {how}"
            ),
        ),
        Webhook::Unknown => unknown(
            API_SERVER_CONFIGURED,
            reasons::NOT_OBSERVED,
            "the API server's answer does not tell whether it asks the authenticator",
        ),
    }
}

pub(super) fn api_server_failed(error: &Error) -> Said {
    unknown(API_SERVER_CONFIGURED, reasons::NOT_OBSERVED, format!("can't be looked at: {error}"))
}

/// Why the file of rollout HostPath is not on every node as it should be.
pub(super) fn no_webhook_file(why: &str) -> Said {
    let text = format!("the API server's file {MOUNT_PATH} is not kept on every control-plane node: {why}");
    no(API_SERVER_CONFIGURED, reasons::WEBHOOK_FILE_NOT_WRITTEN, text)
}

pub(super) fn webhook_file_foreign(daemon_set: &str) -> Said {
    let said = foreign(&[daemon_set.to_owned()]);
    Said { part: API_SERVER_CONFIGURED, ..said }
}

pub(super) fn webhook_file_pending(daemon_set: &str, pause: Option<Pause>) -> Said {
    let said = pending(&[daemon_set.to_owned()], pause);
    Said { part: API_SERVER_CONFIGURED, ..said }
}

/// The file's trouble, with what the API server says meanwhile.
pub(super) fn besides(mut trouble: Said, api_server: &Said) -> Said {
    trouble.message += ". Meanwhile: ";
    trouble.message += &api_server.message;
    trouble
}

pub(super) fn no_endpoint(why: &str) -> Said {
    no(KUBECONFIG_READY, reasons::NO_ENDPOINT, format!("no user kubeconfig can be made: {why}"))
}

pub(super) fn kubeconfig_foreign(secret: &str) -> Said {
    no(
        KUBECONFIG_READY,
        reasons::FOREIGN_OBJECT,
        format!(
            "Secret {secret} was not made by awsiam and is left as it is. Delete it, or label it app.kubernetes.io/managed-by=awsiam-operator"
        ),
    )
}

pub(super) fn kubeconfig_pending(pause: Option<Pause>) -> Said {
    let reason = if pause == Some(Pause::ObserveOnly) { reasons::OBSERVE_ONLY } else { reasons::SUSPENDED };
    no(KUBECONFIG_READY, reason, pause.map(Pause::message).unwrap_or_default())
}

pub(super) fn kubeconfig_failed(error: &Error) -> Said {
    no(KUBECONFIG_READY, error.reason(), format!("the user kubeconfig can't be kept: {error}"))
}

pub(super) fn kubeconfig_ready(secret: &str, server: &str) -> Said {
    yes(KUBECONFIG_READY, reasons::WRITTEN, format!("Secret {secret} logs in at {server}"))
}

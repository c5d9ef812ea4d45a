//! What a pass found, as the status of its Cluster: conditions, counts, findings. Pure.

mod findings;
mod synced;

use std::collections::BTreeSet;

use awsiam_api::cluster_status::{EntryCounts, MAX_FINDINGS};
use awsiam_api::conditions::{self, Status, reasons, set_condition};
use awsiam_api::names::CLUSTER_FINALIZER;
use awsiam_api::{Cluster, ClusterStatus, TargetKind};
use awsiam_core::mapping::Key;
use awsiam_core::plan::{Note, State};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::events::EventType;

use self::findings::{configs, findings};
use crate::events::Said;
use crate::hands_off;
use crate::reporter::{PassReport, Planned};
use crate::targets::NoTarget;
use crate::targets::health::Trouble;

pub(crate) use self::findings::orphaned;
pub(crate) use self::synced::{is_progress, synced};

/// What to do where a deletion can't finish.
const WAITS: &str = ". The Cluster is being deleted and waits for this. To let it go and leave its entries in aws-auth, annotate it with awsiam-operator.dev/give-up-target=true";

/// What is said of a target that answers.
const WATCHED: &str = "aws-auth is watched";

/// What is said of a target that is no longer ours.
const RELEASED_MESSAGE: &str = "an administrator has ended awsiam's ownership of this target (awsiam release): nothing is written to it, and nothing is held by a finalizer. To manage it again, remove the annotation awsiam-operator.dev/released from the Cluster";

/// Conditions of parts that a Cluster may do without.
const AUTHENTICATOR_PARTS: [&str; 3] =
    [conditions::AUTHENTICATOR_READY, conditions::API_SERVER_CONFIGURED, conditions::KUBECONFIG_READY];

/// Most characters of a condition's message.
const MAX_MESSAGE: usize = 1024;
/// The same where a patch may be in it, which is of no use cut off. The API takes 32,768.
const MAX_MESSAGE_WITH_PATCH: usize = 24 * 1024;

/// What is said by an Event and the log alone, because nothing may be written to the Cluster, or its
/// status would be dropped.
pub(crate) fn aside(pass: &PassReport) -> Option<Said> {
    let (reason, note) = match pass {
        PassReport::EksAnywhere => (
            reasons::MANAGED_BY_EKS_ANYWHERE,
            "EKS Anywhere controls this Cluster, so awsiam writes neither to it nor to its target. To hand it over, see docs/aws-auth.md of awsiam".to_owned(),
        ),
        PassReport::CrdLacksFields(lacking) => (
            reasons::CRD_LACKS_FIELDS,
            format!("nothing is written, because what awsiam relies on would be dropped: {lacking}. Apply the output of: awsiam crd"),
        ),
        _ => return None,
    };
    Some(Said { kind: EventType::Warning, reason: reason.to_owned(), action: "Wait", note, config: None })
}

/// What a pass came to, in two words for counting: whether it did its work, and the reason of the condition.
pub(crate) fn result(pass: &PassReport) -> (&'static str, &'static str) {
    let kept_off = |reason| ("kept_off", reason);
    match pass {
        PassReport::Planned(planned) => ("done", synced(planned).1),
        PassReport::Failed { reason, .. } => ("failed", reason),
        PassReport::Undecodable(_) => kept_off(reasons::UNDECODABLE),
        PassReport::NoTarget(none) => kept_off(no_target(none).0),
        PassReport::EksAnywhere => kept_off(reasons::MANAGED_BY_EKS_ANYWHERE),
        PassReport::Released => kept_off(reasons::RELEASED),
        PassReport::CrdLacksFields(_) => kept_off(reasons::CRD_LACKS_FIELDS),
        PassReport::Unseen(_) | PassReport::Unreachable { .. } => kept_off(reasons::UNREACHABLE),
    }
}

/// The status after a pass, from the one before; `orphaned` are entries that may be orphaned and that no status has told of.
pub(crate) fn status(
    guard: &DeserializeGuard<Cluster>,
    pass: &PassReport,
    before: &ClusterStatus,
    orphaned: &BTreeSet<Key>,
    now: &Time,
) -> ClusterStatus {
    let generation = guard.meta().generation;
    let mut status = before.clone();
    status.observed_generation = generation;
    let conditions = &mut status.conditions;
    let waits = waits(guard, pass);
    let mut set = |kind: &str, state: Status, reason: &str, message: String| {
        let more = if waits && state == Status::False { WAITS } else { "" };
        let most =
            if kind == conditions::API_SERVER_CONFIGURED { MAX_MESSAGE_WITH_PATCH } else { MAX_MESSAGE };
        set_condition(
            conditions,
            now,
            generation,
            kind,
            state,
            reason,
            format!("{}{more}", cut_to(most, message)),
        );
    };
    match pass {
        PassReport::Undecodable(error) => {
            let message = format!("the Cluster can't be read, so nothing is done with it: {error}");
            set(conditions::AWS_AUTH_SYNCED, Status::False, reasons::UNDECODABLE, message);
        }
        PassReport::NoTarget(none) => {
            let (reason, message) = no_target(none);
            set(conditions::TARGET_REACHABLE, Status::False, reason, message);
            if *none == NoTarget::NotServed {
                conditions::remove_condition(&mut status.conditions, conditions::AWS_AUTH_SYNCED);
            } else {
                status.target = Some(TargetKind::Remote);
            }
        }
        PassReport::Unreachable { secret, trouble } => {
            let message = unreachable(secret, trouble);
            set(conditions::TARGET_REACHABLE, Status::False, reasons::UNREACHABLE, message);
            status.target = Some(TargetKind::Remote);
        }
        PassReport::Unseen(why) => {
            let message =
                format!("aws-auth can't be watched, and nothing is written before it was read: {why}");
            set(conditions::TARGET_REACHABLE, Status::False, reasons::UNREACHABLE, message);
        }
        PassReport::Failed { reason, error, answers } => {
            if *answers {
                let message = WATCHED.to_owned();
                set(conditions::TARGET_REACHABLE, Status::True, reasons::REACHABLE, message);
            }
            let message = format!("the last pass failed and is tried again: {error}");
            set(conditions::AWS_AUTH_SYNCED, Status::False, reason, message);
        }
        PassReport::Planned(planned) => {
            match &planned.trouble {
                None => {
                    let message = WATCHED.to_owned();
                    set(conditions::TARGET_REACHABLE, Status::True, reasons::REACHABLE, message);
                }
                Some(trouble) => {
                    let message = format!("requests fail since {}: {}", second(trouble.since), trouble.why);
                    set(conditions::TARGET_REACHABLE, Status::False, reasons::UNREACHABLE, message);
                }
            }
            let (state, reason, message) = synced(planned);
            set(conditions::AWS_AUTH_SYNCED, state, reason, message);
            for said in &planned.authenticator {
                set(said.part, said.status, said.reason, said.message.clone());
            }
            for part in AUTHENTICATOR_PARTS {
                if !planned.authenticator.iter().any(|said| said.part == part) {
                    conditions::remove_condition(&mut status.conditions, part);
                }
            }
            planned_status(planned, &mut status, orphaned, now, generation);
        }
        PassReport::Released => {
            // What was said of the target is not looked after any more.
            status.conditions.clear();
            status.entries = None;
            status.configs.clear();
            status.findings.clear();
            status.findings_total = 0;
            set_condition(
                &mut status.conditions,
                now,
                generation,
                conditions::AWS_AUTH_SYNCED,
                Status::False,
                reasons::RELEASED,
                RELEASED_MESSAGE,
            );
        }
        PassReport::EksAnywhere | PassReport::CrdLacksFields(_) => {}
    }
    let (state, reason, message) = conditions::ready(&status.conditions);
    set_condition(&mut status.conditions, now, generation, conditions::READY, state, &reason, cut(message));
    status
}

/// Why a Cluster has no target, and what to do.
fn no_target(none: &NoTarget) -> (&'static str, String) {
    match none {
        NoTarget::NotServed => (
            reasons::TARGET_NOT_SUPPORTED,
            "this operator serves only the cluster it runs in, which is the Cluster that --local-cluster names; nothing is done for this one. For clusters behind a kubeconfig start it with --remote-targets (rights.remote.enabled of the chart)".to_owned(),
        ),
        NoTarget::Missing { secret } => (
            reasons::KUBECONFIG_SECRET_MISSING,
            format!("there is no {secret}: Cluster API makes it with the cluster; for any other cluster make it, with a kubeconfig under key value"),
        ),
        NoTarget::Forbidden { secret } => (
            reasons::KUBECONFIG_SECRET_FORBIDDEN,
            format!("the operator may not read {secret}: add its namespace to rights.remote.namespaces of the chart, or the Cluster to rights.remote.clusters"),
        ),
        NoTarget::Unreadable { secret, why } => {
            (reasons::READ_FAILED, format!("{secret} can't be read, and is tried again: {why}"))
        }
        NoTarget::Refused { secret, why } => {
            (reasons::KUBECONFIG_REFUSED, format!("the kubeconfig in {secret} is not used: {why}"))
        }
        NoTarget::Management { secret } => (
            reasons::TARGET_IS_MANAGEMENT_CLUSTER,
            format!("the kubeconfig in {secret} leads to the cluster that the operator runs in, which is served for the Cluster that --local-cluster names and for no other"),
        ),
    }
}

fn unreachable(secret: &str, trouble: &Trouble) -> String {
    format!(
        "the API server of {secret} can't be used since {}: {}. It is tried again at least twice a minute; until then everything there stays as it is",
        second(trouble.since),
        trouble.why
    )
}

/// A time, for people.
fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether a Cluster is being deleted and can't go yet.
fn waits(guard: &DeserializeGuard<Cluster>, pass: &PassReport) -> bool {
    let done = matches!(pass, PassReport::Planned(planned) if planned.may_go());
    guard.meta().deletion_timestamp.is_some() && hands_off::has_finalizer(guard, CLUSTER_FINALIZER) && !done
}

/// Whether two statuses say the same; times aside.
pub(crate) fn same(one: &ClusterStatus, other: &ClusterStatus) -> bool {
    let untimed = |status: &ClusterStatus| ClusterStatus { conditions: Vec::new(), ..status.clone() };
    conditions::same_but_for_times(&one.conditions, &other.conditions) && untimed(one) == untimed(other)
}

fn cut(message: String) -> String {
    cut_to(MAX_MESSAGE, message)
}

fn cut_to(most: usize, message: String) -> String {
    match message.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", message.get(..at).unwrap_or_default()),
        None => message,
    }
}

fn planned_status(
    planned: &Planned,
    status: &mut ClusterStatus,
    orphaned: &BTreeSet<Key>,
    now: &Time,
    generation: Option<i64>,
) {
    let plan = &planned.plan;
    status.target = Some(planned.target);
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let kept_back = plan.outcomes.iter().filter(|o| matches!(o.state, State::Frozen)).count();
    status.entries = Some(EntryCounts {
        owned: number(plan.counts.owned),
        foreign: number(plan.counts.foreign),
        nodes: number(plan.counts.nodes),
        frozen: number(kept_back),
    });
    status.configs = configs(planned);
    let findings = findings(planned, &status.findings, orphaned);
    status.findings_total = number(findings.len());
    status.findings = findings.into_iter().take(MAX_FINDINGS).collect();
    let lost = plan.notes.iter().find_map(|note| match note {
        Note::NodeEntriesLost { revision } => Some(revision),
        _ => None,
    });
    let kind = conditions::NODE_ENTRIES_LOST;
    match lost {
        Some(revision) => set_condition(
            &mut status.conditions,
            now,
            generation,
            kind,
            Status::True,
            reasons::NO_NODE_ENTRIES,
            format!(
                "aws-auth has no node entry any more; history revision {revision} has some. Nodes that join by aws-auth can't: put their entries back, for example from ConfigMaps kube-system/aws-auth-history-0 to 9"
            ),
        ),
        None if plan.counts.nodes > 0 => set_condition(
            &mut status.conditions,
            now,
            generation,
            kind,
            Status::False,
            reasons::NODE_ENTRIES_PRESENT,
            counted(plan.counts.nodes, "node entry", "node entries"),
        ),
        None => conditions::remove_condition(&mut status.conditions, kind),
    }
}

/// A number with its noun.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The first few of many, and how many more there are.
pub(crate) fn listed(items: impl Iterator<Item = String>, most: usize) -> String {
    let items: Vec<String> = items.collect();
    let shown = items.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

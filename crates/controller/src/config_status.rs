//! The second, small reconciler: gives each AWSIamConfig its status from the Clusters that refer to it,
//! and holds it with a finalizer while one does. It has no access to targets.

mod concerned;
mod statuses;

use std::sync::Arc;
use std::time::Duration;

use awsiam_api::cluster_status::ConfigStateName;
use awsiam_api::conditions::{self, Status, reasons, set_condition};
use awsiam_api::iam_config::{
    ClusterTotals, MAX_REJECTED, MAX_UNSYNCED, MappingCounts, RejectedMapping, UnsyncedCluster,
};
use awsiam_api::names::{AWS_IAM_CONFIG_KIND, CONFIG_FINALIZER};
use awsiam_api::{
    AWSIamConfig, AWSIamConfigStatus, Cluster, ConfigLookup, IdentityProviderRef, Severity, TargetKind,
    resolve,
};
use awsiam_core::desired::{DesiredConfig, Refs};
use awsiam_core::privilege::Policy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;

use crate::error::{Error, backoff, caught};
use crate::gateway;
use crate::hands_off::{self, Pause};
use crate::operator::Operator;
use crate::report::{counted, listed};
use crate::runner::Next;
use crate::target::Target;

pub(crate) use concerned::Concerned;
pub(crate) use statuses::Statuses;

/// So many Clusters are named in a message.
const NAMED: usize = 10;

/// The Clusters in the store that refer to an AWSIamConfig of this name and namespace.
pub(crate) fn referring(
    clusters: &Store<DeserializeGuard<Cluster>>,
    config: &impl ResourceExt,
) -> Vec<Arc<DeserializeGuard<Cluster>>> {
    let (namespace, name) = (config.namespace(), config.name_any());
    clusters.state_filter(|guard| {
        guard.namespace() == namespace && guard.0.as_ref().is_ok_and(|c| refers_to(c, &name))
    })
}

fn refers_to(cluster: &Cluster, name: &str) -> bool {
    let refs = cluster.spec.identity_provider_refs.iter().flatten();
    refs.into_iter().any(|r| r.kind == AWS_IAM_CONFIG_KIND && r.name == name)
}

/// One look at one AWSIamConfig. A panic in it is an error like others and stops nobody else.
pub(crate) async fn reconcile(guard: Arc<DeserializeGuard<AWSIamConfig>>, operator: Arc<Operator>) -> Next {
    caught(look(&guard, &operator)).await.unwrap_or_else(|error| {
        let wait = backoff(operator.failed(guard.as_ref()));
        tracing::warn!(config = crate::pass::named(guard.as_ref()), %error, retry_in = ?wait, "status failed");
        Next::After(wait)
    })
}

async fn look(guard: &DeserializeGuard<AWSIamConfig>, operator: &Operator) -> Result<Next, Error> {
    let Ok(config) = &guard.0 else {
        // It can't be read, so its status can't be kept; its Clusters say so.
        return Ok(Next::OnChange);
    };
    if operator.gate.lacking().is_some() {
        return Ok(operator.later());
    }
    if !operator.clusters_listed(config).await {
        return Ok(Next::After(Duration::ZERO));
    }
    if let Some(wait) = operator.config_statuses.just_looked(config) {
        return Ok(Next::After(wait));
    }
    let all = referring(&operator.clusters, config);
    let targets = || all.iter().filter_map(|cluster| operator.targets.known(cluster.as_ref()));
    let is_new = |target: &Target| {
        target.is_unseen() && (target.kind == TargetKind::Local || target.health.trouble().is_none())
    };
    if targets().any(|target| is_new(&target)) {
        // Whether EKS Anywhere controls it is not known yet.
        return Ok(Next::After(statuses::INTERVAL));
    }
    let clusters: Vec<&Cluster> = all
        .iter()
        .filter_map(|cluster| cluster.0.as_ref().ok())
        .filter(|cluster| !operator.is_eks_anywheres(cluster))
        .collect();
    if clusters.is_empty() && !all.is_empty() {
        // Only EKS Anywhere's Clusters refer to it: it is not ours to write to.
        return Ok(Next::OnChange);
    }
    hold(operator, config, &clusters).await?;
    write_status(operator, config, &clusters).await
}

/// Sets the finalizer while a served Cluster refers to the config, and takes it when none does. None is
/// set where nothing is written to the target either.
async fn hold(operator: &Operator, config: &AWSIamConfig, clusters: &[&Cluster]) -> Result<(), Error> {
    let held = hands_off::has_finalizer(config, CONFIG_FINALIZER);
    let served = clusters
        .iter()
        .any(|cluster| operator.targets.is_served(*cluster) && !hands_off::is_released(*cluster));
    let paused = config.spec.suspend
        || clusters.iter().all(|cluster| Pause::of(cluster, operator.options.observe_only).is_some());
    let going = config.metadata.deletion_timestamp.is_some();
    let mut finalizers = config.finalizers().to_vec();
    if held && !served {
        finalizers.retain(|name| name != CONFIG_FINALIZER);
    } else if !held && served && !going && !paused {
        finalizers.push(CONFIG_FINALIZER.to_owned());
    } else {
        return Ok(());
    }
    let api = configs_of(operator, config);
    let version = config.resource_version();
    let set =
        operator.gateway.set_finalizers(&api, &config.name_any(), version.as_deref(), &finalizers).await;
    match set {
        // Somebody changed it in between: the change brings us back.
        Err(error) if gateway::is_gone(&error) || gateway::is_race(&error) => Ok(()),
        set => set,
    }
}

async fn write_status(
    operator: &Operator,
    config: &AWSIamConfig,
    clusters: &[&Cluster],
) -> Result<Next, Error> {
    if let Some(wait) = operator.config_statuses.just_written(config) {
        return Ok(Next::After(wait));
    }
    let before = operator.config_statuses.last(config);
    let now = Time(Timestamp::now());
    let status = status(config, clusters, &operator.options.policy, &before, &now);
    if same(&before, &status) {
        operator.config_statuses.settled(config);
        operator.succeeded(config);
        return Ok(operator.later());
    }
    // A Cluster that is being looked at right now will have said more in a moment.
    let pending = status.unsynced.iter().any(|cluster| cluster.reason == reasons::PENDING);
    if pending && let Some(wait) = operator.config_statuses.first_look(config) {
        return Ok(Next::After(wait));
    }
    let api = configs_of(operator, config);
    match operator.gateway.apply_status(&api, &config.name_any(), &status).await {
        Err(error) if gateway::is_gone(&error) => return Ok(Next::OnChange),
        written => written?,
    }
    operator.config_statuses.wrote(config, status);
    operator.config_statuses.settled(config);
    operator.succeeded(config);
    Ok(operator.later())
}

fn configs_of(operator: &Operator, config: &AWSIamConfig) -> Api<AWSIamConfig> {
    Api::namespaced(operator.client.clone(), &config.namespace().unwrap_or_default())
}

fn same(one: &AWSIamConfigStatus, other: &AWSIamConfigStatus) -> bool {
    let untimed = |s: &AWSIamConfigStatus| AWSIamConfigStatus { conditions: Vec::new(), ..s.clone() };
    conditions::same_but_for_times(&one.conditions, &other.conditions) && untimed(one) == untimed(other)
}

/// The status of an AWSIamConfig, from its own rows and the Clusters that refer to it. Pure.
#[must_use]
pub fn status(
    config: &AWSIamConfig,
    clusters: &[&Cluster],
    policy: &Policy,
    before: &AWSIamConfigStatus,
    now: &Time,
) -> AWSIamConfigStatus {
    let generation = config.metadata.generation;
    let (accepted, rejected) = rows(config, policy);
    let unsynced: Vec<UnsyncedCluster> = clusters.iter().filter_map(|c| unsynced(config, c)).collect();
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let mut conditions = before.conditions.clone();
    let mut set = |kind: &str, (state, reason, message): (Status, &str, String)| {
        set_condition(&mut conditions, now, generation, kind, state, reason, message);
    };
    set(conditions::VALID, valid(accepted, &rejected));
    set(conditions::SYNCED, synced(config, clusters, &unsynced));
    let (state, reason, message) = conditions::ready(&conditions);
    set_condition(&mut conditions, now, generation, conditions::READY, state, &reason, message);
    AWSIamConfigStatus {
        observed_generation: generation,
        conditions,
        counts: Some(MappingCounts {
            roles: number(config.spec.map_roles.len()),
            users: number(config.spec.map_users.len()),
            accounts: number(config.spec.map_accounts.len()),
            accepted: number(accepted),
            rejected: number(rejected.len()),
        }),
        rejected: rejected.into_iter().take(MAX_REJECTED).collect(),
        clusters: Some(ClusterTotals {
            total: number(clusters.len()),
            synced: number(clusters.len() - unsynced.len()),
            unsynced: number(unsynced.len()),
        }),
        unsynced: unsynced.into_iter().take(MAX_UNSYNCED).collect(),
    }
}

/// How many rows count, and the others with what is wrong with them, whatever the target.
fn rows(config: &AWSIamConfig, policy: &Policy) -> (usize, Vec<RejectedMapping>) {
    let name = config.name_any();
    let reference = IdentityProviderRef { kind: AWS_IAM_CONFIG_KIND.to_owned(), name };
    let resolution = resolve(Some(&[reference]), |_| ConfigLookup::from(config.clone()));
    let desired: Option<&DesiredConfig> = match &resolution.refs {
        Refs::Listed(configs) => configs.first(),
        Refs::Absent => None,
    };
    let namespace = config.namespace().unwrap_or_default();
    let mut rejected: Vec<RejectedMapping> = resolution
        .findings
        .values()
        .flatten()
        .filter(|finding| finding.severity == Severity::Refused)
        .map(|finding| RejectedMapping {
            field: finding.field_path.clone(),
            arn: finding.subject.clone(),
            reason: finding.reason.to_string(),
            message: finding.message.clone(),
        })
        .collect();
    let mut accepted = 0;
    for row in desired.into_iter().flat_map(|config| config.mappings.iter()) {
        match policy.check(&namespace, &row.mapping) {
            Ok(()) => accepted += 1,
            Err(refusal) => rejected.push(RejectedMapping {
                field: row.field.to_string(),
                arn: row.mapping.arn.clone(),
                reason: reasons::PRIVILEGE_REFUSED.to_owned(),
                message: refusal.to_string(),
            }),
        }
    }
    (accepted, rejected)
}

fn valid(accepted: usize, rejected: &[RejectedMapping]) -> (Status, &'static str, String) {
    match rejected.first() {
        None => (Status::True, reasons::ALL_ACCEPTED, counted(accepted, "mapping", "mappings")),
        Some(first) => {
            let more = match rejected.len() - 1 {
                0 => String::new(),
                more => format!(" ({more} more under status.rejected)"),
            };
            let message = format!("{}: {}{more}", first.field, first.message);
            (Status::False, reasons::MAPPINGS_REJECTED, message)
        }
    }
}

fn synced(
    config: &AWSIamConfig,
    clusters: &[&Cluster],
    unsynced: &[UnsyncedCluster],
) -> (Status, &'static str, String) {
    let names = || listed(clusters.iter().map(|cluster| cluster.name_any()), NAMED);
    if config.metadata.deletion_timestamp.is_some() && !clusters.is_empty() {
        let message = format!(
            "it is being deleted and these Clusters still refer to it: {}; take it out of their identityProviderRefs",
            names()
        );
        return (Status::False, reasons::REMOVING, message);
    }
    if config.spec.suspend {
        return (Status::True, reasons::SUSPENDED, "spec.suspend is true: its entries are frozen".to_owned());
    }
    if clusters.is_empty() {
        let message = "no Cluster refers to it, so it has no effect; name it under spec.identityProviderRefs of a Cluster in this namespace".to_owned();
        return (Status::True, reasons::NOT_REFERENCED, message);
    }
    let done = clusters.len() - unsynced.len();
    match unsynced.first() {
        None => (Status::True, reasons::SYNCED, format!("{done}/{} Clusters", clusters.len())),
        Some(first) => {
            let message = format!("{done}/{} Clusters; {}: {}", clusters.len(), first.name, first.reason);
            (Status::False, reasons::CLUSTERS_NOT_SYNCED, message)
        }
    }
}

/// Why a Cluster does not have this config's mappings as they are now; `None`: it has.
fn unsynced(config: &AWSIamConfig, cluster: &Cluster) -> Option<UnsyncedCluster> {
    let say = |reason: &str, message: String| {
        Some(UnsyncedCluster { name: cluster.name_any(), reason: reason.to_owned(), message })
    };
    let status = cluster.status.as_ref();
    let conditions = status.map(|s| s.conditions.as_slice()).unwrap_or_default();
    let bad = |kind: &str| conditions::condition(conditions, kind).filter(|c| c.status == "False");
    if let Some(unreachable) = bad(conditions::TARGET_REACHABLE) {
        return say(&unreachable.reason, unreachable.message.clone());
    }
    let seen = status.and_then(|s| s.configs.iter().find(|c| c.name == config.name_any()));
    let Some(seen) = seen.filter(|c| c.generation == config.metadata.generation) else {
        let failed = bad(conditions::AWS_AUTH_SYNCED);
        return failed.map_or_else(
            || say(reasons::PENDING, "not looked at yet".to_owned()),
            |failed| say(&failed.reason, failed.message.clone()),
        );
    };
    let counts = seen.counts.clone().unwrap_or_default();
    let in_order = matches!(seen.state, ConfigStateName::Usable | ConfigStateName::Suspended)
        && counts.synced == counts.desired
        && (counts.frozen == 0 || seen.state == ConfigStateName::Suspended);
    if in_order || seen.state == ConfigStateName::Suspended {
        return None;
    }
    let message = format!("{} of {} mappings in effect", counts.synced, counts.desired);
    match bad(conditions::AWS_AUTH_SYNCED) {
        Some(failed) => say(&failed.reason, failed.message.clone()),
        None => say(reasons::PENDING, message),
    }
}

//! The part of a pass that is about remote targets: one that is not there, does not answer, or is not cleaned any more. One
//! of them never holds up another Cluster's pass. Needs clients.

use std::sync::Arc;
use std::time::Duration;

use awsiam_api::conditions::Status;
use awsiam_api::names::CLUSTER_FINALIZER;
use awsiam_api::{Cluster, DeletionPolicy, TargetKind};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};

use super::set_finalizer;
use crate::authenticator;
use crate::error::Error;
use crate::hands_off;
use crate::operator::Operator;
use crate::report;
use crate::reporter::{PassReport, Planned};
use crate::runner::Next;
use crate::target::Target;
use crate::targets::NoTarget;
use crate::targets::health::Trouble;

/// How long a pass over a remote target may take. Whatever was under way is taken up by the next one.
const PASS: Duration = Duration::from_mins(2);

type Guard = Arc<DeserializeGuard<Cluster>>;

/// Whether a Cluster that is being deleted is let go without its remote target being cleaned: the target goes as well, or
/// the namespace goes with everything in it, the way to the target included.
pub(super) async fn is_left_alone(operator: &Operator, cluster: &Cluster) -> bool {
    let is_meant = cluster.metadata.deletion_timestamp.is_some()
        && hands_off::has_finalizer(cluster, CLUSTER_FINALIZER)
        && operator.targets.is_served(cluster)
        && !operator.targets.is_local(cluster);
    if !is_meant {
        return false;
    }
    let namespaces: Api<Namespace> = Api::all(operator.client.clone());
    let own = namespaces.get_metadata_opt(&cluster.namespace().unwrap_or_default()).await;
    let is_terminating = own.is_ok_and(|own| own.is_none_or(|own| own.meta().deletion_timestamp.is_some()));
    let why = if is_terminating {
        "its namespace is being deleted"
    } else if authenticator::is_going(operator, cluster).await.unwrap_or(false) {
        "Cluster API deletes the cluster"
    } else {
        return false;
    };
    tracing::info!(why, "the Cluster goes, and its target is left as it is");
    true
}

/// There is no target to work on. Where the way to it is gone a deletion does not wait for it.
pub(super) async fn without_target(
    operator: &Operator,
    guard: &Guard,
    cluster: &Cluster,
    none: NoTarget,
) -> Result<Next, Error> {
    if matches!(none, NoTarget::Missing { .. }) && cluster.metadata.deletion_timestamp.is_some() {
        tracing::info!("the Cluster goes, and the Secret with the kubeconfig of its target is gone");
        set_finalizer(operator, cluster, false).await?;
        return Ok(Next::OnChange);
    }
    let is_served = none != NoTarget::NotServed;
    operator.report(guard, PassReport::NoTarget(none));
    if !is_served {
        return Ok(Next::OnChange);
    }
    finish(operator, cluster).await
}

/// A pass over a remote target, unless it is known not to answer; within bounds, and not among those who do.
pub(super) async fn on_target(
    operator: &Operator,
    guard: &Guard,
    cluster: &Cluster,
    target: &Arc<Target>,
) -> Result<Next, Error> {
    if let Some((trouble, wait)) = target.health.closed() {
        return unreachable(operator, guard, cluster, trouble, wait).await;
    }
    if operator.options.local_cluster.is_some() && target.identity() == Some(operator.management.as_str()) {
        let none = NoTarget::Management { secret: operator.targets.secret_of(cluster) };
        return without_target(operator, guard, cluster, none).await;
    }
    let work = async {
        let failures = target.health.failures();
        let work = Box::pin(super::on_target(operator, guard, cluster, target));
        let done = tokio::time::timeout(PASS, work).await.unwrap_or_else(|_| {
            target.health.failed(Error::Slow(PASS).to_string());
            Err(Error::Slow(PASS))
        });
        (done, failures)
    };
    let (done, failures) = operator.targets.in_turn(target, work).await;
    match (done, target.health.closed()) {
        (Err(error), Some((trouble, wait))) => {
            tracing::warn!(%error, "the target does not answer");
            unreachable(operator, guard, cluster, trouble, wait).await
        }
        (done, _) => {
            if done.is_ok() {
                target.health.passed(failures);
            }
            done
        }
    }
}

async fn unreachable(
    operator: &Operator,
    guard: &Guard,
    cluster: &Cluster,
    trouble: Trouble,
    wait: Option<Duration>,
) -> Result<Next, Error> {
    let secret = operator.targets.secret_of(cluster);
    operator.report(guard, PassReport::Unreachable { secret, trouble });
    let again = finish(operator, cluster).await?;
    // The watch brings us back when it is open, and the Secret may bring another way.
    Ok(wait.map_or(again, Next::After))
}

/// What can be done for a Cluster without its target: one that is not to be cleaned does not wait.
async fn finish(operator: &Operator, cluster: &Cluster) -> Result<Next, Error> {
    let policy = cluster.spec.iam_authenticator.as_ref().map(|block| block.deletion_policy);
    if policy != Some(DeletionPolicy::Delete) {
        set_finalizer(operator, cluster, false).await?;
    }
    Ok(operator.targets.again(cluster).map_or_else(|| operator.later(), Next::After))
}

/// What went wrong with requests to a remote target.
pub(super) fn trouble(target: &Target) -> Option<Trouble> {
    target.health.trouble().filter(|_| target.kind == TargetKind::Remote && target.health.closed().is_some())
}

/// When to look again at a remote target where something is on its way that is not watched there.
pub(super) fn unsettled(operator: &Operator, target: &Target, planned: &Planned) -> Option<Duration> {
    if target.kind == TargetKind::Local {
        return None;
    }
    let is_settled = report::synced(planned).0 == Status::True
        && planned.authenticator.iter().all(|said| said.status == Status::True);
    target.reads.settled(is_settled, operator.options.resync)
}

//! The backends that the authenticator runs with: which ones it has, and when those that are asked for are held back.

use std::sync::Arc;

use awsiam_api::names::{ALLOW_UNASKED_NODES, AUTHENTICATOR_BACKENDS};
use awsiam_api::resolve::Settings;
use awsiam_api::{AuthenticatorMode, Cluster};
use awsiam_authenticator::objects::{backend_mode, backends_of, parse_backends};
use awsiam_authenticator::rollout;
use awsiam_core::desired::Backend;
use awsiam_core::plan::Note;
use kube::ResourceExt;

use super::seen::Seen;
use super::{of_rollout, removal};
use crate::error::Error;
use crate::operator::Operator;
use crate::reporter::Planned;
use crate::target::Target;

/// Whether every authenticator that answers is known to run with exactly these backends. What can't be seen is not
/// known.
pub(crate) async fn runs_with(
    operator: &Operator,
    target: &Arc<Target>,
    cluster: &Cluster,
    backends: &[Backend],
) -> bool {
    if let Some(stated) = stated_backends(cluster) {
        return stated == backends;
    }
    match super::seen_of(operator, target, cluster, None).await {
        Ok(seen) => rollout::runs_with(&of_rollout(&seen), backends),
        Err(error) => {
            tracing::warn!(%error, "can't see which backends the authenticator runs with");
            false
        }
    }
}

/// The backends that an administrator says an authenticator runs with that somebody else runs; empty where he does not,
/// none where we run it.
#[must_use]
pub fn stated_backends(cluster: &Cluster) -> Option<Vec<Backend>> {
    let stated = || parse_backends(cluster.annotations().get(AUTHENTICATOR_BACKENDS)?);
    (cluster.spec.authenticator().mode == AuthenticatorMode::External).then(|| stated().unwrap_or_default())
}

/// How the authenticator is to run.
pub(super) enum Run {
    /// With the backends that are asked for.
    AsAsked,
    /// With those it has, and why.
    AsBefore(Vec<Backend>, String),
    /// It is not started, and why.
    Not(String),
}

/// Whether the backends that are asked for may be rolled out: nodes that join by `aws-auth` would be lost if nobody
/// asked it any more.
pub(super) fn to_run(cluster: &Cluster, settings: &Settings, seen: &Seen, planned: &Planned) -> Run {
    let is_allowed = cluster.annotations().get(ALLOW_UNASKED_NODES).is_some_and(|value| value == "true");
    if is_allowed || settings.backends.contains(&Backend::EksConfigMap) {
        return Run::AsAsked;
    }
    let plan = &planned.plan;
    let nodes = plan.notes.iter().find_map(|note| match note {
        Note::NotAsked { nodes, .. } if *nodes > 0 => Some(format!("nodes join by {nodes} of its entries")),
        _ => None,
    });
    // What can't be read may hold some as well.
    let is_hidden = plan.blocked.is_some() || !plan.unreadable.is_empty();
    let hidden = is_hidden.then(|| "nobody can tell whether nodes join by its entries".to_owned());
    let Some(nodes) = nodes.or(hidden) else { return Run::AsAsked };
    let spec = seen.daemon_set.as_ref().and_then(|set| set.spec.as_ref()?.template.spec.as_ref());
    let running = spec.and_then(backends_of);
    if running.as_ref() == Some(&settings.backends) {
        return Run::AsAsked;
    }
    let wanted = backend_mode(&settings.backends);
    let what = format!(
        "backendMode {wanted} would leave out aws-auth, and {nodes}. Refer to an AWSIamConfig with backendMode [CRD, EKSConfigMap], or, if no node needs these entries, annotate the Cluster with {ALLOW_UNASKED_NODES}=true"
    );
    match running {
        Some(running) => {
            let now = backend_mode(&running);
            Run::AsBefore(running, format!("the authenticator goes on with backends {now}: {what}"))
        }
        None => Run::Not(format!("the authenticator is not started: {what}")),
    }
}

/// Takes away the rights that only backend `CRD` needs, once no authenticator is left that uses them.
pub(super) async fn forget_crd(
    operator: &Operator,
    target: &Target,
    seen: &Seen,
    settings: &Settings,
) -> Result<(), Error> {
    if rollout::runs_with(&of_rollout(seen), &settings.backends) {
        if seen.cluster_role.is_some() || seen.cluster_role_binding.is_some() {
            target.reads.forget();
        }
        removal::crd_rights(operator, &target.client, seen).await?;
    }
    Ok(())
}

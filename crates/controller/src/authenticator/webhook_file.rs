//! Rollout HostPath: a DaemonSet of its own keeps the API server's file on the control-plane nodes that exist. What
//! becomes of it is said of the API server, and holds nothing else up. The file itself is never taken away from here.

use awsiam_api::Cluster;
use awsiam_authenticator::kubeconfig::webhook;
use awsiam_authenticator::objects;
use awsiam_authenticator::rollout::{self, Readiness};
use kube::Client;

use super::apply::{self, Applied, is_ours};
use super::conditions::{self, Said};
use super::control_plane::Wanted;
use super::removal;
use super::seen::Seen;
use crate::error::Error;
use crate::operator::Operator;
use crate::target::Target;

/// Brings the DaemonSet to what is wanted, and says what is wrong with the file, if anything is.
pub(super) async fn keep(
    operator: &Operator,
    target: &Target,
    cluster: &Cluster,
    seen: &Seen,
    is_wanted: bool,
    wanted: Wanted<'_>,
) -> Option<Said> {
    let kept = if is_wanted {
        write(operator, target, cluster, seen, wanted).await
    } else if wanted.pause.is_none() {
        remove(operator, &target.client, seen).await.map(|()| None)
    } else {
        Ok(None)
    };
    kept.unwrap_or_else(|error| Some(conditions::no_webhook_file(&error.to_string())))
}

async fn write(
    operator: &Operator,
    target: &Target,
    cluster: &Cluster,
    seen: &Seen,
    wanted: Wanted<'_>,
) -> Result<Option<Said>, Error> {
    let Some(image) = &operator.options.probe_image else {
        let why = "awsiam's own image writes it, and the operator was started without --probe-image (the chart names it)";
        return Ok(Some(conditions::no_webhook_file(why)));
    };
    let live = match &seen.webhook_file {
        Ok(live) => live.as_deref(),
        Err(why) => return Ok(Some(conditions::no_webhook_file(why))),
    };
    // With the CA gone the file that is there stays, and so does what keeps it.
    if let Some(pinned) = wanted.pinned_pem {
        let daemon_set = objects::webhook_file(image, cluster.spec.taints(), &webhook(pinned));
        match apply::alone(operator, target, &daemon_set, live, wanted.pause).await? {
            Applied::Done => {}
            Applied::Foreign(names) => return Ok(Some(conditions::webhook_file_foreign(&names.join(", ")))),
            Applied::Pending(names) => {
                let said = conditions::webhook_file_pending(&names.join(", "), wanted.pause);
                return Ok(Some(said));
            }
        }
    }
    let seen = rollout::Seen { daemon_set: live, pods: &seen.writers, nodes: &seen.nodes };
    let why = match rollout::readiness(&seen) {
        Readiness::Ready { .. } | Readiness::Running { .. } => return Ok(None),
        Readiness::RollingOut(what) => format!("on its way, {what}"),
        Readiness::NoControlPlaneNodes => "no node is labelled as control plane".to_owned(),
        Readiness::Failing { node, detail, .. } => conditions::on_node(&node, &detail),
    };
    Ok(Some(conditions::no_webhook_file(&why)))
}

/// Takes the DaemonSet away, where it is ours. The files stay: an API server may read one at its next start.
pub(super) async fn remove(operator: &Operator, client: &Client, seen: &Seen) -> Result<(), Error> {
    // What is not seen has never been made by us: that takes the same right.
    let Ok(live) = &seen.webhook_file else { return Ok(()) };
    removal::delete(operator, client, live.as_deref()).await
}

/// Whether the DaemonSet is there and ours.
pub(super) fn is_left(seen: &Seen) -> bool {
    matches!(&seen.webhook_file, Ok(Some(live)) if is_ours(live.as_ref()))
}

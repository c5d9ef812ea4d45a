//! The rollouts that an operator finds under way when it starts: they have their turn before any other begins. Needs a
//! client; writes nothing.

use awsiam_api::{Cluster, Rollout};
use awsiam_authenticator::kubeadm_control_plane::{RolloutState, is_ours, rollout};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::super::api_server::settled;
use super::found::{ControlPlane, Found, find};
use super::words;
use crate::error::Error;
use crate::gateway::is_refused;
use crate::operator::Operator;
use crate::pass::named;

/// So many are looked for at a time.
const AT_A_TIME: usize = 16;

/// Takes them in, once, before the first turn is given away.
///
/// # Errors
/// [`Error::Read`]: no turn is given away before they are known.
pub(super) async fn take_in(operator: &Operator) -> Result<(), Error> {
    operator.rollouts_known.get_or_try_init(|| look(operator)).await.copied()
}

async fn look(operator: &Operator) -> Result<(), Error> {
    let clusters = operator.clusters.state();
    let served = clusters.iter().filter_map(|guard| guard.0.as_ref().ok()).filter(|cluster| {
        operator.targets.is_served(*cluster) && settled(cluster) == Some(Rollout::KubeadmControlPlane)
    });
    let looks: Vec<_> = served.map(|cluster| look_at(operator, cluster)).collect();
    stream::iter(looks).buffer_unordered(AT_A_TIME).try_collect().await
}

async fn look_at(operator: &Operator, cluster: &Cluster) -> Result<(), Error> {
    match find(operator, cluster).await {
        Ok(Found::Here(found)) => {
            let ControlPlane { title, object, .. } = *found;
            let rollout = rollout(&object);
            let is_because_of_us =
                is_removed(cluster) || (is_ours(&object) && !words::was_configured(cluster));
            if is_because_of_us && rollout.state != RolloutState::Done {
                operator.turns(|turns| turns.saw(&title, &rollout.progress, Instant::now()));
            }
            Ok(())
        }
        Ok(Found::Nothing(_) | Found::NotYet(_)) => Ok(()),
        // It is not ours to read, and so it was not ours to change.
        Err(error) if is_refused(&error) => {
            tracing::warn!(cluster = named(cluster), %error, "can't see whether its machines are being replaced");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Whether our change is to go, or has gone: what replaces machines then bears no mark of ours any more.
fn is_removed(cluster: &Cluster) -> bool {
    let refs = cluster.spec.identity_provider_refs.as_deref();
    cluster.metadata.deletion_timestamp.is_some() || refs.is_some_and(<[_]>::is_empty)
}

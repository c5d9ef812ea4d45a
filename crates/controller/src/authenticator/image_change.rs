//! A new image of the catalogue reaches targets one at a time. What a target gets is decided in `awsiam-authenticator`;
//! here is whose turn it is. A turn stands in an annotation of the Cluster from before the first write to the target
//! until the authenticator is ready again, so it outlives the operator, and a target that can't be reached any more. What
//! is remembered besides is a turn that was taken and can't be read from the Cluster yet.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use awsiam_api::conditions::{AUTHENTICATOR_READY, reasons};
use awsiam_api::names::{EKS_ANYWHERE_FINALIZER, IMAGE_CHANGE};
use awsiam_api::resolve::Settings;
use awsiam_api::{AuthenticatorMode, Cluster, TargetKind};
use awsiam_authenticator::image::Image;
use awsiam_authenticator::image_change::{Decision, Given, Standing, decide};
use futures::future::BoxFuture;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};

use super::apply::{Applied, is_ours};
use super::conditions::{Said, no};
use super::seen::Seen;
use crate::error::Error;
use crate::gateway::{is_gone, is_refused};
use crate::hands_off::{self, Pause};
use crate::operator::Operator;
use crate::pass::named;
use crate::target::Target;

/// How soon a target that waits for its turn looks again, and how much later for each Cluster that there is: many of them
/// need not all look so often.
const AGAIN: Duration = Duration::from_secs(10);
const AGAIN_EACH: Duration = Duration::from_millis(100);

/// uids of the Clusters whose turn was taken and is not to be read from them yet.
pub(crate) type Taken = BTreeSet<String>;

/// What becomes of a target's image, and what is needed to say so.
pub(super) struct Change {
    decision: Decision,
    wanted: Image,
    given: Option<Given>,
}

/// What is there, read anew where a turn would begin: what was seen of a remote target may be from minutes ago.
///
/// # Errors
/// [`Error::Read`]: no turn begins then.
pub(super) async fn seen_anew(
    operator: &Operator,
    target: &Arc<Target>,
    cluster: &Cluster,
    settings: &Settings,
    seen: &Seen,
    wanted: &Image,
    pause: Option<Pause>,
) -> Result<Option<Seen>, Error> {
    let is_ready = super::runs(seen);
    let change = of(operator, cluster, seen, wanted, is_ready, pause);
    let begins = change.begins();
    if begins {
        forget(operator, cluster);
    }
    if !begins || target.kind == TargetKind::Local {
        return Ok(None);
    }
    target.reads.forget();
    super::seen_of(operator, target, cluster, Some(settings)).await.map(Some)
}

/// Decides, and takes the turn where one begins.
pub(super) fn of(
    operator: &Operator,
    cluster: &Cluster,
    seen: &Seen,
    wanted: &Image,
    is_ready: bool,
    pause: Option<Pause>,
) -> Change {
    let given = seen.daemon_set.as_deref().filter(|set| is_ours(*set)).and_then(Given::of);
    let wanted = wanted.clone();
    if pause.is_some() {
        // Nothing is written, and what would be is told.
        return Change { decision: Decision::Free, wanted, given };
    }
    let mut taken = operator.image_turns.lock().unwrap_or_else(PoisonError::into_inner);
    let uid = cluster.uid().unwrap_or_default();
    if cluster.annotations().contains_key(IMAGE_CHANGE) {
        taken.remove(&uid);
    }
    let others = others(operator, cluster, &taken);
    let decision = decide(&Standing {
        given: given.as_ref(),
        wanted: &wanted,
        is_ready,
        has_turn: has_turn(cluster, &taken),
        others: &others,
    });
    if decision == Decision::Begin {
        taken.insert(uid);
    }
    Change { decision, wanted, given }
}

/// The Clusters whose turn is not over, this one aside. One that is left alone on purpose keeps nobody waiting; one that
/// can't be reached does.
fn others(operator: &Operator, cluster: &Cluster, taken: &Taken) -> Vec<String> {
    let is_followed = |guard: &DeserializeGuard<Cluster>| {
        let is_left_alone = hands_off::is_released(guard)
            || hands_off::has_finalizer(guard, EKS_ANYWHERE_FINALIZER)
            || guard.meta().deletion_timestamp.is_some()
            || !operator.targets.is_served(guard);
        let runs = guard.0.as_ref().map_or(true, |cluster| {
            Pause::of(cluster, operator.options.observe_only).is_none()
                && cluster.spec.authenticator().mode == AuthenticatorMode::DaemonSet
        });
        runs && !is_left_alone
    };
    let clusters = operator.clusters.state();
    let others = clusters.iter().filter(|guard| {
        guard.meta().uid != cluster.metadata.uid && has_turn(guard.as_ref(), taken) && is_followed(guard)
    });
    others.map(|guard| named(guard.as_ref())).collect()
}

fn has_turn(cluster: &impl ResourceExt, taken: &Taken) -> bool {
    cluster.annotations().contains_key(IMAGE_CHANGE) || cluster.uid().is_some_and(|uid| taken.contains(&uid))
}

fn forget(operator: &Operator, cluster: &Cluster) {
    let mut taken = operator.image_turns.lock().unwrap_or_else(PoisonError::into_inner);
    taken.remove(cluster.uid().as_deref().unwrap_or_default());
}

impl Change {
    fn begins(&self) -> bool {
        self.decision == Decision::Begin
    }

    /// Whether the target gets another image by this pass: what was seen of it before says nothing of that one.
    pub(super) fn is_new(&self) -> bool {
        let is_due = self.given.as_ref().is_some_and(|given| given.reference != self.wanted.reference);
        self.begins() || (is_due && self.decision == Decision::UnderWay)
    }

    /// The image that the target is to run now.
    pub(super) fn image(&self) -> Image {
        match &self.given {
            Some(given) if self.decision.keeps() => {
                Image { reference: given.reference.clone(), source: self.wanted.source.clone() }
            }
            _ => self.wanted.clone(),
        }
    }

    /// What is written before the target is, where its turn begins or is not noted yet: that it does.
    pub(super) fn note<'a>(
        &self,
        operator: &'a Operator,
        cluster: &'a Cluster,
    ) -> Option<BoxFuture<'a, Result<(), Error>>> {
        let reference = self.wanted.reference.clone();
        let is_noted = cluster.annotations().contains_key(IMAGE_CHANGE);
        let has_turn = matches!(self.decision, Decision::Begin | Decision::UnderWay);
        (has_turn && !is_noted).then(|| -> BoxFuture<'a, Result<(), Error>> {
            Box::pin(async move { annotate(operator, cluster, Some(&reference)).await })
        })
    }

    /// What comes of it after the objects were written, or were not: a turn that is over ends, and one that could not begin
    /// is given back.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(super) async fn settle(
        &self,
        operator: &Operator,
        cluster: &Cluster,
        applied: &Result<Applied, Error>,
    ) -> Result<(), Error> {
        match (&self.decision, applied) {
            (Decision::Begin, Ok(Applied::Done)) => {
                tracing::info!(image = self.wanted.reference, "the target gets a new image of the catalogue");
                Ok(())
            }
            (Decision::Begin, Ok(_)) => {
                forget(operator, cluster);
                Ok(())
            }
            // Nothing has changed there. Of any other error nobody knows whether the target has the image: its turn goes on.
            (Decision::Begin, Err(error)) if is_refused(error) => {
                forget(operator, cluster);
                end(operator, cluster).await
            }
            (Decision::Over, Ok(Applied::Done)) => {
                tracing::info!(image = self.wanted.reference, "the target is ready with its new image");
                end(operator, cluster).await
            }
            _ => Ok(()),
        }
    }

    /// What is said of the authenticator, with what becomes of its image.
    pub(super) fn told(&self, mut said: Said) -> Said {
        let wanted = &self.wanted.reference;
        let before = self.given.as_ref().map(|given| given.reference.as_str()).unwrap_or_default();
        let more = match &self.decision {
            Decision::Free | Decision::Over => return said,
            Decision::Begin | Decision::UnderWay if self.is_new() => {
                let text = format!(
                    "image {wanted}, which the operator's catalogue now gives, takes the place of {before}; other targets wait until it is ready here"
                );
                return no(AUTHENTICATOR_READY, reasons::ROLLING_OUT, text);
            }
            Decision::Begin | Decision::UnderWay => format!(
                ". It gets image {wanted}, which the operator's catalogue now gives; other targets wait until it is ready here"
            ),
            Decision::After(others) => format!(
                ", with image {before}. The operator's catalogue now gives {wanted}, and this target waits for its turn: {} has got it and is not ready with it yet",
                others.join(", ")
            ),
            Decision::PassedOver => format!(
                ". It is passed over by {wanted}, which the operator's catalogue now gives, until it is ready with image {before}; to give it the new one at once, name it in spec.iamAuthenticator.image"
            ),
        };
        if matches!(self.decision, Decision::After(_)) && said.reason == reasons::ROLLED_OUT {
            said.reason = reasons::IMAGE_HELD_BACK;
        }
        said.message.push_str(&more);
        said
    }
}

/// When a target that waits for its turn looks again; none where it does not wait.
pub(super) fn again(operator: &Operator, said: &[Said]) -> Option<Duration> {
    let waits = said.iter().any(|said| said.reason == reasons::IMAGE_HELD_BACK);
    let clusters = u32::try_from(operator.clusters.len()).unwrap_or(u32::MAX);
    waits.then(|| AGAIN.max(AGAIN_EACH.saturating_mul(clusters)))
}

/// Ends a turn of a target on which nothing of it is left to wait for.
///
/// # Errors
/// [`Error::Write`].
pub(super) async fn end_if_begun(
    operator: &Operator,
    cluster: &Cluster,
    pause: Option<Pause>,
) -> Result<(), Error> {
    if pause.is_none() && cluster.annotations().contains_key(IMAGE_CHANGE) {
        return end(operator, cluster).await;
    }
    Ok(())
}

async fn end(operator: &Operator, cluster: &Cluster) -> Result<(), Error> {
    annotate(operator, cluster, None).await?;
    forget(operator, cluster);
    Ok(())
}

async fn annotate(operator: &Operator, cluster: &Cluster, value: Option<&str>) -> Result<(), Error> {
    let namespace = cluster.namespace().unwrap_or_default();
    let api: Api<Cluster> = Api::namespaced(operator.client.clone(), &namespace);
    match operator.gateway.annotate(&api, &cluster.name_any(), IMAGE_CHANGE, value).await {
        Err(error) if is_gone(&error) => Ok(()),
        set => set,
    }
}

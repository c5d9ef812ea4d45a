//! Whether the target's API server asks the authenticator, and which way is used to make it ask. The way that an
//! administrator goes is only looked at here; Cluster API's is in `control_plane`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use awsiam_api::names::ROLLOUT;
use awsiam_api::{Cluster, Rollout};
use awsiam_authenticator::webhook::{PROBE_TOKEN, Webhook, told_by};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use tokio::time::Instant;

use super::conditions::{self, Said};
use super::control_plane::{self, Found};
use super::seen::Seen;
use super::webhook_file;
use crate::error::Error;
use crate::gateway::is_gone;
use crate::hands_off::Pause;
use crate::operator::Operator;
use crate::target::Target;

/// The API server's flag.
pub(super) const FLAG: &str = "--authentication-token-webhook-config-file";
/// How long an answer counts that is the one which is waited for.
const FRESH: Duration = Duration::from_mins(5);
/// How soon and how late another one is asked about again: the longer it lasts, the less often.
const SOONEST: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_mins(1);
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);

/// Remembers the last answer, so that a pass does not ask each time.
#[derive(Default)]
pub(crate) struct ApiServerProbe {
    last: Mutex<Option<Answer>>,
}

/// What was answered last.
#[derive(Clone, Copy)]
struct Answer {
    at: Instant,
    /// Since when it has been the same, while the same was waited for.
    since: Instant,
    webhook: Webhook,
    /// The one that was waited for.
    wanted: Webhook,
}

impl Answer {
    /// Whoever waits for another answer begins to wait now, however long this one has been given.
    fn when_waiting_for(self, wanted: Webhook) -> Self {
        if self.wanted == wanted { self } else { Self { wanted, since: Instant::now(), ..self } }
    }

    fn is_fresh(&self, wanted: Webhook) -> bool {
        self.at.elapsed() < if self.webhook == wanted { FRESH } else { self.pause() }
    }

    fn pause(&self) -> Duration {
        (self.since.elapsed() / 4).clamp(SOONEST, LATEST)
    }
}

impl ApiServerProbe {
    /// What the API server does with AWS tokens; `wanted` is waited for.
    pub(super) async fn webhook(&self, client: &Client, wanted: Webhook) -> Result<Webhook, Error> {
        let known = self.known().map(|answer| answer.when_waiting_for(wanted));
        if let Some(answer) = known.filter(|answer| answer.is_fresh(wanted)) {
            self.keep(answer);
            return Ok(answer.webhook);
        }
        let (webhook, at) = (ask(client).await?, Instant::now());
        let since = known.filter(|answer| answer.webhook == webhook).map_or(at, |answer| answer.since);
        self.keep(Answer { at, since, webhook, wanted });
        Ok(webhook)
    }

    /// When to ask again, while something is waited for.
    pub(crate) fn again(&self) -> Option<Duration> {
        self.known().filter(|answer| answer.webhook != answer.wanted).map(|answer| answer.pause())
    }

    fn known(&self) -> Option<Answer> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, answer: Answer) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

/// A TokenReview is a request that changes nothing; it is sent as a POST.
async fn ask(client: &Client) -> Result<Webhook, Error> {
    let review = TokenReview {
        spec: TokenReviewSpec { token: Some(PROBE_TOKEN.to_owned()), ..TokenReviewSpec::default() },
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(client.clone());
    // An API server whose webhook is silent waits for it longer than a pass should.
    let params = PostParams::default();
    let asked = tokio::time::timeout(ANSWER, reviews.create(&params, &review));
    let Ok(answer) = asked.await else { return Ok(Webhook::Unanswered) };
    let answer = answer.map_err(Error::read("the answer to a TokenReview"))?;
    let error = answer.status.and_then(|status| status.error).unwrap_or_default();
    Ok(told_by(&error))
}

/// Sees to the API server by the way that is used, and says how it stands.
pub(super) async fn keep(
    operator: &Operator,
    target: &Target,
    cluster: &Cluster,
    seen: &Seen,
    wanted: control_plane::Wanted<'_>,
) -> Said {
    let way = match way(operator, cluster).await {
        Ok(Way::Is(way)) => way,
        Ok(Way::Open(why)) => return control_plane::not_yet(&why),
        Err(error) => return conditions::api_server_failed(&error),
    };
    // Where the way is another one its DaemonSet goes, and that is nothing to wait for.
    let file = webhook_file::keep(operator, target, cluster, seen, way == Rollout::HostPath, wanted).await;
    if way == Rollout::KubeadmControlPlane {
        return control_plane::keep(operator, target, cluster, seen, wanted).await;
    }
    if let Some(said) = left_behind(operator, cluster).await {
        return said;
    }
    let said = match target.api_server.webhook(&target.client, Webhook::Asked).await {
        Ok(webhook) => conditions::api_server(webhook, &without_flag(&seen.api_servers), cluster),
        Err(error) => conditions::api_server_failed(&error),
    };
    match file {
        Some(trouble) => conditions::besides(trouble, &said),
        None => said,
    }
}

/// What is said of a change of ours in Cluster API's object when a Cluster asks for another way: nobody keeps it up any
/// more, and nobody takes it out. What can't be read is nothing to tell.
pub(super) async fn left_behind(operator: &Operator, cluster: &Cluster) -> Option<Said> {
    let asked = cluster.spec.authenticator().api_server.rollout;
    if !matches!(asked, Rollout::Manual | Rollout::HostPath) {
        return None;
    }
    match control_plane::find(operator, cluster).await {
        Ok(Found::Here(found)) => control_plane::left_behind(&found, asked),
        Ok(Found::Nothing(_) | Found::NotYet(_)) => None,
        Err(error) => {
            tracing::debug!(%error, "can't see whether a KubeadmControlPlane still holds a change of ours");
            None
        }
    }
}

/// Whether the flag is seen to be gone everywhere; `None` where that can't be told.
pub(super) async fn is_unset(target: &Target, seen: &Seen) -> Result<Option<bool>, Error> {
    if seen.api_servers.iter().any(|pod| has_flag(pod)) {
        return Ok(Some(false));
    }
    Ok(match target.api_server.webhook(&target.client, Webhook::Absent).await? {
        Webhook::Absent => Some(true),
        Webhook::Unknown => None,
        Webhook::Asked | Webhook::Unanswered | Webhook::NotTrusted | Webhook::SomethingElse => Some(false),
    })
}

/// Nodes whose API server runs as a pod without the flag.
pub(super) fn without_flag(pods: &[std::sync::Arc<Pod>]) -> Vec<String> {
    let lacking = pods.iter().filter(|pod| !has_flag(pod));
    lacking.filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect()
}

fn has_flag(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| spec.containers.iter());
    let words = containers.flat_map(|c| c.command.iter().flatten().chain(c.args.iter().flatten()));
    words.into_iter().any(|word| word.starts_with(FLAG))
}

/// The way that is used.
pub(super) enum Way {
    /// This one; never `Auto`.
    Is(Rollout),
    /// It can't be chosen yet; the text says what is waited for.
    Open(String),
}

/// The way that is asked for, else the one that was recorded, else the one that what is there suggests: that one is
/// recorded and does not change by itself.
async fn way(operator: &Operator, cluster: &Cluster) -> Result<Way, Error> {
    if let Some(settled) = settled(cluster) {
        return Ok(Way::Is(settled));
    }
    let chosen = match control_plane::find(operator, cluster).await? {
        Found::Here(_) => Rollout::KubeadmControlPlane,
        Found::Nothing(_) => Rollout::Manual,
        Found::NotYet(why) => return Ok(Way::Open(why)),
    };
    if Pause::of(cluster, operator.options.observe_only).is_none() {
        record(operator, cluster, chosen).await?;
    }
    Ok(Way::Is(chosen))
}

/// The way by which the API server was made to ask; on removal, when nothing is chosen any more.
pub(super) fn settled(cluster: &Cluster) -> Option<Rollout> {
    let asked = cluster.spec.authenticator().api_server.rollout;
    if asked != Rollout::Auto {
        return Some(asked);
    }
    Some(match cluster.annotations().get(ROLLOUT)?.as_str() {
        "KubeadmControlPlane" => Rollout::KubeadmControlPlane,
        "HostPath" => Rollout::HostPath,
        _ => Rollout::Manual,
    })
}

async fn record(operator: &Operator, cluster: &Cluster, chosen: Rollout) -> Result<(), Error> {
    let api: Api<Cluster> =
        Api::namespaced(operator.client.clone(), &cluster.namespace().unwrap_or_default());
    let name = cluster.name_any();
    match operator.gateway.annotate(&api, &name, ROLLOUT, Some(&format!("{chosen:?}"))).await {
        Err(error) if is_gone(&error) => Ok(()),
        set => {
            tracing::info!(cluster = name, rollout = ?chosen, "chose how the API server is set up");
            set
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_right_for_days_is_asked_for_again_soon_once_another_is_wanted() {
        let now = Instant::now();
        let answer = Answer { at: now, since: now, webhook: Webhook::Asked, wanted: Webhook::Asked };
        tokio::time::advance(Duration::from_hours(48)).await;
        let answer = answer.when_waiting_for(Webhook::Absent);
        assert_eq!(answer.pause(), SOONEST);
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(answer.when_waiting_for(Webhook::Absent).pause(), Duration::from_secs(10));
    }
}

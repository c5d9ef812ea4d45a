//! Whether the target's API server asks the authenticator. Set up by an administrator here; looked at by us.

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
use super::seen::Seen;
use crate::error::Error;
use crate::gateway::is_gone;
use crate::operator::Operator;
use crate::target::Target;

/// The API server's flag.
pub(super) const FLAG: &str = "--authentication-token-webhook-config-file";
/// How long an answer counts while all is well, and while something is waited for.
const FRESH: Duration = Duration::from_mins(5);
const FRESH_WHILE_WAITING: Duration = Duration::from_secs(5);
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);

/// Remembers the last answer, so that a pass does not ask each time.
#[derive(Default)]
pub(crate) struct ApiServerProbe {
    last: Mutex<Option<(Instant, Webhook)>>,
}

impl ApiServerProbe {
    /// What the API server does with AWS tokens.
    async fn webhook(&self, client: &Client) -> Result<Webhook, Error> {
        let known = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, webhook)) = known {
            let fresh = if webhook == Webhook::Asked { FRESH } else { FRESH_WHILE_WAITING };
            if at.elapsed() < fresh {
                return Ok(webhook);
            }
        }
        let webhook = ask(client).await?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), webhook));
        Ok(webhook)
    }

    /// When to ask again, while something is waited for.
    pub(crate) fn again(&self) -> Option<Duration> {
        let known = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, webhook) = known?;
        (webhook != Webhook::Asked).then_some(FRESH_WHILE_WAITING)
    }
}

/// A TokenReview is a request that changes nothing; it is sent as a POST.
async fn ask(client: &Client) -> Result<Webhook, Error> {
    let review = TokenReview {
        spec: TokenReviewSpec { token: Some(PROBE_TOKEN.to_owned()), ..TokenReviewSpec::default() },
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let answer =
        reviews.create(&PostParams::default(), &review).await.map_err(Error::read("a TokenReview"))?;
    let error = answer.status.and_then(|status| status.error).unwrap_or_default();
    Ok(told_by(&error))
}

/// Looks at the API server and says how it stands.
pub(super) async fn look(
    operator: &Operator,
    target: &Target,
    cluster: &Cluster,
    seen: &Seen,
    _pinned_pem: &str,
) -> Said {
    let rollout = match rollout(operator, cluster).await {
        Ok(rollout) => rollout,
        Err(error) => return conditions::api_server_failed(&error),
    };
    if matches!(rollout, Rollout::KubeadmControlPlane | Rollout::HostPath) {
        return conditions::rollout_not_supported(rollout);
    }
    match target.api_server.webhook(&target.client).await {
        Ok(webhook) => conditions::api_server(webhook, &without_flag(&seen.api_servers), cluster),
        Err(error) => conditions::api_server_failed(&error),
    }
}

/// Whether the flag is seen to be gone everywhere; `None` where that can't be told.
pub(super) async fn is_unset(target: &Target, seen: &Seen) -> Result<Option<bool>, Error> {
    if seen.api_servers.iter().any(|pod| has_flag(pod)) {
        return Ok(Some(false));
    }
    Ok(match target.api_server.webhook(&target.client).await? {
        Webhook::Absent => Some(true),
        Webhook::Unknown => None,
        Webhook::Asked | Webhook::Unanswered | Webhook::NotTrusted | Webhook::SomethingElse => Some(false),
    })
}

/// Nodes whose API server runs as a pod without the flag.
fn without_flag(pods: &[std::sync::Arc<Pod>]) -> Vec<String> {
    let lacking = pods.iter().filter(|pod| !has_flag(pod));
    lacking.filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect()
}

fn has_flag(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| spec.containers.iter());
    let words = containers.flat_map(|c| c.command.iter().flatten().chain(c.args.iter().flatten()));
    words.into_iter().any(|word| word.starts_with(FLAG))
}

/// The way that is used, recorded once chosen: it never changes by itself.
async fn rollout(operator: &Operator, cluster: &Cluster) -> Result<Rollout, Error> {
    let asked = cluster.spec.authenticator().api_server.rollout;
    if asked != Rollout::Auto {
        return Ok(asked);
    }
    let recorded = cluster.annotations().get(ROLLOUT).map(String::as_str);
    match recorded {
        Some("KubeadmControlPlane") => return Ok(Rollout::KubeadmControlPlane),
        Some("HostPath") => return Ok(Rollout::HostPath),
        Some(_) => return Ok(Rollout::Manual),
        None => {}
    }
    if crate::hands_off::Pause::of(cluster, operator.options.observe_only).is_none() {
        let api: Api<Cluster> =
            Api::namespaced(operator.client.clone(), &cluster.namespace().unwrap_or_default());
        let set = operator.gateway.annotate(&api, &cluster.name_any(), ROLLOUT, "Manual").await;
        match set {
            Err(error) if !is_gone(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(Rollout::Manual)
}

//! What the doctor reads. A read that fails is a line of its own and stops none of the others.

use awsiam_api::{AuthenticatorMode, Cluster, crds};
use awsiam_authenticator::kubeconfig::endpoint;
use awsiam_authenticator::names::{
    CLUSTER_ID, NAME as AUTHENTICATOR, NAMESPACE, SERVING_SECRET, ca_secret, kubeconfig_secret,
};
use awsiam_authenticator::rollout;
use awsiam_authenticator::webhook::{PROBE_TOKEN, told_by};
use awsiam_controller::observe;
use awsiam_core::privilege::Policy;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::client::Body;
use kube::{Client, Config, ResourceExt};

use super::judged::{self, Login};
use super::{Check, Level};
use crate::connection::{self, ConnectionError, words};
use crate::current;
use crate::management::{Management, title};
use crate::selection::ClusterName;
use crate::survey::Survey;
use crate::target::Target;

/// A client that asks for its own permissions, or for those of a user whom it may impersonate.
pub(super) fn reviewer(config: &Config, user: Option<&str>) -> Result<Client, ConnectionError> {
    let mut config = config.clone();
    if let Some(user) = user {
        config.auth_info.impersonate = Some(user.to_owned());
    }
    connection::client(config)
}

/// The API server of the context: its version, and its clock.
pub(super) async fn of_server(management: &Management) -> Vec<Check> {
    const NAME: &str = "Server";
    let request = http::Request::get("/version").body(Body::empty());
    let answer = match request {
        Ok(request) => management.client.send(request).await.map_err(|error| words(&error)),
        Err(error) => Err(error.to_string()),
    };
    let remedy = "see --kubeconfig and --context, and whether the API server runs";
    match answer {
        Err(why) => vec![Check::new(Level::Error, NAME, format!("it does not answer: {why}"), remedy)],
        Ok(answer) => {
            let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
            let clock = judged::clock(date, Timestamp::now());
            let version = management.client.apiserver_version().await;
            let server = match version {
                Ok(version) => Check::ok(NAME, format!("Kubernetes {}", version.git_version)),
                Err(error) => {
                    Check::new(Level::Error, NAME, format!("it says no version: {}", words(&error)), remedy)
                }
            };
            vec![server, clock]
        }
    }
}

/// Both CRDs.
pub(super) async fn of_crds(management: &Management, pre: bool) -> Vec<Check> {
    let api: Api<CustomResourceDefinition> = Api::all(management.client.clone());
    let mut checks = Vec::new();
    for wanted in crds() {
        let name = wanted.name_any();
        checks.push(match api.get_opt(&name).await {
            Ok(found) => judged::crd(&wanted, found.as_ref(), pre),
            Err(error) => unread("CRD", &words(&error)).of(&name),
        });
    }
    checks
}

/// `aws-auth` of the context, where there is no Cluster yet.
pub(super) async fn of_aws_auth_alone(management: &Management) -> Vec<Check> {
    let target = Target { client: management.client.clone() };
    match target.aws_auth().await {
        Ok(aws_auth) => judged::aws_auth(&observe::observed(aws_auth.as_ref())),
        Err(error) => vec![unread("AwsAuth", &error.to_string())],
    }
}

/// What the operator says of a Cluster, and nothing that has to be read besides.
pub(super) async fn as_the_operator_says(management: &Management, name: Option<&ClusterName>) -> Vec<Check> {
    match management.chosen(name, false).await {
        Ok(clusters) => {
            clusters.iter().map(|cluster| judged::operator(cluster).of(&title(cluster))).collect()
        }
        Err(error) => vec![Check::new(
            Level::Error,
            "Cluster",
            error.to_string(),
            "apply it, or have the operator make it: localCluster.configs of the chart",
        )],
    }
}

/// Everything about one Cluster.
pub(super) async fn of_cluster(management: &Management, cluster: Cluster, policy: &Policy) -> Vec<Check> {
    let name = title(&cluster);
    let mut checks = vec![judged::operator(&cluster)];
    match Survey::live(management, cluster.clone(), policy).await {
        Err(error) => {
            checks.push(unread("Target", &error.to_string()));
        }
        Ok(survey) => {
            checks.push(Check::ok("Target", "it is reached, and aws-auth can be read"));
            checks.extend(judged::aws_auth(&survey.inputs.observed));
            checks.extend(judged::mappings(&survey.plan));
            let runs = cluster.spec.authenticator().mode == AuthenticatorMode::DaemonSet;
            if runs {
                checks.extend(of_authenticator(management, &survey.target, &cluster).await);
            }
            if runs || cluster.spec.authenticator().cluster_id.is_some() {
                checks.push(of_kubeconfig(management, &survey).await);
            }
        }
    }
    checks.into_iter().map(|check| check.of(&name)).collect()
}

async fn of_authenticator(management: &Management, target: &Target, cluster: &Cluster) -> Vec<Check> {
    let mut checks = vec![match target.rolled_out().await {
        Ok(rolled_out) => judged::authenticator(&rollout::readiness(&rolled_out.seen())),
        Err(error) => unread("Authenticator", &error.to_string()),
    }];
    checks.push(of_webhook(target, &title(cluster)).await);
    let namespace = cluster.namespace().unwrap_or_default();
    let certificates = [
        (&management.client, namespace.as_str(), ca_secret(&cluster.name_any()), "cert.pem", true),
        (&target.client, NAMESPACE, SERVING_SECRET.to_owned(), "tls.crt", false),
    ];
    for (client, namespace, name, key, is_authority) in certificates {
        let what = format!(
            "the {} in Secret {namespace}/{name}",
            if is_authority { "CA" } else { "serving certificate" }
        );
        checks.push(match text_of(client, namespace, &name, key).await {
            Ok(pem) => judged::certificate(&what, pem.as_deref(), is_authority, Timestamp::now().as_second()),
            Err(why) => unread("Certificate", &format!("{what}: {why}")),
        });
    }
    checks
}

/// A TokenReview is a request that changes nothing; it is sent as a POST.
async fn of_webhook(target: &Target, name: &str) -> Check {
    let review = TokenReview {
        spec: TokenReviewSpec { token: Some(PROBE_TOKEN.to_owned()), ..TokenReviewSpec::default() },
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(target.client.clone());
    match reviews.create(&PostParams::default(), &review).await {
        Ok(answer) => {
            let error = answer.status.and_then(|status| status.error).unwrap_or_default();
            judged::webhook(told_by(&error), name)
        }
        Err(error) => unread("ApiServer", &words(&error)),
    }
}

async fn of_kubeconfig(management: &Management, survey: &Survey) -> Check {
    let (cluster, target) = (&survey.cluster, &survey.target);
    let namespace = cluster.namespace().unwrap_or_default();
    let name = kubeconfig_secret(&cluster.name_any());
    let text = match text_of(&management.client, &namespace, &name, "value").await {
        Ok(text) => text,
        Err(why) => return unread("Kubeconfig", &format!("Secret {namespace}/{name}: {why}")),
    };
    let server = cluster.spec.endpoint_host().and_then(|host| endpoint(host).ok());
    let cluster_id = match cluster.spec.authenticator().cluster_id {
        Some(id) => Some(id),
        None => match target.config_maps().get_opt(AUTHENTICATOR).await {
            Ok(found) => found.and_then(|found| found.annotations().get(CLUSTER_ID).cloned()),
            Err(error) => return unread("Kubeconfig", &words(&error)),
        },
    };
    let region = survey.inputs.resolution.settings.as_ref().map(|settings| settings.region.as_str());
    judged::kubeconfig(
        text.as_deref(),
        &Login { server: server.as_deref(), cluster_id: cluster_id.as_deref(), region },
    )
}

/// One key of a Secret as text; nothing else of it is looked at.
async fn text_of(client: &Client, namespace: &str, name: &str, key: &str) -> Result<Option<String>, String> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = secrets.get_opt(name).await.map_err(|error| words(&error))?;
    let value = secret.and_then(|secret| secret.data).and_then(|mut data| data.remove(key));
    Ok(value.and_then(|value| String::from_utf8(value.0).ok()))
}

fn unread(check: &'static str, why: &str) -> Check {
    let remedy = format!("see whether you may read it; aws-auth is {}/{}", current::NAMESPACE, current::NAME);
    Check::new(
        Level::Error,
        check,
        format!("it can't be looked at: {why}"),
        if check == "Target" { remedy } else { String::new() },
    )
}

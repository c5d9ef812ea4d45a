//! Who may do what: asked of the API server by reviews, right by right, in the sets that the chart grants them in.

use awsiam_api::Cluster;
use awsiam_api::names::{GROUP, IDENTITY_MAPPING_GROUP, IDENTITY_MAPPING_PLURAL};
use awsiam_authenticator::names::{NAME as AUTHENTICATOR, SERVING_SECRET, ca_secret, kubeconfig_secret};
use awsiam_controller::history::record_name;
use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};

use super::{Check, Level};
use crate::connection::words;
use crate::current::{NAME as AWS_AUTH, NAMESPACE};

/// One right.
#[derive(Clone, Debug)]
struct Right {
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verbs: &'static [&'static str],
    /// None: in the whole cluster.
    namespace: Option<String>,
    /// None: whatever its name.
    name: Option<String>,
}

fn everywhere(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Right {
    Right { group, resource, subresource: "", verbs, namespace: None, name: None }
}

impl Right {
    fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    fn status(mut self) -> Self {
        self.subresource = "status";
        self
    }
}

/// What the operator needs to manage mappings (`templates/rbac.yaml` of the chart).
fn mappings() -> Vec<Right> {
    let config_map = |verbs| everywhere("", "configmaps", verbs).within(NAMESPACE);
    vec![
        everywhere(GROUP, "clusters", &["list", "watch", "patch"]),
        everywhere(GROUP, "awsiamconfigs", &["list", "watch", "patch"]),
        everywhere(GROUP, "clusters", &["patch"]).status(),
        everywhere(GROUP, "awsiamconfigs", &["patch"]).status(),
        everywhere("events.k8s.io", "events", &["create"]),
        config_map(&["get", "list", "watch", "update"]).named(AWS_AUTH),
        config_map(&["create"]),
        config_map(&["get", "patch"]).named(&record_name(0)),
        everywhere(IDENTITY_MAPPING_GROUP, IDENTITY_MAPPING_PLURAL, &["list", "create", "update", "delete"]),
    ]
}

/// What it needs besides to run the authenticator.
fn authenticator(cluster: Option<&Cluster>) -> Vec<Right> {
    const KEEP: &[&str] = &["list", "watch", "patch", "delete"];
    let own = |group, resource| everywhere(group, resource, KEEP).within(NAMESPACE);
    let mut rights = vec![
        own("", "serviceaccounts").named(AUTHENTICATOR),
        own("", "configmaps").named(AUTHENTICATOR),
        own("", "secrets").named(SERVING_SECRET),
        own("apps", "daemonsets").named(AUTHENTICATOR),
        own("rbac.authorization.k8s.io", "roles").named(AUTHENTICATOR),
        own("rbac.authorization.k8s.io", "rolebindings").named(AUTHENTICATOR),
        everywhere("", "pods", &["list", "watch"]).within(NAMESPACE),
        everywhere("", "nodes", &["list", "watch"]),
        everywhere("authentication.k8s.io", "tokenreviews", &["create"]),
    ];
    if let Some(cluster) = cluster {
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        for secret in [ca_secret(&name), kubeconfig_secret(&name)] {
            rights.push(everywhere("", "secrets", KEEP).within(&namespace).named(&secret));
        }
    }
    rights
}

/// What it needs besides to set up API servers through Cluster API.
fn control_plane(cluster: &Cluster) -> Vec<Right> {
    let namespace = cluster.namespace().unwrap_or_default();
    vec![
        everywhere("controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes", &["get", "update"])
            .within(&namespace),
    ]
}

/// What whoever installs the chart needs.
fn install() -> Vec<Right> {
    const MAKE: &[&str] = &["create", "patch"];
    vec![
        everywhere("apiextensions.k8s.io", "customresourcedefinitions", MAKE),
        everywhere("rbac.authorization.k8s.io", "clusterroles", MAKE),
        everywhere("rbac.authorization.k8s.io", "clusterrolebindings", MAKE),
        everywhere("rbac.authorization.k8s.io", "roles", MAKE).within(NAMESPACE),
        everywhere("rbac.authorization.k8s.io", "rolebindings", MAKE).within(NAMESPACE),
        everywhere("", "serviceaccounts", MAKE),
        everywhere("apps", "deployments", MAKE),
        everywhere("", "configmaps", &["get"]).within(NAMESPACE).named(AWS_AUTH),
    ]
}

/// Whether the chart can be installed.
pub(super) async fn to_install(client: &Client) -> Vec<Check> {
    let remedy = "install as an administrator of the cluster, or have these rights granted first";
    vec![of_set(client, "to install", install(), remedy).await]
}

/// Whether the operator's rights are granted, set by set.
pub(super) async fn of_operator(
    client: &Client,
    service_account: Option<&str>,
    cluster: Option<&Cluster>,
) -> Vec<Check> {
    let who = service_account.unwrap_or("you");
    let runs_authenticator = cluster
        .is_none_or(|cluster| cluster.spec.authenticator().mode == awsiam_api::AuthenticatorMode::DaemonSet);
    let base = "install the chart's rights; none of its values leaves these out";
    let mut checks = vec![of_set(client, &format!("{who}, mappings"), mappings(), base).await];
    if runs_authenticator {
        let remedy = "set the chart's rights.authenticator to true, and its localCluster to this Cluster";
        let set = authenticator(cluster);
        checks.push(of_set(client, &format!("{who}, authenticator"), set, remedy).await);
    }
    if let Some(cluster) = cluster.filter(|cluster| runs_authenticator && uses_control_plane(cluster)) {
        let remedy = "set the chart's rights.controlPlane to true";
        checks.push(of_set(client, &format!("{who}, control plane"), control_plane(cluster), remedy).await);
    }
    if service_account.is_none() {
        for check in &mut checks {
            if check.level == Level::Ok {
                check.message += "; ask for the operator's by --service-account NAMESPACE/NAME";
            }
        }
    }
    checks
}

/// Whether the API servers are set up through Cluster API.
fn uses_control_plane(cluster: &Cluster) -> bool {
    let chosen = cluster.annotations().get(awsiam_api::names::ROLLOUT).map(String::as_str);
    let asked = cluster.spec.authenticator().api_server.rollout;
    chosen == Some("KubeadmControlPlane") || asked == awsiam_api::Rollout::KubeadmControlPlane
}

async fn of_set(client: &Client, subject: &str, rights: Vec<Right>, remedy: &str) -> Check {
    const NAME: &str = "Permissions";
    let single = rights.iter().flat_map(|right| right.verbs.iter().map(move |verb| (right, *verb)));
    let answers =
        join_all(single.map(async |(right, verb)| (right, verb, is_allowed(client, right, verb).await)))
            .await;
    let mut missing = Vec::new();
    for (right, verb, answer) in &answers {
        match answer {
            Ok(true) => {}
            Ok(false) => missing.push(said(right, verb)),
            Err(error) => {
                let message = format!("they can't be asked for: {error}");
                return Check::new(
                    Level::Error,
                    NAME,
                    message,
                    "see that you may make SelfSubjectAccessReviews",
                )
                .of(subject);
            }
        }
    }
    if missing.is_empty() {
        return Check::ok(NAME, format!("{} rights, all granted", answers.len())).of(subject);
    }
    Check::new(Level::Error, NAME, format!("not granted: {}", missing.join(", ")), remedy).of(subject)
}

fn said(right: &Right, verb: &str) -> String {
    let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
    let sub = if right.subresource.is_empty() { String::new() } else { format!("/{}", right.subresource) };
    let name = right.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let place = right.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    format!("{verb} {}{group}{sub}{name}{place}", right.resource)
}

/// A review is a request that changes nothing; it is sent as a POST.
async fn is_allowed(client: &Client, right: &Right, verb: &str) -> Result<bool, String> {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: text(right.group),
                resource: text(right.resource),
                subresource: text(right.subresource),
                verb: text(verb),
                namespace: right.namespace.clone(),
                name: right.name.clone(),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.map_err(|error| words(&error))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

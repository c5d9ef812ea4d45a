//! What may go wrong with the objects: their Cluster goes, their CRD goes, the operator's rights on them go.

use awsiam_api::identity_mapping::crd;
use awsiam_tests::stage::{CLUSTER, role_arn};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

use crate::played::{ADMIN, Authenticator, DEV, Set};

/// Name of the operator's ClusterRole on a stage.
const RIGHTS: &str = "awsiam-system:awsiam";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_deleted_with_delete_takes_its_objects_with_it_and_no_others() {
    let set = Set::up().await;
    set.install_crd().await;
    set.make("theirs", &role_arn("Other"), "other", &[]).await;
    set.config("objects", &["CRD", "EKSConfigMap"], &[ADMIN, DEV]).await;
    let metadata = json!({"annotations": {"awsiam-operator.dev/authenticator-backends": "CRD,EKSConfigMap"}});
    let spec = json!({"identityProviderRefs": [{"kind": "AWSIamConfig", "name": "objects"}],
        "iamAuthenticator": {"mode": "External", "deletionPolicy": "Delete"}});
    set.stage.cluster_object(CLUSTER, metadata, spec).await;
    let operator = set.stage.operator().await;
    let authenticator = Authenticator::start(&set.stage);
    set.stage.condition("Ready", "True", "Ready").await;
    assert_eq!(set.ours().await.len(), 2);
    set.stage.clusters().delete(CLUSTER, &DeleteParams::default()).await.unwrap();
    set.stage
        .eventually("the Cluster to go", async || match set.stage.clusters().get_opt(CLUSTER).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:#?}")),
        })
        .await;
    assert!(set.ours().await.is_empty(), "the last administrator goes too: that is what Delete says");
    set.objects().get("theirs").await.unwrap();
    authenticator.stop().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crd_that_is_deleted_comes_back_with_its_objects() {
    let set = Set::up().await;
    set.config("objects", &["CRD", "EKSConfigMap"], &[ADMIN, DEV]).await;
    set.cluster(&["objects"], "CRD,EKSConfigMap").await;
    let operator = set.stage.operator().await;
    let authenticator = Authenticator::start(&set.stage);
    set.stage.condition("Ready", "True", "Ready").await;
    let before = set.ours().await[&role_arn("Admin")].uid();
    let crds: Api<CustomResourceDefinition> = Api::all(set.stage.client.clone());
    crds.delete(&crd().name_any(), &DeleteParams::default()).await.unwrap();
    set.stage
        .eventually("new objects", async || {
            let ours = set.ours().await;
            let is_new = |role: &str| ours.get(&role_arn(role)).is_some_and(|object| object.uid() != before);
            if is_new("Admin") && ours.contains_key(&role_arn("Dev")) {
                Ok(())
            } else {
                Err(format!("{ours:?}"))
            }
        })
        .await;
    set.stage.condition("Ready", "True", "Ready").await;
    authenticator.stop().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rights_on_the_objects_nothing_is_lost_and_the_refusal_is_told() {
    let set = Set::up().await;
    set.install_crd().await;
    set.config("objects", &["CRD", "EKSConfigMap"], &[ADMIN]).await;
    set.cluster(&["objects"], "CRD,EKSConfigMap").await;
    let operator = set.stage.operator().await;
    let authenticator = Authenticator::start(&set.stage);
    set.stage.condition("Ready", "True", "Ready").await;
    let before = set.ours().await[&role_arn("Admin")].clone();

    // It may look and not write.
    let given = may(&set, &["get", "list", "watch"]).await;
    set.config("objects", &["CRD", "EKSConfigMap"], &[ADMIN, DEV]).await;
    let message = set.stage.condition("AwsAuthSynced", "False", "WriteFailed").await;
    assert!(message.contains("IAMIdentityMapping") && message.contains("forbidden"), "{message}");
    let now = &set.ours().await[&role_arn("Admin")];
    assert_eq!(now.resource_version(), before.resource_version());
    operator.stop().await;

    // It may not even look: nobody knows what is there, so nothing is concluded, and nothing goes to aws-auth instead.
    may(&set, &[]).await;
    let operator = set.stage.operator().await;
    set.stage
        .eventually("the refusal to be told", async || {
            let cluster = set.stage.clusters().get(CLUSTER).await.map_err(|error| error.to_string())?;
            let conditions = cluster.status.map(|status| status.conditions).unwrap_or_default();
            let synced = conditions.iter().find(|condition| condition.type_ == "AwsAuthSynced");
            let said = synced.map(|c| format!("{} {} {}", c.status, c.reason, c.message));
            match said {
                Some(said) if !said.starts_with("True") && !said.contains("WriteFailed") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    assert!(set.stage.text("mapRoles").await.is_empty());
    let now = &set.ours().await[&role_arn("Admin")];
    assert_eq!(now.resource_version(), before.resource_version());

    restore(&set, given).await;
    set.username_becomes("Dev", "dev").await;
    set.stage.condition("Ready", "True", "Ready").await;
    authenticator.stop().await;
    operator.stop().await;
}

/// Leaves the operator with these verbs on the objects; what it had.
async fn may(set: &Set, verbs: &[&str]) -> ClusterRole {
    let roles: Api<ClusterRole> = Api::all(set.stage.client.clone());
    let given = roles.get(RIGHTS).await.unwrap();
    let mut role = given.clone();
    for rule in role.rules.iter_mut().flatten() {
        if rule.resources.iter().flatten().any(|resource| resource == "iamidentitymappings") {
            rule.verbs = verbs.iter().map(ToString::to_string).collect();
        }
    }
    role.rules.iter_mut().for_each(|rules| rules.retain(|rule| !rule.verbs.is_empty()));
    roles.replace(RIGHTS, &PostParams::default(), &role).await.unwrap();
    given
}

async fn restore(set: &Set, mut role: ClusterRole) {
    let roles: Api<ClusterRole> = Api::all(set.stage.client.clone());
    role.metadata.resource_version = None;
    roles.replace(RIGHTS, &PostParams::default(), &role).await.unwrap();
}

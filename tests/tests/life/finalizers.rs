//! Deletion: of an AWSIamConfig that is in use, and of the Cluster.

use awsiam_api::names::{CLUSTER_FINALIZER, CONFIG_FINALIZER, GIVE_UP_TARGET};
use awsiam_controller::LocalCluster;
use awsiam_core::ledger;
use awsiam_tests::stage::{CLUSTER, Running, Stage};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{NODES, OURS, THEIRS, annotation, config_condition, in_effect, set_roles};

/// A Cluster that refers to `team`, with more fields of `iamAuthenticator`.
async fn cluster_with(stage: &Stage, block: Value) {
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    stage.cluster_spec(json!({"identityProviderRefs": refs, "iamAuthenticator": block})).await;
}

/// As [`in_effect`], with `deletionPolicy: Delete` and its finalizer.
async fn in_effect_with_delete(stage: &Stage) -> Running {
    let operator = in_effect(stage).await;
    cluster_with(stage, json!({"deletionPolicy": "Delete"})).await;
    finalizers_become(stage, &[CLUSTER_FINALIZER]).await;
    operator
}

async fn finalizers_become(stage: &Stage, wanted: &[&str]) {
    stage
        .eventually(&format!("finalizers {wanted:?}"), async || {
            let cluster = stage.clusters().get(CLUSTER).await.unwrap();
            if cluster.finalizers() == wanted { Ok(()) } else { Err(format!("{:?}", cluster.finalizers())) }
        })
        .await;
}

async fn delete_cluster(stage: &Stage) {
    stage.clusters().delete(CLUSTER, &DeleteParams::default()).await.unwrap();
}

async fn cluster_is_gone(stage: &Stage) {
    stage
        .eventually("the Cluster to go", async || match stage.clusters().get_opt(CLUSTER).await.unwrap() {
            None => Ok(()),
            Some(cluster) => Err(format!("{:#?}", cluster.status)),
        })
        .await;
}

async fn give_up(stage: &Stage) {
    let patch = json!({"metadata": {"annotations": {GIVE_UP_TARGET: "true"}}});
    stage.clusters().patch(CLUSTER, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

#[tokio::test]
async fn a_config_that_a_cluster_refers_to_stays_until_the_reference_is_taken_out() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    config_condition(&stage, "team", "Ready", "True", "Ready").await;
    stage.configs().delete("team", &DeleteParams::default()).await.unwrap();
    let message = config_condition(&stage, "team", "Synced", "False", "Removing").await;
    assert_eq!(
        message,
        "it is being deleted and these Clusters still refer to it: here; take it out of their identityProviderRefs"
    );
    assert_eq!(stage.text("mapRoles").await, format!("{NODES}{THEIRS}{OURS}"));
    assert_eq!(stage.configs().get("team").await.unwrap().finalizers(), [CONFIG_FINALIZER]);
    stage.cluster(&[]).await;
    stage
        .eventually("the AWSIamConfig to go", async || match stage.configs().get_opt("team").await.unwrap() {
            None => Ok(()),
            Some(config) => Err(format!("{config:#?}")),
        })
        .await;
    stage.text_becomes("mapRoles", &format!("{NODES}{THEIRS}")).await;
    operator.stop().await;
}

#[tokio::test]
async fn the_cluster_has_a_finalizer_only_while_its_deletion_policy_is_delete() {
    let stage = Stage::set().await;
    let operator = in_effect_with_delete(&stage).await;
    cluster_with(&stage, json!({"deletionPolicy": "Orphan"})).await;
    finalizers_become(&stage, &[]).await;
    operator.stop().await;
}

#[tokio::test]
async fn deletion_with_delete_takes_out_exactly_our_entries_and_the_ledger() {
    let stage = Stage::set().await;
    let operator = in_effect_with_delete(&stage).await;
    delete_cluster(&stage).await;
    cluster_is_gone(&stage).await;
    let left = stage.aws_auth().await.expect("aws-auth itself stays");
    assert_eq!(stage.text("mapRoles").await, format!("{NODES}{THEIRS}"));
    assert_eq!(annotation(&left, ledger::ANNOTATION), "");
    // Nobody refers to the config any more.
    stage
        .eventually("the config to be let go", async || {
            let config = stage.configs().get("team").await.unwrap();
            if config.finalizers().is_empty() { Ok(()) } else { Err(format!("{:?}", config.finalizers())) }
        })
        .await;
    operator.stop().await;
}

#[tokio::test]
async fn deletion_with_orphan_leaves_entries_and_ledger() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    let before = stage.aws_auth().await;
    delete_cluster(&stage).await;
    cluster_is_gone(&stage).await;
    // The config's look at its Clusters is the sign that the deletion was seen.
    config_condition(&stage, "team", "Synced", "True", "NotReferenced").await;
    assert_eq!(stage.aws_auth().await, before);
    operator.stop().await;
}

#[tokio::test]
async fn deletion_waits_for_an_immutable_aws_auth_until_the_target_is_given_up() {
    let stage = Stage::set().await;
    let operator = in_effect_with_delete(&stage).await;
    let before = stage.edit_aws_auth("kubectl-edit", |config_map| config_map.immutable = Some(true)).await;
    delete_cluster(&stage).await;
    let message = stage.condition("AwsAuthSynced", "False", "Immutable").await;
    assert!(message.ends_with("annotate it with awsiam-operator.dev/give-up-target=true"), "{message}");
    finalizers_become(&stage, &[CLUSTER_FINALIZER]).await;
    give_up(&stage).await;
    cluster_is_gone(&stage).await;
    assert_eq!(stage.aws_auth().await, Some(before));
    operator.stop().await;
}

#[tokio::test]
async fn deletion_waits_for_an_unreadable_aws_auth_until_it_is_mended() {
    let stage = Stage::set().await;
    let operator = in_effect_with_delete(&stage).await;
    let broken = format!("{NODES}{THEIRS}{OURS}- [\n");
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &broken)).await;
    stage.condition("AwsAuthSynced", "False", "Unreadable").await;
    delete_cluster(&stage).await;
    let message = stage.condition("AwsAuthSynced", "False", "Unreadable").await;
    assert!(message.contains("awsiam-operator.dev/give-up-target=true"), "{message}");
    finalizers_become(&stage, &[CLUSTER_FINALIZER]).await;
    assert_eq!(stage.text("mapRoles").await, broken);
    let mended = format!("{NODES}{THEIRS}{OURS}");
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &mended)).await;
    cluster_is_gone(&stage).await;
    assert_eq!(stage.text("mapRoles").await, format!("{NODES}{THEIRS}"));
    operator.stop().await;
}

#[tokio::test]
async fn deletion_waits_while_the_cluster_is_suspended() {
    let stage = Stage::set().await;
    let operator = in_effect_with_delete(&stage).await;
    cluster_with(&stage, json!({"deletionPolicy": "Delete", "suspend": true})).await;
    delete_cluster(&stage).await;
    let message = stage.condition("AwsAuthSynced", "False", "Suspended").await;
    assert!(message.contains("Pending: 1 removed"), "{message}");
    assert!(message.contains("awsiam-operator.dev/give-up-target=true"), "{message}");
    assert_eq!(stage.text("mapRoles").await, format!("{NODES}{THEIRS}{OURS}"));
    cluster_with(&stage, json!({"deletionPolicy": "Delete"})).await;
    cluster_is_gone(&stage).await;
    assert_eq!(stage.text("mapRoles").await, format!("{NODES}{THEIRS}"));
    operator.stop().await;
}

#[tokio::test]
async fn deletion_does_not_wait_where_another_cluster_owns_the_target() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", NODES)]).await;
    stage.config("team", &[crate::DEV]).await;
    let spec = json!({"identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}]});
    stage.cluster_object("owner", json!({}), spec).await;
    let local = LocalCluster { namespace: stage.namespace.clone(), name: "owner".to_owned() };
    let options = awsiam_controller::Options { local_cluster: Some(local), ..stage.options() };
    let operator = stage.operator_with(options).await;
    stage.text_becomes("mapRoles", &format!("{NODES}{OURS}")).await;
    operator.stop().await;

    let before = stage.aws_auth().await;
    cluster_with(&stage, json!({"deletionPolicy": "Delete"})).await;
    let operator = stage.operator().await;
    let message = stage.condition("AwsAuthSynced", "False", "TargetClaimed").await;
    assert!(message.contains("owner"), "{message}");
    finalizers_become(&stage, &[CLUSTER_FINALIZER]).await;
    delete_cluster(&stage).await;
    cluster_is_gone(&stage).await;
    assert_eq!(stage.aws_auth().await, before);
    operator.stop().await;
}

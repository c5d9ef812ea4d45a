//! `release`.

use awsiam_api::names::{CLUSTER_FINALIZER, CONFIG_FINALIZER, RELEASED};
use awsiam_authenticator::names;
use awsiam_core::ledger;
use awsiam_tests::stage::{CLUSTER, Running, Stage, apply, data};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::{THEIRS, awsiam};

/// A Cluster with `deletionPolicy: Delete`, so that it has our finalizer, and an entry of ours.
pub(super) async fn in_effect(stage: &Stage) -> Running {
    stage.make_aws_auth(&[("mapRoles", THEIRS)]).await;
    stage.config("team", &[("Dev", "dev", &["system:masters"])]).await;
    stage
        .cluster_spec(json!({
            "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
            "iamAuthenticator": {"deletionPolicy": "Delete"},
        }))
        .await;
    let operator = stage.operator().await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    stage
        .eventually("the finalizers", async || {
            let held = finalizers(stage).await;
            if held == (true, true) { Ok(()) } else { Err(format!("{held:?}")) }
        })
        .await;
    operator
}

/// Whether the Cluster and the AWSIamConfig are held.
pub(super) async fn finalizers(stage: &Stage) -> (bool, bool) {
    let cluster = stage.clusters().get(CLUSTER).await.unwrap();
    let config = stage.configs().get("team").await.unwrap();
    let has = |finalizers: &[String], name: &str| finalizers.iter().any(|f| f == name);
    (has(cluster.finalizers(), CLUSTER_FINALIZER), has(config.finalizers(), CONFIG_FINALIZER))
}

#[tokio::test]
async fn entries_stay_as_nobody_s_and_the_operator_does_not_take_them_back() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    let before = stage.aws_auth().await.unwrap();
    let run = awsiam(&stage, &["release", CLUSTER]).await;
    assert_eq!(run.code, Some(2), "nobody was asked");
    assert!(run.stdout.contains("1 entries of ours stay in aws-auth"), "{}", run.stdout);
    assert_eq!(stage.aws_auth().await, Some(before.clone()));

    awsiam(&stage, &["release", CLUSTER, "--keep-entries", "--yes"]).await.done();
    let after = stage.aws_auth().await.unwrap();
    assert_eq!(data(&after), data(&before));
    assert_eq!(after.annotations().get(ledger::ANNOTATION), None);
    assert_eq!(finalizers(&stage).await, (false, false));
    let message = stage.condition("AwsAuthSynced", "False", "Released").await;
    assert!(message.contains(RELEASED), "{message}");

    // Neither a change, nor another operator, takes it back.
    stage.config("team", &[("Dev", "dev", &["system:masters"]), ("New", "new", &[])]).await;
    operator.stop().await;
    let operator = stage.operator().await;
    stage
        .eventually("a pass over the new generation", async || {
            let config = stage.configs().get("team").await.map_err(|e| e.to_string())?;
            let seen = config.status.as_ref().and_then(|s| s.observed_generation);
            if seen == config.metadata.generation { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    assert_eq!(stage.aws_auth().await.unwrap().metadata.resource_version, after.metadata.resource_version);
    assert_eq!(finalizers(&stage).await, (false, false));

    // Without the annotation it is managed again, and what was released is nobody's.
    let patch = json!({"metadata": {"annotations": {RELEASED: null}}});
    stage.clusters().patch(CLUSTER, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    stage.text_gets("mapRoles", "role/New").await;
    let cluster = stage
        .eventually("one entry to be ours", async || {
            let cluster = stage.clusters().get(CLUSTER).await.map_err(|e| e.to_string())?;
            let owned = cluster.status.as_ref().and_then(|s| s.entries.as_ref()).map(|e| e.owned);
            if owned == Some(1) { Ok(cluster) } else { Err(format!("{owned:?}")) }
        })
        .await;
    assert_eq!(cluster.finalizers(), [CLUSTER_FINALIZER]);
    operator.stop().await;
}

#[tokio::test]
async fn entries_go_where_asked_and_so_do_the_objects() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    // Of the two Secrets one is ours.
    let (ours, theirs) = (names::ca_secret(CLUSTER), names::kubeconfig_secret(CLUSTER));
    for (name, labels) in [(&ours, json!({names::MANAGED_BY: names::MANAGER})), (&theirs, json!({}))] {
        let metadata = json!({"name": name, "namespace": stage.namespace, "labels": labels});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
        apply(stage.plane, &secret.to_string()).unwrap();
    }
    let records = ListParams::default().labels(&format!("{}={}", names::MANAGED_BY, names::MANAGER));
    assert!(!stage.config_maps().list(&records).await.unwrap().items.is_empty());
    let words = ["release", CLUSTER, "--remove-entries", "--delete-objects", "--yes"];
    awsiam(&stage, &words).await.done();
    assert!(stage.config_maps().list(&records).await.unwrap().items.is_empty());
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    assert!(
        secrets.get_opt(&ours).await.unwrap().is_none() && secrets.get_opt(&theirs).await.unwrap().is_some()
    );
    let after = stage.aws_auth().await.unwrap();
    assert_eq!(
        (data(&after)["mapRoles"].as_str(), after.annotations().get(ledger::ANNOTATION)),
        (THEIRS, None)
    );
    assert_eq!(stage.clusters().get_opt(CLUSTER).await.unwrap(), None);
    assert_eq!(stage.configs().get_opt("team").await.unwrap(), None);
    operator.stop().await;
}

#[tokio::test]
async fn without_an_answer_of_an_operator_nothing_is_taken_unless_none_runs() {
    let stage = Stage::set().await;
    in_effect(&stage).await.stop().await;
    let before = stage.aws_auth().await.unwrap();
    let run = awsiam(&stage, &["release", CLUSTER, "--yes", "--timeout", "1"]).await;
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("--without-operator"), "{}", run.stderr);
    assert_eq!(stage.aws_auth().await, Some(before.clone()));

    awsiam(&stage, &["release", "--all", "--yes", "--without-operator"]).await.done();
    let after = stage.aws_auth().await.unwrap();
    assert_eq!((data(&after), after.annotations().get(ledger::ANNOTATION)), (data(&before), None));
    assert_eq!(finalizers(&stage).await, (false, false));
    // It may be said twice.
    awsiam(&stage, &["release", CLUSTER, "--yes", "--without-operator"]).await.done();
}

#[tokio::test]
async fn what_another_cluster_owns_is_not_released() {
    let stage = Stage::set().await;
    in_effect(&stage).await.stop().await;
    stage.cluster_object("other", json!({}), json!({})).await;
    let before = stage.aws_auth().await;
    let run = awsiam(&stage, &["release", "other", "--local", "--yes", "--without-operator"]).await;
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.contains(&format!("is managed for Cluster {}/{CLUSTER}", stage.namespace)),
        "{}",
        run.stderr
    );
    assert_eq!(stage.aws_auth().await, before);
}

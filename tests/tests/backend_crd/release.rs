//! `awsiam release` where mappings are objects.

use awsiam_tests::stage::{CLUSTER, role_arn};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::played::{ADMIN, Authenticator, DEV, Set};

/// What each object maps, by its name.
async fn specs(set: &Set) -> Vec<(String, Value)> {
    let all = set.objects().list(&ListParams::default()).await.unwrap();
    all.into_iter().map(|object| (object.name_any(), object.data["spec"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_lose_our_mark_and_stay_or_go_as_it_is_asked_and_those_of_others_stay() {
    let set = Set::up().await;
    set.install_crd().await;
    let theirs = set.make("theirs", &role_arn("Other"), "other", &[]).await;
    set.config("objects", &["CRD", "EKSConfigMap"], &[ADMIN, DEV]).await;
    set.cluster(&["objects"], "CRD,EKSConfigMap").await;
    let operator = set.stage.operator().await;
    let authenticator = Authenticator::start(&set.stage);
    set.stage.condition("Ready", "True", "Ready").await;
    assert_eq!(set.ours().await.len(), 2);
    let theirs = set.loaded(&theirs).await;
    let before = specs(&set).await;

    set.stage.awsiam(&["release", CLUSTER, "--yes"]).await;
    set.stage.condition("AwsAuthSynced", "False", "Released").await;
    assert_eq!(specs(&set).await, before, "logins go on");
    assert!(set.ours().await.is_empty(), "no label, no mark");
    let marks = set.objects().list(&ListParams::default()).await.unwrap();
    let marks: Vec<_> = marks.iter().flat_map(|object| object.annotations().keys()).collect();
    assert!(marks.iter().all(|key| !key.starts_with("awsiam-operator.dev/")), "{marks:?}");

    // Served again, and equal to what is declared: foreign, until somebody says that they are to be adopted.
    let again = json!({"metadata": {"annotations": {"awsiam-operator.dev/released": null}},
        "spec": {"iamAuthenticator": {"conflictPolicy": "Adopt"}}});
    set.stage.clusters().patch(CLUSTER, &PatchParams::default(), &Patch::Merge(&again)).await.unwrap();
    set.stage.condition("Ready", "True", "Ready").await;
    set.stage
        .eventually("both to be ours", async || match set.ours().await.len() {
            2 => Ok(()),
            _ => Err(set.describe().await),
        })
        .await;

    set.stage.awsiam(&["release", CLUSTER, "--remove-entries", "--yes"]).await;
    assert_eq!(specs(&set).await, [("theirs".to_owned(), theirs.data["spec"].clone())]);
    authenticator.stop().await;
    operator.stop().await;
}

//! Clusters with `deletionPolicy: Delete` that go, whatever became of their target.

use awsiam_api::names::GIVE_UP_TARGET;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};

use super::*;

/// A Cluster `prod` with `deletionPolicy: Delete`, whose entry stands in its target.
async fn in_effect(stage: &Stage, workload: &Workload) -> Running {
    workload.make_aws_auth(NODES).await;
    team(stage).await;
    put_kubeconfig(stage, "prod", &workload.kubeconfig()).await;
    cluster(stage, "prod", &["team"], json!({"deletionPolicy": "Delete"})).await;
    let operator = operator(stage, fleet::options(&[stage])).await;
    gets(stage, workload, OURS).await;
    stage.condition_of("prod", "Ready", "True", "Ready").await;
    assert!(!stage.clusters().get("prod").await.unwrap().finalizers().is_empty());
    operator
}

async fn delete(stage: &Stage) {
    stage.clusters().delete("prod", &DeleteParams::default()).await.unwrap();
}

async fn is_gone(stage: &Stage) {
    stage
        .eventually("the Cluster to go", async || match stage.clusters().get_opt("prod").await.unwrap() {
            None => Ok(()),
            Some(cluster) => Err(format!("{:#?}", cluster.status)),
        })
        .await;
}

#[tokio::test]
async fn our_entries_go_with_the_cluster() {
    let stage = fleet::namespace().await;
    let workload = Workload::shared().await;
    let operator = in_effect(&stage, &workload).await;
    delete(&stage).await;
    is_gone(&stage).await;
    assert_eq!(workload.roles().await, NODES);
    operator.stop().await;
}

#[tokio::test]
async fn where_the_target_does_not_answer_the_cluster_waits_until_it_is_given_up() {
    let stage = fleet::namespace().await;
    let mut workload = Workload::start().await;
    let operator = in_effect(&stage, &workload).await;
    workload.own().stop_api_server();
    stage.condition_of("prod", "TargetReachable", "False", "Unreachable").await;
    delete(&stage).await;
    let message = stage
        .eventually("a message on how to give it up", async || {
            let message = stage.condition_of("prod", "TargetReachable", "False", "Unreachable").await;
            if message.contains(GIVE_UP_TARGET) { Ok(message) } else { Err(message) }
        })
        .await;
    assert!(message.contains("awsiam-operator.dev/give-up-target=true"), "{message}");
    assert!(stage.clusters().get_opt("prod").await.unwrap().is_some(), "it waits");
    let patch = json!({"metadata": {"annotations": {GIVE_UP_TARGET: "true"}}});
    stage.clusters().patch("prod", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    is_gone(&stage).await;
    operator.stop().await;
}

#[tokio::test]
async fn where_the_kubeconfig_is_gone_the_cluster_goes() {
    let stage = fleet::namespace().await;
    let workload = Workload::shared().await;
    let operator = in_effect(&stage, &workload).await;
    fleet::secrets(&stage).delete("prod-kubeconfig", &DeleteParams::default()).await.unwrap();
    delete(&stage).await;
    is_gone(&stage).await;
    operator.stop().await;
}

#[tokio::test]
async fn where_the_namespace_goes_the_cluster_goes() {
    let stage = fleet::namespace().await;
    let mut workload = Workload::start().await;
    let operator = in_effect(&stage, &workload).await;
    // A target that does not answer would make it wait otherwise.
    workload.own().stop_api_server();
    stage.condition_of("prod", "TargetReachable", "False", "Unreachable").await;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.delete(&stage.namespace, &DeleteParams::default()).await.unwrap();
    // What the namespace controller does next; there is none here.
    delete(&stage).await;
    is_gone(&stage).await;
    operator.stop().await;
}

#[tokio::test]
async fn where_the_kubeconfig_is_refused_the_cluster_waits_until_it_is_put_right() {
    let stage = fleet::namespace().await;
    let workload = Workload::shared().await;
    let operator = in_effect(&stage, &workload).await;
    put_kubeconfig(&stage, "prod", "{}").await;
    stage.condition_of("prod", "TargetReachable", "False", "KubeconfigRefused").await;
    delete(&stage).await;
    stage
        .eventually("a message on how to give it up", async || {
            let message = stage.condition_of("prod", "TargetReachable", "False", "KubeconfigRefused").await;
            if message.contains(GIVE_UP_TARGET) { Ok(()) } else { Err(message) }
        })
        .await;
    put_kubeconfig(&stage, "prod", &workload.kubeconfig()).await;
    is_gone(&stage).await;
    assert_eq!(workload.roles().await, NODES);
    operator.stop().await;
}

#[tokio::test]
async fn where_cluster_api_deletes_the_cluster_the_target_is_left_alone() {
    let stage = fleet::namespace().await;
    let workload = Workload::shared().await;
    // Enough of Cluster API's kind to be deleted slowly.
    apply(stage.plane, CLUSTER_API).unwrap();
    let kind = kube::core::GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", "Cluster");
    let resource = kube::api::ApiResource::from_gvk(&kind);
    let api: Api<kube::api::DynamicObject> =
        Api::namespaced_with(stage.client.clone(), &stage.namespace, &resource);
    let mut theirs = kube::api::DynamicObject::new("prod", &resource);
    theirs.metadata.finalizers = Some(vec!["cluster.cluster.x-k8s.io/test".to_owned()]);
    stage
        .eventually("Cluster API's kind to be served", async || {
            let made = api.create(&kube::api::PostParams::default(), &theirs).await;
            made.map(drop).map_err(|error| error.to_string())
        })
        .await;
    let operator = in_effect(&stage, &workload).await;
    api.delete("prod", &DeleteParams::default()).await.unwrap();
    delete(&stage).await;
    is_gone(&stage).await;
    assert_eq!(workload.roles().await, format!("{NODES}{OURS}"), "nothing was sent there any more");
    operator.stop().await;
}

const CLUSTER_API: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: clusters.cluster.x-k8s.io
spec:
  group: cluster.x-k8s.io
  names: {kind: Cluster, plural: clusters}
  scope: Namespaced
  versions:
  - name: v1beta2
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

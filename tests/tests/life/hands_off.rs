//! When nothing is written although something is wanted.

use awsiam_api::names::{CONFIG_FINALIZER, EKS_ANYWHERE_FINALIZER};
use awsiam_controller::Options;
use awsiam_tests::changed_crds::ChangedCrds;
use awsiam_tests::control_plane::AuditMark;
use awsiam_tests::stage::{CLUSTER, Running, Stage};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{DEV, NODES, OURS, config_condition, notes, set_roles, writes_but_events_since};

const REFS: &str = r#"[{"kind": "AWSIamConfig", "name": "team"}]"#;

fn refs() -> Value {
    serde_json::from_str(REFS).unwrap()
}

/// A node entry and a wish, and an operator that looks at them.
async fn wished(stage: &Stage, metadata: Value, block: Value, options: Options) -> (Running, AuditMark) {
    stage.make_aws_auth(&[("mapRoles", NODES)]).await;
    stage.config("team", &[DEV]).await;
    let spec = json!({"identityProviderRefs": refs(), "iamAuthenticator": block});
    stage.cluster_object(CLUSTER, metadata, spec).await;
    let mark = stage.plane.audit_mark().unwrap();
    (stage.operator_with(options).await, mark)
}

#[tokio::test]
async fn a_cluster_with_eks_anywheres_finalizer_is_left_alone_until_it_is_handed_over() {
    let stage = Stage::set().await;
    let metadata = json!({"finalizers": [EKS_ANYWHERE_FINALIZER]});
    let (operator, mark) =
        wished(&stage, metadata, json!({"deletionPolicy": "Delete"}), stage.options()).await;
    // Another one, that is not the local Cluster: no status either.
    stage
        .cluster_object(
            "workload",
            json!({"finalizers": [EKS_ANYWHERE_FINALIZER]}),
            json!({"identityProviderRefs": refs()}),
        )
        .await;
    stage
        .eventually("an Event on both Clusters", async || {
            let notes = notes(&stage, "ManagedByEKSAnywhere").await;
            if notes.len() == 2 { Ok(()) } else { Err(format!("{notes:#?}")) }
        })
        .await;
    assert_eq!(writes_but_events_since(&stage, mark), Vec::<String>::new());
    assert_eq!(stage.text("mapRoles").await, NODES);
    let patch = json!({"metadata": {"finalizers": []}});
    stage.clusters().patch(CLUSTER, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    stage.text_becomes("mapRoles", &format!("{NODES}{OURS}")).await;
    stage.condition("Ready", "True", "Ready").await;
    operator.stop().await;
}

#[tokio::test]
async fn an_aws_auth_that_eks_anywhere_writes_is_left_alone() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", "")]).await;
    stage.edit_aws_auth("eks-a-controller", |config_map| set_roles(config_map, NODES)).await;
    stage.config("team", &[DEV]).await;
    stage.cluster(&["team"]).await;
    let mark = stage.plane.audit_mark().unwrap();
    let operator = stage.operator().await;
    let note = stage.event("ManagedByEKSAnywhere").await;
    assert!(note.contains("writes neither to it nor to its target"), "{note}");
    stage.config("other", &[]).await;
    config_condition(&stage, "other", "Synced", "True", "NotReferenced").await;
    // Only the config that no Cluster of theirs refers to has got a status.
    let writes = writes_but_events_since(&stage, mark);
    assert!(writes.iter().all(|write| write.contains("/awsiamconfigs/other/status")), "{writes:#?}");
    operator.stop().await;
}

#[tokio::test]
async fn a_suspended_cluster_shows_its_plan_and_goes_on_when_it_is_released() {
    let stage = Stage::set().await;
    let block = json!({"suspend": true, "deletionPolicy": "Delete"});
    let (operator, _) = wished(&stage, json!({}), block, stage.options()).await;
    let message = nothing_but_a_plan(&stage, "Suspended").await;
    assert!(message.starts_with("spec.iamAuthenticator.suspend is true"), "{message}");
    stage.cluster(&["team"]).await;
    stage.text_becomes("mapRoles", &format!("{NODES}{OURS}")).await;
    stage.condition("Ready", "True", "Ready").await;

    // With nothing to do it is in order, and says all the same that nobody keeps it so.
    stage.cluster_spec(json!({"identityProviderRefs": refs(), "iamAuthenticator": {"suspend": true}})).await;
    let message = stage.condition("AwsAuthSynced", "True", "Synced").await;
    assert!(
        message.starts_with("spec.iamAuthenticator.suspend is true")
            && message.contains("Nothing is pending"),
        "{message}"
    );
    operator.stop().await;
}

#[tokio::test]
async fn a_cluster_with_eks_anywheres_pause_annotation_shows_its_plan() {
    let stage = Stage::set().await;
    let metadata = json!({"annotations": {"anywhere.eks.amazonaws.com/paused": "true"}});
    let (operator, _) = wished(&stage, metadata, json!({}), stage.options()).await;
    let message = nothing_but_a_plan(&stage, "Suspended").await;
    assert!(message.starts_with("annotation anywhere.eks.amazonaws.com/paused is set"), "{message}");
    operator.stop().await;
}

#[tokio::test]
async fn an_operator_that_only_observes_shows_its_plan() {
    let stage = Stage::set().await;
    let options = Options { observe_only: true, ..stage.options() };
    let (operator, _) = wished(&stage, json!({}), json!({"deletionPolicy": "Delete"}), options).await;
    let message = nothing_but_a_plan(&stage, "ObserveOnly").await;
    assert!(message.contains("--observe-only"), "{message}");
    operator.stop().await;
}

/// The plan is in both statuses, and neither `aws-auth` nor a finalizer was touched; gives the message.
async fn nothing_but_a_plan(stage: &Stage, reason: &str) -> String {
    let message = stage.condition("AwsAuthSynced", "False", reason).await;
    assert!(message.contains("Pending: 1 added"), "{message}");
    config_condition(stage, "team", "Synced", "False", "ClustersNotSynced").await;
    assert_eq!(stage.text("mapRoles").await, NODES);
    assert_eq!(stage.clusters().get(CLUSTER).await.unwrap().finalizers(), &[] as &[String]);
    assert_eq!(stage.configs().get("team").await.unwrap().finalizers(), &[] as &[String]);
    assert!(crate::records(stage).await.is_empty());
    message
}

#[tokio::test]
async fn a_cluster_that_is_not_the_local_one_is_not_touched() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", NODES)]).await;
    stage.config("team", &[DEV]).await;
    let spec = json!({
        "identityProviderRefs": refs(),
        "managementCluster": {"name": "elsewhere"},
        "iamAuthenticator": {"deletionPolicy": "Delete"},
    });
    stage.cluster_object("elsewhere", json!({}), spec).await;
    let operator = stage.operator().await;
    let elsewhere = stage
        .eventually("a status", async || {
            let cluster = stage.clusters().get("elsewhere").await.unwrap();
            if cluster.status.is_some() { Ok(cluster) } else { Err(String::new()) }
        })
        .await;
    let ready = &elsewhere.status.as_ref().unwrap().conditions[0];
    assert_eq!(
        (ready.type_.as_str(), ready.status.as_str(), ready.reason.as_str()),
        ("Ready", "False", "TargetNotSupported")
    );
    config_condition(&stage, "team", "Synced", "False", "ClustersNotSynced").await;
    assert_eq!(elsewhere.finalizers(), &[] as &[String]);
    assert_ne!(stage.configs().get("team").await.unwrap().finalizers(), [CONFIG_FINALIZER]);
    assert_eq!(stage.text("mapRoles").await, NODES);
    stage.clusters().delete("elsewhere", &DeleteParams::default()).await.unwrap();
    assert!(stage.clusters().get_opt("elsewhere").await.unwrap().is_none());
    operator.stop().await;
}

#[tokio::test]
async fn a_crd_that_would_drop_our_fields_stops_every_write_until_it_has_them() {
    let stage = Stage::set().await;
    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend";
    let change = json!([{"op": "remove", "path": field}]);
    let changed = ChangedCrds::set(&stage, &["AWSIamConfig"], &change).await;
    let (operator, mark) = wished(&stage, json!({}), json!({}), stage.options()).await;
    let note = stage.event("CRDLacksFields").await;
    assert!(note.contains("CRD awsiamconfigs.anywhere.eks.amazonaws.com lacks spec.suspend"), "{note}");
    assert_eq!(writes_but_events_since(&stage, mark), Vec::<String>::new());
    changed.restore();
    stage.text_becomes("mapRoles", &format!("{NODES}{OURS}")).await;
    stage.condition("Ready", "True", "Ready").await;
    config_condition(&stage, "team", "Ready", "True", "Ready").await;
    operator.stop().await;
}

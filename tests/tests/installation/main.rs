//! How a cluster gets the CRDs and the local Cluster object by itself: on a real API server, under the chart's rights.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

mod chosen;

use std::sync::Arc;

use awsiam_api::crd::{MANAGED_BY, missing_fields};
use awsiam_api::names::CRD_VERSION;
use awsiam_api::{crds, crds_yaml};
use awsiam_controller::Options;
use awsiam_controller::health::Health;
use awsiam_tests::control_plane::{AuditEvent, AuditMark};
use awsiam_tests::stage::{CLUSTER, DEADLINE, Stage, apply, install, install_with};
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::json;

const CONFIGS: &str = "awsiamconfigs.anywhere.eks.amazonaws.com";
/// Without it a brake would be lost, so nothing is written.
const SUSPEND: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend";

fn definitions(stage: &Stage) -> Api<CustomResourceDefinition> {
    Api::all(stage.client.clone())
}

async fn config_crd(stage: &Stage) -> CustomResourceDefinition {
    definitions(stage).get(CONFIGS).await.unwrap()
}

/// The CRDs of this version again, and served.
async fn restore(stage: &Stage) {
    apply(stage.plane, &crds_yaml()).unwrap();
    for crd in crds() {
        let name = crd.name_any();
        let served = await_condition(definitions(stage), &name, conditions::is_crd_established());
        tokio::time::timeout(DEADLINE, served).await.unwrap().unwrap();
    }
}

/// No CRDs, and so no objects of ours.
async fn remove_crds(stage: &Stage) {
    for crd in crds() {
        let (api, name) = (definitions(stage), crd.name_any());
        let uid = api.get(&name).await.unwrap().uid().unwrap();
        api.delete(&name, &DeleteParams::default()).await.unwrap();
        let gone = await_condition(api, &name, conditions::is_deleted(&uid));
        tokio::time::timeout(DEADLINE, gone).await.unwrap().unwrap();
    }
}

/// The CRD of AWSIamConfigs loses a field, and what says whose and how old it is becomes this.
async fn change(stage: &Stage, manager: &str, version: &str) {
    let patch = json!([
        {"op": "remove", "path": SUSPEND},
        {"op": "replace", "path": "/metadata/labels", "value": {MANAGED_BY: manager}},
        {"op": "replace", "path": "/metadata/annotations", "value": {CRD_VERSION: version}},
    ]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    definitions(stage).patch(CONFIGS, &PatchParams::default(), &patch).await.unwrap();
}

fn installing(stage: &Stage) -> Options {
    Options { install_crds: true, ..stage.options() }
}

fn writes_of_crds(stage: &Stage, mark: AuditMark) -> Vec<String> {
    let events = stage.plane.audit_events_since(mark).unwrap().into_iter();
    let ours = |event: &AuditEvent| event.user.ends_with(":awsiam") && event.is_write();
    let crds = events.filter(|event| ours(event) && event.resource == "customresourcedefinitions");
    crds.map(|event| format!("{} {} {:?}", event.verb, event.name, event.code)).collect()
}

async fn looked_at(stage: &Stage, mark: AuditMark) {
    stage
        .eventually("a look at the CRD", async || {
            let events = stage.plane.audit_events_since(mark).unwrap();
            let looks = |event: &AuditEvent| {
                event.user.ends_with(":awsiam") && event.verb == "get" && event.name == CONFIGS
            };
            if events.iter().any(looks) { Ok(()) } else { Err(format!("{events:#?}")) }
        })
        .await;
}

#[tokio::test]
async fn absent_crds_are_made_and_the_operator_goes_to_work() {
    let stage = Stage::set().await;
    remove_crds(&stage).await;
    let operator = stage.operator_with(installing(&stage)).await;
    for crd in crds() {
        let name = crd.name_any();
        let made = await_condition(definitions(&stage), &name, conditions::is_crd_established());
        let made = tokio::time::timeout(DEADLINE, made).await.unwrap().unwrap().unwrap();
        assert_eq!(made.labels(), crd.labels());
        assert_eq!(made.annotations().get(CRD_VERSION), crd.annotations().get(CRD_VERSION));
        assert_eq!(missing_fields(&made), Vec::<String>::new());
    }
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    operator.stop().await;
}

#[tokio::test]
async fn an_older_crd_of_ours_is_brought_up_to_date_once() {
    let stage = Stage::set().await;
    change(&stage, "awsiam-operator", "0.0.1").await;
    let mark = stage.plane.audit_mark().unwrap();
    let operator = stage.operator_with(installing(&stage)).await;
    stage
        .eventually("the CRD of this version", async || {
            let crd = config_crd(&stage).await;
            let version = crd.annotations().get(CRD_VERSION).cloned().unwrap_or_default();
            let missing = missing_fields(&crd);
            if version == env!("CARGO_PKG_VERSION") && missing.is_empty() {
                Ok(())
            } else {
                Err(format!("{version}, without {missing:?}"))
            }
        })
        .await;
    operator.stop().await;
    assert_eq!(writes_of_crds(&stage, mark), [format!("patch {CONFIGS} Some(200)")], "the other is kept");
}

#[tokio::test]
async fn a_newer_crd_of_ours_and_one_of_somebody_else_stay_as_they_are() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    for (manager, version) in
        [("awsiam-operator", "99.0.0"), ("somebody", "0.0.1"), ("awsiam-operator", "new")]
    {
        change(&stage, manager, version).await;
        let (before, mark) = (config_crd(&stage).await, stage.plane.audit_mark().unwrap());
        let health = Arc::new(Health::default());
        let options = Options { health: health.clone(), ..installing(&stage) };
        let operator = stage.operator_with(options).await;
        looked_at(&stage, mark).await;
        stage
            .eventually("the readiness to say what the CRD lacks", async || match health.not_ready() {
                Some(why) if why.contains("lacks spec.suspend") => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        operator.stop().await;
        assert_eq!(writes_of_crds(&stage, mark), Vec::<String>::new(), "{manager} {version}");
        let after = config_crd(&stage).await;
        assert_eq!(after.resource_version(), before.resource_version(), "{manager} {version}");
        restore(&stage).await;
    }
    assert_eq!(stage.aws_auth().await, None, "nothing was written meanwhile");
}

#[tokio::test]
async fn without_the_right_it_waits_for_crds_that_an_administrator_applies() {
    let stage = Stage::set().await;
    install_with(stage.plane, &stage.namespace, CLUSTER, &["crds.install=false".to_owned()]).await.unwrap();
    remove_crds(&stage).await;
    let mark = stage.plane.audit_mark().unwrap();
    let health = Arc::new(Health::default());
    let operator = stage.operator_with(Options { health: health.clone(), ..installing(&stage) }).await;
    stage
        .eventually("the refusal", async || {
            let writes = writes_of_crds(&stage, mark);
            if writes.len() == 2 { Ok(()) } else { Err(format!("{writes:?}")) }
        })
        .await;
    stage
        .eventually("the CRD that is missing to be said", async || {
            let why = health.not_ready().unwrap_or_default();
            if why.contains(&format!("CRD {CONFIGS} is not installed")) { Ok(()) } else { Err(why) }
        })
        .await;
    restore(&stage).await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    let refused = writes_of_crds(&stage, mark);
    assert!(refused.iter().all(|write| write.ends_with("Some(403)")) && refused.len() == 2, "{refused:?}");
    operator.stop().await;
    install_with(stage.plane, &stage.namespace, CLUSTER, &[]).await.unwrap();
}

#[tokio::test]
async fn the_local_cluster_is_made_where_it_is_absent_and_is_peoples_from_then_on() {
    let stage = Stage::set().await;
    let values = ["localCluster.configs={team}".to_owned()];
    install_with(stage.plane, &stage.namespace, CLUSTER, &values).await.unwrap();
    let spec = json!({
        "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
        "iamAuthenticator": {"mode": "External"},
    });
    let spec: awsiam_api::ClusterSpec = serde_json::from_value(spec).unwrap();
    let making = || Options { create_local_cluster: Some(spec.clone()), ..stage.options() };
    let operator = stage.operator_with(making()).await;
    // All that is left to do for a person.
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.condition("Ready", "True", "Ready").await;
    stage.text_gets("mapRoles", "role/Dev").await;

    // Deleted, it stays away while the operator runs.
    stage.clusters().delete(CLUSTER, &DeleteParams::default()).await.unwrap();
    stage.config("team", &[("Dev", "dev", &["dev"]), ("Ops", "ops", &["ops"])]).await;
    stage
        .eventually("the config to be nobody's", async || {
            let config = stage.configs().get("team").await.unwrap();
            let conditions = config.status.map(|status| status.conditions).unwrap_or_default();
            let is_nobodys = conditions.iter().any(|c| c.reason == "NotReferenced");
            if is_nobodys { Ok(()) } else { Err(format!("{conditions:#?}")) }
        })
        .await;
    assert!(stage.clusters().get_opt(CLUSTER).await.unwrap().is_none());
    operator.stop().await;

    // At the next start it is back, and takes up its entries.
    let operator = stage.operator_with(making()).await;
    stage.text_gets("mapRoles", "role/Ops").await;
    let edit = json!({"spec": {"identityProviderRefs": []}, "metadata": {"labels": {"team": "a"}}});
    stage.clusters().patch(CLUSTER, &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
    stage.text_loses("mapRoles", "role/Dev").await;
    operator.stop().await;

    // What somebody made of it stays.
    let edited = stage.clusters().get(CLUSTER).await.unwrap();
    let mark = stage.plane.audit_mark().unwrap();
    let operator = stage.operator_with(making()).await;
    stage
        .eventually("a look at the Cluster", async || {
            let events = stage.plane.audit_events_since(mark).unwrap();
            let looks = |event: &AuditEvent| {
                event.verb == "get" && event.is_about("clusters", &stage.namespace, CLUSTER)
            };
            if events.iter().any(looks) { Ok(()) } else { Err(format!("{events:#?}")) }
        })
        .await;
    operator.stop().await;
    let after = stage.clusters().get(CLUSTER).await.unwrap();
    assert_eq!((after.spec, after.metadata.generation), (edited.spec, edited.metadata.generation));
    install_with(stage.plane, &stage.namespace, CLUSTER, &[]).await.unwrap();
}

#[tokio::test]
async fn a_right_that_lacks_is_told_with_verb_resource_and_the_charts_value() {
    let stage = Stage::set().await;
    let values = ["rights.authenticator=false".to_owned(), "rights.controlPlane=false".to_owned()];
    install_with(stage.plane, &stage.namespace, CLUSTER, &values).await.unwrap();
    stage.make_aws_auth(&[("mapRoles", "")]).await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    stage
        .cluster_spec(json!({"identityProviderRefs": refs, "iamAuthenticator": {"mode": "DaemonSet"}}))
        .await;
    let operator = stage.operator().await;
    let said = stage.condition("AuthenticatorReady", "False", "ReadFailed").await;
    for part in ["cannot list resource \"nodes\"", "The chart grants this by rights.authenticator"] {
        assert!(said.contains(part) && !said.contains("ApiError"), "{said}");
    }
    operator.stop().await;

    // Somebody took the chart's RoleBinding in kube-system away.
    let bindings: Api<RoleBinding> = Api::namespaced(stage.client.clone(), "kube-system");
    for binding in bindings.list(&ListParams::default()).await.unwrap() {
        if binding.name_any().contains("awsiam") {
            bindings.delete(&binding.name_any(), &DeleteParams::default()).await.unwrap();
        }
    }
    let before = stage.aws_auth().await;
    let operator = stage.operator().await;
    stage.config("team", &[("Dev", "dev", &["dev"]), ("Ops", "ops", &[])]).await;
    let said = stage.condition("TargetReachable", "False", "Unreachable").await;
    for part in [
        "resource \"configmaps\"",
        "in the namespace \"kube-system\"",
        "`helm upgrade` brings its Roles back",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(stage.aws_auth().await, before);
    operator.stop().await;
    install(stage.plane).await.unwrap();
}

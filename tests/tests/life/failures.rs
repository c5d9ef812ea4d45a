//! What breaks, and what goes on all the same.

use std::time::{Duration, Instant};

use awsiam_api::{AWSIamConfig, Cluster};
use awsiam_controller::{LocalCluster, Options};
use awsiam_tests::changed_crds::ChangedCrds;
use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::process::Process;
use awsiam_tests::stage::{
    CLUSTER, DEADLINE, OPERATOR_NAMESPACE, Running, Stage, data, install, operator_config, role_arn,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Client, Resource};
use serde_json::{Value, json};

use crate::{DEV, NODES, OURS, config_condition};

#[tokio::test]
async fn objects_that_do_not_decode_are_reported_and_the_others_go_on() {
    let stage = Stage::set().await;
    let _restored = permissive(&stage).await;
    stage.make_aws_auth(&[("mapRoles", NODES)]).await;
    stage.config("team", &[DEV]).await;
    undecodable::<AWSIamConfig>(&stage, "broken", json!({"mapRoles": "none"})).await;
    undecodable::<Cluster>(&stage, "garbled", json!({"identityProviderRefs": "none"})).await;
    stage.cluster(&["team", "broken"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &format!("{NODES}{OURS}")).await;
    let message = stage.condition("AwsAuthSynced", "False", "ReferenceNotResolved").await;
    assert!(message.starts_with("AWSIamConfig broken can't be read: "), "{message}");
    config_condition(&stage, "team", "Synced", "True", "Synced").await;
    let garbled = stage
        .eventually("a status of the Cluster that does not decode", async || {
            let object = any::<Cluster>(&stage).get("garbled").await.unwrap();
            let ready = object.data["status"]["conditions"][0].clone();
            if ready.is_null() { Err(object.data.to_string()) } else { Ok(ready) }
        })
        .await;
    assert_eq!(
        (&garbled["type"], &garbled["status"], &garbled["reason"]),
        (&json!("Ready"), &json!("False"), &json!("Undecodable"))
    );
    // Whose row it is stays: nothing is removed while a reference can't be read.
    stage.config("team", &[("Ops", "ops", &[])]).await;
    let text = stage.text_gets("mapRoles", &role_arn("Ops")).await;
    assert!(text.starts_with(&format!("{NODES}{OURS}")), "{text}");
    operator.stop().await;
}

fn any<K: Resource<DynamicType = ()>>(stage: &Stage) -> Api<DynamicObject> {
    Api::namespaced_with(stage.client.clone(), &stage.namespace, &ApiResource::erase::<K>(&()))
}

async fn undecodable<K: Resource<DynamicType = ()>>(stage: &Stage, name: &str, spec: Value) {
    let mut object = DynamicObject::new(name, &ApiResource::erase::<K>(&()));
    object.data = json!({"spec": spec});
    any::<K>(stage).create(&PostParams::default(), &object).await.expect("a permissive CRD");
}

/// CRDs whose specs take anything, until dropped.
async fn permissive(stage: &Stage) -> ChangedCrds<'_> {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let change = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec", "value": anything}]);
    let changed = ChangedCrds::set(stage, &["AWSIamConfig", "Cluster"], &change).await;
    // The API server takes a moment to go by the new schemas.
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let probe = |resource: &ApiResource, field: &str| {
        let mut object = DynamicObject::new("probe", resource);
        object.data = json!({"spec": {field: "none"}});
        object
    };
    stage
        .eventually("the looser schemas", async || {
            let config = probe(&ApiResource::erase::<AWSIamConfig>(&()), "mapRoles");
            any::<AWSIamConfig>(stage).create(&params, &config).await.map_err(|e| e.to_string())?;
            let cluster = probe(&ApiResource::erase::<Cluster>(&()), "identityProviderRefs");
            any::<Cluster>(stage).create(&params, &cluster).await.map_err(|e| e.to_string())
        })
        .await;
    changed
}

#[tokio::test]
async fn sigterm_ends_the_real_program_in_time_and_with_exit_code_zero() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", NODES)]).await;
    stage.config("team", &[DEV]).await;
    stage.cluster(&["team"]).await;
    let kubeconfig = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam").await.unwrap();
    let log = stage.plane.folder().join("sigterm.log");
    let local = format!("{}/{CLUSTER}", stage.namespace);
    let mut process = Process::start(&kubeconfig, &local, &[], &log).unwrap();
    stage.text_becomes("mapRoles", &format!("{NODES}{OURS}")).await;
    // In the middle of work: a change has just been sent.
    stage.config("team", &[("Ops", "ops", &[])]).await;
    let (status, after) = process.terminate().unwrap();
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(after < Duration::from_secs(5), "{after:?}\n{said}");
}

#[tokio::test]
async fn after_ten_seconds_without_an_api_server_it_goes_on_by_itself() {
    let mut plane = ControlPlane::start().await.expect("a control plane of its own");
    install(&plane).await.expect("the chart's rights and the CRDs");
    let client = plane.client();
    write(
        &client,
        "AWSIamConfig",
        "team",
        json!({
            "awsRegion": "eu-west-1", "backendMode": ["EKSConfigMap"],
            "mapRoles": [{"roleARN": role_arn("Dev"), "username": "dev"}],
        }),
    )
    .await;
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    write(&client, "Cluster", CLUSTER, json!({"identityProviderRefs": refs})).await;
    let options = Options {
        local_cluster: Some(LocalCluster { namespace: "default".into(), name: CLUSTER.into() }),
        resync: Duration::from_secs(2),
        ..Options::default()
    };
    let operator = Running::start(operator_config(&plane).await, options);
    roles_get(&client, "role/Dev").await;

    plane.stop_api_server();
    tokio::time::sleep(Duration::from_secs(10)).await;
    plane.start_api_server().await.expect("the API server again");
    let client = plane.client();
    write(
        &client,
        "AWSIamConfig",
        "team",
        json!({
            "awsRegion": "eu-west-1", "backendMode": ["EKSConfigMap"],
            "mapRoles": [{"roleARN": role_arn("Ops"), "username": "ops"}],
        }),
    )
    .await;
    let text = roles_get(&client, "role/Ops").await;
    assert!(!text.contains("role/Dev"), "{text}");
    operator.stop().await;
}

async fn write(client: &Client, kind: &str, name: &str, spec: Value) {
    let resource = match kind {
        "Cluster" => ApiResource::erase::<Cluster>(&()),
        _ => ApiResource::erase::<AWSIamConfig>(&()),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let mut object = DynamicObject::new(name, &resource);
    object.data = json!({"spec": spec});
    api.patch(name, &PatchParams::apply("kubectl").force(), &Patch::Apply(&object)).await.expect("an object");
}

/// Waits until `mapRoles` contains this.
async fn roles_get(client: &Client, part: &str) -> String {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let end = Instant::now() + DEADLINE;
    loop {
        let read = api.get_opt("aws-auth").await;
        let text =
            read.as_ref().ok().and_then(|c| data(c.as_ref()?).get("mapRoles").cloned()).unwrap_or_default();
        if text.contains(part) {
            return text;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} for {part}; there is {read:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

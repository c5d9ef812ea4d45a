//! Promise 4 where the CRD in the cluster lets through what ours refuses: a config that does not decode,
//! and rows that a rule refuses.

use awsiam_tests::stage::{Stage, role_arn};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{finding, looked_at, role};

/// Makes the CRD take anything for a username and a role ARN, as somebody else's might.
async fn loosen(stage: &Stage) {
    let crds: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    let row = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mapRoles/items/properties";
    let patch = json!([
        {"op": "replace", "path": format!("{row}/username"), "value": {"x-kubernetes-preserve-unknown-fields": true}},
        {"op": "remove", "path": format!("{row}/roleARN/x-kubernetes-validations")},
    ]);
    let patch: Patch<CustomResourceDefinition> = Patch::Json(serde_json::from_value(patch).unwrap());
    crds.patch("awsiamconfigs.anywhere.eks.amazonaws.com", &PatchParams::default(), &patch).await.unwrap();
}

/// Writes the rows of a config as they are; the server may need a moment to follow the CRD.
async fn set_rows(stage: &Stage, name: &str, rows: Value) -> awsiam_api::AWSIamConfig {
    let patch = json!({"spec": {"mapRoles": rows}});
    let generic: Api<kube::api::DynamicObject> = Api::namespaced_with(
        stage.client.clone(),
        &stage.namespace,
        &kube::api::ApiResource::erase::<awsiam_api::AWSIamConfig>(&()),
    );
    stage
        .eventually("the loosened CRD to take the row", async || {
            let patched = generic.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            let object = patched.map_err(|error| error.to_string())?;
            let spec = json!({"awsRegion": "eu-west-1", "backendMode": ["EKSConfigMap"]});
            let mut config = awsiam_api::AWSIamConfig::new(name, serde_json::from_value(spec).unwrap());
            config.metadata = object.metadata;
            Ok(config)
        })
        .await
}

#[tokio::test]
async fn a_config_that_does_not_decode_and_rows_that_a_rule_refuses_freeze_their_entries() {
    let stage = Stage::alone().await;
    stage.config("first", &[("First", "first", &[])]).await;
    stage.config("team", &[("A", "a", &[]), ("B", "b", &[])]).await;
    stage.cluster(&["first", "team"]).await;
    let operator = stage.operator().await;
    let [first, a, b] = [role("First", "first", &[]), role("A", "a", &[]), role("B", "b", &[])];
    let all = format!("{first}{a}{b}");
    stage.text_becomes("mapRoles", &all).await;
    loosen(&stage).await;

    // A username that is a number: no AWSIamConfig at all.
    set_rows(&stage, "team", json!([{"roleARN": role_arn("A"), "username": 5}])).await;
    let message = stage.condition("AwsAuthSynced", "False", "ReferenceNotResolved").await;
    assert!(message.starts_with("AWSIamConfig team can't be read: "), "{message}");
    finding(&stage, "ConfigUnresolved").await;
    // The others go on, except that nothing is removed.
    stage.config("first", &[("Second", "second", &[])]).await;
    let all = format!("{all}{}", role("Second", "second", &[]));
    stage.text_becomes("mapRoles", &all).await;

    // A row whose key can be read: the entry with that key is frozen, and the other one goes.
    set_rows(&stage, "team", json!([{"roleARN": role_arn("A"), "username": ""}])).await;
    let second = role("Second", "second", &[]);
    stage.text_becomes("mapRoles", &format!("{a}{second}")).await;
    finding(&stage, "RuleRefused").await;

    // A row whose key can't be read may mean any entry: none goes.
    let misspelt = json!([{"roleARN": "arn:aws:iam::11112222:role/A", "username": "a"}]);
    let misspelt = set_rows(&stage, "team", misspelt).await;
    looked_at(&stage, &misspelt).await;
    finding(&stage, "RowUnreadable").await;
    assert_eq!(stage.text("mapRoles").await, format!("{a}{second}"));

    // As the first reference it freezes everything.
    set_rows(&stage, "first", json!([{"roleARN": role_arn("C"), "username": {"not": "text"}}])).await;
    stage.condition("AwsAuthSynced", "False", "ReferenceNotResolved").await;
    let changed = set_rows(&stage, "team", json!([{"roleARN": role_arn("C"), "username": "c"}])).await;
    looked_at(&stage, &changed).await;
    operator.stop().await;
    assert_eq!(stage.text("mapRoles").await, format!("{a}{second}"));
}

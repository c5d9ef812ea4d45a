//! What is told of a CA that ends soon, and of a variable that somebody else's CRD let through.

use awsiam_controller::Options;
use awsiam_tests::changed_crds::ChangedCrds;
use awsiam_tests::stage::CLUSTER;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{DAY, NAME, begin, cluster, in_kube_system, options, rolled_out, say_rolled_out, set, there};

#[tokio::test]
async fn a_ca_within_thirty_days_of_its_end_is_told() {
    let stage = set().await;
    let operator = begin(&stage).await;
    rolled_out(&stage).await;
    stage.condition("AuthenticatorReady", "True", "RolledOut").await;
    operator.stop().await;

    // A new CA has ten years. With 40 days left the serving certificate is renewed for as long, and the pods with it.
    let late = |days_left: i64| Options { clock_ahead: (10 * 365 - days_left) * DAY, ..options(&stage) };
    let generation = async || there::<DaemonSet>(&stage, NAME).await.metadata.generation;
    let before = generation().await;
    let none = json!({"status": {"conditions": []}});
    stage.clusters().patch_status(CLUSTER, &PatchParams::default(), &Patch::Merge(&none)).await.unwrap();
    let operator = stage.operator_with(late(40)).await;
    stage
        .eventually(
            "a rollout",
            async || {
                if generation().await == before { Err("none".to_owned()) } else { Ok(()) }
            },
        )
        .await;
    say_rolled_out(&stage).await;
    stage.condition("AuthenticatorReady", "True", "RolledOut").await;
    operator.stop().await;

    let operator = stage.operator_with(late(20)).await;
    let message = stage.condition("AuthenticatorReady", "False", "CertificateExpiring").await;
    assert!(message.starts_with("the authenticator's CA ends on 20"), "{message}");
    operator.stop().await;
}

#[tokio::test]
async fn a_variable_that_another_crd_let_through_reaches_no_pod() {
    let stage = set().await;
    let rule = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/iamAuthenticator/properties/env\
                /items/properties/name/x-kubernetes-validations";
    let _without = ChangedCrds::set(&stage, &["Cluster"], &json!([{"op": "remove", "path": rule}])).await;
    let operator = begin(&stage).await;
    there::<DaemonSet>(&stage, NAME).await;
    let proxy = json!({"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"});
    let hostile = json!({"name": "AWS_ENDPOINT_URL", "value": "https://sts.example.com"});
    stage
        .eventually("a CRD without the rule", async || {
            let spec = json!({"spec": {"iamAuthenticator": {"env": [proxy.clone(), hostile.clone()]}}});
            let (clusters, params) = (stage.clusters(), PatchParams::default());
            let patched = clusters.patch(CLUSTER, &params, &Patch::Merge(&spec)).await;
            patched.map(drop).map_err(|error| error.to_string())
        })
        .await;
    let message = stage.condition("AuthenticatorReady", "False", "UnknownVariable").await;
    assert!(
        message.starts_with("spec.iamAuthenticator.env[1].name: \"AWS_ENDPOINT_URL\" is not taken over"),
        "{message}"
    );
    // One of the two is taken over, and a pod that already has the other loses it.
    let taken = async || {
        let pods = serde_json::to_string(&there::<DaemonSet>(&stage, NAME).await.spec).unwrap();
        let is_right = pods.contains("proxy.example.com") && !pods.contains("AWS_ENDPOINT_URL");
        if is_right { Ok(()) } else { Err(pods) }
    };
    stage.eventually("pods with the proxy alone", taken).await;
    // As an operator left it that took every variable.
    let mut earlier = serde_json::to_value(there::<DaemonSet>(&stage, NAME).await).unwrap();
    let metadata = json!({"name": NAME, "annotations": earlier["metadata"]["annotations"],
        "labels": earlier["metadata"]["labels"]});
    earlier["metadata"] = metadata;
    earlier["metadata"]["annotations"]["awsiam-operator.dev/applied-sha256"] = json!("earlier");
    earlier["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap().push(hostile);
    earlier["apiVersion"] = json!("apps/v1");
    earlier["kind"] = json!("DaemonSet");
    earlier.as_object_mut().unwrap().remove("status");
    let daemon_sets = in_kube_system::<DaemonSet>(&stage);
    let as_operator = PatchParams::apply("awsiam-operator").force();
    daemon_sets.patch(NAME, &as_operator, &Patch::Apply(&earlier)).await.unwrap();
    stage.eventually("pods with the proxy alone again", taken).await;

    cluster(&stage, json!({"env": [proxy]})).await;
    stage.condition("AuthenticatorReady", "False", "NoControlPlaneNodes").await;
    operator.stop().await;
}

//! Rollout HostPath on a real API server under the chart's rights: a DaemonSet of its own that is made, mended, left
//! alone where it is somebody else's, and taken away; and an authenticator that does not notice. There are no nodes
//! here: what a DaemonSet controller and a kubelet would say, the test says. `login_by_operator` has the real node.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::process::{Command, Stdio};
use std::time::Duration;

use awsiam_controller::Options;
use awsiam_tests::process::binary;
use awsiam_tests::stage::{CLUSTER, Running, Stage, install_for};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const AUTHENTICATOR: &str = "aws-iam-authenticator";
const WRITER: &str = "awsiam-webhook-file";
const CONFIGURED: &str = "ApiServerConfigured";
const READY: &str = "AuthenticatorReady";
const CA: &str = "here-aws-iam-authenticator-ca";

/// A stage with the rights for the test's Cluster, and nothing of an earlier test.
async fn set() -> Stage {
    let stage = Stage::set().await;
    install_for(stage.plane, &stage.namespace, CLUSTER).await.unwrap();
    for name in [AUTHENTICATOR, WRITER] {
        drop(daemon_sets(&stage).delete(name, &DeleteParams::default()).await);
    }
    drop(pods(&stage).delete("writer", &DeleteParams::default().grace_period(0)).await);
    gone::<ConfigMap>(&stage, AUTHENTICATOR).await;
    gone::<Secret>(&stage, "aws-iam-authenticator-serving").await;
    gone::<ServiceAccount>(&stage, AUTHENTICATOR).await;
    gone::<Role>(&stage, AUTHENTICATOR).await;
    gone::<RoleBinding>(&stage, AUTHENTICATOR).await;
    let nodes: Api<Node> = Api::all(stage.client.clone());
    let node =
        json!({"metadata": {"name": "control-0", "labels": {"node-role.kubernetes.io/control-plane": ""}}});
    drop(nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await);
    stage
}

async fn gone<K>(stage: &Stage, name: &str)
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(stage.client.clone(), "kube-system");
    drop(api.delete(name, &DeleteParams::default()).await);
}

fn daemon_sets(stage: &Stage) -> Api<DaemonSet> {
    Api::namespaced(stage.client.clone(), "kube-system")
}

fn pods(stage: &Stage) -> Api<Pod> {
    Api::namespaced(stage.client.clone(), "kube-system")
}

fn secrets(stage: &Stage) -> Api<Secret> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

fn options(stage: &Stage) -> Options {
    Options {
        probe_image: Some("registry.example.com/awsiam:test".to_owned()),
        api_server_ca: "-----BEGIN CERTIFICATE-----\nY2E=\n-----END CERTIFICATE-----\n".to_owned(),
        ..stage.options()
    }
}

async fn cluster(stage: &Stage, rollout: &str, references: Value) {
    let spec = json!({
        "kubernetesVersion": "1.33",
        "controlPlaneConfiguration": {"endpoint": {"host": "api.example.com"}},
        "identityProviderRefs": references,
        "iamAuthenticator": {"mode": "DaemonSet", "apiServer": {"rollout": rollout}},
    });
    stage.cluster_spec(spec).await;
}

fn team() -> Value {
    json!([{"kind": "AWSIamConfig", "name": "team"}])
}

async fn begin(stage: &Stage) -> Running {
    begin_with(stage, options(stage)).await
}

async fn begin_with(stage: &Stage, options: Options) -> Running {
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    cluster(stage, "HostPath", team()).await;
    stage.operator_with(options).await
}

async fn there(stage: &Stage, name: &str) -> DaemonSet {
    stage
        .eventually(name, async || daemon_sets(stage).get(name).await.map_err(|error| error.to_string()))
        .await
}

/// What the DaemonSet controller would say of a pod on the only node.
async fn rolled_out(stage: &Stage, name: &str) {
    let daemon_set = there(stage, name).await;
    let status = json!({"status": {"observedGeneration": daemon_set.metadata.generation, "currentNumberScheduled": 1,
        "numberMisscheduled": 0, "numberReady": 1, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1,
        "numberAvailable": 1}});
    daemon_sets(stage).patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

/// What the file is to hold.
fn content(daemon_set: &DaemonSet) -> String {
    let pod = daemon_set.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let variables = pod.containers[0].env.as_ref().unwrap();
    let variable = variables.iter().find(|variable| variable.name == "WEBHOOK_KUBECONFIG").unwrap();
    variable.value.clone().unwrap()
}

/// What an administrator would be told to put there.
async fn printed(stage: &Stage) -> String {
    let mut command = Command::new(binary());
    command.args(["control-plane", CLUSTER, "--file-only", "-n", &stage.namespace, "--kubeconfig"]);
    command.arg(stage.plane.kubeconfig_path()).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A pod of the writer on the only node, in this state.
async fn writer_pod(stage: &Stage, now: &Value, last: &Value) {
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), "kube-system");
    let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
    drop(accounts.create(&PostParams::default(), &account).await);
    let pod = json!({"metadata": {"name": "writer", "labels": {"app.kubernetes.io/name": WRITER}},
        "spec": {"nodeName": "control-0", "automountServiceAccountToken": false,
            "containers": [{"name": "webhook-file", "image": "i"}]}});
    drop(pods(stage).create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await);
    let status = json!({"status": {"containerStatuses": [{"name": "webhook-file", "image": "i", "imageID": "",
        "ready": false, "restartCount": 2, "state": now, "lastState": last}]}});
    pods(stage).patch_status("writer", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

#[tokio::test]
async fn the_file_is_kept_by_a_daemon_set_of_its_own_as_long_as_it_is_asked_for() {
    let stage = set().await;
    let operator = begin(&stage).await;
    let writer = there(&stage, WRITER).await;
    assert_eq!(content(&writer), printed(&stage).await);
    rolled_out(&stage, AUTHENTICATOR).await;
    stage.condition(READY, "True", "RolledOut").await;
    let message = stage.condition(CONFIGURED, "False", "WebhookFileNotWritten").await;
    assert!(message.contains("/etc/kubernetes/awsiam/token-webhook.yaml"), "{message}");
    rolled_out(&stage, WRITER).await;
    // The flag is the administrator's.
    stage.condition(CONFIGURED, "False", "WaitingForAdministrator").await;
    // For longer than a resync takes.
    stage.comes_to_rest(async || tokio::time::sleep(Duration::from_secs(5)).await).await;

    // It comes back, and so does what somebody changes in it.
    daemon_sets(&stage).delete(WRITER, &DeleteParams::default()).await.unwrap();
    there(&stage, WRITER).await;
    let drift =
        json!([{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "x"}]);
    let drift = Patch::<()>::Json(serde_json::from_value(drift).unwrap());
    daemon_sets(&stage).patch(WRITER, &PatchParams::default(), &drift).await.unwrap();
    has_content(&stage, &printed(&stage).await).await;

    // Another CA reaches the nodes, and for a while both are trusted.
    let authenticator = there(&stage, AUTHENTICATOR).await;
    let old = secrets(&stage).get(CA).await.unwrap().data.unwrap()["cert.pem"].clone();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let new = awsiam_authenticator::certificate::Authority::new(
        rcgen::KeyPair::generate().unwrap(),
        i64::try_from(now).unwrap(),
    )
    .unwrap();
    let both = json!({"metadata": {"annotations": {"awsiam-operator.dev/use-ca": "true"}},
        "stringData": {"cert.pem": new.certificate_pem(), "key.pem": new.key_pem(),
            "trusted.pem": String::from_utf8(old.0).unwrap()}});
    secrets(&stage).patch(CA, &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    let before = content(&writer);
    stage
        .eventually("a file with both", async || {
            let now = content(&there(&stage, WRITER).await);
            if now == before { Err(now) } else { Ok(()) }
        })
        .await;
    has_content(&stage, &printed(&stage).await).await;

    // Without being asked for it goes, and the authenticator does not notice.
    cluster(&stage, "Manual", team()).await;
    writer_is_gone(&stage).await;
    assert_eq!(there(&stage, AUTHENTICATOR).await.uid(), authenticator.uid());
    cluster(&stage, "HostPath", team()).await;
    there(&stage, WRITER).await;

    // No API server asks here: everything goes.
    cluster(&stage, "HostPath", json!([])).await;
    writer_is_gone(&stage).await;
    stage.condition("Ready", "True", "Ready").await;
    assert!(daemon_sets(&stage).get_opt(AUTHENTICATOR).await.unwrap().is_none());
    operator.stop().await;
}

#[tokio::test]
async fn a_writer_that_fails_is_told_with_its_node_and_the_authenticator_is_left_alone() {
    let stage = set().await;
    let operator = begin(&stage).await;
    rolled_out(&stage, AUTHENTICATOR).await;
    rolled_out(&stage, WRITER).await;
    stage.condition(CONFIGURED, "False", "WaitingForAdministrator").await;
    stage.condition(READY, "True", "RolledOut").await;
    let before = there(&stage, AUTHENTICATOR).await.resource_version();
    let said = "awsiam write-webhook-file: can't write it: Read-only file system\n";
    writer_pod(
        &stage,
        &json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        &json!({"terminated": {"exitCode": 1, "reason": "Error", "message": said}}),
    )
    .await;
    let message = stage.condition(CONFIGURED, "False", "WebhookFileNotWritten").await;
    assert!(message.contains("node control-0: ") && message.contains("Read-only file system"), "{message}");
    assert!(message.contains("awsiam control-plane"), "what the API server says is told, too: {message}");
    stage.condition(READY, "True", "RolledOut").await;
    assert_eq!(there(&stage, AUTHENTICATOR).await.resource_version(), before);
    writer_pod(&stage, &json!({"running": {}}), &json!({})).await;
    stage.condition(CONFIGURED, "False", "WaitingForAdministrator").await;
    operator.stop().await;
}

#[tokio::test]
async fn a_daemon_set_of_that_name_that_is_not_ours_is_left_alone() {
    let stage = set().await;
    let theirs = json!({"metadata": {"name": WRITER}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let theirs: DaemonSet = serde_json::from_value(theirs).unwrap();
    daemon_sets(&stage).create(&PostParams::default(), &theirs).await.unwrap();
    let operator = begin(&stage).await;
    rolled_out(&stage, AUTHENTICATOR).await;
    let message = stage.condition(CONFIGURED, "False", "ForeignObject").await;
    assert!(
        message.starts_with("DaemonSet kube-system/awsiam-webhook-file was not made by awsiam"),
        "{message}"
    );
    stage.condition(READY, "True", "RolledOut").await;
    cluster(&stage, "HostPath", json!([])).await;
    stage.condition("Ready", "True", "Ready").await;
    assert_eq!(there(&stage, WRITER).await.spec.unwrap().template.spec.unwrap().containers[0].name, "c");
    operator.stop().await;
}

#[tokio::test]
async fn an_operator_that_can_not_write_files_says_so_and_runs_the_authenticator() {
    let stage = set().await;
    let operator = begin_with(&stage, Options { probe_image: None, ..options(&stage) }).await;
    let message = stage.condition(CONFIGURED, "False", "WebhookFileNotWritten").await;
    assert!(message.contains("--probe-image"), "{message}");
    rolled_out(&stage, AUTHENTICATOR).await;
    stage.condition(READY, "Unknown", "MappingsNotObserved").await;
    operator.stop().await;

    // With rights of an earlier release.
    let roles: Api<Role> = Api::namespaced(stage.client.clone(), "kube-system");
    let mut role = roles.get("awsiam-system:awsiam").await.unwrap();
    for rule in role.rules.iter_mut().flatten() {
        if let Some(names) = &mut rule.resource_names {
            names.retain(|name| name != WRITER);
        }
    }
    roles.replace("awsiam-system:awsiam", &PostParams::default(), &role).await.unwrap();
    let operator = stage.operator_with(options(&stage)).await;
    stage
        .eventually("the refusal to be told", async || {
            let message = stage.condition(CONFIGURED, "False", "WebhookFileNotWritten").await;
            if message.contains("can't be watched") { Ok(()) } else { Err(message) }
        })
        .await;
    rolled_out(&stage, AUTHENTICATOR).await;
    stage.condition(READY, "True", "RolledOut").await;
    operator.stop().await;
}

async fn has_content(stage: &Stage, wanted: &str) {
    stage
        .eventually("the file's content", async || {
            let now = content(&there(stage, WRITER).await);
            if now == wanted { Ok(()) } else { Err(now) }
        })
        .await;
}

async fn writer_is_gone(stage: &Stage) {
    stage
        .eventually("the writer to go", async || match daemon_sets(stage).get_opt(WRITER).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
}

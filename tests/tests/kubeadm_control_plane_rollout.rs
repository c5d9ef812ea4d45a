//! The API servers of a Cluster that Cluster API made: set up after the authenticator is ready, through the
//! KubeadmControlPlane, before Cluster API's own webhooks and under the chart's rights; and taken back in the order in
//! which nobody is locked out. There are no machines here: what Cluster API would say of them, the test says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::process::Stdio;
use std::time::Duration;

use awsiam_authenticator::kubeadm_control_plane::{FLAG, MOUNT_PATH, flag, is_ours, webhook_file};
use awsiam_authenticator::kubeconfig::webhook;
use awsiam_controller::Options;
use awsiam_tests::cluster_api::{self, ClusterApi, SetUp, control_planes, dynamic, owner};
use awsiam_tests::process::binary;
use awsiam_tests::stage::{CLUSTER, OPERATOR, Running, Stage, install_for};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const NAME: &str = "aws-iam-authenticator";
const CONTROL_PLANE: &str = "here-control-plane";
const READY: &str = "AuthenticatorReady";
const CONFIGURED: &str = "ApiServerConfigured";
const ROLLOUT: &str = "awsiam-operator.dev/rollout";

/// A stage with Cluster API, the rights for the test's Cluster, and nothing of an earlier test.
async fn set() -> Stage {
    static MANAGER: OnceCell<ClusterApi> = OnceCell::const_new();
    let stage = Stage::set().await;
    MANAGER.get_or_init(async || ClusterApi::start(stage.plane).await.unwrap()).await;
    install_for(stage.plane, &stage.namespace, CLUSTER).await.unwrap();
    gone::<DaemonSet>(&stage, NAME).await;
    gone::<ConfigMap>(&stage, NAME).await;
    gone::<Secret>(&stage, "aws-iam-authenticator-serving").await;
    gone::<ServiceAccount>(&stage, NAME).await;
    gone::<Role>(&stage, NAME).await;
    gone::<RoleBinding>(&stage, NAME).await;
    let nodes: Api<Node> = Api::all(stage.client.clone());
    drop(nodes.delete("control-0", &DeleteParams::default()).await);
    stage
}

fn in_kube_system<K>(stage: &Stage) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(stage.client.clone(), "kube-system")
}

async fn gone<K>(stage: &Stage, name: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    drop(in_kube_system::<K>(stage).delete(name, &DeleteParams::default()).await);
}

async fn daemon_set(stage: &Stage) -> Option<DaemonSet> {
    in_kube_system::<DaemonSet>(stage).get_opt(NAME).await.unwrap()
}

async fn control_plane(stage: &Stage, version: &str) -> Value {
    serde_json::to_value(control_planes(stage, version).get(CONTROL_PLANE).await.unwrap()).unwrap()
}

/// What an undo has to bring back.
fn content(control_plane: &Value) -> Value {
    json!([
        control_plane["spec"],
        control_plane["metadata"]["annotations"],
        control_plane["metadata"]["labels"]
    ])
}

/// Cluster API's Cluster, and its KubeadmControlPlane with `metadata` and as `change` leaves it; machines in order.
async fn cluster_api(stage: &Stage, metadata: Value, change: impl FnOnce(&mut Value)) -> Value {
    SetUp { cluster: CLUSTER, name: CONTROL_PLANE }.make(stage, metadata, change).await;
    control_plane(stage, "v1beta2").await
}

/// Says that so many of three machines are up to date.
async fn machines(stage: &Stage, up_to_date: u32) {
    cluster_api::machines(stage, CONTROL_PLANE, up_to_date).await;
}

fn options(stage: &Stage) -> Options {
    Options {
        probe_image: Some("registry.example.com/awsiam:test".to_owned()),
        // Most of what these tests do is to wait for one more look.
        resync: Duration::from_millis(500),
        api_server_ca: "-----BEGIN CERTIFICATE-----\nY2E=\n-----END CERTIFICATE-----\n".to_owned(),
        ..stage.options()
    }
}

async fn cluster(stage: &Stage, configs: Value, block: Value) {
    let mut authenticator = json!({"mode": "DaemonSet"});
    authenticator.as_object_mut().unwrap().extend(block.as_object().unwrap().clone());
    stage
        .cluster_spec(json!({
            "kubernetesVersion": "1.33",
            "controlPlaneConfiguration": {"endpoint": {"host": "api.example.com"}},
            "identityProviderRefs": configs,
            "iamAuthenticator": authenticator,
        }))
        .await;
}

fn team() -> Value {
    json!([{"kind": "AWSIamConfig", "name": "team"}])
}

async fn begin_with(stage: &Stage, block: Value) -> Running {
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    cluster(stage, team(), block).await;
    stage.operator_with(options(stage)).await
}

async fn begin(stage: &Stage) -> Running {
    begin_with(stage, json!({})).await
}

/// A control-plane node, and what the controllers of its pod would say.
async fn authenticator_ready(stage: &Stage) {
    let nodes: Api<Node> = Api::all(stage.client.clone());
    let node =
        json!({"metadata": {"name": "control-0", "labels": {"node-role.kubernetes.io/control-plane": ""}}});
    drop(nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await);
    let there = stage
        .eventually("the DaemonSet", async || daemon_set(stage).await.ok_or_else(|| "none".to_owned()))
        .await;
    let status = json!({"status": {"observedGeneration": there.metadata.generation, "currentNumberScheduled": 1,
        "numberMisscheduled": 0, "numberReady": 1, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1,
        "numberAvailable": 1}});
    let api = in_kube_system::<DaemonSet>(stage);
    api.patch_status(NAME, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    stage.condition(READY, "True", "RolledOut").await;
}

/// The whole way, up to machines that all have the flag.
async fn configured(stage: &Stage) {
    authenticator_ready(stage).await;
    stage.condition(CONFIGURED, "False", "RollingOut").await;
    machines(stage, 3).await;
    stage.condition(CONFIGURED, "True", "Configured").await;
}

async fn recorded(stage: &Stage) -> Option<String> {
    stage.clusters().get(CLUSTER).await.unwrap().annotations().get(ROLLOUT).cloned()
}

async fn ca_certificate(stage: &Stage) -> String {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let secret = secrets.get("here-aws-iam-authenticator-ca").await.unwrap();
    String::from_utf8(secret.data.unwrap()["cert.pem"].0.clone()).unwrap()
}

/// Waits for two more whole looks of the operator at the control plane.
async fn looked_again(stage: &Stage) {
    let mark = stage.plane.audit_mark().unwrap();
    stage
        .eventually("two more looks", async || {
            let events = stage.plane.audit_events_since(mark).unwrap();
            let looks =
                events.iter().filter(|e| e.user == OPERATOR && e.resource == "kubeadmcontrolplanes").count();
            if looks >= 2 { Ok(()) } else { Err(format!("{looks}")) }
        })
        .await;
}

#[tokio::test]
async fn the_flag_comes_after_the_authenticator_and_counts_when_every_machine_has_it() {
    let stage = set().await;
    let before = cluster_api(&stage, json!({}), |_| {}).await;
    let operator = begin(&stage).await;
    let message = stage.condition(CONFIGURED, "False", "Pending").await;
    assert!(message.contains("condition AuthenticatorReady"), "{message}");
    assert_eq!(recorded(&stage).await.as_deref(), Some("KubeadmControlPlane"));
    looked_again(&stage).await;
    assert_eq!(content(&control_plane(&stage, "v1beta2").await), content(&before));

    authenticator_ready(&stage).await;
    stage.condition(CONFIGURED, "False", "RollingOut").await;
    let file = webhook(&ca_certificate(&stage).await);
    for version in ["v1beta1", "v1beta2"] {
        let object = control_plane(&stage, version).await;
        assert_eq!(flag(&object), Some(MOUNT_PATH), "{version}");
        assert_eq!(webhook_file(&object), Some(file.as_str()), "{version}");
        assert!(is_ours(&object), "{version}");
    }
    let edited = control_plane(&stage, "v1beta2").await;

    // One machine of three; and another operator takes the rollout up as it is.
    machines(&stage, 1).await;
    let one = async || {
        let message = stage.condition(CONFIGURED, "False", "RollingOut").await;
        if message.contains("1 of 3 machines are up to date") { Ok(()) } else { Err(message) }
    };
    stage.eventually("one machine", one).await;
    operator.stop().await;
    let operator = stage.operator_with(options(&stage)).await;
    looked_again(&stage).await;
    stage.condition(CONFIGURED, "False", "RollingOut").await;
    machines(&stage, 3).await;
    let message = stage.condition(CONFIGURED, "True", "Configured").await;
    assert!(message.contains(CONTROL_PLANE), "{message}");
    stage.condition("Ready", "True", "Ready").await;
    assert_eq!(content(&control_plane(&stage, "v1beta2").await), content(&edited));
    stage.comes_to_rest(async || looked_again(&stage).await).await;

    // Machines that are replaced for another reason have had the flag and get it again.
    let upgrade = json!({"spec": {"version": "v1.36.4"}});
    let api = control_planes(&stage, "v1beta2");
    api.patch(CONTROL_PLANE, &PatchParams::default(), &Patch::Merge(&upgrade)).await.unwrap();
    machines(&stage, 0).await;
    looked_again(&stage).await;
    stage.condition(CONFIGURED, "True", "Configured").await;
    operator.stop().await;
}

#[tokio::test]
async fn while_machines_are_replaced_for_another_reason_nothing_is_put_in() {
    let stage = set().await;
    let before = cluster_api(&stage, json!({}), |_| {}).await;
    machines(&stage, 2).await;
    let operator = begin(&stage).await;
    authenticator_ready(&stage).await;
    let message = stage.condition(CONFIGURED, "False", "RollingOut").await;
    assert!(
        message.contains("is not changed while its machines are") && message.contains("2 of 3"),
        "{message}"
    );
    looked_again(&stage).await;
    assert_eq!(content(&control_plane(&stage, "v1beta2").await), content(&before));
    machines(&stage, 3).await;
    stage
        .eventually("the flag", async || {
            let object = control_plane(&stage, "v1beta2").await;
            if is_ours(&object) { Ok(()) } else { Err(object["spec"].to_string()) }
        })
        .await;
    operator.stop().await;
}

#[tokio::test]
async fn what_a_cluster_class_makes_is_left_alone_and_the_condition_has_the_patch() {
    let stage = set().await;
    let labels = json!({"labels": {"topology.cluster.x-k8s.io/owned": ""}});
    let before = cluster_api(&stage, labels, |_| {}).await;
    let operator = begin(&stage).await;
    stage.condition(CONFIGURED, "False", "Pending").await;
    authenticator_ready(&stage).await;
    let message = stage.condition(CONFIGURED, "False", "ControlPlaneManagedElsewhere").await;
    assert!(message.contains("kind: KubeadmControlPlaneTemplate"), "{message}");
    let whole = ca_line(&stage).await;
    assert!(message.contains(&whole), "the patch is cut off: {message}");
    looked_again(&stage).await;
    assert_eq!(content(&control_plane(&stage, "v1beta2").await), content(&before));
    operator.stop().await;
}

/// The CA as it stands in the file.
async fn ca_line(stage: &Stage) -> String {
    let file = webhook(&ca_certificate(stage).await);
    let line = file.lines().find(|line| line.contains("certificate-authority-data")).unwrap();
    line.trim().to_owned()
}

#[tokio::test]
async fn a_flag_that_points_elsewhere_is_another_webhook() {
    let stage = set().await;
    let before = cluster_api(&stage, json!({}), |object| {
        let arguments =
            &mut object["spec"]["kubeadmConfigSpec"]["clusterConfiguration"]["apiServer"]["extraArgs"];
        arguments.as_array_mut().unwrap().push(json!({"name": FLAG, "value": "/etc/theirs"}));
    })
    .await;
    let operator = begin(&stage).await;
    let message = stage.condition(CONFIGURED, "False", "OtherWebhook").await;
    assert!(message.contains("/etc/theirs") && message.contains("kubectl --namespace"), "{message}");
    authenticator_ready(&stage).await;
    looked_again(&stage).await;
    assert_eq!(content(&control_plane(&stage, "v1beta2").await), content(&before));
    operator.stop().await;
}

#[tokio::test]
async fn on_removal_the_authenticator_goes_when_no_machine_has_the_flag_any_more() {
    let stage = set().await;
    let before = cluster_api(&stage, json!({"annotations": {"example.com/a": "b"}}), |_| {}).await;
    let operator = begin(&stage).await;
    configured(&stage).await;
    cluster(&stage, json!([]), json!({})).await;
    removed(&stage, &before).await;
    stage.condition("Ready", "True", "Ready").await;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    assert!(secrets.get_opt("here-aws-iam-authenticator-ca").await.unwrap().is_none());
    stage.comes_to_rest(async || looked_again(&stage).await).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_cluster_that_is_deleted_waits_until_no_machine_has_the_flag_any_more() {
    let stage = set().await;
    let before = cluster_api(&stage, json!({}), |_| {}).await;
    let operator = begin_with(&stage, json!({"deletionPolicy": "Delete"})).await;
    configured(&stage).await;
    stage.clusters().delete(CLUSTER, &DeleteParams::default()).await.unwrap();
    removed(&stage, &before).await;
    stage
        .eventually("the Cluster gone", async || match stage.clusters().get_opt(CLUSTER).await.unwrap() {
            None => Ok(()),
            Some(cluster) => Err(format!("{:?}", cluster.status)),
        })
        .await;
    operator.stop().await;
}

/// Follows a removal from its beginning.
async fn removed(stage: &Stage, before: &Value) {
    stage.condition(CONFIGURED, "False", "RollingOut").await;
    stage.condition(READY, "False", "Removing").await;
    assert_eq!(content(&control_plane(stage, "v1beta2").await), content(before));
    looked_again(stage).await;
    assert!(daemon_set(stage).await.is_some(), "machines still ask it");
    assert!(stage.clusters().get_opt(CLUSTER).await.unwrap().is_some());
    machines(stage, 2).await;
    looked_again(stage).await;
    assert!(daemon_set(stage).await.is_some(), "a machine still asks it");
    machines(stage, 3).await;
    stage
        .eventually("no DaemonSet", async || match daemon_set(stage).await {
            None => Ok(()),
            Some(_) => Err("it is there".to_owned()),
        })
        .await;
}

#[tokio::test]
async fn a_paused_cluster_is_left_as_it_is() {
    let stage = set().await;
    let before = cluster_api(&stage, json!({}), |_| {}).await;
    let paused = async |paused: bool| {
        let owners = dynamic(&stage, "cluster.x-k8s.io", "v1beta2", "Cluster");
        let patch = json!({"spec": {"paused": paused}});
        owners.patch(CLUSTER, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    };
    paused(true).await;
    let operator = begin(&stage).await;
    authenticator_ready(&stage).await;
    looked_again(&stage).await;
    let message = stage.condition(CONFIGURED, "False", "Pending").await;
    assert!(message.contains("spec.paused: true"), "{message}");
    assert_eq!(content(&control_plane(&stage, "v1beta2").await), content(&before));
    paused(false).await;
    stage.condition(CONFIGURED, "False", "RollingOut").await;
    operator.stop().await;
}

#[tokio::test]
async fn suspended_means_that_the_change_is_told_and_not_made() {
    let stage = set().await;
    let before = cluster_api(&stage, json!({}), |_| {}).await;
    let operator = begin(&stage).await;
    stage.condition(CONFIGURED, "False", "Pending").await;
    cluster(&stage, team(), json!({"suspend": true})).await;
    stage.condition(CONFIGURED, "False", "Suspended").await;
    authenticator_ready(&stage).await;
    let message = stage.condition(CONFIGURED, "False", "Suspended").await;
    assert!(message.contains("adds the token webhook's file, flag and mount to"), "{message}");
    looked_again(&stage).await;
    assert_eq!(content(&control_plane(&stage, "v1beta2").await), content(&before));
    operator.stop().await;
}

#[tokio::test]
async fn the_way_that_was_chosen_once_stays() {
    let stage = set().await;
    let operator = begin(&stage).await;
    stage.condition(CONFIGURED, "False", "WaitingForAdministrator").await;
    assert_eq!(recorded(&stage).await.as_deref(), Some("Manual"));
    let before = cluster_api(&stage, json!({}), |_| {}).await;
    authenticator_ready(&stage).await;
    operator.stop().await;
    let operator = stage.operator_with(options(&stage)).await;
    // An administrator may say otherwise.
    stage.condition(CONFIGURED, "False", "WaitingForAdministrator").await;
    assert_eq!(content(&control_plane(&stage, "v1beta2").await), content(&before));
    assert_eq!(recorded(&stage).await.as_deref(), Some("Manual"));
    cluster(&stage, team(), json!({"apiServer": {"rollout": "KubeadmControlPlane"}})).await;
    stage.condition(CONFIGURED, "False", "RollingOut").await;
    assert!(is_ours(&control_plane(&stage, "v1beta2").await));
    operator.stop().await;
}

#[tokio::test]
async fn nothing_is_chosen_before_cluster_api_has_chosen_and_another_control_plane_is_set_up_by_hand() {
    let stage = set().await;
    owner(&stage, CLUSTER, json!({"topology": {"classRef": {"name": "quick"}, "version": "v1.36.3"}})).await;
    let operator = begin(&stage).await;
    let message = stage.condition(CONFIGURED, "False", "Pending").await;
    assert!(message.contains("has no spec.controlPlaneRef yet"), "{message}");
    assert_eq!(recorded(&stage).await, None);
    let owners = dynamic(&stage, "cluster.x-k8s.io", "v1beta2", "Cluster");
    let other = json!({"spec": {"controlPlaneRef": {"apiGroup": "controlplane.cluster.x-k8s.io",
        "kind": "RKE2ControlPlane", "name": "other"}}});
    owners.patch(CLUSTER, &PatchParams::default(), &Patch::Merge(&other)).await.unwrap();
    stage.condition(CONFIGURED, "False", "WaitingForAdministrator").await;
    assert_eq!(recorded(&stage).await.as_deref(), Some("Manual"));
    operator.stop().await;
}

#[tokio::test]
async fn an_older_cluster_api_is_changed_in_its_own_version() {
    // What is served is changed for everybody.
    let stage = Stage::alone().await;
    let _manager = ClusterApi::start(stage.plane).await.unwrap();
    install_for(stage.plane, &stage.namespace, CLUSTER).await.unwrap();
    cluster_api(&stage, json!({}), |_| {}).await;
    no_longer_serve_v1beta2(&stage).await;
    let operator = begin(&stage).await;
    authenticator_ready(&stage).await;
    let message = stage.condition(CONFIGURED, "False", "RollingOut").await;
    let object = control_plane(&stage, "v1beta1").await;
    assert_eq!((flag(&object), is_ours(&object)), (Some(MOUNT_PATH), true), "{message}");
    operator.stop().await;
}

async fn no_longer_serve_v1beta2(stage: &Stage) {
    let crds: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    let name = "kubeadmcontrolplanes.controlplane.cluster.x-k8s.io";
    let mut crd = crds.get(name).await.unwrap();
    crd.spec.versions.iter_mut().find(|version| version.name == "v1beta2").unwrap().served = false;
    crds.replace(name, &PostParams::default(), &crd).await.unwrap();
    let api = control_planes(stage, "v1beta2");
    stage
        .eventually("the API server to serve it no longer", async || match api.get(CONTROL_PLANE).await {
            Err(_) => Ok(()),
            Ok(_) => Err("it is served".to_owned()),
        })
        .await;
}

#[tokio::test]
async fn the_file_that_is_printed_is_the_one_that_is_put_there() {
    let stage = set().await;
    cluster_api(&stage, json!({}), |_| {}).await;
    let printed = async || {
        let mut command = std::process::Command::new(binary());
        command.args(["control-plane", CLUSTER, "--file-only", "-n", &stage.namespace, "--kubeconfig"]);
        command.arg(stage.plane.kubeconfig_path()).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, _, said) = printed().await;
    assert_eq!(code, Some(2));
    let secret = format!("{}/here-aws-iam-authenticator-ca", stage.namespace);
    assert!(said.starts_with(&format!("awsiam: there is no Secret {secret}: ")), "{said}");
    let operator = begin(&stage).await;
    authenticator_ready(&stage).await;
    stage.condition(CONFIGURED, "False", "RollingOut").await;
    let object = control_plane(&stage, "v1beta2").await;
    assert_eq!(printed().await, (Some(0), webhook_file(&object).unwrap().to_owned(), String::new()));
    operator.stop().await;
}

#[tokio::test]
async fn an_edit_that_is_left_behind_by_another_way_is_told_with_what_to_do() {
    let stage = set().await;
    let before = cluster_api(&stage, json!({}), |_| {}).await;
    let operator = begin(&stage).await;
    configured(&stage).await;
    let edited = control_plane(&stage, "v1beta2").await;
    cluster(&stage, team(), json!({"apiServer": {"rollout": "Manual"}})).await;
    let message = stage.condition(CONFIGURED, "False", "ControlPlaneEditLeft").await;
    let title = format!("{}/{CONTROL_PLANE}", stage.namespace);
    assert!(
        message.contains(&title) && message.contains("awsiam-operator.dev/control-plane-edit"),
        "{message}"
    );
    assert_eq!(content(&control_plane(&stage, "v1beta2").await), content(&edited), "it is left as it is");

    // The printed command takes it out, to the letter.
    let patch = message.lines().last().unwrap().strip_prefix("kubectl ").unwrap().to_owned();
    let kubectl = stage.plane.kubectl().unwrap().get_program().to_owned();
    let command = format!("{} {patch}", kubectl.to_str().unwrap());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &command]).env("KUBECONFIG", stage.plane.kubeconfig_path());
    let output = tokio::task::spawn_blocking(move || shell.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(content(&control_plane(&stage, "v1beta2").await), content(&before));
    stage.condition(CONFIGURED, "False", "WaitingForAdministrator").await;
    operator.stop().await;
}

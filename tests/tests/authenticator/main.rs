//! The authenticator's objects on a real API server under the chart's rights: made, mended, renewed, left alone
//! where they are somebody else's, and taken away. There are no nodes here: what a DaemonSet controller would
//! say of pods, the test says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

mod restored;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use awsiam_authenticator::certificate::{Authority, Leaf, LeafState, leaf_state, sha256};
use awsiam_controller::Options;
use awsiam_tests::documents::{RUNBOOK, run};
use awsiam_tests::process::Process;
use awsiam_tests::stage::{CLUSTER, OPERATOR_NAMESPACE, Running, Stage, install_for, operator_config};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use restored::backed_up;

const NAME: &str = "aws-iam-authenticator";
const SERVING: &str = "aws-iam-authenticator-serving";
/// Before the hash in the name of a key of that Secret by which a pod waits for its certificate.
const MARK: &str = "sha256-";
/// Annotation of pods with that hash.
const HASH: &str = "awsiam-operator.dev/serving-sha256";
const DAY: i64 = 24 * 60 * 60;

/// A stage with the rights on the Secrets of the test's Cluster, and nothing of an earlier test.
async fn set() -> Stage {
    let stage = Stage::set().await;
    install_for(stage.plane, &stage.namespace, CLUSTER).await.unwrap();
    gone::<DaemonSet>(&stage, NAME).await;
    gone::<ConfigMap>(&stage, NAME).await;
    gone::<Secret>(&stage, SERVING).await;
    gone::<ServiceAccount>(&stage, NAME).await;
    gone::<Role>(&stage, NAME).await;
    gone::<RoleBinding>(&stage, NAME).await;
    let nodes: Api<Node> = Api::all(stage.client.clone());
    drop(nodes.delete("control-0", &DeleteParams::default()).await);
    stage
}

fn in_kube_system<K>(stage: &Stage) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    Api::namespaced(stage.client.clone(), "kube-system")
}

async fn gone<K>(stage: &Stage, name: &str)
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    drop(in_kube_system::<K>(stage).delete(name, &DeleteParams::default()).await);
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

async fn cluster(stage: &Stage, block: Value) {
    let mut authenticator = json!({"mode": "DaemonSet"});
    authenticator.as_object_mut().unwrap().extend(block.as_object().unwrap().clone());
    let spec = json!({
        "kubernetesVersion": "1.33",
        "controlPlaneConfiguration": {"endpoint": {"host": "api.example.com"}},
        "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
        "iamAuthenticator": authenticator,
    });
    stage.cluster_spec(spec).await;
}

/// Makes the Cluster and its config, and starts an operator.
async fn begin(stage: &Stage) -> Running {
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    cluster(stage, json!({})).await;
    stage.operator_with(options(stage)).await
}

async fn there<K>(stage: &Stage, name: &str) -> K
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api = in_kube_system::<K>(stage);
    stage
        .eventually(&format!("{} {name}", K::kind(&())), async || {
            api.get(name).await.map_err(|e| e.to_string())
        })
        .await
}

async fn secret(stage: &Stage, name: &str) -> Secret {
    stage.eventually(name, async || secrets(stage).get(name).await.map_err(|e| e.to_string())).await
}

fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
}

/// A control-plane node, and what its pod's controllers would say.
async fn rolled_out(stage: &Stage) {
    let nodes: Api<Node> = Api::all(stage.client.clone());
    let node: Node = serde_json::from_value(json!({"metadata": {"name": "control-0",
        "labels": {"node-role.kubernetes.io/control-plane": "true"}}}))
    .unwrap();
    drop(nodes.create(&PostParams::default(), &node).await);
    say_rolled_out(stage).await;
}

async fn say_rolled_out(stage: &Stage) {
    let daemon_set: DaemonSet = there(stage, NAME).await;
    let status = json!({"status": {"observedGeneration": daemon_set.metadata.generation, "currentNumberScheduled": 1,
        "numberMisscheduled": 0, "numberReady": 1, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1,
        "numberAvailable": 1}});
    let api = in_kube_system::<DaemonSet>(stage);
    api.patch_status(NAME, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

#[tokio::test]
async fn a_cluster_gets_its_authenticator_and_users_their_kubeconfig() {
    let stage = set().await;
    let operator = begin(&stage).await;
    stage.condition("AuthenticatorReady", "False", "NoControlPlaneNodes").await;
    stage.condition("KubeconfigReady", "True", "Written").await;
    let message = stage.condition("ApiServerConfigured", "False", "WaitingForAdministrator").await;
    assert!(message.contains("awsiam control-plane"), "{message}");
    rolled_out(&stage).await;
    let message = stage.condition("AuthenticatorReady", "True", "RolledOut").await;
    assert_eq!(message, "runs with the mappings on 1 control-plane node");
    assert_eq!(
        stage.clusters().get(CLUSTER).await.unwrap().annotations()["awsiam-operator.dev/rollout"],
        "Manual"
    );

    // The id follows from kube-system, stands in the configuration and in the kubeconfig.
    let config_map: ConfigMap = there(&stage, NAME).await;
    let id = config_map.annotations()["awsiam-operator.dev/cluster-id"].clone();
    assert_eq!(config_map.data.unwrap()["config.yaml"], format!("clusterID: \"{id}\"\n"));
    let users = text(&secret(&stage, "here-aws-iam-kubeconfig").await, "value");
    assert!(users.contains(&id) && users.contains("server: https://api.example.com:6443"), "{users}");

    // The CA has a key in its Secret and nowhere else, no owner, and moves with Cluster API.
    let ca = secret(&stage, "here-aws-iam-authenticator-ca").await;
    assert!(ca.owner_references().is_empty());
    assert_eq!(ca.labels()["clusterctl.cluster.x-k8s.io/move"], "true");
    let key = text(&ca, "key.pem");
    let serving: Secret = there(&stage, SERVING).await;
    assert!(
        !text(&serving, "tls.key").contains(key.trim()) && text(&serving, "ca.crt") == text(&ca, "cert.pem")
    );
    let all = format!(
        "{:?}{:?}",
        stage.clusters().get(CLUSTER).await.unwrap(),
        there::<DaemonSet>(&stage, NAME).await
    );
    assert!(!all.contains("PRIVATE KEY"), "{all}");
    operator.stop().await;
}

#[tokio::test]
async fn what_is_deleted_or_changed_comes_back_and_nothing_is_written_at_rest() {
    let stage = set().await;
    let operator = begin(&stage).await;
    rolled_out(&stage).await;
    stage.condition("AuthenticatorReady", "True", "RolledOut").await;
    let ca = secret(&stage, "here-aws-iam-authenticator-ca").await;
    gone::<Role>(&stage, NAME).await;
    gone::<RoleBinding>(&stage, NAME).await;
    gone::<ServiceAccount>(&stage, NAME).await;
    gone::<ConfigMap>(&stage, NAME).await;
    gone::<Secret>(&stage, SERVING).await;
    gone::<DaemonSet>(&stage, NAME).await;
    secrets(&stage).delete("here-aws-iam-kubeconfig", &DeleteParams::default()).await.unwrap();
    there::<Role>(&stage, NAME).await;
    there::<RoleBinding>(&stage, NAME).await;
    there::<ServiceAccount>(&stage, NAME).await;
    there::<ConfigMap>(&stage, NAME).await;
    there::<Secret>(&stage, SERVING).await;
    there::<DaemonSet>(&stage, NAME).await;
    secret(&stage, "here-aws-iam-kubeconfig").await;
    assert_eq!(ca.uid(), secret(&stage, "here-aws-iam-authenticator-ca").await.uid());

    // A field of ours that somebody changed.
    let drift = json!({"rules": []});
    in_kube_system::<Role>(&stage).patch(NAME, &PatchParams::default(), &Patch::Merge(&drift)).await.unwrap();
    stage
        .eventually("the rule", async || {
            let role: Role = there(&stage, NAME).await;
            role.rules.filter(|rules| rules.len() == 1).map(drop).ok_or_else(|| "no rule".to_owned())
        })
        .await;

    say_rolled_out(&stage).await;
    stage.condition("AuthenticatorReady", "True", "RolledOut").await;
    // For longer than a resync takes.
    stage.comes_to_rest(async || tokio::time::sleep(Duration::from_secs(5)).await).await;
    operator.stop().await;
}

#[tokio::test]
async fn objects_of_somebody_else_are_left_alone() {
    let stage = set().await;
    let theirs: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": NAME}})).unwrap();
    in_kube_system::<ServiceAccount>(&stage).create(&PostParams::default(), &theirs).await.unwrap();
    let operator = begin(&stage).await;
    let message = stage.condition("AuthenticatorReady", "False", "ForeignObject").await;
    assert!(
        message.starts_with("ServiceAccount kube-system/aws-iam-authenticator was not made by awsiam"),
        "{message}"
    );
    assert!(in_kube_system::<DaemonSet>(&stage).get_opt(NAME).await.unwrap().is_none());
    stage.text_gets("mapRoles", "role/Dev").await;
    // Handed over as the message says.
    let label = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "awsiam-operator"}}});
    let api = in_kube_system::<ServiceAccount>(&stage);
    api.patch(NAME, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    there::<DaemonSet>(&stage, NAME).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_lost_ca_is_told_and_the_leaf_serves_on() {
    let stage = set().await;
    let operator = begin(&stage).await;
    let serving: Secret = there(&stage, SERVING).await;
    there::<DaemonSet>(&stage, NAME).await;
    secrets(&stage).delete("here-aws-iam-authenticator-ca", &DeleteParams::default()).await.unwrap();
    let message = stage.condition("AuthenticatorReady", "False", "CALost").await;
    assert!(message.contains("here-aws-iam-authenticator-ca is gone"), "{message}");
    // What serves is still mended.
    gone::<DaemonSet>(&stage, NAME).await;
    there::<DaemonSet>(&stage, NAME).await;
    assert_eq!(serving.data, there::<Secret>(&stage, SERVING).await.data);
    assert!(secrets(&stage).get_opt("here-aws-iam-authenticator-ca").await.unwrap().is_none());
    operator.stop().await;
}

#[tokio::test]
async fn another_ca_takes_the_place_of_one_without_a_moment_of_distrust() {
    let stage = set().await;
    let (operator, ca) = (begin(&stage).await, "here-aws-iam-authenticator-ca");
    let before: Secret = there(&stage, SERVING).await;
    let old = secret(&stage, ca).await;
    let pods_before = template(there(&stage, NAME).await);

    // Step 1: the new CA, with the old certificate still trusted. The leaf stays, with its own CA beside it by which the
    // probe trusts it, and no pod is restarted.
    let steps = RUNBOOK.blocks("Another CA");
    let [new_beside_old, drop_old] = steps.as_slice() else { panic!("{steps:#?}") };
    secrets(&stage).delete(ca, &DeleteParams::default()).await.unwrap();
    stage.condition("AuthenticatorReady", "False", "CALost").await;
    run(&stage, new_beside_old, CLUSTER, "").await;
    stage.condition("AuthenticatorReady", "False", "NoControlPlaneNodes").await;
    let both = secret(&stage, ca).await;
    assert_eq!(text(&both, "trusted.pem"), text(&old, "cert.pem"));
    let during: Secret = there(&stage, SERVING).await;
    assert_eq!(before.data, during.data, "the leaf is one that API servers trust");
    assert_eq!(pods_before, template(there(&stage, NAME).await));
    assert_eq!(state_of(&during, &text(&both, "cert.pem")), LeafState::Renew);

    // Step 2, when every API server trusts both: the old one is trusted no more. Now the leaf is of the new CA.
    run(&stage, drop_old, CLUSTER, "").await;
    stage
        .eventually("a leaf of the new CA", async || {
            match state_of(&there(&stage, SERVING).await, &text(&both, "cert.pem")) {
                LeafState::Good { .. } => Ok(()),
                LeafState::Renew => Err("one of the old CA".to_owned()),
            }
        })
        .await;
    let after: Secret = there(&stage, SERVING).await;
    assert_eq!(text(&after, "ca.crt"), text(&both, "cert.pem"));
    operator.stop().await;
}

#[tokio::test]
async fn a_ca_of_another_cluster_is_not_used_unless_an_administrator_says_so() {
    let stage = set().await;
    let (certificate, key) = authority();
    let foreign: Secret =
        serde_json::from_value(json!({"metadata": {"name": "here-aws-iam-authenticator-ca"},
        "stringData": {"cert.pem": certificate, "key.pem": key}}))
        .unwrap();
    secrets(&stage).create(&PostParams::default(), &foreign).await.unwrap();
    let operator = begin(&stage).await;
    let message = stage.condition("AuthenticatorReady", "False", "CAUnusable").await;
    assert!(message.contains("awsiam-operator.dev/use-ca=true") && !message.contains("PRIVATE"), "{message}");
    assert!(in_kube_system::<DaemonSet>(&stage).get_opt(NAME).await.unwrap().is_none());
    let mark = json!({"metadata": {"annotations": {"awsiam-operator.dev/use-ca": "true"}}});
    let api = secrets(&stage);
    api.patch("here-aws-iam-authenticator-ca", &PatchParams::default(), &Patch::Merge(&mark)).await.unwrap();
    there::<DaemonSet>(&stage, NAME).await;
    operator.stop().await;
}

#[tokio::test]
async fn the_leaf_is_renewed_after_two_thirds_of_its_year_and_the_pods_are_restarted() {
    let stage = set().await;
    let operator = begin(&stage).await;
    let before: Secret = there(&stage, SERVING).await;
    let pods_before = template(there(&stage, NAME).await);
    operator.stop().await;

    let early = Options { clock_ahead: 200 * DAY, ..options(&stage) };
    let operator = stage.operator_with(early).await;
    stage.condition("AuthenticatorReady", "False", "NoControlPlaneNodes").await;
    assert_eq!(before.data, there::<Secret>(&stage, SERVING).await.data);
    operator.stop().await;

    let pods = in_kube_system::<Pod>(&stage);
    let earlier = BTreeMap::from([(HASH.to_owned(), "0".repeat(64))]);
    pods.create(&PostParams::default(), &pod_of(&earlier)).await.unwrap();

    let late = Options { clock_ahead: 250 * DAY, ..options(&stage) };
    let operator = stage.operator_with(late).await;
    stage
        .eventually("a new leaf", async || {
            let now: Secret = there(&stage, SERVING).await;
            if now.data == before.data { Err("the old leaf".to_owned()) } else { Ok(()) }
        })
        .await;
    stage
        .eventually("a new pod template", async || {
            let now = template(there(&stage, NAME).await);
            if now == pods_before { Err("the old template".to_owned()) } else { Ok(()) }
        })
        .await;
    let after: Secret = there(&stage, SERVING).await;
    assert_eq!(text(&before, "ca.crt"), text(&after, "ca.crt"), "the CA stays");
    // Pods of before can start again, those of a rollout that was not over among them; one that is made now starts with
    // what is new.
    let (old, new) = (pods_before, template(there(&stage, NAME).await));
    assert_eq!(marks(&after), BTreeSet::from([mark(&earlier), mark(&old), mark(&new)]));
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    pods.delete("old", &at_once).await.unwrap();
    operator.stop().await;
}

#[tokio::test]
async fn what_the_cluster_asks_for_wrongly_is_told_by_its_field() {
    let stage = set().await;
    let operator = begin(&stage).await;
    there::<DaemonSet>(&stage, NAME).await;
    for (block, reason, field) in [
        (json!({"image": "evil.example.com/x:1"}), "ImageNotAllowed", "spec.iamAuthenticator.image"),
        (json!({"clusterID": "other"}), "ClusterID", "spec.iamAuthenticator.clusterID"),
    ] {
        cluster(&stage, block).await;
        let message = stage.condition("AuthenticatorReady", "False", reason).await;
        assert!(message.contains(field), "{message}");
    }
    let spec = json!({"kubernetesVersion": "1.99", "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
        "iamAuthenticator": {"mode": "DaemonSet"}});
    stage.cluster_spec(spec).await;
    let message = stage.condition("AuthenticatorReady", "False", "UnknownKubernetesVersion").await;
    assert!(message.contains("spec.kubernetesVersion \"1.99\""), "{message}");
    for wrong in [json!({"key": "", "effect": "NoSchedule"}), json!({"key": "ours", "effect": "Never"})] {
        let good = json!({"key": "theirs", "effect": "NoExecute"});
        let spec = json!({"kubernetesVersion": "1.33", "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
            "controlPlaneConfiguration": {"endpoint": {"host": "api.example.com"}, "taints": [good, wrong]},
            "iamAuthenticator": {"mode": "DaemonSet"}});
        stage.cluster_spec(spec).await;
        let message = stage.condition("AuthenticatorReady", "False", "InvalidTaint").await;
        assert!(message.starts_with("spec.controlPlaneConfiguration.taints[1]: "), "{message}");
        cluster(&stage, json!({})).await;
        stage.condition("AuthenticatorReady", "False", "NoControlPlaneNodes").await;
    }
    operator.stop().await;
}

#[tokio::test]
async fn an_empty_list_of_references_takes_everything_away_where_no_api_server_asks() {
    let stage = set().await;
    let operator = begin(&stage).await;
    there::<DaemonSet>(&stage, NAME).await;
    secret(&stage, "here-aws-iam-kubeconfig").await;
    stage.cluster_spec(json!({"identityProviderRefs": [], "iamAuthenticator": {"mode": "DaemonSet"}})).await;
    let gone = async || -> Result<(), String> {
        let left = [
            in_kube_system::<DaemonSet>(&stage).get_opt(NAME).await.unwrap().is_some(),
            in_kube_system::<ConfigMap>(&stage).get_opt(NAME).await.unwrap().is_some(),
            in_kube_system::<Secret>(&stage).get_opt(SERVING).await.unwrap().is_some(),
            in_kube_system::<Role>(&stage).get_opt(NAME).await.unwrap().is_some(),
            in_kube_system::<RoleBinding>(&stage).get_opt(NAME).await.unwrap().is_some(),
            in_kube_system::<ServiceAccount>(&stage).get_opt(NAME).await.unwrap().is_some(),
            secrets(&stage).get_opt("here-aws-iam-kubeconfig").await.unwrap().is_some(),
            secrets(&stage).get_opt("here-aws-iam-authenticator-ca").await.unwrap().is_some(),
        ];
        if left.contains(&true) { Err(format!("{left:?}")) } else { Ok(()) }
    };
    stage.eventually("everything gone", gone).await;
    stage.condition("Ready", "True", "Ready").await;
    operator.stop().await;
}

#[tokio::test]
async fn an_operator_that_dies_after_any_write_is_followed_by_one_that_finishes() {
    let stage = set().await;
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    cluster(&stage, json!({})).await;
    let connection = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam").await.unwrap();
    let mut writes = 0;
    // What the first operator leaves that has nothing to go on from.
    let mut undisturbed = Vec::new();
    loop {
        let folder = stage.plane.folder().join(format!("authenticator-{writes}.log"));
        let after = writes.to_string();
        let cluster = format!("{}/{CLUSTER}", stage.namespace);
        let arguments =
            ["--hang-after-writes", after.as_str(), "--probe-image", "registry.example.com/awsiam:test"];
        let killed = Process::start(&connection, &cluster, &arguments, &folder).unwrap();
        let hung = stage
            .eventually("a write that hangs, or the end", async || {
                let log = std::fs::read_to_string(&folder).unwrap_or_default();
                let ready = || async {
                    let cluster = stage.clusters().get(CLUSTER).await.unwrap();
                    let conditions = cluster.status.map(|status| status.conditions).unwrap_or_default();
                    conditions.iter().any(|c| c.type_ == "KubeconfigReady" && c.status == "True")
                };
                match log.contains("this write hangs for ever") {
                    true => Ok(true),
                    false if ready().await => Ok(false),
                    false => Err(log),
                }
            })
            .await;
        killed.kill();
        if !hung {
            break;
        }
        let operator = stage.operator_with(options(&stage)).await;
        there::<DaemonSet>(&stage, NAME).await;
        stage.condition("KubeconfigReady", "True", "Written").await;
        stage.condition("AuthenticatorReady", "False", "NoControlPlaneNodes").await;
        if writes == 0 {
            // For longer than a resync takes.
            stage.comes_to_rest(async || tokio::time::sleep(Duration::from_secs(3)).await).await;
            undisturbed = without_certificates(&stage);
        }
        let what = format!("the objects of an undisturbed rollout after {writes} writes");
        stage
            .eventually(&what, async || {
                let objects = without_certificates(&stage);
                let other = objects.iter().zip(&undisturbed).find(|(now, wanted)| now != wanted);
                other.map_or(Ok(()), |(now, wanted)| Err(format!("{now:#} and not {wanted:#}")))
            })
            .await;
        // What was masked belongs together.
        let ca = text(&secret(&stage, "here-aws-iam-authenticator-ca").await, "cert.pem");
        let serving: Secret = there(&stage, SERVING).await;
        assert_eq!(text(&serving, "ca.crt"), ca, "after {writes} writes");
        assert!(matches!(state_of(&serving, &ca), LeafState::Good { .. }), "after {writes} writes");
        let config_map: ConfigMap = there(&stage, NAME).await;
        assert_eq!(config_map.annotations()["awsiam-operator.dev/ca-sha256"], sha256(&ca));
        assert_eq!(marks(&serving), BTreeSet::from([mark(&template(there(&stage, NAME).await))]));
        operator.stop().await;
        clear(&stage).await;
        let none = json!({"status": {"conditions": []}});
        let api = stage.clusters();
        api.patch_status(CLUSTER, &PatchParams::default(), &Patch::Merge(&none)).await.unwrap();
        writes += 1;
        assert!(writes < 40, "it never finishes");
    }
    assert!(writes >= 8, "only {writes} writes were cut off");
}

/// Everything that the rollout makes, without what is another one each time: keys, certificates, their hashes, and how often
/// an object was written.
fn without_certificates(stage: &Stage) -> Vec<Value> {
    let (applied, serving) = ("awsiam-operator.dev/applied-sha256", "awsiam-operator.dev/serving-sha256");
    let differ: [(&str, &[&str]); 3] = [
        ("ConfigMap", &["awsiam-operator.dev/ca-sha256", applied]),
        ("DaemonSet", &[serving, applied, "deprecated.daemonset.template.generation"]),
        ("Secret", &["cert.pem", "key.pem", "tls.crt", "tls.key", "ca.crt"]),
    ];
    let kinds = ["serviceaccount", "role", "rolebinding", "configmap", "daemonset"];
    let by_name: Vec<String> = kinds.iter().map(|kind| format!("{kind}/{NAME}")).collect();
    let secret = format!("secret/{SERVING}");
    let names: Vec<&str> = by_name.iter().chain([&secret]).map(String::as_str).collect();
    let mut objects = backed_up(stage, "kube-system", &names);
    let own = ["secret/here-aws-iam-authenticator-ca", "secret/here-aws-iam-kubeconfig"];
    objects.extend(backed_up(stage, &stage.namespace, &own));
    for object in &mut objects {
        if let Some((_, keys)) = differ.iter().find(|(kind, _)| object["kind"] == *kind) {
            mask(object, keys);
        }
    }
    objects
}

/// Takes out what stands under these keys, however deep, and hashes in the names of keys; how many of them there are stays.
fn mask(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(fields) => {
            let marks: Vec<String> = fields.keys().filter(|key| key.starts_with(MARK)).cloned().collect();
            for (number, mark) in marks.iter().enumerate() {
                let content = fields.remove(mark).unwrap();
                fields.insert(format!("mark {number}"), content);
            }
            for (key, value) in fields {
                if keys.contains(&key.as_str()) { *value = json!("masked") } else { mask(value, keys) }
            }
        }
        Value::String(text) if text.starts_with(MARK) => *value = json!("masked"),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, keys)),
        _ => {}
    }
}

/// What the pods of a DaemonSet are started for.
fn template(set: DaemonSet) -> BTreeMap<String, String> {
    set.spec.unwrap().template.metadata.unwrap().annotations.unwrap()
}

/// The key of the serving Secret that pods ask for that are started for this.
fn mark(template: &BTreeMap<String, String>) -> String {
    format!("{MARK}{}", template[HASH])
}

/// All such keys that are there.
fn marks(serving: &Secret) -> BTreeSet<String> {
    let keys = serving.data.iter().flat_map(BTreeMap::keys);
    keys.filter(|key| key.starts_with(MARK)).cloned().collect()
}

/// A pod of the authenticator, as the kubelet of a node that is not there has it.
fn pod_of(template: &BTreeMap<String, String>) -> Pod {
    let labels = json!({"app.kubernetes.io/name": NAME});
    serde_json::from_value(json!({"metadata": {"name": "old", "labels": labels, "annotations": template},
        "spec": {"nodeName": "control-0", "serviceAccountName": NAME, "automountServiceAccountToken": false,
            "containers": [{"name": NAME, "image": "i"}]}}))
    .unwrap()
}

/// Unix time.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap()
}

/// What a Secret serves with, as a leaf of this CA.
fn state_of(serving: &Secret, ca_pem: &str) -> LeafState {
    let leaf = Leaf { certificate_pem: text(serving, "tls.crt"), key_pem: text(serving, "tls.key") };
    leaf_state(&leaf, ca_pem, now())
}

/// A CA: certificate and key, PEM.
fn authority() -> (String, String) {
    let made = Authority::new(rcgen::KeyPair::generate().unwrap(), now()).unwrap();
    (made.certificate_pem().to_owned(), made.key_pem())
}

async fn clear(stage: &Stage) {
    gone::<DaemonSet>(stage, NAME).await;
    gone::<ConfigMap>(stage, NAME).await;
    gone::<Secret>(stage, SERVING).await;
    gone::<ServiceAccount>(stage, NAME).await;
    gone::<Role>(stage, NAME).await;
    gone::<RoleBinding>(stage, NAME).await;
    for name in ["here-aws-iam-kubeconfig", "here-aws-iam-authenticator-ca"] {
        drop(secrets(stage).delete(name, &DeleteParams::default()).await);
    }
    gone::<ConfigMap>(stage, "aws-auth").await;
}

#[tokio::test]
async fn somebody_elses_authenticator_needs_only_a_kubeconfig() {
    let stage = set().await;
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    cluster(&stage, json!({"mode": "External", "clusterID": "my-eks"})).await;
    let operator = stage.operator_with(options(&stage)).await;
    stage.condition("Ready", "True", "Ready").await;
    let users = text(&secret(&stage, "here-aws-iam-kubeconfig").await, "value");
    assert!(users.contains("- my-eks"), "{users}");
    assert!(in_kube_system::<DaemonSet>(&stage).get_opt(NAME).await.unwrap().is_none());
    assert!(secrets(&stage).get_opt("here-aws-iam-authenticator-ca").await.unwrap().is_none());
    operator.stop().await;
}

#[tokio::test]
async fn the_authenticator_can_read_aws_auth_and_no_other_config_map_or_secret() {
    let stage = set().await;
    let operator = begin(&stage).await;
    there::<RoleBinding>(&stage, NAME).await;
    let account = "system:serviceaccount:kube-system:aws-iam-authenticator";
    let mut kubectl = stage.plane.kubectl().unwrap();
    kubectl.args(["auth", "can-i", "--list", "-n", "kube-system", "--as", account]);
    let listed = String::from_utf8(kubectl.output().unwrap().stdout).unwrap();
    let line =
        listed.lines().find(|line| line.starts_with("configmaps")).unwrap_or_else(|| panic!("{listed}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["configmaps", "[]", "[aws-auth]", "[get", "list", "watch]"], "{listed}");
    assert!(!listed.contains("secrets"), "{listed}");
    assert!(!listed.lines().any(|line| line.starts_with("*.*")), "{listed}");
    operator.stop().await;
}

#[tokio::test]
async fn suspended_means_that_nothing_is_made() {
    let stage = set().await;
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    cluster(&stage, json!({"suspend": true})).await;
    let operator = stage.operator_with(options(&stage)).await;
    stage.condition("AuthenticatorReady", "False", "Suspended").await;
    assert!(in_kube_system::<ServiceAccount>(&stage).get_opt(NAME).await.unwrap().is_none());
    assert!(secrets(&stage).get_opt("here-aws-iam-authenticator-ca").await.unwrap().is_none());
    operator.stop().await;
    drop(operator_config(stage.plane).await);
}

#[tokio::test]
async fn an_image_with_a_forgeable_access_key_gets_no_username_made_of_it() {
    let stage = set().await;
    stage.config("team", &[("Dev", "dev", &["viewers"]), ("Key", "key:{{AccessKeyID}}", &[])]).await;
    let block = |tag: &str| json!({"image": format!("public.ecr.aws/eks-distro/kubernetes-sigs/aws-iam-authenticator:{tag}")});
    cluster(&stage, block("v0.5.8")).await;
    let operator = stage.operator_with(options(&stage)).await;
    stage.text_gets("mapRoles", "role/Dev").await;
    let message = stage.condition("AwsAuthSynced", "False", "PrivilegeRefused").await;
    assert!(message.contains("CVE-2022-2385") && message.contains("role/Key"), "{message}");
    assert!(!stage.text("mapRoles").await.contains("role/Key"));
    cluster(&stage, block("v0.5.9")).await;
    stage.text_gets("mapRoles", "role/Key").await;
    operator.stop().await;
}

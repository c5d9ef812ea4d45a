//! The edit of a KubeadmControlPlane before its real judge: Cluster API's CRDs, webhooks and conversion.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::process::{Command, Output};

use awsiam_authenticator::kubeadm_control_plane::{
    Decision, Edit, FLAG, MOUNT_PATH, Refusal, RefusalReason, WebhookFile, flag, is_ours, plan, undo,
    webhook_file,
};
use awsiam_tests::cluster_api::{ClusterApi, MACHINE_TEMPLATE};
use awsiam_tests::control_plane::{ControlPlane, shared};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const VERSIONS: [&str; 2] = ["v1beta1", "v1beta2"];

async fn with_cluster_api() -> (&'static ControlPlane, Client) {
    static MANAGER: OnceCell<ClusterApi> = OnceCell::const_new();
    let control_plane = shared().await;
    MANAGER.get_or_init(async || ClusterApi::start(control_plane).await.unwrap()).await;
    (control_plane, control_plane.client())
}

fn api(client: &Client, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("controlplane.cluster.x-k8s.io", version, "KubeadmControlPlane");
    Api::default_namespaced_with(client.clone(), &ApiResource::from_gvk(&kind))
}

/// The stored object of that version, as an administrator would create it.
fn object(version: &str, name: &str) -> Value {
    let text = match version {
        "v1beta1" => include_str!("../../crates/authenticator/tests/kubeadm_control_plane/v1beta1.yaml"),
        _ => include_str!("../../crates/authenticator/tests/kubeadm_control_plane/v1beta2.yaml"),
    };
    let mut object: Value = serde_saphyr::from_str(text).unwrap();
    object["metadata"] =
        json!({ "name": name, "namespace": "default", "annotations": { "example.com/a": "b" } });
    object.as_object_mut().unwrap().remove("status");
    // For the unit tests alone: no schema knows it.
    object["spec"]["kubeadmConfigSpec"].as_object_mut().unwrap().remove("aFieldOfTomorrow");
    let reference = match version {
        "v1beta1" => "/spec/machineTemplate/infrastructureRef",
        _ => "/spec/machineTemplate/spec/infrastructureRef",
    };
    object.pointer_mut(reference).unwrap()["kind"] = json!(MACHINE_TEMPLATE);
    object
}

fn webhook() -> WebhookFile {
    let content = include_str!("../../crates/authenticator/tests/kubeadm_control_plane/webhook.yaml");
    WebhookFile { content: content.to_owned() }
}

fn typed(object: &Value) -> DynamicObject {
    serde_json::from_value(object.clone()).unwrap()
}

async fn read(client: &Client, version: &str, name: &str) -> Value {
    serde_json::to_value(api(client, version).get(name).await.unwrap()).unwrap()
}

async fn create(client: &Client, version: &str, object: &Value) -> Value {
    let created = api(client, version).create(&PostParams::default(), &typed(object)).await;
    serde_json::to_value(created.unwrap()).unwrap()
}

/// A PUT that is conditional on the resourceVersion in it.
async fn put(client: &Client, version: &str, object: &Value) -> kube::Result<DynamicObject> {
    let name = object["metadata"]["name"].as_str().unwrap();
    api(client, version).replace(name, &PostParams::default(), &typed(object)).await
}

fn edit(decision: Decision) -> Edit {
    match decision {
        Decision::Edit(edit) => *edit,
        other => panic!("not an edit: {other:?}"),
    }
}

fn refusal(decision: Decision) -> Refusal {
    match decision {
        Decision::Refused(refusal) => *refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// What undoing must bring back: spec and annotations in both versions, but for the annotation that Cluster API's
/// conversion makes up whenever v1beta1 is read: the v1beta2 object once more, and its status.
async fn seen(client: &Client, name: &str) -> Vec<Value> {
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut object = read(client, version, name).await;
        let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove("cluster.x-k8s.io/conversion-data");
        seen.push(json!([object["spec"], object["metadata"]["annotations"]]));
    }
    seen
}

/// Every write through v1beta1, where arguments are a map, makes Cluster API store them by name.
fn with_sorted_arguments(mut seen: Vec<Value>) -> Vec<Value> {
    for one in &mut seen {
        let arguments = one.pointer_mut("/0/kubeadmConfigSpec/clusterConfiguration/apiServer/extraArgs");
        if let Some(Value::Array(list)) = arguments {
            list.sort_by_key(|argument| argument["name"].as_str().unwrap().to_owned());
        }
    }
    seen
}

/// In either version it is there, and it is ours.
async fn assert_in_place(client: &Client, name: &str) {
    for version in VERSIONS {
        let object = read(client, version, name).await;
        assert_eq!(plan(&object, &webhook()), Decision::InPlace, "{version}");
        assert!(is_ours(&object), "{version}");
        assert_eq!(webhook_file(&object), Some(webhook().content.as_str()), "{version}");
        assert_eq!(flag(&object), Some(MOUNT_PATH), "{version}");
        let volumes =
            &object["spec"]["kubeadmConfigSpec"]["clusterConfiguration"]["apiServer"]["extraVolumes"];
        let ours = volumes.as_array().unwrap().last().unwrap();
        assert_eq!((&ours["readOnly"], &ours["pathType"]), (&json!(true), &json!("File")), "{version}");
    }
}

#[tokio::test]
async fn an_object_may_be_created_with_the_edit() {
    let (_, client) = with_cluster_api().await;
    for version in VERSIONS {
        let name = format!("created-{version}");
        create(&client, version, &edit(plan(&object(version, &name), &webhook())).object).await;
        assert_in_place(&client, &name).await;
    }
}

#[tokio::test]
async fn an_edit_through_either_version_is_seen_in_both_and_undone_through_either() {
    let (_, client) = with_cluster_api().await;
    for created in VERSIONS {
        for edited in VERSIONS {
            for undone in VERSIONS {
                let name = format!("updated-{created}-{edited}-{undone}");
                create(&client, created, &object(created, &name)).await;
                let before = seen(&client, &name).await;

                let change = edit(plan(&read(&client, edited, &name).await, &webhook()));
                put(&client, edited, &change.object).await.unwrap();
                assert_in_place(&client, &name).await;

                let change = edit(undo(&read(&client, undone, &name).await));
                put(&client, undone, &change.object).await.unwrap();
                let after = seen(&client, &name).await;
                if edited == "v1beta2" && undone == "v1beta2" {
                    assert_eq!(after, before, "{name}");
                } else {
                    assert_eq!(with_sorted_arguments(after), with_sorted_arguments(before), "{name}");
                }
                assert_eq!(undo(&read(&client, edited, &name).await), Decision::InPlace);
            }
        }
    }
}

#[tokio::test]
async fn another_certificate_authority_changes_the_file_alone() {
    let (_, client) = with_cluster_api().await;
    for version in VERSIONS {
        let name = format!("renewed-{version}");
        create(&client, version, &edit(plan(&object(version, &name), &webhook())).object).await;
        let mut expected = read(&client, version, &name).await;
        let renewed = WebhookFile { content: "apiVersion: v1\nkind: Config\n# another\n".to_owned() };
        let change = edit(plan(&expected, &renewed));
        let after = serde_json::to_value(put(&client, version, &change.object).await.unwrap()).unwrap();
        let files = expected["spec"]["kubeadmConfigSpec"]["files"].as_array_mut().unwrap();
        files.last_mut().unwrap()["content"] = json!(renewed.content);
        assert_eq!(after["spec"], expected["spec"]);
    }
}

#[tokio::test]
async fn a_stale_object_is_refused_as_a_conflict() {
    let (_, client) = with_cluster_api().await;
    for version in VERSIONS {
        let name = format!("stale-{version}");
        let old = create(&client, version, &object(version, &name)).await;
        let mut faster = old.clone();
        faster["metadata"]["labels"] = json!({ "somebody": "else" });
        put(&client, version, &faster).await.unwrap();
        let Err(kube::Error::Api(status)) = put(&client, version, &edit(plan(&old, &webhook())).object).await
        else {
            panic!("the write of somebody else was lost");
        };
        assert_eq!(status.code, 409, "{status:?}");
    }
}

/// A KubeadmControlPlane without clusterConfiguration: Cluster API takes one, and then never lets it go again. So it is left
/// as it is, until somebody puts in what it may keep.
#[tokio::test]
async fn what_the_webhook_would_not_let_us_undo_is_not_done() {
    let (_, client) = with_cluster_api().await;
    for version in VERSIONS {
        let name = format!("bare-{version}");
        let mut bare = object(version, &name);
        bare["spec"]["kubeadmConfigSpec"] = json!({ "verbosity": 2 });
        let before = create(&client, version, &bare).await;
        for seen in VERSIONS {
            let refused = refusal(plan(&read(&client, seen, &name).await, &webhook()));
            assert_eq!(refused.reason, RefusalReason::NoWayBack);
            assert!(refused.patch.unwrap().contains("kubectl"));
        }

        let mut helped = before.clone();
        helped["spec"]["kubeadmConfigSpec"]["clusterConfiguration"] =
            json!({ "etcd": { "local": { "dataDir": "/var/lib/etcd" } } });
        put(&client, version, &helped).await.unwrap();
        let before_us = seen(&client, &name).await;
        let change = edit(plan(&read(&client, version, &name).await, &webhook()));
        put(&client, version, &change.object).await.unwrap();
        assert_in_place(&client, &name).await;
        let change = edit(undo(&read(&client, version, &name).await));
        put(&client, version, &change.object).await.unwrap();
        assert_eq!(seen(&client, &name).await, before_us);

        // Why so.
        let mut clean = read(&client, version, &name).await;
        clean["spec"] = before["spec"].clone();
        let refused = put(&client, version, &clean).await.unwrap_err().to_string();
        assert!(refused.contains("spec.kubeadmConfigSpec.clusterConfiguration: Forbidden"), "{refused}");
    }
}

#[tokio::test]
async fn a_topology_is_left_alone_and_gets_a_patch_for_its_class() {
    let (_, client) = with_cluster_api().await;
    for version in VERSIONS {
        let name = format!("topology-{version}");
        let mut owned = object(version, &name);
        owned["metadata"]["labels"] = json!({ "topology.cluster.x-k8s.io/owned": "" });
        create(&client, version, &owned).await;
        for seen in VERSIONS {
            let refused = refusal(plan(&read(&client, seen, &name).await, &webhook()));
            assert_eq!(refused.reason, RefusalReason::TopologyOwned);
            assert!(refused.patch.unwrap().contains("kind: KubeadmControlPlaneTemplate"));
        }
    }
}

/// What a manager that applies owns is read from the API server's own account.
#[tokio::test]
async fn a_manager_that_applies_is_left_alone_and_the_patch_by_hand_is_accepted() {
    let (control_plane, client) = with_cluster_api().await;
    for version in VERSIONS {
        for seen in VERSIONS {
            let name = format!("applied-{version}-{seen}");
            let parameters = PatchParams::apply("kustomize-controller");
            let applied = object(version, &name);
            api(&client, version).patch(&name, &parameters, &Patch::Apply(&applied)).await.unwrap();
            let refused = refusal(plan(&read(&client, seen, &name).await, &webhook()));
            assert_eq!(refused.reason, RefusalReason::ForeignManager);
            assert!(
                refused.message.contains("\"kustomize-controller\" applies files"),
                "{}",
                refused.message
            );
            assert_accepted(&by_hand(control_plane, &refused));
            assert_eq!(plan(&read(&client, seen, &name).await, &webhook()), Decision::InPlace);
        }
    }
}

#[tokio::test]
async fn a_flag_that_points_elsewhere_is_left_alone_and_the_patch_by_hand_is_accepted() {
    let (control_plane, client) = with_cluster_api().await;
    for version in VERSIONS {
        let name = format!("elsewhere-{version}");
        let mut theirs = object(version, &name);
        let arguments =
            &mut theirs["spec"]["kubeadmConfigSpec"]["clusterConfiguration"]["apiServer"]["extraArgs"];
        match arguments {
            Value::Array(list) => list.insert(0, json!({ "name": FLAG, "value": "/etc/theirs" })),
            map => map[FLAG] = json!("/etc/theirs"),
        }
        create(&client, version, &theirs).await;
        for seen in VERSIONS {
            let refused = refusal(plan(&read(&client, seen, &name).await, &webhook()));
            assert_eq!(refused.reason, RefusalReason::FlagElsewhere);
        }
        let refused = refusal(plan(&read(&client, version, &name).await, &webhook()));
        assert_accepted(&by_hand(control_plane, &refused));
        assert_eq!(plan(&read(&client, version, &name).await, &webhook()), Decision::InPlace);

        // It is the administrator's, and so is taking it out.
        let refused = refusal(undo(&read(&client, version, &name).await));
        assert_eq!(refused.reason, RefusalReason::NotOurs);
        assert_accepted(&by_hand(control_plane, &refused));
        assert_eq!(flag(&read(&client, version, &name).await), None);
    }
}

/// A patch that was made from another list than the one it meets does nothing.
#[tokio::test]
async fn a_patch_by_hand_that_came_too_late_is_refused() {
    let (control_plane, client) = with_cluster_api().await;
    let mut theirs = object("v1beta2", "too-late");
    let files = theirs["spec"]["kubeadmConfigSpec"]["files"].as_array_mut().unwrap();
    files.push(json!({ "path": MOUNT_PATH, "content": "theirs" }));
    let created = create(&client, "v1beta2", &theirs).await;
    let refused = refusal(plan(&created, &webhook()));
    assert_eq!(refused.reason, RefusalReason::FileNotOurs);

    let mut faster = created;
    let files = faster["spec"]["kubeadmConfigSpec"]["files"].as_array_mut().unwrap();
    files.insert(0, json!({ "path": "/etc/first", "content": "x" }));
    put(&client, "v1beta2", &faster).await.unwrap();
    let output = by_hand(control_plane, &refused);
    assert!(!output.status.success(), "{output:?}");
    let after = read(&client, "v1beta2", "too-late").await;
    assert_eq!(after["spec"], faster["spec"]);
}

/// Runs the printed command as it is, as an administrator would.
fn by_hand(control_plane: &ControlPlane, refused: &Refusal) -> Output {
    let kubectl = control_plane.kubectl().unwrap();
    let folder = std::path::Path::new(kubectl.get_program()).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(refused.patch.as_ref().unwrap()).env("PATH", path);
    for (name, value) in kubectl.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.output().unwrap()
}

fn assert_accepted(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

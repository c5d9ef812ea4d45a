//! Laws of the edit of a KubeadmControlPlane that hold whatever else is in it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use awsiam_authenticator::kubeadm_control_plane::{Decision, WebhookFile, plan, undo};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A list or object that is absent, empty where the version allows that, or has something in it.
fn some(
    name: &'static str,
    v1beta1: bool,
    full: Vec<Value>,
) -> impl Strategy<Value = Option<(String, Value)>> {
    let empty = full.first().map_or(json!({}), |one| if one.is_array() { json!([]) } else { json!({}) });
    let empty = if v1beta1 { Some(empty) } else { None };
    let mut choices = vec![None];
    choices.extend(full.into_iter().chain(empty).map(|value| Some((name.to_owned(), value))));
    prop::sample::select(choices)
}

fn file(n: u8) -> Value {
    json!({ "path": format!("/etc/{n}"), "content": "x", "owner": "root" })
}

fn api_server(v1beta1: bool) -> impl Strategy<Value = Map<String, Value>> {
    let arguments = if v1beta1 {
        vec![json!({ "profiling": "false" }), json!({ "v": "2", "a": "", "z": "1" })]
    } else {
        let argument = |name: &str| json!({ "name": name, "value": "2" });
        vec![json!([argument("profiling")]), json!([argument("z"), argument("a"), argument("v")])]
    };
    let volume = |name: &str| json!({ "name": name, "hostPath": format!("/{name}"), "mountPath": "/x" });
    let volumes = vec![json!([volume("one")]), json!([volume("two"), volume("one")])];
    let members = (
        some("extraArgs", v1beta1, arguments),
        some("extraVolumes", v1beta1, volumes),
        some("certSANs", false, vec![json!(["example.com"])]),
    );
    members.prop_map(|(one, two, three)| [one, two, three].into_iter().flatten().collect())
}

fn object() -> impl Strategy<Value = Value> {
    any::<bool>().prop_flat_map(|v1beta1| {
        let files = vec![json!([file(1)]), json!([file(3), file(2), file(1)])];
        let config = (
            some("files", v1beta1, files),
            some("format", false, vec![json!("cloud-config"), json!("bottlerocket")]),
            some("users", false, vec![json!([{ "name": "me" }])]),
        );
        let annotations = some("annotations", false, vec![json!({ "a/b~c": "d" })]);
        let is_there = prop::option::weighted(0.9, api_server(v1beta1));
        (Just(v1beta1), config, annotations, is_there, any::<bool>()).prop_map(assembled)
    })
}

type Parts = (
    bool,
    (Option<(String, Value)>, Option<(String, Value)>, Option<(String, Value)>),
    Option<(String, Value)>,
    Option<Map<String, Value>>,
    bool,
);

fn assembled((v1beta1, (files, format, users), annotations, api_server, only): Parts) -> Value {
    // What is never empty, so that nothing need be left in its place.
    let mut cluster = json!({ "imageRepository": "example.com" });
    if let Some(api_server) = api_server.filter(|members| v1beta1 || !members.is_empty()) {
        let says_something = api_server
            .iter()
            .any(|(_, value)| !matches!(value, Value::Object(members) if members.is_empty()))
            && api_server.contains_key("certSANs");
        cluster["apiServer"] = Value::Object(api_server);
        if only && says_something {
            cluster.as_object_mut().unwrap().remove("imageRepository");
        }
    }
    let mut config: Map<String, Value> = [files, format, users].into_iter().flatten().collect();
    config.insert("clusterConfiguration".to_owned(), cluster);
    let mut metadata = json!({ "name": "x", "namespace": "y", "resourceVersion": "7", "generation": 2 });
    metadata.as_object_mut().unwrap().extend(annotations);
    json!({
        "apiVersion": format!("controlplane.cluster.x-k8s.io/{}", if v1beta1 { "v1beta1" } else { "v1beta2" }),
        "kind": "KubeadmControlPlane",
        "metadata": metadata,
        "spec": { "kubeadmConfigSpec": config, "replicas": 3 },
        "status": { "replicas": 3 },
    })
}

fn edited(decision: Decision) -> Value {
    match decision {
        Decision::Edit(edit) => edit.object,
        other => panic!("not an edit: {other:?}"),
    }
}

fn webhook(text: &str) -> WebhookFile {
    WebhookFile { content: text.to_owned() }
}

/// What others put in: every list without our item.
fn without_ours(mut object: Value) -> Value {
    let ours = ["/etc/kubernetes/awsiam/token-webhook.yaml", "/var/lib/kubeadm/awsiam/token-webhook.yaml"];
    let is_ours = |item: &Value| ours.iter().any(|path| item.to_string().contains(path));
    for list in [
        "/files",
        "/clusterConfiguration/apiServer/extraArgs",
        "/clusterConfiguration/apiServer/extraVolumes",
    ] {
        match object.pointer_mut(&format!("/spec/kubeadmConfigSpec{list}")) {
            Some(Value::Array(items)) => items.retain(|item| !is_ours(item)),
            Some(Value::Object(members)) => members.retain(|_, value| !is_ours(value)),
            _ => {}
        }
    }
    object["spec"].take()
}

/// The same, with nothing that is empty: what was made for ours, and what was empty before.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, pruned(value)));
            Value::Object(
                members
                    .filter(|(_, value)| {
                        !matches!(value, Value::Object(all) if all.is_empty())
                            && !matches!(value, Value::Array(all) if all.is_empty())
                    })
                    .collect(),
            )
        }
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn undone_is_as_before(before in object()) {
        let after = edited(plan(&before, &webhook("one")));
        prop_assert_eq!(plan(&after, &webhook("one")), Decision::InPlace);
        prop_assert_eq!(edited(undo(&after)), before);
    }

    #[test]
    fn undone_after_another_content_is_as_before(before in object()) {
        let after = edited(plan(&edited(plan(&before, &webhook("one"))), &webhook("two")));
        prop_assert_eq!(edited(undo(&after)), before);
    }

    #[test]
    fn what_others_put_in_keeps_its_place(before in object()) {
        let after = edited(plan(&before, &webhook("one")));
        prop_assert_eq!(&after["status"], &before["status"]);
        prop_assert_eq!(&after["metadata"]["resourceVersion"], &before["metadata"]["resourceVersion"]);
        prop_assert_eq!(pruned(without_ours(after)), pruned(without_ours(before)));
    }
}

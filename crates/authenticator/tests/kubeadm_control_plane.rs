//! The edit of a KubeadmControlPlane: what is put in, that nothing else moves, that it comes out again without a
//! trace, and when hands are kept off. Objects lie in `kubeadm_control_plane/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use awsiam_authenticator::kubeadm_control_plane::{
    ANNOTATION, BOTTLEROCKET_PATH, Decision, Edit, FLAG, MOUNT_PATH, Refusal, RefusalReason, VOLUME,
    WebhookFile, flag, is_ours, plan, undo, webhook_file,
};
use serde_json::{Value, json};

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn v1beta1() -> Value {
    yaml(include_str!("kubeadm_control_plane/v1beta1.yaml"))
}

fn v1beta2() -> Value {
    yaml(include_str!("kubeadm_control_plane/v1beta2.yaml"))
}

fn both() -> [Value; 2] {
    [v1beta1(), v1beta2()]
}

fn webhook() -> WebhookFile {
    WebhookFile { content: include_str!("kubeadm_control_plane/webhook.yaml").to_owned() }
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

fn edited(object: &Value) -> Value {
    edit(plan(object, &webhook())).object
}

fn at<'a>(object: &'a mut Value, path: &str) -> &'a mut Value {
    object.pointer_mut(&format!("/spec/kubeadmConfigSpec{path}")).unwrap()
}

const API_SERVER: &str = "/clusterConfiguration/apiServer";

fn push(object: &mut Value, path: &str, item: Value) {
    at(object, path).as_array_mut().unwrap().push(item);
}

/// Sets the flag as the object's version has it.
fn set_flag(object: &mut Value, value: &str) {
    match at(object, &format!("{API_SERVER}/extraArgs")) {
        Value::Object(arguments) => drop(arguments.insert(FLAG.to_owned(), json!(value))),
        Value::Array(arguments) => arguments.push(json!({ "name": FLAG, "value": value })),
        other => panic!("{other}"),
    }
}

fn text(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).unwrap()
}

#[test]
fn one_file_one_flag_and_one_mount_are_added_in_v1beta1() {
    insta::assert_snapshot!(text(&edited(&v1beta1())));
}

#[test]
fn one_file_one_flag_and_one_mount_are_added_in_v1beta2() {
    insta::assert_snapshot!(text(&edited(&v1beta2())));
}

#[test]
fn an_edited_object_is_in_place_and_ours() {
    for object in both() {
        let edited = edited(&object);
        assert_eq!(plan(&edited, &webhook()), Decision::InPlace);
        assert!(is_ours(&edited) && !is_ours(&object));
        assert_eq!(webhook_file(&edited), Some(webhook().content.as_str()));
        assert_eq!((flag(&object), flag(&edited)), (None, Some(MOUNT_PATH)));
    }
}

#[test]
fn the_message_says_that_machines_are_replaced() {
    let edit = edit(plan(&v1beta2(), &webhook()));
    insta::assert_snapshot!(
        edit.message,
        @"adds the token webhook's file, flag and mount to KubeadmControlPlane clusters/prod-control-plane. Cluster API replaces the machines of the control plane for it, one by one"
    );
    assert!(edit.replaces_machines);
}

#[test]
fn another_content_is_put_in_the_place_of_the_old_one() {
    for object in both() {
        let mut old = edited(&object);
        push(&mut old, "/files", json!({ "path": "/etc/after", "content": "x" }));
        let renewed = WebhookFile { content: "another certificate authority".to_owned() };
        let change = edit(plan(&old, &renewed));
        assert!(change.message.starts_with("changes the token webhook's file"), "{}", change.message);
        assert!(change.message.contains("replaces the machines of the control plane"), "{}", change.message);
        let mut expected = old;
        let files = at(&mut expected, "/files").as_array_mut().unwrap();
        let ours = files.len() - 2;
        files[ours]["content"] = json!(renewed.content);
        assert_eq!(change.object, expected);
    }
}

#[test]
fn what_somebody_took_out_is_put_back() {
    for object in both() {
        let mut torn = edited(&object);
        at(&mut torn, "/files").as_array_mut().unwrap().pop();
        let change = edit(plan(&torn, &webhook()));
        assert!(change.message.starts_with("puts back what is missing"), "{}", change.message);
        assert_eq!(change.object, edited(&object));
    }
}

#[test]
fn what_a_conversion_adds_is_no_difference() {
    let mut converted = edited(&v1beta1());
    let last = at(&mut converted, "/files").as_array_mut().unwrap().last_mut().unwrap();
    last["append"] = json!(false);
    last["encoding"] = json!("");
    last["contentFormat"] = json!("Raw");
    assert_eq!(plan(&converted, &webhook()), Decision::InPlace);
    let last = at(&mut converted, "/files").as_array_mut().unwrap().last_mut().unwrap();
    last["append"] = json!(true);
    assert_ne!(plan(&converted, &webhook()), Decision::InPlace);
}

#[test]
fn on_bottlerocket_the_file_lies_where_its_host_sees_it() {
    let mut object = v1beta1();
    at(&mut object, "")["format"] = json!("bottlerocket");
    let mut edited = edited(&object);
    assert_eq!(at(&mut edited, "/files/2")["path"], json!(BOTTLEROCKET_PATH));
    let volume = at(&mut edited, "/clusterConfiguration/apiServer/extraVolumes/1");
    assert_eq!((&volume["hostPath"], &volume["mountPath"]), (&json!(BOTTLEROCKET_PATH), &json!(MOUNT_PATH)));
    assert_eq!(plan(&edited, &webhook()), Decision::InPlace);
}

#[test]
fn undone_is_as_before() {
    for object in both() {
        let undone = edit(undo(&edited(&object)));
        assert_eq!(undone.object, object);
        assert!(undone.replaces_machines);
        assert_eq!(undo(&object), Decision::InPlace);
    }
}

#[test]
fn undoing_leaves_what_others_added_meanwhile() {
    for object in both() {
        let mut later = edited(&object);
        let mut expected = object.clone();
        for both in [&mut later, &mut expected] {
            push(both, "/files", json!({ "path": "/etc/after", "content": "x" }));
            both["metadata"]["annotations"]["example.com/later"] = json!("yes");
        }
        assert_eq!(edit(undo(&later)).object, expected);
    }
}

#[test]
fn a_flag_that_points_elsewhere_by_now_stays_when_ours_is_taken_out() {
    let mut moved = edited(&v1beta1());
    set_flag(&mut moved, "/etc/theirs");
    let undone = edit(undo(&moved)).object;
    let mut expected = v1beta1();
    set_flag(&mut expected, "/etc/theirs");
    assert_eq!(undone, expected);
}

#[test]
fn a_note_with_nothing_behind_it_is_taken_off_without_replacing_machines() {
    for object in both() {
        let mut noted = object.clone();
        noted["metadata"]["annotations"][ANNOTATION] = json!("{\"version\":1}");
        let undone = edit(undo(&noted));
        assert_eq!(undone.object, object);
        assert!(!undone.replaces_machines);
    }
}

#[test]
fn a_note_that_cant_be_read_still_lets_ours_be_taken_out() {
    let mut noted = edited(&v1beta2());
    noted["metadata"]["annotations"][ANNOTATION] = json!("broken");
    assert_eq!(edit(undo(&noted)).object, v1beta2());
}

#[test]
fn what_was_put_in_by_hand_is_not_taken_out() {
    for object in both() {
        let mut by_hand = edited(&object);
        by_hand["metadata"]["annotations"].as_object_mut().unwrap().remove(ANNOTATION);
        assert_eq!(plan(&by_hand, &webhook()), Decision::InPlace);
        let refused = refusal(undo(&by_hand));
        assert_eq!(refused.reason, RefusalReason::NotOurs);
        assert!(refused.patch.unwrap().contains("\"op\":\"remove\""));
    }
}

/// The object without this member of its kubeadmConfigSpec, or with another content there.
fn with(object: &Value, member: &str, content: Option<Value>) -> Value {
    let mut other = object.clone();
    let config = at(&mut other, "").as_object_mut().unwrap();
    config.remove(member);
    config.extend(content.map(|content| (member.to_owned(), content)));
    other
}

#[test]
fn what_could_never_be_undone_is_not_done() {
    for object in both() {
        let mut silent = object.clone();
        silent["spec"].as_object_mut().unwrap().remove("kubeadmConfigSpec");
        let contents = [None, Some(json!({})), Some(json!({ "apiServer": {}, "etcd": {} }))];
        let bare = contents.map(|content| with(&object, "clusterConfiguration", content));
        for bare in bare.into_iter().chain([silent]) {
            let refused = refusal(plan(&bare, &webhook()));
            assert_eq!(refused.reason, RefusalReason::NoWayBack, "{bare}");
            assert!(refused.message.contains("etcd.local.dataDir: /var/lib/etcd"), "{}", refused.message);
            let patch = refused.patch.unwrap();
            assert!(patch.contains("authentication-token-webhook-config-file"), "{patch}");
        }
        // As the message says.
        let default = json!({ "etcd": { "local": { "dataDir": "/var/lib/etcd" } } });
        let helped = with(&object, "clusterConfiguration", Some(default));
        assert_eq!(edit(undo(&edited(&helped))).object, helped);
    }
}

#[test]
fn where_others_took_all_else_out_of_the_cluster_configuration_kubeadms_default_stays() {
    for object in both() {
        let mut edited = edited(&object);
        let mut ours = at(&mut edited, "/clusterConfiguration/apiServer").clone();
        let before = at(&mut object.clone(), "/clusterConfiguration/apiServer").clone();
        for list in ["extraArgs", "extraVolumes"] {
            match (&mut ours[list], &before[list]) {
                (Value::Array(items), Value::Array(theirs)) => items.retain(|item| !theirs.contains(item)),
                (Value::Object(members), Value::Object(theirs)) => {
                    members.retain(|name, _| !theirs.contains_key(name));
                }
                _ => {}
            }
        }
        let left = json!({ "extraArgs": ours["extraArgs"], "extraVolumes": ours["extraVolumes"] });
        let edited = with(&edited, "clusterConfiguration", Some(json!({ "apiServer": left })));
        let undone = edit(undo(&edited));
        let default = json!({ "etcd": { "local": { "dataDir": "/var/lib/etcd" } } });
        assert_eq!(at(&mut undone.object.clone(), "/clusterConfiguration"), &default);
        assert!(undone.message.contains("kubeadm's default"), "{}", undone.message);
    }
}

#[test]
fn a_topology_is_not_fought() {
    for object in both() {
        let mut owned = object.clone();
        owned["metadata"]["labels"]["topology.cluster.x-k8s.io/owned"] = json!("");
        let refused = refusal(plan(&owned, &webhook()));
        assert_eq!(refused.reason, RefusalReason::TopologyOwned);
        let parts = yaml(&refused.patch.unwrap());
        let operations = parts[1]["definitions"][0]["jsonPatches"].as_array().unwrap();
        assert!(operations.iter().all(|one| one["op"] == "add"), "{operations:?}");
        assert_eq!(operations[0]["path"], "/spec/template/spec/kubeadmConfigSpec/files/-");
        // As Cluster API renders it for a Cluster with that value.
        assert_eq!(parts[2]["value"], json!(webhook().content));
        let template = operations[0]["valueFrom"]["template"].as_str().unwrap();
        let rendered = template.replace("{{ .awsiamTokenWebhook | toJson }}", &parts[2]["value"].to_string());
        let mut expected = edited(&object);
        let files = at(&mut expected, "/files").as_array_mut().unwrap();
        assert_eq!(Some(yaml(&rendered)), files.pop());
    }
}

#[test]
fn the_patch_for_a_cluster_class_is_a_whole_item() {
    let mut owned = v1beta2();
    owned["metadata"]["labels"] = json!({ "topology.cluster.x-k8s.io/owned": "" });
    let refused = refusal(plan(&owned, &webhook()));
    insta::assert_snapshot!(format!("{}\n---\n{}", refused.message, refused.patch.unwrap()));
}

#[test]
fn a_manager_that_applies_one_of_the_lists_is_not_fought() {
    let api_server = |list: Value| json!({ "f:clusterConfiguration": { "f:apiServer": list } });
    let cases = [
        ("capi-topology", json!({ "f:files": {} }), "files"),
        (
            "eks-a-controller",
            api_server(json!({ "f:extraArgs": { "f:profiling": {} } })),
            "apiServer.extraArgs",
        ),
        ("kustomize-controller", api_server(json!({ "f:extraVolumes": {} })), "apiServer.extraVolumes"),
    ];
    for (manager, config, list) in cases {
        for object in both() {
            let mut applied = object.clone();
            let fields = json!({ "f:spec": { "f:kubeadmConfigSpec": config } });
            let entry = json!({ "manager": manager, "operation": "Apply", "fieldsV1": fields });
            applied["metadata"]["managedFields"] = json!([entry]);
            let refused = refusal(plan(&applied, &webhook()));
            assert_eq!(refused.reason, RefusalReason::ForeignManager);
            assert!(
                refused.message.contains(&format!("\"{manager}\" applies {list} ")),
                "{}",
                refused.message
            );
            assert!(refused.patch.is_some());

            let mut ours = edited(&object);
            ours["metadata"]["managedFields"] = json!([entry]);
            assert_eq!(refusal(undo(&ours)).reason, RefusalReason::ForeignManager);

            applied["metadata"]["managedFields"][0]["operation"] = json!("Update");
            edit(plan(&applied, &webhook()));
        }
    }
}

#[test]
fn a_manager_that_applies_other_fields_is_no_obstacle() {
    for mut object in both() {
        let fields = json!({ "f:spec": { "f:replicas": {}, "f:kubeadmConfigSpec": { "f:verbosity": {} } } });
        object["metadata"]["managedFields"] =
            json!([{ "manager": "flux", "operation": "Apply", "fieldsV1": fields }]);
        edit(plan(&object, &webhook()));
    }
}

#[test]
fn a_flag_that_points_elsewhere_is_left_alone() {
    for mut object in both() {
        set_flag(&mut object, "/etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml");
        let refused = refusal(plan(&object, &webhook()));
        assert_eq!(refused.reason, RefusalReason::FlagElsewhere);
        assert!(refused.message.contains("/etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml"));
        assert!(refused.patch.is_some());
    }
}

#[test]
fn a_file_or_volume_of_ours_by_name_only_is_left_alone() {
    for object in both() {
        let mut file = object.clone();
        push(&mut file, "/files", json!({ "path": MOUNT_PATH, "content": "theirs" }));
        assert_eq!(refusal(plan(&file, &webhook())).reason, RefusalReason::FileNotOurs);

        let mut volume = object.clone();
        let theirs = json!({ "name": VOLUME, "hostPath": "/tmp/x", "mountPath": "/tmp/x" });
        push(&mut volume, &format!("{API_SERVER}/extraVolumes"), theirs);
        assert_eq!(refusal(plan(&volume, &webhook())).reason, RefusalReason::VolumeNotOurs);
    }
}

#[test]
fn a_mount_that_would_hide_the_file_is_in_the_way() {
    let cases = [
        ("/srv/x", MOUNT_PATH, true),
        ("/srv/x", "/etc/kubernetes/awsiam/", true),
        ("/srv/x", "/etc/kubernetes", true),
        ("/etc/kubernetes/", "/etc/kubernetes", false),
        ("/etc/kubernetes/awsiam", "/etc/kubernetes/awsiam", false),
        ("/srv/x", "/etc/kubernetes/awsiamish", false),
        ("/srv/x", "/etc/kubernetes/aws-iam-authenticator/", false),
    ];
    for (host, mounted, hides) in cases {
        for mut object in both() {
            let volume = json!({ "name": "theirs", "hostPath": host, "mountPath": mounted });
            push(&mut object, &format!("{API_SERVER}/extraVolumes"), volume);
            let decision = plan(&object, &webhook());
            if hides {
                assert_eq!(refusal(decision).reason, RefusalReason::VolumeInTheWay, "{mounted}");
            } else {
                edit(decision);
            }
        }
    }
}

#[test]
fn nothing_is_put_where_there_is_no_room() {
    let many = |count: usize, item: fn(usize) -> Value| Value::Array((0..count).map(item).collect());
    let file: fn(usize) -> Value = |n| json!({ "path": format!("/f{n}"), "content": "x" });
    let volume: fn(usize) -> Value =
        |n| json!({ "name": format!("v{n}"), "hostPath": format!("/v{n}"), "mountPath": format!("/v{n}") });
    let argument: fn(usize) -> Value = |n| json!({ "name": format!("a{n}"), "value": "" });
    let volumes = format!("{API_SERVER}/extraVolumes");
    let arguments = format!("{API_SERVER}/extraArgs");
    for (path, limit, item) in [("/files", 200, file), (&volumes, 100, volume), (&arguments, 100, argument)] {
        let mut object = v1beta2();
        *at(&mut object, path) = many(limit - 1, item);
        edit(plan(&object, &webhook()));
        *at(&mut object, path) = many(limit, item);
        let refused = refusal(plan(&object, &webhook()));
        assert_eq!((refused.reason, refused.patch), (RefusalReason::LimitReached, None), "{path}");
    }
    let long = |length| WebhookFile { content: "é".repeat(length) };
    edit(plan(&v1beta1(), &long(10_240)));
    assert_eq!(refusal(plan(&v1beta1(), &long(10_241))).reason, RefusalReason::LimitReached);
    assert_eq!(refusal(plan(&v1beta1(), &long(0))).reason, RefusalReason::LimitReached);
}

#[test]
fn what_is_on_its_way_out_is_left_alone() {
    for mut object in both() {
        object["metadata"]["deletionTimestamp"] = json!("2026-11-22T10:00:00Z");
        assert_eq!(refusal(plan(&object, &webhook())).reason, RefusalReason::BeingDeleted);
    }
}

#[test]
fn another_kind_version_or_shape_is_not_touched() {
    let broken: [fn(&mut Value); 6] = [
        |object| object["apiVersion"] = json!("controlplane.cluster.x-k8s.io/v1beta3"),
        |object| object["kind"] = json!("KubeadmControlPlaneTemplate"),
        |object| *at(object, "") = json!([]),
        |object| *at(object, "/files") = json!({}),
        |object| *at(object, &format!("{API_SERVER}/extraArgs")) = json!("x"),
        |object| *at(object, API_SERVER) = json!([]),
    ];
    for object in both() {
        for break_it in broken {
            let mut object = object.clone();
            break_it(&mut object);
            assert_eq!(refusal(plan(&object, &webhook())).reason, RefusalReason::NotUnderstood, "{object}");
            assert_eq!(refusal(undo(&object)).reason, RefusalReason::NotUnderstood);
        }
    }
    assert_eq!(refusal(plan(&json!(null), &webhook())).reason, RefusalReason::NotUnderstood);
}

#[test]
fn an_object_from_kubectl_apply_gets_a_warning() {
    let mut object = v1beta1();
    let applied = json!({ "spec": { "kubeadmConfigSpec": { "files": [] } } }).to_string();
    object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!(applied);
    let message = edit(plan(&object, &webhook())).message;
    assert!(
        message.ends_with("add the same to that file, or the next apply takes it out again"),
        "{message}"
    );
}

#[test]
fn a_patch_by_hand_is_one_command_and_checks_what_it_replaces() {
    let mut object = v1beta2();
    push(&mut object, "/files", json!({ "path": MOUNT_PATH, "content": "it's theirs" }));
    insta::assert_snapshot!(refusal(plan(&object, &webhook())).patch.unwrap());
}

//! The objects of typical targets, as stored text. `UPDATE=1 cargo test -p awsiam-authenticator` writes it anew;
//! read the difference before it is committed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::path::Path;

use awsiam_authenticator::certificate::Leaf;
use awsiam_authenticator::facts::Facts;
use awsiam_authenticator::image::{ImagePolicy, choose};
use awsiam_authenticator::kubeconfig::{Exec, UserKubeconfig, manifest, user, webhook};
use awsiam_authenticator::objects::{Objects, default_resources, objects, webhook_file};
use awsiam_core::arn::Partition;
use awsiam_core::desired::Backend;
use k8s_openapi::api::core::v1::{EnvVar, Taint};
use serde_json::Value;

const CA: &str = "-----BEGIN CERTIFICATE-----\nY2E=\n-----END CERTIFICATE-----\n";

fn leaf() -> Leaf {
    Leaf { certificate_pem: "the certificate".to_owned(), key_pem: "the private key".to_owned() }
}

fn facts(kubernetes: &str) -> Facts {
    Facts {
        cluster_id: "b01a5c6e-90c3-501c-a193-b62cf89569fb".to_owned(),
        region: "eu-west-1".to_owned(),
        partition: Partition::Aws,
        backends: vec![Backend::EksConfigMap],
        image: choose(None, Some(kubernetes), &ImagePolicy::default()).unwrap(),
        probe_image: Some("registry.example.com/awsiam:0.1.0".to_owned()),
        resources: default_resources(),
        env: Vec::new(),
        taints: Vec::new(),
    }
}

fn taint(key: &str, value: Option<&str>, effect: &str) -> Taint {
    Taint {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        effect: effect.to_owned(),
        time_added: None,
    }
}

fn text(facts: &Facts) -> String {
    let documents = objects(facts, &leaf(), CA).documents().unwrap();
    let texts: Vec<String> = documents.iter().map(|document| manifest(document).unwrap()).collect();
    format!("---\n{}", texts.join("---\n"))
}

fn is_stored(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, stored, "{name} is not what is stored; UPDATE=1 writes it anew");
}

#[test]
fn a_recent_kubeadm_cluster() {
    is_stored("kubeadm-1.36.yaml", &text(&facts("1.36")));
}

#[test]
fn k3s_whose_labels_have_a_value() {
    let facts = Facts {
        taints: vec![
            taint("node-role.kubernetes.io/control-plane", Some("true"), "NoSchedule"),
            taint("node-role.kubernetes.io/etcd", Some("true"), "NoExecute"),
        ],
        ..facts("1.33")
    };
    is_stored("k3s-1.33.yaml", &text(&facts));
}

#[test]
fn an_old_cluster_with_master_labels_and_no_probe() {
    is_stored("kubeadm-1.23.yaml", &text(&Facts { probe_image: None, ..facts("1.23") }));
}

#[test]
fn both_backends_in_china_with_taints_and_a_proxy() {
    let variable = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..EnvVar::default()
    };
    let facts = Facts {
        region: "cn-north-1".to_owned(),
        partition: Partition::AwsCn,
        backends: vec![Backend::Crd, Backend::EksConfigMap],
        taints: vec![
            taint("dedicated", Some("control"), "NoSchedule"),
            taint("slow", None, "PreferNoSchedule"),
        ],
        env: vec![
            variable("HTTPS_PROXY", "http://proxy.example.cn:3128"),
            variable("NO_PROXY", "10.96.0.0/12"),
        ],
        ..facts("1.31")
    };
    is_stored("china-crd-1.31.yaml", &text(&facts));
}

#[test]
fn the_writer_of_the_api_servers_file() {
    let taints = [taint("dedicated", Some("control"), "NoSchedule")];
    let made = webhook_file("registry.example.com/awsiam:0.1.0", &taints, &webhook(CA));
    is_stored("webhook-file.yaml", &manifest(&serde_json::to_value(&made).unwrap()).unwrap());
}

/// Each sentence of what it promises, apart from its text.
#[test]
fn the_writer_sees_one_folder_of_the_node_and_nobody_to_talk_to() {
    let made = webhook_file("registry.example.com/awsiam:0.1.0", &[], &webhook(CA));
    let spec = made.spec.unwrap();
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.host_network, None);
    assert_eq!(pod.automount_service_account_token, Some(false));
    let volumes = pod.volumes.unwrap();
    assert_eq!(volumes.len(), 1);
    assert_eq!(volumes[0].host_path.as_ref().unwrap().path, "/etc/kubernetes/awsiam");
    let [container] = &pod.containers[..] else { panic!("{:?}", pod.containers) };
    let context = container.security_context.as_ref().unwrap();
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(context.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
    // The authenticator's DaemonSet and its pods' watch don't know these pods.
    let authenticator = objects(&facts("1.36"), &leaf(), CA).daemon_set.spec.unwrap();
    let labels = spec.template.metadata.unwrap().labels.unwrap();
    let selected = authenticator.selector.match_labels.unwrap();
    assert!(selected.iter().any(|(key, value)| labels.get(key) != Some(value)), "{labels:?}");
}

#[test]
fn the_webhook_file_and_the_user_kubeconfigs() {
    is_stored("webhook.kubeconfig", &webhook(CA));
    for (name, exec) in
        [("user-authenticator.kubeconfig", Exec::Authenticator), ("user-aws.kubeconfig", Exec::Aws)]
    {
        let text = user(&UserKubeconfig {
            cluster: "prod",
            server: "https://[fd00::1]:443",
            ca_pem: CA,
            cluster_id: "b01a5c6e-90c3-501c-a193-b62cf89569fb",
            region: "eu-west-1",
            exec,
        });
        is_stored(name, &text.unwrap());
    }
}

/// Each sentence of what the objects promise, apart from their text.
#[test]
fn the_pod_is_confined_and_finds_every_control_plane_node() {
    let made = objects(&facts("1.36"), &leaf(), CA);
    let pod = made.daemon_set.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    assert_eq!(pod.host_network, Some(true));
    assert_eq!(pod.termination_grace_period_seconds, Some(5));
    assert_eq!(pod.priority_class_name.as_deref(), Some("system-node-critical"));
    assert_eq!(pod.security_context.as_ref().unwrap().run_as_user, Some(65532));
    for container in &pod.containers {
        let context = container.security_context.as_ref().unwrap();
        assert_eq!(context.read_only_root_filesystem, Some(true), "{}", container.name);
        assert_eq!(context.allow_privilege_escalation, Some(false), "{}", container.name);
        assert_eq!(
            context.capabilities.as_ref().unwrap().drop,
            Some(vec!["ALL".to_owned()]),
            "{}",
            container.name
        );
        assert!(container.readiness_probe.is_some(), "{}", container.name);
    }
    assert!(pod.volumes.as_ref().unwrap().iter().all(|volume| volume.host_path.is_none()));
    let key_mounts = pod.volumes.as_ref().unwrap().iter().filter(|volume| {
        let items = volume.secret.iter().flat_map(|secret| secret.items.iter().flatten());
        items.into_iter().any(|item| item.key == "tls.key")
    });
    let with_key: Vec<&str> = key_mounts.map(|volume| volume.name.as_str()).collect();
    assert_eq!(with_key, ["serving"]);
    let probe = pod.containers.iter().find(|container| container.name == "mappings").unwrap();
    assert!(
        probe.volume_mounts.iter().flatten().all(|mount| mount.name != "serving"),
        "the probe sees the key"
    );
}

#[test]
fn without_backend_crd_the_authenticator_reads_aws_auth_and_nothing_else() {
    let made = objects(&facts("1.36"), &leaf(), CA);
    let rules = made.role.rules.unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].resource_names, Some(vec!["aws-auth".to_owned()]));
    assert_eq!(rules[0].verbs, ["get", "list", "watch"]);
    assert!(made.cluster_role.is_none() && made.cluster_role_binding.is_none());
}

#[test]
fn pods_are_restarted_for_a_new_certificate_ca_or_configuration_and_for_nothing_less() {
    let annotations = |facts: &Facts, leaf: &Leaf, ca: &str| {
        let made = objects(facts, leaf, ca);
        made.daemon_set.spec.unwrap().template.metadata.unwrap().annotations.unwrap()
    };
    let before = annotations(&facts("1.36"), &leaf(), CA);
    assert_eq!(before, annotations(&facts("1.36"), &leaf(), CA));
    let renewed = Leaf { certificate_pem: "another".to_owned(), ..leaf() };
    assert_ne!(before, annotations(&facts("1.36"), &renewed, CA));
    assert_ne!(before, annotations(&facts("1.36"), &leaf(), "another CA"));
    let other_id = Facts { cluster_id: "other".to_owned(), ..facts("1.36") };
    assert_ne!(before, annotations(&other_id, &leaf(), CA));
    let all = format!("{before:?}");
    assert!(!all.contains("private key"));
}

/// By its volume a pod asks for the very Secret that it was made for: a kubelet with an older one has no such key.
#[test]
fn a_pod_starts_with_the_certificate_that_it_was_made_for_or_a_later_one() {
    let asked = |made: &Objects| {
        let spec = made.daemon_set.spec.clone().unwrap().template.spec.unwrap();
        let serving = spec.volumes.unwrap().into_iter().find(|volume| volume.name == "serving").unwrap();
        let items = serving.secret.unwrap().items.unwrap();
        items.into_iter().map(|item| item.key).collect::<Vec<_>>()
    };
    let has = |made: &Objects, key: &String| made.serving.data.as_ref().unwrap().contains_key(key);
    let old = objects(&facts("1.36"), &leaf(), CA);
    let mut new = objects(&facts("1.36"), &Leaf { certificate_pem: "another".to_owned(), ..leaf() }, CA);
    assert!(asked(&old).iter().all(|key| has(&old, key)));
    assert!(asked(&new).iter().all(|key| has(&new, key)));
    assert!(!asked(&new).iter().all(|key| has(&old, key)), "an old Secret would do");
    assert!(!asked(&old).iter().all(|key| has(&new, key)));
    let annotations = old.daemon_set.spec.clone().unwrap().template.metadata.unwrap().annotations.unwrap();
    let before = new.serving.clone();
    new.serve(["no hash, and no name of a key"].into_iter());
    assert_eq!(new.serving, before);
    new.serve([annotations["awsiam-operator.dev/serving-sha256"].as_str()].into_iter());
    assert!(asked(&old).iter().all(|key| has(&new, key)), "a pod that is there can't start again");
}

#[test]
fn every_object_is_labelled_as_ours() {
    for document in objects(&facts("1.36"), &leaf(), CA).documents().unwrap() {
        let label =
            document.pointer("/metadata/labels/app.kubernetes.io~1managed-by").and_then(Value::as_str);
        assert_eq!(label, Some("awsiam-operator"), "{document}");
        assert!(document.get("kind").is_some() && document.get("apiVersion").is_some(), "{document}");
    }
}

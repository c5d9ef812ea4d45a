//! What is printed for each distribution, stored as text; and that what is to be copied out of it is what it should be.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use awsiam_authenticator::distribution::{Distribution, settings};
use serde_json::Value;

const WEBHOOK: &str = include_str!("kubeadm_control_plane/webhook.yaml");

#[test]
fn the_settings_of_each_distribution_are_as_stored() {
    for distribution in Distribution::ALL {
        insta::assert_snapshot!(distribution.name(), settings(distribution, WEBHOOK));
    }
}

/// What stands between fences, to be copied.
fn blocks(text: &str) -> Vec<String> {
    let parts = format!("\n{text}");
    let fenced = parts.split("\n```").skip(1).step_by(2);
    fenced.map(|block| format!("{}\n", block.split_once('\n').unwrap().1)).collect()
}

/// Every value of a member of that name, anywhere in the text's YAML blocks.
fn members(text: &str, name: &str) -> Vec<Value> {
    fn collect(value: &Value, name: &str, found: &mut Vec<Value>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get(name).cloned());
                members.values().for_each(|value| collect(value, name, found));
            }
            Value::Array(items) => items.iter().for_each(|value| collect(value, name, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for block in blocks(text) {
        if let Ok(yaml) = serde_saphyr::from_str::<Value>(&block) {
            collect(&yaml, name, &mut found);
        }
    }
    found
}

#[test]
fn the_kubeconfig_can_be_copied_out_of_yaml_as_it_is() {
    for (distribution, member) in [
        (Distribution::Kubeadm, "content"),
        (Distribution::K3s, "content"),
        (Distribution::Rke2, "content"),
        (Distribution::Talos, "content"),
        (Distribution::Talos, "kubeconfig"),
    ] {
        let found = members(&settings(distribution, WEBHOOK), member);
        assert!(found.contains(&Value::from(WEBHOOK)), "{distribution:?}: {found:#?}");
    }
}

#[test]
fn the_file_comes_before_the_flag() {
    for distribution in Distribution::ALL {
        let blocks = blocks(&settings(distribution, WEBHOOK));
        let first = |what: &str| blocks.iter().position(|block| block.contains(what)).unwrap();
        let file = first("current-context: webhook");
        assert!(file < first("authentication-token-webhook-config-file"), "{distribution:?}");
    }
}

/// The API server's own default would let a revoked login live on for two minutes.
#[test]
fn every_way_keeps_answers_for_thirty_seconds() {
    for distribution in Distribution::ALL {
        let text = settings(distribution, WEBHOOK);
        for block in blocks(&text) {
            let sets = block.contains("webhook-config-file") || block.contains("kubeconfig: |");
            assert!(!sets || block.contains("30s"), "{distribution:?}: {block}");
        }
        assert!(text.contains("Undo"), "{distribution:?}");
    }
}

#[test]
fn the_snippets_that_cloud_init_takes_write_what_the_steps_write() {
    for distribution in [Distribution::K3s, Distribution::Rke2] {
        let text = settings(distribution, WEBHOOK);
        let drop_in =
            blocks(&text).into_iter().find(|block| block.starts_with("kube-apiserver-arg+")).unwrap();
        let written = members(&text, "content");
        assert!(written.contains(&Value::from(drop_in)), "{distribution:?}: {written:#?}");
    }
}

#[test]
fn nothing_is_left_to_be_filled_in_by_us() {
    for distribution in Distribution::ALL {
        let text = settings(distribution, WEBHOOK);
        assert!(!text.contains("@KUBECONFIG") && !text.contains("@PATH"), "{distribution:?}");
        assert!(text.contains(distribution.path()), "{distribution:?}");
    }
}

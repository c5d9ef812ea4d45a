//! A wanted change as text that an administrator can carry out.

use serde_json::{Value, json};

use super::found::Version;
use super::patch::Operation;

/// For one object: a command for a shell. It names the version, because the patch is made for its shape.
pub(super) fn command(object: &Value, version: Version, operations: &[Operation]) -> String {
    let metadata = |member: &str| object.pointer(&format!("/metadata/{member}")).and_then(Value::as_str);
    let namespace = metadata("namespace").unwrap_or("default");
    let name = metadata("name").unwrap_or_default();
    let patch = serde_json::to_string(operations).unwrap_or_default().replace('\'', r"'\''");
    let version = version.text();
    format!(
        "kubectl --namespace {namespace} patch kubeadmcontrolplanes.{version}.controlplane.cluster.x-k8s.io {name} \
         --type=json --patch '{patch}'"
    )
}

/// For a ClusterClass: an item of its `spec.patches`
/// (<https://cluster-api.sigs.k8s.io/tasks/experimental-features/cluster-class/write-clusterclass>), which knows
/// neither `test` nor positions in lists other than the ends; `None` where the change needs those.
pub(super) fn cluster_class(version: Version, operations: &[Operation]) -> Option<String> {
    let operations: Vec<Value> = operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::Test { .. } => None,
            Operation::Add { path, value } => {
                Some(Some(json!({ "op": "add", "path": in_template(path), "value": value })))
            }
            Operation::Replace { .. } | Operation::Remove { .. } => Some(None),
        })
        .collect::<Option<_>>()?;
    let patch = json!([{
        "name": "awsiam-token-webhook",
        "definitions": [{
            "selector": {
                "apiVersion": format!("controlplane.cluster.x-k8s.io/{}", version.text()),
                "kind": "KubeadmControlPlaneTemplate",
                "matchResources": { "controlPlane": true },
            },
            "jsonPatches": operations,
        }],
    }]);
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(&patch, options).ok()
}

/// The same place in a template: its `spec.template` holds what the object holds.
fn in_template(path: &str) -> String {
    format!("/spec/template{path}")
}

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

/// Name of the ClusterClass's variable that holds the file's content: Clusters of one class have different ones.
const VARIABLE: &str = "awsiamTokenWebhook";

/// For a ClusterClass: what to add to its `spec.variables` and `spec.patches`, and to a Cluster's
/// `spec.topology.variables`, as items of one YAML list with comments between
/// (<https://cluster-api.sigs.k8s.io/tasks/experimental-features/cluster-class/write-clusterclass>). Its patches know
/// neither `test` nor positions in lists other than the ends; `None` where the change needs those.
pub(super) fn cluster_class(version: Version, operations: &[Operation]) -> Option<String> {
    let mut content = None;
    let mut patches = Vec::new();
    for operation in operations {
        match operation {
            Operation::Test { .. } => {}
            Operation::Replace { .. } | Operation::Remove { .. } => return None,
            Operation::Add { path, value } => {
                // The same place in a template: its `spec.template` holds what the object holds.
                let path = format!("/spec/template{path}");
                patches.push(if let Some(text) = value.get("content") {
                    content = Some(text);
                    json!({ "op": "add", "path": path, "valueFrom": { "template": from_variable(value)? } })
                } else {
                    json!({ "op": "add", "path": path, "value": value })
                });
            }
        }
    }
    let variable = json!([{
        "name": VARIABLE,
        "required": false,
        "schema": { "openAPIV3Schema": { "type": "string", "default": "" } },
    }]);
    let patch = json!([{
        "name": "awsiam-token-webhook",
        "enabledIf": format!("{{{{ if .{VARIABLE} }}}}true{{{{ end }}}}"),
        "definitions": [{
            "selector": {
                "apiVersion": format!("controlplane.cluster.x-k8s.io/{}", version.text()),
                "kind": "KubeadmControlPlaneTemplate",
                "matchResources": { "controlPlane": true },
            },
            "jsonPatches": patches,
        }],
    }]);
    let value = json!([{ "name": VARIABLE, "value": content? }]);
    Some(format!(
        "# In the ClusterClass, add to spec.variables:\n{}# and to spec.patches:\n{}\
         # In the Cluster, add to spec.topology.variables:\n{}",
        yaml(&variable)?,
        yaml(&patch)?,
        yaml(&value)?,
    ))
}

/// A file whose content is the variable, as a template of Go that gives YAML.
fn from_variable(file: &Value) -> Option<String> {
    let mut rest = file.as_object()?.clone();
    rest.remove("content");
    Some(format!("{}content: {{{{ .{VARIABLE} | toJson }}}}\n", yaml(&Value::Object(rest))?))
}

fn yaml(value: &Value) -> Option<String> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).ok()
}

//! Puts the objects of files into the cluster, by server-side apply with a field manager of its own: what the file
//! no longer says goes, and what others say stays theirs.

use std::time::Duration;

use awsiam_api::names::{COMMAND_LINE_MANAGER, GROUP, VERSION};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::connection::words;
use crate::manifests::{Kind, Manifest};

/// Field managers of client-side `kubectl apply`: what they own is the file's, so it becomes ours, as
/// `kubectl apply --server-side` makes it its own (client-go `util/csaupgrade`).
const CLIENT_SIDE: [&str; 2] = ["kubectl-client-side-apply", "kubectl-last-applied"];

/// The annotation in which client-side apply keeps the file.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a server says of an object and no file may: it would be refused or ignored.
const SERVERS: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
];

/// The lists of a spec: after the apply they must be the file's.
const LISTS: [&str; 5] = ["mapRoles", "mapUsers", "mapAccounts", "backendMode", "identityProviderRefs"];

/// How often the write that makes fields of client-side apply ours is tried, when others write in between.
const ATTEMPTS: u32 = 20;

/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Why an object was not applied as it is written.
#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    #[error("{title} was not applied: {why}")]
    Failed { title: String, why: String },
    #[error(
        "{title} was not applied: {fields}. Change it where it is managed, or take the fields over with --take-ownership"
    )]
    OwnedByOthers { title: String, fields: String },
    #[error(
        "{title} was applied, and its {field} is not what the file says: {whose}. To have it as in the file, write {field} there, if need be as an empty list"
    )]
    Differs { title: String, field: String, whose: String },
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Change {
    Created,
    Changed,
    Unchanged,
}

impl Change {
    pub(super) fn word(self) -> &'static str {
        match self {
            Change::Created => "created",
            Change::Changed => "changed",
            Change::Unchanged => "unchanged",
        }
    }
}

/// An object after it was applied.
pub(super) struct Done {
    pub(super) change: Change,
    pub(super) generation: i64,
}

/// How to apply.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) dry_run: bool,
    /// Take fields from other field managers.
    pub(super) take_ownership: bool,
}

/// Applies one object of a file.
///
/// # Errors
/// [`ApplyError`]; with one the cluster may have what was applied before.
pub(super) async fn apply(client: &Client, manifest: &Manifest<'_>, way: Way) -> Result<Done, ApplyError> {
    let title = manifest.title();
    let failed = |error: kube::Error| ApplyError::Failed { title: manifest.title(), why: words(&error) };
    let api = api_of(client, manifest);
    let before = taken_from_client_side(&api, manifest, way).await.map_err(failed)?;
    let mut params = PatchParams::apply(COMMAND_LINE_MANAGER);
    // In a dry run the fields of client-side apply are still its own, and what the file leaves out is still there.
    let takes_over = way.dry_run && before.as_ref().is_some_and(|o| migrated(o.managed_fields()).is_some());
    params.force = way.take_ownership || takes_over;
    params.dry_run = way.dry_run;
    let applied = api.patch(&manifest.name, &params, &Patch::Apply(&wanted(manifest))).await;
    let applied = applied.map_err(|error| match conflicts(&error) {
        Some(fields) => ApplyError::OwnedByOthers { title: title.clone(), fields },
        None => failed(error),
    })?;
    if !takes_over && let Some((field, whose)) = differing(manifest, &applied) {
        return Err(ApplyError::Differs { title, field, whose });
    }
    let change = match &before {
        None => Change::Created,
        Some(before) if before.data.get("spec") == applied.data.get("spec") => Change::Unchanged,
        Some(_) => Change::Changed,
    };
    Ok(Done { change, generation: applied.metadata.generation.unwrap_or_default() })
}

/// The object as it was read before the apply, when what client-side apply owned in it has become ours.
///
/// That write is conditional on what was read. Others write to the object at any time, the operator its status: then it is read again.
async fn taken_from_client_side(
    api: &Api<DynamicObject>,
    manifest: &Manifest<'_>,
    way: Way,
) -> kube::Result<Option<DynamicObject>> {
    let params =
        PatchParams { field_manager: Some(COMMAND_LINE_MANAGER.to_owned()), ..PatchParams::default() };
    let mut attempt = 1;
    loop {
        let before = api.get_opt(&manifest.name).await?;
        let there = before.as_ref().filter(|_| !way.dry_run);
        let Some((there, migrated)) = there.and_then(|o| Some((o, migrated(o.managed_fields())?))) else {
            return Ok(before);
        };
        let patch =
            json!({"metadata": {"resourceVersion": there.resource_version(), "managedFields": migrated}});
        match api.patch(&manifest.name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => return Ok(before),
            Err(kube::Error::Api(status)) if status.is_conflict() && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn api_of(client: &Client, manifest: &Manifest<'_>) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(GROUP, VERSION, manifest.kind.name());
    let plural = match manifest.kind {
        Kind::Config => "awsiamconfigs",
        Kind::Cluster => "clusters",
    };
    Api::namespaced_with(
        client.clone(),
        &manifest.namespace,
        &ApiResource::from_gvk_with_plural(&kind, plural),
    )
}

/// The object of the file, without what only a server says.
fn wanted(manifest: &Manifest<'_>) -> Value {
    let mut value = manifest.value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
        // Items of a list need not name these.
        object.insert("apiVersion".to_owned(), json!(format!("{GROUP}/{VERSION}")));
        object.insert("kind".to_owned(), json!(manifest.kind.name()));
    }
    if let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !SERVERS.contains(&field.as_str()));
        metadata.insert("namespace".to_owned(), json!(manifest.namespace));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    value
}

/// The field managers with what client-side apply owned as ours; none if it owns nothing.
fn migrated(entries: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
    let is_client_side = |entry: &ManagedFieldsEntry| {
        let manager = entry.manager.as_deref().unwrap_or_default();
        CLIENT_SIDE.contains(&manager) && entry.subresource.as_deref().unwrap_or_default().is_empty()
    };
    let is_ours = |entry: &ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(COMMAND_LINE_MANAGER) && entry.operation.as_deref() == Some("Apply")
    };
    let first = entries.iter().find(|entry| is_client_side(entry))?;
    let mut fields = Map::new();
    for entry in entries.iter().filter(|entry| is_client_side(entry) || is_ours(entry)) {
        if let Some(more) = entry.fields_v1.as_ref().and_then(|fields| fields.0.as_object()) {
            unite(&mut fields, more);
        }
    }
    let ours = ManagedFieldsEntry {
        manager: Some(COMMAND_LINE_MANAGER.to_owned()),
        operation: Some("Apply".to_owned()),
        fields_v1: Some(FieldsV1(Value::Object(fields))),
        ..first.clone()
    };
    let others = entries.iter().filter(|entry| !is_client_side(entry) && !is_ours(entry)).cloned();
    Some(others.chain([ours]).collect())
}

/// The union of two sets of fields, in the form of `fieldsV1`.
fn unite(into: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (field, below) in more {
        match (into.get_mut(field).and_then(Value::as_object_mut), below.as_object()) {
            (Some(known), Some(below)) => unite(known, below),
            _ => drop(into.insert(field.clone(), below.clone())),
        }
    }
}

/// Which fields belong to whom, of a refusal for that reason.
fn conflicts(error: &kube::Error) -> Option<String> {
    let kube::Error::Api(status) = error else { return None };
    let causes = status.details.as_ref()?.causes.iter();
    let fields: Vec<String> = causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| format!("{}: {}", cause.field.trim_start_matches('.'), cause.message))
        .collect();
    (!fields.is_empty()).then(|| fields.join("; "))
}

/// A list that is not what the file says, and whose it is.
fn differing(manifest: &Manifest<'_>, applied: &DynamicObject) -> Option<(String, String)> {
    let nothing = json!([]);
    LISTS.into_iter().find_map(|field| {
        let path = format!("/spec/{field}");
        let wanted = manifest.value.pointer(&path).unwrap_or(&nothing);
        let live = applied.data.pointer(&path).unwrap_or(&nothing);
        if same(wanted, live) {
            return None;
        }
        let owner = applied.managed_fields().iter().find(|entry| {
            let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
            let owns = fields.and_then(|fields| fields.pointer(&format!("/f:spec/f:{field}"))).is_some();
            owns && entry.manager.as_deref() != Some(COMMAND_LINE_MANAGER)
        });
        let manager = owner.and_then(|entry| entry.manager.as_deref()).unwrap_or("another writer");
        let rows = live.as_array().map_or(0, Vec::len);
        Some((format!("spec.{field}"), format!("it has {rows} items that belong to field manager {manager}")))
    })
}

/// Whether two lists say the same; the server fills in defaults of rows.
fn same(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(wanted, live)| same(wanted, live))
        }
        (Value::Object(wanted), Value::Object(live)) => {
            wanted.iter().all(|(field, value)| live.get(field).is_some_and(|live| same(value, live)))
        }
        (wanted, live) => wanted == live,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn what_client_side_apply_owned_becomes_ours_and_nobody_elses() {
        let others = entry("flux", "Apply", json!({"f:spec": {"f:mapUsers": {}}}));
        let status = ManagedFieldsEntry {
            subresource: Some("status".into()),
            ..entry("kubectl-client-side-apply", "Update", json!({"f:status": {}}))
        };
        let entries = [
            entry(
                "kubectl-client-side-apply",
                "Update",
                json!({"f:spec": {"f:mapRoles": {}, "f:awsRegion": {}}}),
            ),
            entry(COMMAND_LINE_MANAGER, "Apply", json!({"f:spec": {"f:mapAccounts": {}}})),
            others.clone(),
            status.clone(),
        ];
        let migrated = migrated(&entries).unwrap();
        let all = json!({"f:spec": {"f:mapRoles": {}, "f:awsRegion": {}, "f:mapAccounts": {}}});
        assert_eq!(migrated, [others.clone(), status, entry(COMMAND_LINE_MANAGER, "Apply", all)]);
        assert_eq!(super::migrated(&[others]), None);
    }

    #[test]
    fn defaults_of_rows_are_no_difference_and_other_rows_are() {
        let wanted = json!([{"roleARN": "a"}]);
        assert!(same(&wanted, &json!([{"roleARN": "a", "groups": []}])));
        assert!(!same(&wanted, &json!([{"roleARN": "b"}])));
        assert!(!same(&wanted, &json!([])));
    }
}

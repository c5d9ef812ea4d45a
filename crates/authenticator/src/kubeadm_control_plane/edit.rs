//! What is put in and what is taken out, as operations.
//!
//! Decides nothing: whether it may be done at all is asked before.

use serde_json::{Value, json};

use super::found::{self, FlagAt, Place, Version, says_nothing};
use super::patch::Draft;
use super::record::{ANNOTATION, Record, is_empty};
use super::wanted::{
    self, API_SERVER, ARGUMENTS, CLUSTER, CONFIG, FILES, FLAG, MOUNT_PATH, PLACES, VOLUMES, WebhookFile,
};

/// Puts file, flag and mount in, each at the end of its list or in the place of one that is there.
pub(super) fn put_in(draft: &mut Draft, version: Version, webhook: &WebhookFile) {
    make(draft, "/spec", "kubeadmConfigSpec", json!({}));
    let place = found::file(&draft.object, Some(webhook));
    let file = wanted::file(&draft.object, webhook);
    put_item(draft, FILES, "path", place, file);

    make(draft, CONFIG, "clusterConfiguration", json!({}));
    make(draft, CLUSTER, "apiServer", json!({}));
    put_flag(draft, version);
    let place = found::volume(&draft.object);
    let volume = wanted::volume(&draft.object);
    put_item(draft, VOLUMES, "name", place, volume);
}

fn put_flag(draft: &mut Draft, version: Version) {
    let argument = json!({ "name": FLAG, "value": MOUNT_PATH });
    match found::flag(&draft.object).0 {
        Place::Same(_) => {}
        Place::Other(FlagAt::List(index)) => draft.replace_item(ARGUMENTS, index, "name", argument),
        Place::Absent if version == Version::V1Beta2 => {
            make(draft, API_SERVER, "extraArgs", json!([]));
            draft.add(ARGUMENTS, "-", argument);
        }
        Place::Absent | Place::Other(FlagAt::Map) => {
            make(draft, API_SERVER, "extraArgs", json!({}));
            draft.add(ARGUMENTS, FLAG, json!(MOUNT_PATH));
        }
    }
}

fn put_item(draft: &mut Draft, list: &str, key: &str, place: Place<usize>, item: Value) {
    match place {
        Place::Same(_) => {}
        Place::Other(index) => draft.replace_item(list, index, key, item),
        Place::Absent => {
            if let Some((_, parent, member)) = PLACES.iter().find(|(path, ..)| *path == list) {
                make(draft, parent, member, json!([]));
            }
            draft.add(list, "-", item);
        }
    }
}

/// Makes an empty list or object where there is none.
fn make(draft: &mut Draft, parent: &str, member: &str, empty: Value) {
    if draft.object.pointer(&format!("{parent}/{member}")).is_none_or(Value::is_null) {
        draft.add(parent, member, empty);
    }
}

/// Notes on the object that its edit is ours.
pub(super) fn note(draft: &mut Draft, record: &Record) {
    make(draft, "/metadata", "annotations", json!({}));
    draft.add("/metadata/annotations", ANNOTATION, json!(record.text()));
}

/// Takes out file, flag and mount of ours, and what they leave empty unless it was so before. A flag that points
/// elsewhere by now isn't ours. Whether a stand-in was left (see [`stand_in`]).
pub(super) fn take_out(draft: &mut Draft, record: &Record) -> bool {
    let before = draft.operations.len();
    if let Some(index) = found::file(&draft.object, None).at() {
        draft.remove_item(FILES, index, "path");
    }
    match found::flag(&draft.object).0 {
        Place::Same(FlagAt::Map) => draft.remove(ARGUMENTS, FLAG),
        Place::Same(FlagAt::List(index)) => draft.remove_item(ARGUMENTS, index, "name"),
        Place::Absent | Place::Other(_) => {}
    }
    if let Some(index) = found::volume(&draft.object).at() {
        draft.remove_item(VOLUMES, index, "name");
    }
    for (path, parent, member) in PLACES {
        let was_empty = record.empty_before.iter().any(|kept| kept == path);
        if !was_empty && draft.object.pointer(path).is_some_and(is_empty) {
            draft.remove(parent, member);
        }
    }
    let changed = draft.operations.len() > before;
    changed && stand_in(draft)
}

/// Where nothing else is in `clusterConfiguration`, says there what holds anyway: kubeadm's default for the folder of
/// etcd's data. Without any content it counts as absent, which Cluster API's webhook refuses on update; and for an
/// absent one the cluster's `kubeadm-config` is not brought up to date: the flag would stay in it, and machines that
/// join would get the flag without the file (v1.14, `controlplane/kubeadm/reconcilers/kubeadmcontrolplane/update.go`).
fn stand_in(draft: &mut Draft) -> bool {
    if !draft.object.pointer(CLUSTER).is_none_or(says_nothing) {
        return false;
    }
    make(draft, CONFIG, "clusterConfiguration", json!({}));
    draft.add(CLUSTER, "etcd", json!({ "local": { "dataDir": "/var/lib/etcd" } }));
    true
}

/// Takes our note off the object.
pub(super) fn forget(draft: &mut Draft) {
    draft.remove("/metadata/annotations", ANNOTATION);
    if draft.object.pointer("/metadata/annotations").is_some_and(is_empty) {
        draft.remove("/metadata", "annotations");
    }
}

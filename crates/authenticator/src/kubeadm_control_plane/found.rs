//! What stands in a KubeadmControlPlane at the places that concern us.
//!
//! Reads only; what is to become of it is decided elsewhere.

use serde_json::Value;

use super::wanted::{
    self, ARGUMENTS, CLUSTER, CONFIG, FILES, FLAG, MOUNT_PATH, VOLUME, VOLUMES, WebhookFile,
};

/// The versions whose shape we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1Beta1,
    V1Beta2,
}

impl Version {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::V1Beta1 => "v1beta1",
            Self::V1Beta2 => "v1beta2",
        }
    }

    pub(super) fn of(object: &Value) -> Option<Self> {
        if object.get("kind").and_then(Value::as_str) != Some("KubeadmControlPlane") {
            return None;
        }
        match object.get("apiVersion").and_then(Value::as_str)? {
            "controlplane.cluster.x-k8s.io/v1beta1" => Some(Self::V1Beta1),
            "controlplane.cluster.x-k8s.io/v1beta2" => Some(Self::V1Beta2),
            _ => None,
        }
    }
}

/// One thing of ours, as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<At> {
    Absent,
    /// What stands there is exactly what we want.
    Same(At),
    /// Something else stands there.
    Other(At),
}

impl<At: Copy> Place<At> {
    pub(super) fn at(self) -> Option<At> {
        match self {
            Self::Absent => None,
            Self::Same(at) | Self::Other(at) => Some(at),
        }
    }

    pub(super) fn is_same(self) -> bool {
        matches!(self, Self::Same(_))
    }

    pub(super) fn is_other(self) -> bool {
        matches!(self, Self::Other(_))
    }
}

/// Where a flag stands: v1beta1 has a map, v1beta2 a list of `{name, value}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlagAt {
    Map,
    List(usize),
}

/// The version, if it is one we know and everything on the way to our places has the shape that its schema asks for.
pub(super) fn readable(object: &Value) -> Option<Version> {
    let version = Version::of(object)?;
    let is_object = |path: &str| object.pointer(path).is_none_or(Value::is_object);
    let is_list = |path: &str| object.pointer(path).is_none_or(Value::is_array);
    let arguments = match version {
        Version::V1Beta1 => is_object(ARGUMENTS),
        Version::V1Beta2 => is_list(ARGUMENTS),
    };
    let parents = object.get("spec").is_some_and(Value::is_object)
        && is_object(CONFIG)
        && object.get("metadata").is_some_and(Value::is_object)
        && is_object("/metadata/annotations")
        && is_object(CLUSTER)
        && is_object(wanted::API_SERVER);
    (parents && arguments && is_list(FILES) && is_list(VOLUMES)).then_some(version)
}

pub(super) fn items<'a>(object: &'a Value, list: &str) -> &'a [Value] {
    object.pointer(list).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// How many arguments there are, whatever the shape.
pub(super) fn argument_count(object: &Value) -> usize {
    match object.pointer(ARGUMENTS) {
        Some(Value::Object(members)) => members.len(),
        Some(Value::Array(items)) => items.len(),
        _ => 0,
    }
}

pub(super) fn text<'a>(item: &'a Value, member: &str) -> &'a str {
    item.get(member).and_then(Value::as_str).unwrap_or_default()
}

fn item(object: &Value, list: &str, key: &str, name: &str, wanted: Option<&Value>) -> Place<usize> {
    let found = items(object, list).iter().enumerate().find(|(_, item)| text(item, key) == name);
    match found {
        None => Place::Absent,
        Some((index, item)) if wanted.is_some_and(|wanted| wanted::same(item, wanted)) => Place::Same(index),
        Some((index, _)) => Place::Other(index),
    }
}

/// The file with our path; without `webhook` it is never [`Place::Same`].
pub(super) fn file(object: &Value, webhook: Option<&WebhookFile>) -> Place<usize> {
    let wanted = webhook.map(|webhook| wanted::file(object, webhook));
    item(object, FILES, "path", wanted::host_path(object), wanted.as_ref())
}

/// The mount with our name.
pub(super) fn volume(object: &Value) -> Place<usize> {
    item(object, VOLUMES, "name", VOLUME, Some(&wanted::volume(object)))
}

/// The flag, and its value.
pub(super) fn flag(object: &Value) -> (Place<FlagAt>, &str) {
    let (at, value) = match object.pointer(ARGUMENTS) {
        Some(Value::Object(members)) => match members.get(FLAG) {
            Some(value) => (FlagAt::Map, value.as_str().unwrap_or_default()),
            None => return (Place::Absent, ""),
        },
        Some(Value::Array(list)) => {
            match list.iter().enumerate().find(|(_, item)| text(item, "name") == FLAG) {
                Some((index, item)) => (FlagAt::List(index), text(item, "value")),
                None => return (Place::Absent, ""),
            }
        }
        _ => return (Place::Absent, ""),
    };
    (if value == MOUNT_PATH { Place::Same(at) } else { Place::Other(at) }, value)
}

/// A mount of somebody else's under which the API server would not see our file.
pub(super) fn hiding_volume(object: &Value) -> Option<&Value> {
    items(object, VOLUMES).iter().filter(|item| text(item, "name") != VOLUME).find(|item| {
        let mounted = text(item, "mountPath").trim_end_matches('/');
        let source = text(item, "hostPath").trim_end_matches('/');
        match MOUNT_PATH.strip_prefix(mounted) {
            Some("") => true,
            // A folder around ours, at its own place on the host: our file is in it either way.
            Some(rest) if rest.starts_with('/') => format!("{source}{rest}") != wanted::host_path(object),
            _ => false,
        }
    })
}

/// Empty through and through: the next conversion or marshalling drops it.
pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().all(says_nothing),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

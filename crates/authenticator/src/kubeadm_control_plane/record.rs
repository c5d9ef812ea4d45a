//! The annotation by which an edit is known as ours, and what it needs to remember to be undone exactly.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wanted::PLACES;

/// On a KubeadmControlPlane: what stands at our places was put there by us. Holds, as JSON, what undoing needs to know.
pub const ANNOTATION: &str = "awsiam-operator.dev/control-plane-edit";

/// What stood there before the edit, as far as taking it out again depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Of this shape.
    version: u32,
    /// Paths of lists and objects that were there and empty: they stay when they are empty again, all others go.
    #[serde(default, rename = "emptyBefore", skip_serializing_if = "Vec::is_empty")]
    pub(super) empty_before: Vec<String>,
}

impl Record {
    /// Of an object that we have not edited.
    pub(super) fn before(object: &Value) -> Self {
        let empty =
            PLACES.iter().map(|(path, ..)| *path).filter(|path| object.pointer(path).is_some_and(is_empty));
        Self { version: 1, empty_before: empty.map(str::to_owned).collect() }
    }

    /// That of an object; `None`: we have not edited it. One that can't be read still says that we have: without its
    /// memory, what becomes empty is taken out, which means the same to Cluster API.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let text = object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()?;
        Some(serde_json::from_str(text).unwrap_or_default())
    }

    /// As an annotation's value.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// An object without members or a list without items.
pub(super) fn is_empty(value: &Value) -> bool {
    value.as_object().map_or_else(|| value.as_array().is_some_and(Vec::is_empty), serde_json::Map::is_empty)
}

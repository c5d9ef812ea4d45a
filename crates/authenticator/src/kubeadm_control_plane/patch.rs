//! A change as JSON Patch operations (RFC 6902): what is sent and what an administrator is shown are the same.
//!
//! Holds no knowledge of a KubeadmControlPlane.

use serde::Serialize;
use serde_json::Value;

/// One operation of a JSON patch. Paths are JSON pointers (RFC 6901).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Holds when the value at the path is this one; else the whole patch is refused.
    Test {
        /// Where.
        path: String,
        /// What must be there.
        value: Value,
    },
    /// Sets a member, or puts an item at the end of a list (path ends in `/-`).
    Add {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Puts another value where one is.
    Replace {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Takes a member or an item out.
    Remove {
        /// Where.
        path: String,
    },
}

/// An object under change, and the operations that brought it there.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) object: Value,
    pub(super) operations: Vec<Operation>,
}

impl Draft {
    pub(super) fn of(object: &Value) -> Self {
        Self { object: object.clone(), operations: Vec::new() }
    }

    /// Sets a member of the object at `parent`, or appends (`member` is `-`) to the list there.
    pub(super) fn add(&mut self, parent: &str, member: &str, value: Value) {
        let path = format!("{parent}/{}", escaped(member));
        match self.object.pointer_mut(parent) {
            Some(Value::Object(members)) => {
                members.insert(member.to_owned(), value.clone());
            }
            Some(Value::Array(items)) => items.push(value.clone()),
            _ => return,
        }
        self.operations.push(Operation::Add { path, value });
    }

    /// Replaces item `index` of the list at `list`, which is known by its member `key`.
    pub(super) fn replace_item(&mut self, list: &str, index: usize, key: &str, value: Value) {
        self.test_item(list, index, key);
        let path = format!("{list}/{index}");
        if let Some(item) = self.object.pointer_mut(&path) {
            *item = value.clone();
            self.operations.push(Operation::Replace { path, value });
        }
    }

    /// Takes item `index` out of the list at `list`; it is known by its member `key`.
    pub(super) fn remove_item(&mut self, list: &str, index: usize, key: &str) {
        self.test_item(list, index, key);
        if let Some(Value::Array(items)) = self.object.pointer_mut(list)
            && index < items.len()
        {
            items.remove(index);
            self.operations.push(Operation::Remove { path: format!("{list}/{index}") });
        }
    }

    /// Takes a member out of the object at `parent`.
    pub(super) fn remove(&mut self, parent: &str, member: &str) {
        if let Some(Value::Object(members)) = self.object.pointer_mut(parent)
            && members.remove(member).is_some()
        {
            self.operations.push(Operation::Remove { path: format!("{parent}/{}", escaped(member)) });
        }
    }

    /// A patch that is carried out by hand may meet another list than the one it was made from.
    fn test_item(&mut self, list: &str, index: usize, key: &str) {
        let path = format!("{list}/{index}/{key}");
        if let Some(value) = self.object.pointer(&path) {
            self.operations.push(Operation::Test { value: value.clone(), path });
        }
    }
}

/// A member's name as one segment of a JSON pointer.
fn escaped(member: &str) -> String {
    member.replace('~', "~0").replace('/', "~1")
}

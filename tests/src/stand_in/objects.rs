//! The ConfigMaps of a stand-in, in memory, with the conditions under which they may be written.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

/// Why something is not done, as an HTTP status and Kubernetes' reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound,
    AlreadyExists,
    Conflict,
    Invalid,
}

/// All ConfigMaps of `kube-system`.
#[derive(Debug)]
pub(super) struct Objects {
    port: u16,
    content: Mutex<Content>,
    /// The resourceVersion of the last change.
    pub(super) version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Content {
    by_name: BTreeMap<String, Value>,
    /// Every change: its resourceVersion, name of the object, and the event.
    changes: Vec<(u64, String, Value)>,
}

impl Objects {
    pub(super) fn new(port: u16) -> Self {
        Self { port, content: Mutex::default(), version: watch::Sender::new(1) }
    }

    /// uid of namespace `kube-system`.
    pub(super) fn identity(&self) -> String {
        self.uid("kube-system")
    }

    fn uid(&self, name: &str) -> String {
        format!("stand-in-{}-{name}", self.port)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Content) -> T) -> T {
        work(&mut self.content.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn get(&self, name: &str) -> Option<Value> {
        self.with(|content| content.by_name.get(name).cloned())
    }

    /// All of this name, which are one or none, and the resourceVersion of the list.
    pub(super) fn list(&self, name: &str) -> Value {
        self.with(|content| {
            let items: Vec<&Value> = content.by_name.get(name).into_iter().collect();
            json!({
                "apiVersion": "v1", "kind": "ConfigMapList", "items": items,
                "metadata": {"resourceVersion": self.version.borrow().to_string()},
            })
        })
    }

    /// The events on the object of this name after a resourceVersion, a line each; and the resourceVersion of the last one.
    pub(super) fn since(&self, version: u64, name: &str) -> (String, u64) {
        self.with(|content| {
            let new = content.changes.iter().filter(|(at, of, _)| *at > version && of == name);
            new.fold((String::new(), version), |(lines, _), (at, _, event)| {
                (format!("{lines}{event}\n"), *at)
            })
        })
    }

    pub(super) fn create(&self, object: Value) -> Result<Value, Refusal> {
        let name = name_of(&object).ok_or(Refusal::Invalid)?;
        self.with(|content| {
            if content.by_name.contains_key(&name) {
                return Err(Refusal::AlreadyExists);
            }
            Ok(self.put(content, name, object))
        })
    }

    /// Replaces an object, if it still has the resourceVersion that the new one says.
    pub(super) fn replace(&self, name: &str, object: Value) -> Result<Value, Refusal> {
        self.with(|content| {
            let old = content.by_name.get(name).ok_or(Refusal::NotFound)?;
            let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
            if version(&object).is_some_and(|read| Some(read) != version(old)) {
                return Err(Refusal::Conflict);
            }
            Ok(self.put(content, name.to_owned(), object))
        })
    }

    /// Server-side apply of a whole object by its only writer.
    pub(super) fn apply(&self, name: &str, object: Value) -> Result<Value, Refusal> {
        if name_of(&object).as_deref() != Some(name) {
            return Err(Refusal::Invalid);
        }
        Ok(self.with(|content| self.put(content, name.to_owned(), object)))
    }

    fn put(&self, content: &mut Content, name: String, mut object: Value) -> Value {
        let version = *self.version.borrow() + 1;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), json!("kube-system"));
            metadata.insert("uid".to_owned(), json!(self.uid(&name)));
            metadata.insert("resourceVersion".to_owned(), json!(version.to_string()));
        }
        let kind = if content.by_name.contains_key(&name) { "MODIFIED" } else { "ADDED" };
        content.changes.push((version, name.clone(), json!({"type": kind, "object": object})));
        content.by_name.insert(name, object.clone());
        self.version.send_replace(version);
        object
    }
}

fn name_of(object: &Value) -> Option<String> {
    object.pointer("/metadata/name").and_then(Value::as_str).map(ToOwned::to_owned)
}

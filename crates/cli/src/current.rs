//! The ConfigMap `aws-auth` in files: read as `kubectl get` prints it, written so that `kubectl apply` and
//! `--current` take it. What stands in it is decided elsewhere.

use std::path::Path;

use awsiam_core::ledger;
use awsiam_core::plan::Plan;
use awsiam_core::yaml;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use serde::Serialize;
use serde_json::Value;
use serde_saphyr::ser_options;
use thiserror::Error;

use crate::files::{self, FileError};

/// Namespace of `aws-auth`.
pub(crate) const NAMESPACE: &str = "kube-system";
/// Its name.
pub(crate) const NAME: &str = "aws-auth";

/// Why a file cannot be taken for `aws-auth`.
#[derive(Debug, Error)]
pub(crate) enum CurrentError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{file}:{}:{}: this is neither YAML nor JSON: {}", error.position.line, error.position.column, error.message)]
    Unreadable { file: String, error: yaml::YamlError },
    #[error(
        "{0} is empty, so nobody knows what aws-auth holds; leave --current out where there is no aws-auth yet"
    )]
    Empty(String),
    #[error(
        "{file} holds {what}, not the ConfigMap {NAMESPACE}/{NAME}; write it by: kubectl -n {NAMESPACE} get configmap {NAME} -o yaml"
    )]
    Other { file: String, what: String },
    #[error("{file} cannot be read as a ConfigMap: {error}")]
    Undecodable { file: String, error: serde_json::Error },
}

/// Reads `aws-auth` from a file or standard input.
///
/// # Errors
/// [`CurrentError`]: without knowing what is there, nothing can be said.
pub(crate) fn read(path: &Path) -> Result<ConfigMap, CurrentError> {
    let source = files::read_one(path)?;
    let file = source.name;
    let unreadable = |error| CurrentError::Unreadable { file: file.clone(), error };
    let mut objects = Vec::new();
    for document in yaml::documents(&source.text).map_err(unreadable)? {
        let value = yaml::to_json(&document).map_err(unreadable)?;
        match (value.get("kind").and_then(Value::as_str), value.get("items")) {
            (Some("List" | "ConfigMapList"), Some(Value::Array(items))) => objects.extend(items.clone()),
            _ if value.is_null() => {}
            _ => objects.push(value),
        }
    }
    let other = |what: String| CurrentError::Other { file: file.clone(), what };
    let value = match (objects.pop(), objects.len()) {
        (None, _) => return Err(CurrentError::Empty(file)),
        (Some(value), 0) => value,
        (Some(_), more) => return Err(other(format!("{} objects", more + 1))),
    };
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let (kind, name) =
        (text("/kind").unwrap_or("an object without kind"), text("/metadata/name").unwrap_or_default());
    let namespace = text("/metadata/namespace").unwrap_or(NAMESPACE);
    if kind != "ConfigMap" || name != NAME || namespace != NAMESPACE {
        return Err(other(format!("{kind} {namespace}/{name}")));
    }
    serde_json::from_value(value.clone()).map_err(|error| CurrentError::Undecodable { file, error })
}

/// What results from a plan: everything that was there, with the plan's data and ledger. None where there is
/// no `aws-auth` and none is to be made.
///
/// Of the metadata that only a server writes, uid and resourceVersion stay, so that a `kubectl apply` or
/// `replace` of the result is refused when somebody has written in between. Field managers, times and
/// generation go.
pub(crate) fn planned(current: Option<&ConfigMap>, plan: &Plan) -> Option<ConfigMap> {
    let after = if plan.blocked.is_some() { &plan.before } else { &plan.after };
    if current.is_none() && after.data.is_empty() {
        return None;
    }
    let mut wanted = current.cloned().unwrap_or_default();
    if wanted.data.is_some() || !after.data.is_empty() {
        wanted.data = Some(after.data.clone());
    }
    let mut annotations = wanted.metadata.annotations.take().unwrap_or_default();
    annotations.remove(ledger::ANNOTATION);
    annotations.extend(after.ledger.clone().map(|ledger| (ledger::ANNOTATION.to_owned(), ledger)));
    let read = wanted.metadata;
    wanted.metadata = ObjectMeta {
        name: Some(NAME.to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
        labels: read.labels,
        finalizers: read.finalizers,
        owner_references: read.owner_references,
        resource_version: read.resource_version,
        uid: read.uid,
        ..ObjectMeta::default()
    };
    Some(wanted)
}

/// An object as YAML that Go reads as it is meant; as JSON, which is YAML too, where the text of some value
/// would not come back by YAML's own means.
///
/// # Errors
/// When it cannot be written as JSON, which plain data can.
pub(crate) fn to_yaml(object: &impl Serialize) -> Result<String, serde_json::Error> {
    let value = serde_json::to_value(object)?;
    // Folded lines would be read back right, and be hard to compare by eye.
    let written =
        serde_saphyr::to_string_with_options(object, ser_options! { folded_wrap_chars: usize::MAX });
    let reads_back = |text: &String| {
        let document = yaml::first_document(text);
        document.and_then(|document| yaml::to_json(&document)).is_ok_and(|read| read == value)
    };
    match written.ok().filter(reads_back) {
        Some(text) => Ok(text),
        None => Ok(serde_json::to_string_pretty(&value)? + "\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn config_map(text: &str) -> ConfigMap {
        ConfigMap {
            data: Some(BTreeMap::from([("mapRoles".to_owned(), text.to_owned())])),
            ..ConfigMap::default()
        }
    }

    fn read_back(object: &ConfigMap) -> ConfigMap {
        let text = to_yaml(object).unwrap();
        let document = yaml::first_document(&text).unwrap();
        serde_json::from_value(yaml::to_json(&document).unwrap()).unwrap()
    }

    #[test]
    fn long_lines_are_not_folded_and_blocks_stay_blocks() {
        let text = format!("- rolearn: {}\n  username: u\n", "x".repeat(300));
        let yaml = to_yaml(&config_map(&text)).unwrap();
        assert!(yaml.contains("mapRoles: |\n"), "{yaml}");
        assert!(yaml.contains(&"x".repeat(300)), "{yaml}");
    }

    #[test]
    fn odd_texts_come_back_as_they_were() {
        for text in [
            "",
            "\n",
            " ",
            "  - a\n- b\n",
            "a\r\nb\r\n",
            "a\nb",
            "a\n\n\n",
            "\n\na",
            "\ta\n",
            "a \nb\t\n",
            "- a: 'yes'\n",
            "#\n",
            "---\n- a\n...\n",
            "\u{feff}- a\n",
            "a\u{85}b\n",
            "a\u{2028}b",
            "\u{1b}[0m\n",
            "012345678901",
            "yes",
            "~",
        ] {
            let object = config_map(text);
            assert_eq!(read_back(&object), object, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_as_it_was(text in "[ \\t\\n\\r'\"#:{}\\[\\],&*!|>%@`a-c0-9é\u{85}\u{2028}\u{feff}-]{0,40}") {
            let object = config_map(&text);
            prop_assert_eq!(read_back(&object), object);
        }
    }
}

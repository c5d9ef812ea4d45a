//! The ConfigMap `aws-auth` with another content: what was read, with other data and ledger and nothing else changed.
//! Needs no client.

use awsiam_core::ledger;
use awsiam_core::plan::Content;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;

use crate::target::{NAME, NAMESPACE};

/// The object to write in the place of `seen`; a new one where there is none.
#[must_use]
pub(crate) fn wanted(seen: Option<&ConfigMap>, content: &Content) -> ConfigMap {
    let mut wanted = seen.cloned().unwrap_or_else(|| ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    });
    // The server keeps the field managers of an object that comes without them.
    wanted.metadata.managed_fields = None;
    if wanted.data.is_some() || !content.data.is_empty() {
        wanted.data = Some(content.data.clone());
    }
    match &content.ledger {
        Some(ledger) => {
            let annotations = wanted.metadata.annotations.get_or_insert_default();
            annotations.insert(ledger::ANNOTATION.to_owned(), ledger.clone());
        }
        None => {
            wanted.metadata.annotations.iter_mut().for_each(|a| drop(a.remove(ledger::ANNOTATION)));
        }
    }
    wanted
}

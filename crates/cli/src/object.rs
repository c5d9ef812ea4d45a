//! The objects of files with their specs decoded. What does not decode stays, with the reason.

use awsiam_api::{AWSIamConfigSpec, Cluster, ClusterSpec, Severity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::finding::Finding;
use crate::manifests::{Kind, Manifest, Manifests};
use crate::place::FieldPath;
use crate::schema::Shape;

/// One object in a file, its spec decoded.
#[derive(Debug)]
pub(crate) struct Object<'s, T> {
    pub(crate) manifest: Manifest<'s>,
    /// The spec, or why it cannot be read.
    pub(crate) spec: Result<T, String>,
    /// How it differs from the shape of its kind.
    pub(crate) misfits: Vec<Finding>,
}

/// Everything of ours in the files.
#[derive(Debug)]
pub(crate) struct Objects<'s> {
    pub(crate) configs: Vec<Object<'s, AWSIamConfigSpec>>,
    pub(crate) clusters: Vec<Object<'s, ClusterSpec>>,
}

impl<'s> Objects<'s> {
    /// Decodes all of them.
    pub(crate) fn of(manifests: &Manifests<'s>) -> Self {
        Self { configs: of_kind(manifests, Kind::Config), clusters: of_kind(manifests, Kind::Cluster) }
    }

    /// The AWSIamConfig of that name; of several the last, as it would be in the cluster.
    pub(crate) fn config(&self, namespace: &str, name: &str) -> Option<&Object<'s, AWSIamConfigSpec>> {
        self.configs.iter().rev().find(|c| c.manifest.namespace == namespace && c.manifest.name == name)
    }
}

fn of_kind<'s, T: DeserializeOwned>(manifests: &Manifests<'s>, kind: Kind) -> Vec<Object<'s, T>> {
    let Some(shape) = Shape::of(kind.name()) else { return Vec::new() };
    let manifests = manifests.objects.iter().filter(|manifest| manifest.kind == kind);
    manifests.map(|manifest| Object::of(manifest.clone(), &shape)).collect()
}

impl<'s, T: DeserializeOwned> Object<'s, T> {
    fn of(manifest: Manifest<'s>, shape: &Shape) -> Self {
        let mut misfits: Vec<Finding> = shape
            .check(&manifest.value)
            .into_iter()
            .map(|m| manifest.finding(&m.path, m.is_name, m.severity, m.reason, m.message))
            .collect();
        misfits.extend(manifest.repeated_keys());
        let decoded = serde_json::from_value(manifest.value.get("spec").cloned().unwrap_or(Value::Null));
        let spec = decoded.map_err(|error| match misfits.iter().find(|m| m.is_refusal()) {
            Some(misfit) => misfit.message.clone(),
            None => error.to_string(),
        });
        if let Err(message) = &spec
            && !misfits.iter().any(Finding::is_refusal)
        {
            let path = FieldPath::default().field("spec");
            misfits.push(manifest.finding(&path, false, Severity::Refused, "Undecodable", message));
        }
        Self { manifest, spec, misfits }
    }
}

impl Object<'_, ClusterSpec> {
    /// The Cluster as it would be created from the file: what only a server says of it is left out.
    ///
    /// # Errors
    /// Why its spec cannot be read.
    pub(crate) fn cluster(&self) -> Result<Cluster, String> {
        let spec = self.spec.clone()?;
        let written = self.manifest.value.get("metadata").cloned().unwrap_or_default();
        let written: ObjectMeta =
            serde_json::from_value(written).map_err(|error| format!("metadata: {error}"))?;
        let metadata = ObjectMeta {
            name: Some(self.manifest.name.clone()),
            namespace: Some(self.manifest.namespace.clone()),
            annotations: written.annotations,
            labels: written.labels,
            finalizers: written.finalizers,
            ..ObjectMeta::default()
        };
        Ok(Cluster { metadata, spec, status: None })
    }
}

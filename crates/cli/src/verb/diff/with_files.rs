//! Objects of files in the place of those in the cluster: what would be there if the files were applied.

use std::sync::Arc;

use awsiam_api::names::AWS_IAM_CONFIG_KIND;
use awsiam_api::{AWSIamConfig, AWSIamConfigSpec, Cluster, validate_update};
use awsiam_core::privilege::Policy;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;

use super::DiffError;
use crate::checks;
use crate::error::Error;
use crate::files::Source;
use crate::finding::Finding;
use crate::management::{Configs, LiveError, Management, title};
use crate::manifests;
use crate::object::{Object, Objects};
use crate::place::FieldPath;
use crate::selection::{self, ClusterName};

/// What the files hold.
pub(crate) struct FromFiles<'s> {
    pub(crate) objects: Objects<'s>,
    pub(crate) findings: Vec<Finding>,
    skipped: Vec<String>,
}

/// Files that are no YAML.
pub(crate) struct Unreadable {
    pub(crate) files: usize,
    pub(crate) findings: Vec<Finding>,
}

impl<'s> FromFiles<'s> {
    /// Reads and judges them.
    ///
    /// # Errors
    /// Where one of them is no YAML: what would be applied is not known.
    pub(crate) fn read(sources: &'s [Source], namespace: &str, policy: &Policy) -> Result<Self, Unreadable> {
        let manifests = manifests::read(sources, namespace);
        let objects = Objects::of(&manifests);
        let mut findings = manifests.findings;
        findings.extend(checks::findings(&objects, policy));
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        checks::sort(&mut findings, &names);
        match manifests.unreadable {
            0 => Ok(Self { objects, findings, skipped: manifests.skipped }),
            files => Err(Unreadable { files, findings }),
        }
    }

    /// The Cluster that is meant: the one in the files, as if it had been applied; else the one in the
    /// cluster that is named, or that alone refers to an AWSIamConfig of the files.
    pub(crate) async fn cluster(
        &self,
        live: &Management,
        wanted: Option<&ClusterName>,
    ) -> Result<Cluster, Error> {
        if let Some(written) = selection::in_files(&self.objects, wanted)? {
            let namespace = written.namespace().unwrap_or_default();
            let there = live.cluster_if_there(&namespace, &written.name_any()).await?;
            return Ok(applied_cluster(written, there));
        }
        if let Some(wanted) = wanted {
            return Ok(live.cluster(wanted).await?);
        }
        // Says so where the files hold nothing at all, or configs of several namespaces.
        let of_files = selection::of_all_configs(&self.objects, None)?;
        let namespace = of_files.namespace().unwrap_or_default();
        let refers = |cluster: &Cluster| {
            cluster.spec.identity_provider_refs.iter().flatten().any(|reference| {
                reference.kind == AWS_IAM_CONFIG_KIND
                    && self.objects.config(&namespace, &reference.name).is_some()
            })
        };
        let mut referring: Vec<Cluster> = live.clusters(Some(&namespace)).await?;
        referring.retain(refers);
        match (referring.pop(), referring.len()) {
            (Some(cluster), 0) => Ok(cluster),
            (None, _) => Err(DiffError::NobodyRefers.into()),
            (Some(last), _) => {
                Err(DiffError::SeveralRefer(referring.iter().chain([&last]).map(title).collect()).into())
            }
        }
    }

    /// What of the files does not count, one line each.
    pub(crate) fn skipped(&self, cluster: &Cluster) -> Vec<String> {
        let aside = selection::left_aside(&self.objects, cluster);
        self.skipped.iter().cloned().chain(aside).collect()
    }

    /// The AWSIamConfigs that the Cluster refers to, those of files as if they had been applied, and what of
    /// them the API server would refuse to change.
    pub(crate) async fn configs(
        &self,
        live: &Management,
        cluster: &Cluster,
    ) -> Result<(Configs, Vec<Finding>), LiveError> {
        let namespace = cluster.namespace().unwrap_or_default();
        let (mut configs, mut findings) = (Configs::new(), Vec::new());
        let references = cluster.spec.identity_provider_refs.iter().flatten();
        for name in references.filter(|r| r.kind == AWS_IAM_CONFIG_KIND).map(|r| &r.name) {
            let there = live.config(&namespace, name).await?;
            let guard = match self.objects.config(&namespace, name) {
                None => there,
                Some(object) => {
                    findings.extend(changes(object, there.as_ref()));
                    Some(applied_config(object, there))
                }
            };
            configs.extend(guard.map(|guard| (name.clone(), Arc::new(guard))));
        }
        Ok((configs, findings))
    }
}

/// The Cluster of a file as it would be in the cluster.
fn applied_cluster(written: Cluster, there: Option<Cluster>) -> Cluster {
    let Some(there) = there else { return written };
    let mut applied = there;
    if applied.spec != written.spec {
        applied.spec = written.spec;
        applied.metadata.generation = applied.metadata.generation.map(|generation| generation + 1);
    }
    let annotations = written.metadata.annotations.into_iter().flatten();
    applied.annotations_mut().extend(annotations);
    applied
}

/// The AWSIamConfig of a file as it would be in the cluster.
fn applied_config(
    object: &Object<'_, AWSIamConfigSpec>,
    there: Option<DeserializeGuard<AWSIamConfig>>,
) -> DeserializeGuard<AWSIamConfig> {
    let manifest = &object.manifest;
    let (old, mut metadata) = match there {
        Some(DeserializeGuard(Ok(config))) => (Some(config.spec), config.metadata),
        Some(DeserializeGuard(Err(invalid))) => (None, invalid.metadata),
        None => (None, ObjectMeta { name: Some(manifest.name.clone()), ..ObjectMeta::default() }),
    };
    if old.as_ref() != object.spec.as_ref().ok() {
        metadata.generation = metadata.generation.map(|generation| generation + 1);
    }
    DeserializeGuard(match &object.spec {
        Ok(spec) => Ok(AWSIamConfig { metadata, spec: spec.clone(), status: None }),
        Err(error) => Err(InvalidObject { error: error.clone(), metadata }),
    })
}

/// The fields that cannot be changed and would be.
fn changes(
    object: &Object<'_, AWSIamConfigSpec>,
    there: Option<&DeserializeGuard<AWSIamConfig>>,
) -> Vec<Finding> {
    let (Ok(new), Some(Ok(old))) = (&object.spec, there.map(|guard| &guard.0)) else { return Vec::new() };
    let found = validate_update(&old.spec, new).into_iter();
    let located = found.map(|found| {
        let path = FieldPath::parse(&found.field_path);
        object.manifest.finding(&path, false, found.severity, found.reason.to_string(), found.message)
    });
    located.collect()
}

//! Which Cluster is meant: the one in the files, the one that was named, or none. Reads no file and no
//! cluster.

use std::str::FromStr;

use awsiam_api::names::AWS_IAM_CONFIG_KIND;
use awsiam_api::{Cluster, ClusterSpec, IdentityProviderRef};
use kube::api::ObjectMeta;
use thiserror::Error;

use crate::manifests::Manifest;
use crate::object::{Object, Objects};

/// The name of the Cluster where files hold AWSIamConfigs alone and nobody named it.
pub(crate) const UNNAMED: &str = "cluster";

/// A Cluster as people name it: `NAME` or `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterName {
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

/// The value is neither `NAME` nor `NAMESPACE/NAME`.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is neither NAME nor NAMESPACE/NAME of a Cluster")]
pub(crate) struct ClusterNameError(String);

impl FromStr for ClusterName {
    type Err = ClusterNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = match text.split_once('/') {
            None => (None, text),
            Some((namespace, name)) => (Some(namespace), name),
        };
        if name.is_empty() || name.contains('/') || namespace.is_some_and(str::is_empty) {
            return Err(ClusterNameError(text.to_owned()));
        }
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

impl std::fmt::Display for ClusterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl ClusterName {
    fn names(&self, object: &Object<'_, ClusterSpec>) -> bool {
        let manifest = &object.manifest;
        manifest.name == self.name && self.namespace.as_ref().is_none_or(|n| *n == manifest.namespace)
    }
}

/// Why it is not clear which Cluster is meant.
#[derive(Debug, Error)]
pub(crate) enum SelectionError {
    #[error("the files hold several Clusters ({}); name one with --cluster", .0.join(", "))]
    Several(Vec<String>),
    #[error("the files hold no Cluster {wanted}, but {}; name one of them", .there.join(", "))]
    NotThere { wanted: String, there: Vec<String> },
    #[error("{title} at {place} cannot be read: {why}")]
    Undecodable { title: String, place: String, why: String },
    #[error("the files hold neither a Cluster nor an AWSIamConfig; nothing can be said of aws-auth")]
    Nothing,
    #[error(
        "the files hold no Cluster, and AWSIamConfigs of several namespaces ({}); a Cluster refers to those of its own: add it to the files, or name its namespace with --cluster NAMESPACE/NAME",
        .0.join(", ")
    )]
    SeveralNamespaces(Vec<String>),
}

/// The Cluster in the files, the one named if there are several; none if the files hold none.
///
/// # Errors
/// [`SelectionError`] when it is not clear, or the Cluster cannot be read.
pub(crate) fn in_files(
    objects: &Objects<'_>,
    wanted: Option<&ClusterName>,
) -> Result<Option<Cluster>, SelectionError> {
    let mut fitting: Vec<&Object<'_, ClusterSpec>> =
        objects.clusters.iter().filter(|object| wanted.is_none_or(|wanted| wanted.names(object))).collect();
    // One that is written twice is one; the last counts, as in the cluster.
    fitting.reverse();
    let mut seen = Vec::new();
    fitting.retain(|object| {
        let title = object.manifest.title();
        let is_new = !seen.contains(&title);
        seen.push(title);
        is_new
    });
    fitting.reverse();
    match (fitting.as_slice(), wanted) {
        ([], None) => Ok(None),
        ([], Some(_)) if objects.clusters.is_empty() => Ok(None),
        ([], Some(wanted)) => Err(SelectionError::NotThere {
            wanted: wanted.to_string(),
            there: names(objects.clusters.iter()),
        }),
        ([object], _) => object.cluster().map(Some).map_err(|why| SelectionError::Undecodable {
            title: object.manifest.title(),
            place: object.manifest.origin(),
            why,
        }),
        (several, _) => Err(SelectionError::Several(names(several.iter().copied()))),
    }
}

/// A Cluster that refers to every AWSIamConfig in the files, in their order. Its name is the one given, else
/// `cluster`; its namespace is the one given, else that of the AWSIamConfigs.
///
/// # Errors
/// [`SelectionError`] when there is none, or they lie in several namespaces.
pub(crate) fn of_all_configs(
    objects: &Objects<'_>,
    named: Option<&ClusterName>,
) -> Result<Cluster, SelectionError> {
    let mut namespaces: Vec<String> = Vec::new();
    for namespace in objects.configs.iter().map(|config| &config.manifest.namespace) {
        if !namespaces.contains(namespace) {
            namespaces.push(namespace.clone());
        }
    }
    let namespace = match (named.and_then(|name| name.namespace.clone()), namespaces.as_slice()) {
        (_, []) => return Err(SelectionError::Nothing),
        (Some(namespace), _) => namespace,
        (None, [namespace]) => namespace.clone(),
        (None, _) => return Err(SelectionError::SeveralNamespaces(namespaces)),
    };
    let mut refs: Vec<IdentityProviderRef> = Vec::new();
    for config in objects.configs.iter().filter(|config| config.manifest.namespace == namespace) {
        let reference =
            IdentityProviderRef { kind: AWS_IAM_CONFIG_KIND.to_owned(), name: config.manifest.name.clone() };
        if !refs.contains(&reference) {
            refs.push(reference);
        }
    }
    let name = named.map_or(UNNAMED, |name| &name.name).to_owned();
    Ok(Cluster {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
        spec: ClusterSpec { identity_provider_refs: Some(refs), ..ClusterSpec::default() },
        status: None,
    })
}

/// The AWSIamConfigs in the files that the Cluster does not refer to, one line each: they do not count.
pub(crate) fn left_aside(objects: &Objects<'_>, cluster: &Cluster) -> Vec<String> {
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let is_referred_to = |config: &Manifest<'_>| {
        let mut references = cluster.spec.identity_provider_refs.iter().flatten();
        config.namespace == namespace
            && references.any(|r| r.kind == AWS_IAM_CONFIG_KIND && r.name == config.name)
    };
    let aside =
        objects.configs.iter().map(|config| &config.manifest).filter(|config| !is_referred_to(config));
    aside
        .map(|config| {
            format!(
                "{}: left aside {}: Cluster {namespace}/{name} does not refer to it",
                config.origin(),
                config.title()
            )
        })
        .collect()
}

fn names<'o, 's: 'o>(objects: impl Iterator<Item = &'o Object<'s, ClusterSpec>>) -> Vec<String> {
    objects.map(|object| format!("{}/{}", object.manifest.namespace, object.manifest.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_with_or_without_its_namespace() {
        assert_eq!("a/b".parse::<ClusterName>().unwrap().to_string(), "a/b");
        assert_eq!("b".parse(), Ok(ClusterName { namespace: None, name: "b".into() }));
        for wrong in ["", "/b", "a/", "a/b/c"] {
            assert!(wrong.parse::<ClusterName>().is_err(), "{wrong}");
        }
    }
}

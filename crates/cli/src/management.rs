//! The cluster of the context: the Clusters and AWSIamConfigs in it. Reads alone. Where a Cluster's own target is
//! meant, see [`crate::target`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use awsiam_api::names::AWS_IAM_CONFIG_KIND;
use awsiam_api::{AWSIamConfig, Cluster, crds, missing_fields};
use clap::Args;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use kube::{Client, ResourceExt};
use thiserror::Error;

use crate::connection::{self, ConnectionArguments, ConnectionError, words};
use crate::current::NAMESPACE;
use crate::selection::ClusterName;

/// How long the API server may take for an answer.
pub(crate) const READ: Duration = Duration::from_secs(30);

/// AWSIamConfigs by name, as the operator's cache would give them.
pub(crate) type Configs = BTreeMap<String, Arc<DeserializeGuard<AWSIamConfig>>>;

/// Which cluster, and where in it, as typed: the same for every verb that asks a cluster.
#[derive(Args, Clone, Debug)]
pub(crate) struct LiveArguments {
    /// The cluster of the context is itself the target, also where the Cluster's status does not say so yet
    #[arg(long)]
    pub(crate) local: bool,

    /// The namespace of what names none; without it the context's
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

impl LiveArguments {
    /// A way to the cluster.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn connect(&self) -> Result<Management, ConnectionError> {
        let config = self.connection.configuration(READ).await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = connection::client(config)?;
        Ok(Management { client, namespace, is_target: self.local })
    }
}

/// Why something is not known of a live cluster.
#[derive(Debug, Error)]
pub(crate) enum LiveError {
    #[error("can't read {what}: {why}")]
    Read { what: String, why: String },
    #[error(
        "there is no Cluster {0} in the cluster of this context; name one that is there (kubectl get clusters.anywhere.eks.amazonaws.com -A)"
    )]
    NoCluster(String),
    #[error(
        "there is no Cluster in {0}; name one (kubectl get clusters.anywhere.eks.amazonaws.com -A), or look into all namespaces with -A"
    )]
    NoClusters(String),
    #[error(
        "the Cluster {0} has no status yet that says which cluster it stands for; if it is the one of this context, pass --local"
    )]
    NoTarget(String),
    #[error(
        "there is no {0}, by which the cluster that this Cluster stands for is reached; with a context of that cluster itself, pass --local"
    )]
    NoKubeconfig(String),
    #[error(
        "the kubeconfig in {secret} cannot be used: {why}; with a context of that cluster itself, pass --local"
    )]
    KubeconfigRefused { secret: String, why: String },
}

/// The error of a read, with what was read.
pub(crate) fn unread(what: impl Into<String>) -> impl FnOnce(kube::Error) -> LiveError {
    let what = what.into();
    move |error| LiveError::Read { what, why: words(&error) }
}

/// `NAMESPACE/NAME`
pub(crate) fn title(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// The cluster of the context.
#[derive(Clone)]
pub(crate) struct Management {
    pub(crate) client: Client,
    /// The namespace of what names none.
    pub(crate) namespace: String,
    /// `--local`: it is the target of every Cluster that is asked for.
    pub(crate) is_target: bool,
}

impl Management {
    /// A Cluster that must be there.
    pub(crate) async fn cluster(&self, name: &ClusterName) -> Result<Cluster, LiveError> {
        let namespace = name.namespace.as_ref().unwrap_or(&self.namespace);
        let found = self.cluster_if_there(namespace, &name.name).await?;
        found.ok_or_else(|| LiveError::NoCluster(format!("{namespace}/{}", name.name)))
    }

    /// A Cluster, if it is there.
    pub(crate) async fn cluster_if_there(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Cluster>, LiveError> {
        let api: Api<Cluster> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(unread(format!("Cluster {namespace}/{name}")))
    }

    /// The Clusters of a namespace that can be read, or of all of them.
    pub(crate) async fn clusters(&self, namespace: Option<&str>) -> Result<Vec<Cluster>, LiveError> {
        let (api, what): (Api<DeserializeGuard<Cluster>>, _) = match namespace {
            Some(namespace) => (
                Api::namespaced(self.client.clone(), namespace),
                format!("the Clusters of namespace {namespace}"),
            ),
            None => (Api::all(self.client.clone()), "the Clusters of all namespaces".to_owned()),
        };
        let list = api.list(&ListParams::default()).await.map_err(unread(what))?;
        Ok(list.into_iter().filter_map(|guard| guard.0.ok()).collect())
    }

    /// The Cluster that is named; without a name those of the namespace, or with `all` of every namespace.
    ///
    /// # Errors
    /// When there is none, too.
    pub(crate) async fn chosen(
        &self,
        name: Option<&ClusterName>,
        all: bool,
    ) -> Result<Vec<Cluster>, LiveError> {
        if let Some(name) = name {
            return Ok(vec![self.cluster(name).await?]);
        }
        let namespace = (!all).then_some(self.namespace.as_str());
        let clusters = self.clusters(namespace).await?;
        if clusters.is_empty() {
            let place = namespace.map_or("any namespace".to_owned(), |name| format!("namespace {name}"));
            return Err(LiveError::NoClusters(place));
        }
        Ok(clusters)
    }

    /// An AWSIamConfig, if it is there, whether it can be read or not.
    pub(crate) async fn config(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DeserializeGuard<AWSIamConfig>>, LiveError> {
        let api: Api<DeserializeGuard<AWSIamConfig>> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(unread(format!("AWSIamConfig {namespace}/{name}")))
    }

    /// The AWSIamConfigs that a Cluster refers to, as far as they are there.
    pub(crate) async fn configs_of(&self, cluster: &Cluster) -> Result<Configs, LiveError> {
        let namespace = cluster.namespace().unwrap_or_default();
        let mut configs = Configs::new();
        let references = cluster.spec.identity_provider_refs.iter().flatten();
        for name in references.filter(|r| r.kind == AWS_IAM_CONFIG_KIND).map(|r| &r.name) {
            let there = self.config(&namespace, name).await?;
            configs.extend(there.map(|guard| (name.clone(), Arc::new(guard))));
        }
        Ok(configs)
    }

    /// The uid that names this cluster in ledgers.
    pub(crate) async fn uid(&self) -> Result<String, LiveError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = namespaces.get(NAMESPACE).await.map_err(unread(format!("namespace {NAMESPACE}")))?;
        Ok(namespace.uid().unwrap_or_default())
    }

    /// What the CRDs in the cluster lack, in words. Who may not read CRDs is told nothing of them.
    pub(crate) async fn lacking(&self) -> Vec<String> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let mut lacking = Vec::new();
        for crd in crds() {
            let name = crd.name_any();
            let Ok(Some(there)) = api.get_opt(&name).await else { continue };
            let missing = missing_fields(&there);
            if !missing.is_empty() {
                lacking.push(format!(
                    "CRD {name} lacks {}; apply the output of: awsiam crd",
                    missing.join(", ")
                ));
            }
        }
        lacking
    }
}

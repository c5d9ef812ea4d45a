//! What a comparison reads of a cluster. Needs a client and writes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use awsiam_api::identity_mapping::{api_resource, observed};
use awsiam_api::resolve::Backend;
use awsiam_api::{AWSIamConfig, Cluster, crds, missing_fields};
use awsiam_authenticator::names::{CONTROL_PLANE_LABELS, POD_LABEL};
use awsiam_authenticator::rollout;
use awsiam_controller::history::History;
use awsiam_controller::observe::KnownPlaces;
use awsiam_core::history::Record;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use kube::core::{DeserializeGuard, DynamicObject};
use kube::{Client, ResourceExt};

use super::DiffError;
use crate::connection::words;
use crate::current::{NAME, NAMESPACE};

/// The cluster of the context.
pub(super) struct Live {
    client: Client,
}

fn unread(what: impl Into<String>) -> impl FnOnce(kube::Error) -> DiffError {
    let what = what.into();
    move |error| DiffError::Read { what, why: words(&error) }
}

impl Live {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// A Cluster that must be there.
    pub(super) async fn cluster(&self, namespace: &str, name: &str) -> Result<Cluster, DiffError> {
        let found = self.cluster_if_there(namespace, name).await?;
        found.ok_or_else(|| DiffError::NoCluster(format!("{namespace}/{name}")))
    }

    /// A Cluster, if it is there.
    pub(super) async fn cluster_if_there(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Cluster>, DiffError> {
        let api: Api<Cluster> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(unread(format!("Cluster {namespace}/{name}")))
    }

    /// The Clusters of a namespace that can be read.
    pub(super) async fn clusters(&self, namespace: &str) -> Result<Vec<Cluster>, DiffError> {
        let api: Api<DeserializeGuard<Cluster>> = Api::namespaced(self.client.clone(), namespace);
        let list = api.list(&ListParams::default()).await;
        let list = list.map_err(unread(format!("the Clusters of namespace {namespace}")))?;
        Ok(list.into_iter().filter_map(|guard| guard.0.ok()).collect())
    }

    /// An AWSIamConfig, if it is there, whether it can be read or not.
    pub(super) async fn config(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DeserializeGuard<AWSIamConfig>>, DiffError> {
        let api: Api<DeserializeGuard<AWSIamConfig>> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(unread(format!("AWSIamConfig {namespace}/{name}")))
    }

    /// The uid that names this cluster in ledgers, its `aws-auth`, and the history of that.
    pub(super) async fn target(&self) -> Result<(String, Option<ConfigMap>, Arc<Vec<Record>>), DiffError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let config_maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
        let history = History::new(self.client.clone());
        let (namespace, aws_auth, records) =
            tokio::join!(namespaces.get(NAMESPACE), config_maps.get_opt(NAME), history.records());
        let namespace = namespace.map_err(unread(format!("namespace {NAMESPACE}")))?;
        let aws_auth = aws_auth.map_err(unread(format!("ConfigMap {NAMESPACE}/{NAME}")))?;
        let records = records.map_err(|error| DiffError::Read {
            what: "the history of aws-auth".to_owned(),
            why: match &error {
                awsiam_controller::Error::Read { source, .. } => words(source),
                other => other.to_string(),
            },
        })?;
        Ok((namespace.uid().unwrap_or_default(), aws_auth, records))
    }

    /// The places beside `aws-auth`; none where they have nothing to do with this target. Who may not read the
    /// objects is told so only where `backendMode` names them.
    pub(super) async fn places(
        &self,
        cluster: &Cluster,
        backends: &[Backend],
    ) -> Result<Option<KnownPlaces>, DiffError> {
        let is_asked = backends.contains(&Backend::Crd);
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &api_resource());
        let objects = match api.list(&ListParams::default()).await {
            Ok(list) => list.items.iter().map(observed).collect(),
            Err(kube::Error::Api(status)) if status.is_not_found() && is_asked => Vec::new(),
            Err(error) if is_asked => return Err(unread("the IAMIdentityMappings")(error)),
            Err(_) => return Ok(None),
        };
        let ready = match awsiam_controller::stated_backends(cluster) {
            Some(stated) => stated == backends,
            // What can't be seen is not known.
            None => self.runs_with(backends).await.unwrap_or(false),
        };
        Ok(Some(KnownPlaces { objects: Some(objects), ready }))
    }

    /// Whether the authenticator that we run asks these backends everywhere.
    async fn runs_with(&self, backends: &[Backend]) -> Result<bool, kube::Error> {
        let daemon_sets: Api<DaemonSet> = Api::namespaced(self.client.clone(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let nodes: Api<Node> = Api::all(self.client.clone());
        let ours =
            ListParams::default().labels(&format!("{POD_LABEL}={}", awsiam_authenticator::names::NAME));
        let daemon_set = daemon_sets.get_opt(awsiam_authenticator::names::NAME).await?;
        let pods: Vec<_> = pods.list(&ours).await?.items.into_iter().map(Arc::new).collect();
        let mut names = BTreeSet::new();
        for label in CONTROL_PLANE_LABELS {
            let found = nodes.list_metadata(&ListParams::default().labels(label)).await?;
            names.extend(found.iter().map(ResourceExt::name_any));
        }
        let nodes: Vec<String> = names.into_iter().collect();
        let seen = rollout::Seen { daemon_set: daemon_set.as_ref(), pods: &pods, nodes: &nodes };
        Ok(rollout::runs_with(&seen, backends))
    }

    /// What the CRDs in the cluster lack, in words. Who may not read CRDs is told nothing of them.
    pub(super) async fn lacking(&self) -> Vec<String> {
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

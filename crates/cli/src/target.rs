//! The cluster that a Cluster stands for: the one place where its client is chosen, and what is read of it. Reads
//! alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use awsiam_api::identity_mapping::{api_resource, observed};
use awsiam_api::resolve::Backend;
use awsiam_api::{Cluster, TargetKind};
use awsiam_authenticator::names::{CONTROL_PLANE_LABELS, POD_LABEL};
use awsiam_authenticator::rollout;
use awsiam_authenticator::target_kubeconfig::judge;
use awsiam_controller::history::{self, Recorded};
use awsiam_controller::observe::KnownPlaces;
use awsiam_core::history::{Record, SLOTS};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret};
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use kube::{Client, ResourceExt};

use crate::current::{NAME, NAMESPACE};
use crate::management::{LiveError, Management, title, unread};

/// Key of the Secret with a target's kubeconfig.
const VALUE: &str = "value";

/// A target.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) client: Client,
}

/// What was read of the authenticator's rollout.
pub(crate) struct RolledOut {
    pub(crate) daemon_set: Option<DaemonSet>,
    pub(crate) pods: Vec<Arc<Pod>>,
    /// Names of the control-plane nodes.
    pub(crate) nodes: Vec<String>,
}

impl RolledOut {
    pub(crate) fn seen(&self) -> rollout::Seen<'_> {
        rollout::Seen { daemon_set: self.daemon_set.as_ref(), pods: &self.pods, nodes: &self.nodes }
    }
}

impl Target {
    /// The target of a Cluster: what its status says, or with `--local` the cluster of the context.
    ///
    /// # Errors
    /// Where nobody says, or the way to it cannot be used.
    pub(crate) async fn of(management: &Management, cluster: &Cluster) -> Result<Self, LiveError> {
        match cluster.status.as_ref().and_then(|status| status.target) {
            _ if management.is_target => {}
            Some(TargetKind::Local) => {}
            Some(TargetKind::Remote) => return Self::remote(management, cluster).await,
            None => return Err(LiveError::NoTarget(title(cluster))),
        }
        Ok(Self { client: management.client.clone() })
    }

    /// The cluster behind the Secret `NAME-kubeconfig`, which is judged and bounded as the operator does it: whoever
    /// wrote it may be somebody else than the person at the command line.
    async fn remote(management: &Management, cluster: &Cluster) -> Result<Self, LiveError> {
        let namespace = cluster.namespace().unwrap_or_default();
        let name = format!("{}-kubeconfig", cluster.name_any());
        let secret = format!("Secret {namespace}/{name}");
        let secrets: Api<Secret> = Api::namespaced(management.client.clone(), &namespace);
        let refused =
            |why: &str| LiveError::KubeconfigRefused { secret: secret.clone(), why: why.to_owned() };
        let read = secrets.get_opt(&name).await.map_err(unread(secret.clone()))?;
        let Some(read) = read else { return Err(LiveError::NoKubeconfig(secret)) };
        let value = read.data.and_then(|mut data| data.remove(VALUE));
        let value = value.ok_or_else(|| refused("it has no key value"))?;
        let text = String::from_utf8(value.0).map_err(|_| refused("its key value is no text"))?;
        let judged = judge(&text).map_err(|refusal| refused(&refusal.to_string()))?;
        let client = awsiam_controller::remote_client(&judged)
            .ok_or_else(|| refused("its certificates and its key are not whole or do not belong together"))?;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let there = namespaces.get(NAMESPACE).await;
        let there = there.map_err(unread(format!("namespace {NAMESPACE} of the cluster behind {secret}")))?;
        if there.uid() == Some(management.uid().await?) {
            return Err(refused(
                "it leads to the cluster of this context, which no kubeconfig in a Secret may",
            ));
        }
        Ok(Self { client })
    }

    pub(crate) fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// `aws-auth`, if it is there.
    pub(crate) async fn aws_auth(&self) -> Result<Option<ConfigMap>, LiveError> {
        let read = self.config_maps().get_opt(NAME).await;
        read.map_err(unread(format!("ConfigMap {NAMESPACE}/{NAME}")))
    }

    /// The readable records of its history, oldest first.
    pub(crate) async fn history(&self) -> Result<Vec<Recorded>, LiveError> {
        let config_maps = self.config_maps();
        let reads = (0..SLOTS).map(async |slot| {
            let name = history::record_name(slot);
            let read =
                config_maps.get_opt(&name).await.map_err(unread(format!("ConfigMap {NAMESPACE}/{name}")))?;
            Ok::<_, LiveError>(read.and_then(|config_map| history::recorded(slot, &config_map)))
        });
        let read = futures::future::try_join_all(reads).await?;
        let mut records: Vec<Recorded> = read.into_iter().flatten().collect();
        records.sort_by_key(|recorded| recorded.record.revision);
        Ok(records)
    }

    /// The same without their times.
    pub(crate) async fn records(&self) -> Result<Arc<Vec<Record>>, LiveError> {
        Ok(Arc::new(self.history().await?.into_iter().map(|recorded| recorded.record).collect()))
    }

    /// The places beside `aws-auth`; none where they have nothing to do with this target. Who may not read the
    /// objects is told so only where `backendMode` names them.
    pub(crate) async fn places(
        &self,
        cluster: &Cluster,
        backends: &[Backend],
    ) -> Result<Option<KnownPlaces>, LiveError> {
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
            None => match self.rolled_out().await {
                Ok(rolled_out) => rollout::runs_with(&rolled_out.seen(), backends),
                Err(_) => false,
            },
        };
        Ok(Some(KnownPlaces { objects: Some(objects), ready }))
    }

    /// The authenticator's DaemonSet, its pods, and the nodes that it belongs on.
    pub(crate) async fn rolled_out(&self) -> Result<RolledOut, LiveError> {
        let daemon_sets: Api<DaemonSet> = Api::namespaced(self.client.clone(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let nodes: Api<Node> = Api::all(self.client.clone());
        let name = awsiam_authenticator::names::NAME;
        let ours = ListParams::default().labels(&format!("{POD_LABEL}={name}"));
        let daemon_set =
            daemon_sets.get_opt(name).await.map_err(unread(format!("DaemonSet {NAMESPACE}/{name}")))?;
        let pods = pods.list(&ours).await.map_err(unread(format!("the pods of {name}")))?;
        let mut names = BTreeSet::new();
        for label in CONTROL_PLANE_LABELS {
            let found = nodes.list_metadata(&ListParams::default().labels(label)).await;
            names.extend(found.map_err(unread("the nodes"))?.iter().map(ResourceExt::name_any));
        }
        Ok(RolledOut {
            daemon_set,
            pods: pods.items.into_iter().map(Arc::new).collect(),
            nodes: names.into_iter().collect(),
        })
    }
}

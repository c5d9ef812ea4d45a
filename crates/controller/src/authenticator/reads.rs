//! What is known of the authenticator on a remote target: read, not watched, and kept until the next look around. While
//! something is on its way it is read again sooner, and after a write of ours at the next pass.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use awsiam_api::Cluster;
use awsiam_authenticator::names::{
    CONTROL_PLANE_LABELS, CRD_ROLE, NAME, NAMESPACE, SERVING_SECRET, WEBHOOK_FILE, ca_secret,
    kubeconfig_secret,
};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::seen::{Seen, keeps_webhook_file, pod_labels};
use crate::error::Error;
use crate::operator::Operator;
use crate::target::Target;

/// How soon what is not in order is read again; the longer it lasts, the less often.
const SOONEST: Duration = Duration::from_secs(5);
/// Most objects of a list.
const PAGE: u32 = 500;

/// What was read of one target.
#[derive(Default)]
pub(crate) struct Reads {
    last: Mutex<Option<(Instant, Seen)>>,
    /// Since when something is not in order.
    unsettled: Mutex<Option<Instant>>,
}

impl Reads {
    /// How long counts what was read.
    pub(crate) fn patience(&self, resync: Duration) -> Duration {
        let unsettled = *self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        // Below the pauses between passes, which come up to a tenth early.
        let longest = resync.mul_f64(0.85);
        unsettled.map_or(longest, |since| (since.elapsed() / 4).max(SOONEST).min(longest))
    }

    /// Takes note of whether everything is in order; gives when to look again where it is not.
    pub(crate) fn settled(&self, is_settled: bool, resync: Duration) -> Option<Duration> {
        let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        if is_settled {
            *unsettled = None;
            return None;
        }
        unsettled.get_or_insert_with(Instant::now);
        drop(unsettled);
        Some(self.patience(resync))
    }

    /// We wrote something: it is read again.
    pub(crate) fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn known(&self, resync: Duration) -> Option<Seen> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < self.patience(resync)).map(|(_, seen)| seen.clone())
    }

    /// What is there, as last read.
    ///
    /// # Errors
    /// [`Error::Read`]: nothing is concluded from half of it.
    pub(super) async fn seen(
        &self,
        operator: &Operator,
        target: &Target,
        cluster: &Cluster,
    ) -> Result<Seen, Error> {
        if let Some(known) = self.known(operator.options.resync) {
            return Ok(known);
        }
        let seen = read(&operator.client, &target.client, cluster).await?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), seen.clone()));
        Ok(seen)
    }
}

async fn read(management: &Client, client: &Client, cluster: &Cluster) -> Result<Seen, Error> {
    let name = cluster.name_any();
    let own: Api<Secret> = Api::namespaced(management.clone(), &cluster.namespace().unwrap_or_default());
    let secrets = async {
        let authority = one(&own, &ca_secret(&name)).await?;
        Ok::<_, Error>((authority, one(&own, &kubeconfig_secret(&name)).await?))
    };
    let kube_system = async {
        Ok::<_, Error>((
            one(&Api::namespaced(client.clone(), NAMESPACE), NAME).await?,
            one(&Api::namespaced(client.clone(), NAMESPACE), NAME).await?,
            one(&Api::namespaced(client.clone(), NAMESPACE), NAME).await?,
            one(&Api::namespaced(client.clone(), NAMESPACE), NAME).await?,
            one(&Api::namespaced(client.clone(), NAMESPACE), SERVING_SECRET).await?,
            one(&Api::namespaced(client.clone(), NAMESPACE), NAME).await?,
            one(&Api::namespaced(client.clone(), NAMESPACE), WEBHOOK_FILE).await.map_err(|e| e.to_string()),
        ))
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let others = async {
        Ok::<_, Error>((
            all(&pods, &pod_labels()).await?,
            all(&pods, "component=kube-apiserver").await?,
            nodes(client).await?,
            one(&Api::all(client.clone()), CRD_ROLE).await?,
            one(&Api::all(client.clone()), CRD_ROLE).await?,
        ))
    };
    let (secrets, kube_system, others) = futures::try_join!(secrets, kube_system, others)?;
    let (authority, kubeconfig) = secrets;
    let (service_account, role, role_binding, config_map, serving, daemon_set, webhook_file) = kube_system;
    let (pods, api_servers, nodes, cluster_role, cluster_role_binding) = others;
    let (writers, pods) = pods.into_iter().partition(keeps_webhook_file);
    Ok(Seen {
        service_account,
        role,
        role_binding,
        cluster_role,
        cluster_role_binding,
        config_map,
        serving,
        daemon_set,
        pods,
        webhook_file,
        writers,
        api_servers,
        nodes,
        authority,
        kubeconfig,
    })
}

async fn one<K>(api: &Api<K>, name: &str) -> Result<Option<Arc<K>>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let read = api.get_opt(name).await.map_err(Error::read(format!("{} {name}", K::kind(&()))))?;
    Ok(read.map(|mut object| {
        // As in the caches of the local target.
        object.meta_mut().managed_fields = None;
        Arc::new(object)
    }))
}

async fn all(pods: &Api<Pod>, labels: &str) -> Result<Vec<Arc<Pod>>, Error> {
    let params = ListParams::default().labels(labels).limit(PAGE);
    let list = pods.list(&params).await.map_err(Error::read(format!("pods with {labels}")))?;
    Ok(list.items.into_iter().map(Arc::new).collect())
}

/// Names of the control-plane nodes.
async fn nodes(client: &Client) -> Result<Vec<String>, Error> {
    let api: Api<Node> = Api::all(client.clone());
    let mut names = Vec::new();
    for label in CONTROL_PLANE_LABELS {
        let params = ListParams::default().labels(label).limit(PAGE);
        let list = api.list_metadata(&params).await.map_err(Error::read("control-plane nodes"))?;
        names.extend(list.items.iter().map(ResourceExt::name_any));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

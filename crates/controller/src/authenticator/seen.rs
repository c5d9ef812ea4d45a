//! What is known of the authenticator on a target, from watches. Needs a client to start them.

use std::sync::Arc;

use awsiam_authenticator::names::{
    CONTROL_PLANE_LABELS, CRD_ROLE, NAME, NAMESPACE, POD_LABEL, SERVING_SECRET, SERVING_SHA256, WEBHOOK_FILE,
    ca_secret, kubeconfig_secret,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};

use crate::error::Error;
use crate::options::LocalCluster;
use crate::watched::{Watched, named};

/// The watches on the two objects that only backend `CRD` needs, started when the target has to do with it.
pub(crate) struct CrdRights {
    role: Watched<ClusterRole>,
    binding: Watched<ClusterRoleBinding>,
}

/// The watches on one target.
pub(crate) struct Watches {
    service_account: Watched<ServiceAccount>,
    role: Watched<Role>,
    role_binding: Watched<RoleBinding>,
    config_map: Watched<ConfigMap>,
    serving: Watched<Secret>,
    daemon_set: Watched<DaemonSet>,
    webhook_file: Watched<DaemonSet>,
    pods: Watched<Pod>,
    api_servers: Watched<Pod>,
    nodes: Vec<Watched<PartialObjectMeta<Node>>>,
    authority: Watched<Secret>,
    pub(super) kubeconfig: Watched<Secret>,
}

/// What is there.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(super) service_account: Option<Arc<ServiceAccount>>,
    pub(super) role: Option<Arc<Role>>,
    pub(super) role_binding: Option<Arc<RoleBinding>>,
    /// Seen only where the target has to do with backend `CRD`; see [`CrdRights`].
    pub(super) cluster_role: Option<Arc<ClusterRole>>,
    /// See `cluster_role`.
    pub(super) cluster_role_binding: Option<Arc<ClusterRoleBinding>>,
    pub(super) config_map: Option<Arc<ConfigMap>>,
    pub(super) serving: Option<Arc<Secret>>,
    pub(super) daemon_set: Option<Arc<DaemonSet>>,
    pub(super) pods: Vec<Arc<Pod>>,
    /// The DaemonSet of rollout HostPath, or why it can't be seen: no reason to leave the authenticator alone.
    pub(super) webhook_file: Result<Option<Arc<DaemonSet>>, String>,
    /// Its pods.
    pub(super) writers: Vec<Arc<Pod>>,
    /// Pods of the API server itself, where it runs as pods.
    pub(super) api_servers: Vec<Arc<Pod>>,
    /// Names of the control-plane nodes.
    pub(super) nodes: Vec<String>,
    /// In the Cluster's namespace.
    pub(super) authority: Option<Arc<Secret>>,
    /// In the Cluster's namespace.
    pub(super) kubeconfig: Option<Arc<Secret>>,
}

impl Seen {
    /// What the pods that are there, or are about to come, were started for.
    pub(super) fn serving_hashes(&self) -> impl Iterator<Item = &str> {
        let pods = self.pods.iter().map(|pod| &pod.metadata);
        let spec = self.daemon_set.as_ref().and_then(|set| set.spec.as_ref());
        let metadata = pods.chain(spec.and_then(|spec| spec.template.metadata.as_ref()));
        metadata.filter_map(|m| m.annotations.as_ref()?.get(SERVING_SHA256).map(String::as_str))
    }
}

/// The labels of the pods of both DaemonSets.
pub(super) fn pod_labels() -> String {
    format!("{POD_LABEL} in ({NAME},{WEBHOOK_FILE})")
}

/// Whether a pod is one of rollout HostPath.
pub(super) fn keeps_webhook_file(pod: &Arc<Pod>) -> bool {
    pod.labels().get(POD_LABEL).is_some_and(|of| of == WEBHOOK_FILE)
}

impl CrdRights {
    /// Starts the watches, as [`Watches::start`].
    pub(crate) fn start(
        client: &Client,
        spawn: impl Fn(futures::future::BoxFuture<'static, ()>),
        changed: impl Fn() + Clone + Send + 'static,
    ) -> Self {
        let (role, keep_up_role) = Watched::new(
            format!("ClusterRole {CRD_ROLE}"),
            Api::all(client.clone()),
            named(CRD_ROLE),
            changed.clone(),
        );
        let (binding, keep_up_binding) = Watched::new(
            format!("ClusterRoleBinding {CRD_ROLE}"),
            Api::all(client.clone()),
            named(CRD_ROLE),
            changed,
        );
        spawn(Box::pin(keep_up_role));
        spawn(Box::pin(keep_up_binding));
        Self { role, binding }
    }

    /// Adds what is there now.
    ///
    /// # Errors
    /// As [`Watches::seen`].
    pub(super) async fn add_to(&self, seen: &mut Seen) -> Result<(), Error> {
        seen.cluster_role = self.role.one().await?;
        seen.cluster_role_binding = self.binding.one().await?;
        Ok(())
    }
}

impl Watches {
    /// Starts the watches: each future is given to `spawn` and runs for ever; `changed` is called after each
    /// change.
    pub(crate) fn start(
        client: &Client,
        cluster: &LocalCluster,
        spawn: impl Fn(futures::future::BoxFuture<'static, ()>),
        changed: impl Fn() + Clone + Send + 'static,
    ) -> Self {
        macro_rules! watched {
            ($what:expr, $api:expr, $config:expr) => {{
                let (watched, keep_up) = Watched::new($what, $api, $config, changed.clone());
                spawn(Box::pin(keep_up));
                watched
            }};
        }
        let labelled = |labels: &str| watcher::Config::default().labels(labels);
        let (ca, users) = (ca_secret(&cluster.name), kubeconfig_secret(&cluster.name));
        let own = |client: &Client| Api::namespaced(client.clone(), &cluster.namespace);
        Self {
            service_account: watched!(
                "ServiceAccount kube-system/aws-iam-authenticator",
                Api::namespaced(client.clone(), NAMESPACE),
                named(NAME)
            ),
            role: watched!(
                "Role kube-system/aws-iam-authenticator",
                Api::namespaced(client.clone(), NAMESPACE),
                named(NAME)
            ),
            role_binding: watched!(
                "RoleBinding kube-system/aws-iam-authenticator",
                Api::namespaced(client.clone(), NAMESPACE),
                named(NAME)
            ),
            config_map: watched!(
                "ConfigMap kube-system/aws-iam-authenticator",
                Api::namespaced(client.clone(), NAMESPACE),
                named(NAME)
            ),
            serving: watched!(
                "Secret kube-system/aws-iam-authenticator-serving",
                Api::namespaced(client.clone(), NAMESPACE),
                named(SERVING_SECRET)
            ),
            daemon_set: watched!(
                "DaemonSet kube-system/aws-iam-authenticator",
                Api::namespaced(client.clone(), NAMESPACE),
                named(NAME)
            ),
            webhook_file: watched!(
                "DaemonSet kube-system/awsiam-webhook-file",
                Api::namespaced(client.clone(), NAMESPACE),
                named(WEBHOOK_FILE)
            ),
            pods: watched!(
                "pods of the authenticator",
                Api::namespaced(client.clone(), NAMESPACE),
                labelled(&pod_labels())
            ),
            api_servers: watched!(
                "pods of kube-apiserver",
                Api::namespaced(client.clone(), NAMESPACE),
                labelled("component=kube-apiserver")
            ),
            nodes: CONTROL_PLANE_LABELS
                .iter()
                .map(|label| watched!("control-plane nodes", Api::all(client.clone()), labelled(label)))
                .collect(),
            authority: watched!(format!("Secret {}/{ca}", cluster.namespace), own(client), named(&ca)),
            kubeconfig: watched!(format!("Secret {}/{users}", cluster.namespace), own(client), named(&users)),
        }
    }

    /// What is there now.
    ///
    /// # Errors
    /// [`Error::Unseen`] for what was never listed: nothing is concluded from that.
    pub(crate) async fn seen(&self) -> Result<Seen, Error> {
        let mut nodes = Vec::new();
        for watched in &self.nodes {
            nodes.extend(watched.all().await?.iter().map(|node| node.name_any()));
        }
        nodes.sort();
        nodes.dedup();
        let (writers, pods) = self.pods.all().await?.into_iter().partition(keeps_webhook_file);
        Ok(Seen {
            service_account: self.service_account.one().await?,
            role: self.role.one().await?,
            role_binding: self.role_binding.one().await?,
            cluster_role: None,
            cluster_role_binding: None,
            config_map: self.config_map.one().await?,
            serving: self.serving.one().await?,
            daemon_set: self.daemon_set.one().await?,
            pods,
            webhook_file: self.webhook_file.one().await.map_err(|error| error.to_string()),
            writers,
            api_servers: self.api_servers.all().await?,
            nodes,
            authority: self.authority.one().await?,
            kubeconfig: self.kubeconfig.one().await?,
        })
    }
}

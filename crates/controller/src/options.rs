//! What the operator is told when it starts. Plain values; the command line fills them.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use awsiam_api::ClusterSpec;
use awsiam_authenticator::image::ImagePolicy;
use awsiam_core::privilege::Policy;
use thiserror::Error;

use crate::health::Health;
use crate::lease::Term;
use crate::metrics::Metrics;

/// The one Cluster object that stands for the cluster the operator runs in. Any other Cluster, whatever
/// it says of itself, never reaches the in-cluster identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalCluster {
    /// Namespace of the Cluster object.
    pub namespace: String,
    /// Name of the Cluster object.
    pub name: String,
}

/// The value is not `NAMESPACE/NAME`.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not NAMESPACE/NAME, such as default/here")]
pub struct LocalClusterError(String);

impl FromStr for LocalCluster {
    type Err = LocalClusterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(LocalClusterError(text.to_owned())),
        }
    }
}

/// Everything the operator is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--local-cluster`; without it the operator's own identity serves no Cluster.
    pub local_cluster: Option<LocalCluster>,
    /// `--create-local-cluster`: what the local Cluster object is made with where there is none at the start; `None`: it is
    /// not made.
    pub create_local_cluster: Option<ClusterSpec>,
    /// `--install-crds`: whether the CRDs are made where they are absent, and ours brought up to date, at the start.
    pub install_crds: bool,
    /// `--remote-targets`: whether Clusters other than the local one are served, through the kubeconfig in their Secret
    /// `NAME-kubeconfig`.
    pub remote_targets: bool,
    /// `--cluster-api-namespace`: where the kubeconfig Secret and Cluster API's objects of the Clusters in a namespace are
    /// looked for, in place of that namespace. None by default: a tenant's Cluster would reach another one's of its name.
    pub cluster_api_namespaces: BTreeMap<String, String>,
    /// `--watch-namespaces`: the only namespaces whose objects are looked at; empty: all.
    pub watch_namespaces: Vec<String>,
    /// `--observe-only`: plans are made and shown, nothing is written to targets, no finalizer is set.
    pub observe_only: bool,
    /// The privilege flags.
    pub policy: Policy,
    /// How often a Cluster is looked at again without a change, and everything of a remote target is read again that is
    /// not watched there.
    pub resync: Duration,
    /// The name of this process in Events, such as its pod's.
    pub instance: Option<String>,
    /// Which images of the authenticator may run.
    pub images: ImagePolicy,
    /// Image of awsiam for the probe beside the authenticator; `None`: no probe, and nobody knows whether the
    /// mappings are loaded.
    pub probe_image: Option<String>,
    /// CA of the API server that the operator talks to, PEM, for user kubeconfigs; empty: not known.
    pub api_server_ca: String,
    /// How many control planes may replace their machines at a time because of us; at least one.
    pub max_control_plane_rollouts: usize,
    /// Until when this process may write; `None`: no other one does the same work, so always.
    pub term: Option<Arc<Term>>,
    /// What `/livez` and `/readyz` say of this process.
    pub health: Arc<Health>,
    /// What `/metrics` says of this process; made with `health`.
    pub metrics: Arc<Metrics>,
    /// For tests: seconds by which the clock is ahead.
    pub clock_ahead: i64,
    /// For tests: the write after this many never returns, as if the process had died there.
    pub hang_after_writes: Option<u64>,
}

impl Options {
    /// The namespace of Cluster API's objects for Clusters in this one.
    pub(crate) fn cluster_api_namespace(&self, own: &str) -> String {
        self.cluster_api_namespaces.get(own).map_or_else(|| own.to_owned(), Clone::clone)
    }
}

impl Default for Options {
    fn default() -> Self {
        let health = Arc::default();
        Self {
            local_cluster: None,
            create_local_cluster: None,
            install_crds: false,
            remote_targets: false,
            cluster_api_namespaces: BTreeMap::new(),
            watch_namespaces: Vec::new(),
            observe_only: false,
            policy: Policy::default(),
            resync: Duration::from_mins(10),
            instance: None,
            images: ImagePolicy::default(),
            probe_image: None,
            api_server_ca: String::new(),
            max_control_plane_rollouts: 1,
            term: None,
            metrics: Arc::new(Metrics::new("unknown", "unknown", &health)),
            health,
            clock_ahead: 0,
            hang_after_writes: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_cluster_is_a_namespace_and_a_name() {
        let parsed: LocalCluster = "default/here".parse().unwrap();
        assert_eq!((parsed.namespace.as_str(), parsed.name.as_str()), ("default", "here"));
        for wrong in ["here", "/here", "default/", "a/b/c", ""] {
            assert!(wrong.parse::<LocalCluster>().is_err(), "{wrong}");
        }
    }
}

//! Which target a Cluster has. The operator's own identity serves one Cluster, by its name alone; any other is remote,
//! whatever it says of itself: behind the kubeconfig in a Secret.

pub(crate) mod aws_auth;
mod bounds;
pub(crate) mod health;
pub(crate) mod lanes;
mod pace;
mod pool;
mod remote;

use std::sync::Arc;
use std::time::Duration;

use awsiam_api::{Cluster, TargetKind};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use self::aws_auth::AwsAuth;
use self::health::Health;
use self::lanes::Lanes;
use self::remote::Remote;
use crate::options::{LocalCluster, Options};
use crate::target::Target;
use crate::watches::Guard;

/// Where a Cluster is sent whose target changed.
pub(crate) type Touched = mpsc::UnboundedSender<ObjectRef<Guard<Cluster>>>;

/// Starts a task that ends with the operator.
pub(crate) type Spawn = Arc<dyn Fn(futures::future::BoxFuture<'static, ()>) -> AbortHandle + Send + Sync>;

/// Why a Cluster has no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoTarget {
    /// Remote targets are not served.
    NotServed,
    /// There is no Secret with a kubeconfig.
    Missing {
        /// `Secret NAMESPACE/NAME`
        secret: String,
    },
    /// The operator may not read the Secret.
    Forbidden {
        /// As above.
        secret: String,
    },
    /// The Secret could not be read.
    Unreadable {
        /// As above.
        secret: String,
        /// The management cluster's answer.
        why: String,
    },
    /// The kubeconfig is not accepted.
    Refused {
        /// As above.
        secret: String,
        /// Field and reason; nothing that stands in it.
        why: String,
    },
    /// It leads to the cluster that the operator runs in.
    Management {
        /// As above.
        secret: String,
    },
}

/// A client for the server of a kubeconfig that was judged, bounded as the operator's own; none if its certificates
/// and key do not belong together.
#[must_use]
pub fn remote_client(judged: &awsiam_authenticator::target_kubeconfig::TargetKubeconfig) -> Option<Client> {
    bounds::Way::to(judged).ok().map(|way| way.client(drop))
}

/// The targets.
pub(crate) struct Targets {
    local: Option<(LocalCluster, Arc<Target>)>,
    remote: Option<Remote>,
    lanes: Arc<Lanes>,
}

impl Targets {
    /// The local target, if there is one, and room for remote ones, if they are served. `spawn` is given their watches;
    /// `touched` gets a Cluster at each change of its target.
    pub(crate) fn new(options: &Options, client: &Client, touched: &Touched, spawn: &Spawn) -> Self {
        let lanes = Arc::new(Lanes::counting(options.metrics.waiting()));
        let local = options.local_cluster.as_ref().map(|cluster| {
            let object = ObjectRef::new(&cluster.name).within(&cluster.namespace);
            let (touch, touched) = (object.clone(), touched.clone());
            let health = Arc::new(Health::default());
            let aws_auth = AwsAuth::new(
                TargetKind::Local,
                &object,
                client.clone(),
                health.clone(),
                lanes.clone(),
                move || {
                    // The queue ends only when the operator does.
                    drop(touched.send(touch.clone()));
                },
            );
            let target = Target::start(Arc::new(aws_auth), health, None, spawn);
            (cluster.clone(), Arc::new(target))
        });
        let remote = options.remote_targets.then(|| {
            let elsewhere = options.cluster_api_namespaces.clone();
            Remote::new(
                client.clone(),
                options.resync,
                elsewhere,
                touched.clone(),
                spawn.clone(),
                lanes.clone(),
            )
        });
        Self { local, remote, lanes }
    }

    /// The target that the operator's own identity serves.
    pub(crate) fn local(&self) -> Option<&Arc<Target>> {
        self.local.as_ref().map(|(_, target)| target)
    }

    /// Whether a Cluster is the one that the operator's own identity serves: by name alone, whatever the
    /// object says of itself.
    pub(crate) fn is_local(&self, cluster: &impl ResourceExt) -> bool {
        self.local.as_ref().is_some_and(|(local, _)| {
            cluster.namespace().as_ref() == Some(&local.namespace) && cluster.name_any() == local.name
        })
    }

    /// Whether a Cluster is served.
    pub(crate) fn is_served(&self, cluster: &impl ResourceExt) -> bool {
        self.remote.is_some() || self.is_local(cluster)
    }

    /// The target of a Cluster as far as it was looked for.
    pub(crate) fn known(&self, cluster: &impl ResourceExt) -> Option<Arc<Target>> {
        if self.is_local(cluster) {
            return self.local().cloned();
        }
        self.remote.as_ref().and_then(|remote| remote.known(cluster))
    }

    /// The target of a Cluster. For a remote one its Secret may be read first.
    ///
    /// # Errors
    /// [`NoTarget`].
    pub(crate) async fn find(&self, cluster: &Cluster) -> Result<Arc<Target>, NoTarget> {
        if self.is_local(cluster) {
            return self.local().cloned().ok_or(NoTarget::NotServed);
        }
        match &self.remote {
            Some(remote) => remote.find(cluster).await,
            None => Err(NoTarget::NotServed),
        }
    }

    /// When a Cluster whose target is not there, or does not answer, is looked at again.
    pub(crate) fn again(&self, cluster: &impl ResourceExt) -> Option<Duration> {
        self.remote.as_ref().filter(|_| !self.is_local(cluster)).map(|remote| remote.again(cluster))
    }

    /// The Secret of a Cluster's kubeconfig, as messages name it.
    pub(crate) fn secret_of(&self, cluster: &Cluster) -> String {
        self.remote.as_ref().map(|remote| remote.title(cluster)).unwrap_or_default()
    }

    /// Drops the targets of Clusters that are gone.
    pub(crate) fn keep_only(&self, is_there: impl Fn(&ObjectRef<Guard<Cluster>>) -> bool) {
        if let Some(remote) = &self.remote {
            remote.keep_only(is_there);
        }
    }

    /// Works on a target when there is a place for it. The local one never waits.
    pub(crate) async fn in_turn<T>(&self, target: &Target, work: impl Future<Output = T>) -> T {
        match target.kind {
            TargetKind::Local => work.await,
            TargetKind::Remote => self.lanes.pass(&target.health, work).await,
        }
    }
}

//! Which target a Cluster has. The operator's own identity serves one Cluster, by its name alone.

pub(crate) mod aws_auth;
pub(crate) mod health;
mod pace;

use std::sync::Arc;

use awsiam_api::{Cluster, TargetKind};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use self::aws_auth::AwsAuth;
use self::health::Health;
use crate::options::LocalCluster;
use crate::target::Target;
use crate::watches::Guard;

/// Where a Cluster is sent whose target changed.
pub(crate) type Touched = mpsc::UnboundedSender<ObjectRef<Guard<Cluster>>>;

/// The targets.
pub(crate) struct Targets {
    local: Option<(LocalCluster, Arc<Target>)>,
}

impl Targets {
    /// The local target alone, if there is one. `spawn` is given its watch; `touched` gets its Cluster at each change.
    pub(crate) fn new(
        local: Option<&LocalCluster>,
        client: &Client,
        touched: &Touched,
        spawn: impl FnOnce(futures::future::BoxFuture<'static, ()>) -> AbortHandle,
    ) -> Self {
        let local = local.map(|cluster| {
            let (object, touched) =
                (ObjectRef::new(&cluster.name).within(&cluster.namespace), touched.clone());
            let health = Arc::new(Health::default());
            let aws_auth = AwsAuth::new(TargetKind::Local, client.clone(), health.clone(), move || {
                // The queue ends only when the operator does.
                drop(touched.send(object.clone()));
            });
            let target = Target::start(client.clone(), aws_auth, health, spawn);
            (cluster.clone(), Arc::new(target))
        });
        Self { local }
    }

    /// The target that the operator's own identity serves.
    pub(crate) fn local(&self) -> Option<&Arc<Target>> {
        self.local.as_ref().map(|(_, target)| target)
    }

    /// Whether a Cluster is the one that the operator's own identity serves: by name alone, whatever the
    /// object says of itself.
    fn is_local(&self, cluster: &impl ResourceExt) -> bool {
        self.local.as_ref().is_some_and(|(local, _)| {
            cluster.namespace().as_ref() == Some(&local.namespace) && cluster.name_any() == local.name
        })
    }

    /// Whether a Cluster has a target that is served.
    pub(crate) fn is_served(&self, cluster: &impl ResourceExt) -> bool {
        self.is_local(cluster)
    }

    /// The target of a Cluster, if it has one.
    pub(crate) fn known(&self, cluster: &impl ResourceExt) -> Option<Arc<Target>> {
        self.local().filter(|_| self.is_local(cluster)).cloned()
    }
}

//! When nothing is written although something is wanted: EKS Anywhere is in charge, or somebody has
//! told us to wait. Pure predicates over the objects.

use awsiam_api::Cluster;
use awsiam_api::names::{EKS_ANYWHERE_MANAGER, EKS_ANYWHERE_PAUSED, RELEASED};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

/// Whether EKS Anywhere controls the target whose `aws-auth` this is: its field manager is on it. (It
/// controls a Cluster, too, that has its finalizer.)
pub(crate) fn is_eks_anywheres(config_map: &ConfigMap) -> bool {
    config_map.managed_fields().iter().any(|entry| entry.manager.as_deref() == Some(EKS_ANYWHERE_MANAGER))
}

/// Whether an object has a finalizer.
pub(crate) fn has_finalizer(object: &impl ResourceExt, name: &str) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == name)
}

/// Whether an administrator has ended our ownership of a Cluster's target: then nothing is planned, written or held.
pub(crate) fn is_released(cluster: &impl ResourceExt) -> bool {
    cluster.annotations().contains_key(RELEASED)
}

/// Why plans for a Cluster are made and reported, but not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// `--observe-only`
    ObserveOnly,
    /// `spec.iamAuthenticator.suspend`
    Suspended,
    /// EKS Anywhere's pause annotation.
    Paused,
}

impl Pause {
    /// The pause of a Cluster, if any.
    pub(crate) fn of(cluster: &Cluster, observe_only: bool) -> Option<Self> {
        if observe_only {
            Some(Pause::ObserveOnly)
        } else if cluster.spec.iam_authenticator.as_ref().is_some_and(|block| block.suspend) {
            Some(Pause::Suspended)
        } else if cluster.annotations().contains_key(EKS_ANYWHERE_PAUSED) {
            Some(Pause::Paused)
        } else {
            None
        }
    }

    /// What to do about it.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Pause::ObserveOnly => {
                "the operator runs with --observe-only: nothing is written to the target; start it without that flag"
            }
            Pause::Suspended => {
                "spec.iamAuthenticator.suspend is true: nothing is written to the target; set it to false"
            }
            Pause::Paused => {
                "annotation anywhere.eks.amazonaws.com/paused is set: nothing is written to the target; remove it"
            }
        }
    }
}

//! The two places in which a mapping can stand, `aws-auth` and `IAMIdentityMapping` objects: which of them the
//! authenticator asks, in which order, and where new mappings are written. Plain data; nothing is decided here.

use crate::desired::Backend;
use crate::identity_mappings::IdentityMapping;
use crate::mapping::List;

/// What is known about both places.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// `backendMode` of the Cluster's first AWSIamConfig. The authenticator asks these in order, and the first
    /// place that knows an identity answers for it (`doMapping` in its `pkg/server/server.go`). Mappings are written
    /// to the first; what is ours in the other one is kept in step until it can go.
    pub backends: &'a [Backend],
    /// All `IAMIdentityMapping` objects of the target, foreign ones too; empty where their CRD is not installed.
    /// None: they were not read, and nothing about them changes.
    pub objects: Option<&'a [IdentityMapping]>,
    /// Every authenticator that answers logins runs with exactly `backends` and is ready: the rollout is over. While
    /// it is false nothing leaves the place where the authenticators before may still look.
    pub ready: bool,
}

impl Default for Places<'_> {
    /// `aws-auth` alone.
    fn default() -> Self {
        Self { backends: &[Backend::EksConfigMap], objects: None, ready: false }
    }
}

impl Places<'_> {
    /// Where mappings of `list` are written. Accounts have one place: the authenticator's CRD backend knows none
    /// (`IsAccountAllowed` in its `pkg/mapper/crd/mapper.go` is always false).
    #[must_use]
    pub fn home(&self, list: List) -> Backend {
        match list {
            List::Accounts => Backend::EksConfigMap,
            List::Roles | List::Users => self.backends.first().copied().unwrap_or(Backend::EksConfigMap),
        }
    }

    /// Whether the authenticator asks this place.
    #[must_use]
    pub fn asks(&self, backend: Backend) -> bool {
        self.backends.contains(&backend)
    }

    /// Whether an authenticator may find an answer in `first` and not look into `second` for it: at the end of the
    /// rollout, or at this moment.
    #[must_use]
    pub(crate) fn may_overrule(&self, first: Backend, second: Backend) -> bool {
        let place = |order: &[Backend], backend| order.iter().position(|asked| *asked == backend);
        let overrules = |order: &&[Backend]| match (place(order, first), place(order, second)) {
            (Some(first), Some(second)) => first < second,
            _ => false,
        };
        self.readings().iter().any(overrules)
    }

    /// The orders in which an authenticator may look through the places at this moment: one when the rollout is
    /// over; before, nobody can say which.
    #[must_use]
    pub(crate) fn readings(&self) -> Vec<&[Backend]> {
        const CONFIG_MAP: &[Backend] = &[Backend::EksConfigMap];
        const CRD: &[Backend] = &[Backend::Crd];
        const CONFIG_MAP_FIRST: &[Backend] = &[Backend::EksConfigMap, Backend::Crd];
        const CRD_FIRST: &[Backend] = &[Backend::Crd, Backend::EksConfigMap];
        match self.objects {
            None => vec![CONFIG_MAP],
            Some(_) if self.ready => vec![self.backends],
            Some(_) => vec![CONFIG_MAP, CRD, CONFIG_MAP_FIRST, CRD_FIRST],
        }
    }
}

//! A target: the cluster whose `aws-auth` a Cluster object stands for, with everything that is kept of it between passes.
//! Which target a Cluster has is decided in `targets`.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use awsiam_api::TargetKind;
use awsiam_api::names::FIELD_MANAGER;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::{Client, ResourceExt};
use tokio::task::AbortHandle;

use crate::authenticator::{ApiServerProbe, CrdRights, Reads, Watches};
use crate::error::Error;
use crate::fights::Fights;
use crate::history::History;
use crate::identity_mappings::IdentityMappings;
use crate::observe;
use crate::targets::Spawn;
use crate::targets::aws_auth::AwsAuth;
pub(crate) use crate::targets::aws_auth::{NAME, NAMESPACE, Seen};
use crate::targets::health::Health;

/// How people reach the API server of a remote target, as its kubeconfig says.
pub(crate) struct Access {
    /// `https://HOST[:PORT][/PATH]`
    pub(crate) server: String,
    /// The certificates that it is trusted by, PEM.
    pub(crate) authority_pem: String,
}

/// A target.
pub(crate) struct Target {
    pub(crate) kind: TargetKind,
    /// For requests.
    pub(crate) client: Client,
    pub(crate) health: Arc<Health>,
    /// Of a remote target alone.
    pub(crate) access: Option<Access>,
    pub(crate) history: History,
    pub(crate) fights: Mutex<Fights>,
    /// The watches on the authenticator's objects of the local target, started when they are first needed.
    pub(crate) authenticator: OnceLock<Watches>,
    /// Those that only backend `CRD` needs.
    pub(crate) crd_rights: OnceLock<CrdRights>,
    /// What was read of the authenticator on a remote target.
    pub(crate) reads: Reads,
    pub(crate) api_server: ApiServerProbe,
    pub(crate) identity_mappings: IdentityMappings,
    aws_auth: Arc<AwsAuth>,
    /// uid and resourceVersion of our last write.
    written: Mutex<Option<(Option<String>, Option<String>)>>,
    /// The task that watches `aws-auth`: it ends with the target.
    watching: AbortHandle,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Target {
    /// The target of this `aws-auth`, whose requests go the same way. `spawn` is given the watch.
    pub(crate) fn start(
        aws_auth: Arc<AwsAuth>,
        health: Arc<Health>,
        access: Option<Access>,
        spawn: &Spawn,
    ) -> Self {
        let (watched, client) = (aws_auth.clone(), aws_auth.client().clone());
        let history = History::new(client.clone());
        // The local target's are read ahead of the first pass; of a remote one the first pass can wait a little.
        let history = match aws_auth.kind() {
            TargetKind::Local => history,
            TargetKind::Remote => history.one_by_one(),
        };
        Self {
            kind: aws_auth.kind(),
            history,
            identity_mappings: IdentityMappings::new(client.clone()),
            client,
            health,
            access,
            fights: Mutex::default(),
            authenticator: OnceLock::new(),
            crd_rights: OnceLock::new(),
            reads: Reads::default(),
            api_server: ApiServerProbe::default(),
            aws_auth,
            written: Mutex::default(),
            watching: spawn(Box::pin(async move { watched.watch().await })),
        }
    }

    /// What was last seen.
    pub(crate) fn seen(&self) -> Seen {
        self.aws_auth.seen()
    }

    /// Whether nothing has been seen yet.
    pub(crate) fn is_unseen(&self) -> bool {
        matches!(self.seen(), Seen::Nothing(_))
    }

    /// Says that something changed that a pass looks at.
    pub(crate) fn touched(&self) {
        self.aws_auth.touched();
    }

    /// uid of the target's `kube-system`, once it was read; not looked for on the local target.
    pub(crate) fn identity(&self) -> Option<&str> {
        self.aws_auth.identity()
    }

    /// Takes in what our own write returned.
    pub(crate) fn have_written(&self, config_map: &ConfigMap) {
        let version = (config_map.uid(), config_map.resource_version());
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        self.aws_auth.saw(Some(config_map.clone()));
    }

    /// Whether this content is what our last write left.
    pub(crate) fn wrote(&self, config_map: &ConfigMap) -> bool {
        let version = (config_map.uid(), config_map.resource_version());
        self.written.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&version)
    }

    /// The field manager that wrote this content.
    pub(crate) fn writer_of(&self, config_map: &ConfigMap) -> String {
        let writer = if self.wrote(config_map) {
            Some(FIELD_MANAGER.to_owned())
        } else {
            observe::last_writer(config_map)
        };
        writer.unwrap_or_else(|| "unknown".to_owned())
    }

    /// Reads `aws-auth` directly: after a refused write only.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) async fn read(&self) -> Result<Option<Arc<ConfigMap>>, Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
        let read = api.get_opt(NAME).await.map_err(Error::read("ConfigMap aws-auth"))?;
        let read = read.map(Arc::new);
        self.aws_auth.saw(read.as_deref().cloned());
        Ok(read)
    }
}

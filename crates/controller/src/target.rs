//! A target: the cluster whose `aws-auth` a Cluster object stands for. Holds its client and what was
//! last seen of `aws-auth`; a watch keeps that fresh. So far there is the local one alone.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use awsiam_api::names::FIELD_MANAGER;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use tokio::sync::Notify;

use crate::authenticator::{ApiServerProbe, CrdRights, Watches};
use crate::error::Error;
use crate::fights::Fights;
use crate::history::History;
use crate::identity_mappings::IdentityMappings;
use crate::observe;
use crate::watches::TakeUpAgain;

/// Namespace of `aws-auth`.
pub(crate) const NAMESPACE: &str = "kube-system";
/// Its name.
pub(crate) const NAME: &str = "aws-auth";

/// What was last seen of `aws-auth`.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// Nothing yet, so that no plan may be made; and why, if the watch said.
    Nothing(Option<String>),
    /// It is not there.
    Absent,
    /// This.
    Present(Arc<ConfigMap>),
}

/// A target that can be reached.
pub(crate) struct Target {
    pub(crate) client: Client,
    pub(crate) history: History,
    pub(crate) fights: Mutex<Fights>,
    /// The watches on the authenticator's objects, started when they are first needed.
    pub(crate) authenticator: OnceLock<Watches>,
    /// Those that only backend `CRD` needs.
    pub(crate) crd_rights: OnceLock<CrdRights>,
    pub(crate) api_server: ApiServerProbe,
    pub(crate) identity_mappings: IdentityMappings,
    seen: Mutex<Seen>,
    /// uid and resourceVersion of our last write.
    written: Mutex<Option<(Option<String>, Option<String>)>>,
    changed: Notify,
}

impl Target {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            history: History::new(client.clone()),
            identity_mappings: IdentityMappings::new(client.clone()),
            client,
            fights: Mutex::default(),
            authenticator: OnceLock::new(),
            crd_rights: OnceLock::new(),
            api_server: ApiServerProbe::default(),
            seen: Mutex::new(Seen::Nothing(None)),
            written: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// What was last seen.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing has been seen yet.
    pub(crate) fn is_unseen(&self) -> bool {
        matches!(self.seen(), Seen::Nothing(_))
    }

    /// Waits until something changed since the last call that returned.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Says that something changed that a pass looks at.
    pub(crate) fn touched(&self) {
        self.changed.notify_one();
    }

    /// Takes in what a write or a direct read returned, unless something newer was seen.
    pub(crate) fn saw(&self, config_map: Option<ConfigMap>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match config_map {
            None => *seen = Seen::Absent,
            Some(new) => {
                if let Seen::Present(old) = &*seen
                    && is_older(&new, old)
                {
                    return;
                }
                *seen = Seen::Present(Arc::new(new));
            }
        }
    }

    /// Takes in what our own write returned.
    pub(crate) fn have_written(&self, config_map: &ConfigMap) {
        let version = (config_map.uid(), config_map.resource_version());
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        self.saw(Some(config_map.clone()));
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
    pub(crate) async fn read(&self) -> Result<Option<Arc<ConfigMap>>, Error> {
        let read = self.api().get_opt(NAME).await.map_err(Error::read("ConfigMap aws-auth"))?;
        let read = read.map(Arc::new);
        self.saw(read.as_deref().cloned());
        Ok(read)
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Watches `aws-auth` for ever. A watch that breaks is taken up again with backoff; meanwhile the last
    /// thing seen stays, and a conditional write can do no harm with it.
    pub(crate) async fn watch(&self) {
        let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        let mut events = watcher::watcher(self.api(), config).backoff(TakeUpAgain::default()).boxed();
        let mut listed = None;
        loop {
            match events.try_next().await {
                Ok(Some(event)) => {
                    if self.take(event, &mut listed) {
                        self.changed.notify_one();
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the watch on aws-auth broke; taking it up again");
                    self.broke(&error);
                }
            }
        }
    }

    /// Keeps why nothing has been seen so far; what was seen once stays.
    fn broke(&self, error: &watcher::Error) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Seen::Nothing(why) = &mut *seen {
            *why = Some(error.to_string());
            self.changed.notify_one();
        }
    }

    /// Whether the event is worth a pass.
    fn take(&self, event: Event<ConfigMap>, listed: &mut Option<ConfigMap>) -> bool {
        match event {
            Event::Init => {
                *listed = None;
                false
            }
            Event::InitApply(config_map) => {
                *listed = Some(config_map);
                false
            }
            Event::InitDone => {
                self.saw(listed.take());
                true
            }
            Event::Apply(config_map) => {
                self.saw(Some(config_map));
                true
            }
            Event::Delete(_) => {
                self.saw(None);
                true
            }
        }
    }
}

/// Whether `new` is older than `old`: of the same object (uid), with a lower resourceVersion. Versions of
/// one object can be compared as numbers; where they are none, `new` counts as newer.
fn is_older(new: &ConfigMap, old: &ConfigMap) -> bool {
    let version = |c: &ConfigMap| c.resource_version().and_then(|v| v.parse::<u64>().ok());
    new.uid() == old.uid() && matches!((version(new), version(old)), (Some(new), Some(old)) if new < old)
}

//! Objects of one kind that are watched: by name, or by label. What is known of them is kept, and every change
//! brings the Cluster's next pass.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::Api;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::error::{Error, watch_words};
use crate::watches::watch_anew;

/// How long a pass waits for the first list.
const FIRST_LIST: Duration = Duration::from_secs(10);

/// Objects of one kind, as last seen.
pub(crate) struct Watched<K>
where
    K: Resource<DynamicType = ()> + 'static,
{
    what: String,
    store: Store<K>,
    state: watch::Sender<State>,
}

/// How far a watch is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has been heard.
    Waiting,
    /// It was listed once; what was seen then and since counts, even while the watch is broken.
    Listed,
    /// It broke before it was listed.
    Broken(String),
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Prepares a watch, and gives the future that keeps it up for ever. `changed` is called after each change.
    pub(crate) fn new(
        what: impl Into<String>,
        api: Api<K>,
        config: watcher::Config,
        changed: impl Fn() + Send + 'static,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (store, writer) = reflector::store();
        let state = watch::Sender::new(State::Waiting);
        let watched = Self { what: what.into(), store, state: state.clone() };
        let events = watch_anew(api, config)
            // The label says whose an object is; who wrote which field takes memory. When is little, and of use.
            .modify(|object| {
                object.managed_fields_mut().iter_mut().for_each(|entry| entry.fields_v1 = None);
            })
            .reflect(writer);
        let keep_up = events.for_each(move |event| {
            match event {
                Ok(watcher::Event::InitDone) => {
                    state.send_replace(State::Listed);
                    changed();
                }
                Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) => changed(),
                Ok(_) => {}
                Err(error) => {
                    let broken = state.send_if_modified(|state| {
                        let is_new = *state == State::Waiting;
                        if *state != State::Listed {
                            *state = State::Broken(watch_words(&error));
                        }
                        is_new
                    });
                    if broken {
                        changed();
                    }
                    tracing::warn!(%error, "a watch broke; taking it up again");
                }
            }
            std::future::ready(())
        });
        (watched, keep_up)
    }

    /// All of them. Waits for the first list.
    ///
    /// # Errors
    /// [`Error::Unseen`] when that does not come in time: nothing may be concluded from a store that was never
    /// filled.
    pub(crate) async fn all(&self) -> Result<Vec<Arc<K>>, Error> {
        let mut state = self.state.subscribe();
        let known = tokio::time::timeout(FIRST_LIST, state.wait_for(|state| *state != State::Waiting)).await;
        let unseen = |why: &str| Error::Unseen { what: self.what.clone(), why: why.to_owned() };
        match known.as_ref().map(|known| known.as_deref()) {
            Ok(Ok(State::Listed)) => Ok(self.store.state()),
            Ok(Ok(State::Broken(why))) => Err(unseen(why)),
            _ => Err(unseen("the API server did not answer")),
        }
    }

    /// The only one, where the watch is by name.
    ///
    /// # Errors
    /// As [`Watched::all`].
    pub(crate) async fn one(&self) -> Result<Option<Arc<K>>, Error> {
        Ok(self.all().await?.into_iter().next())
    }
}

/// A watch by name.
pub(crate) fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

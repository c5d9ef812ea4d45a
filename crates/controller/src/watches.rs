//! The watches on our own resources. Objects that do not decode come through with their error; a watch
//! that breaks is taken up again with backoff, and the last thing known stays.

mod anew;
mod namespaces;

use std::fmt::Debug;
use std::time::Duration;

use awsiam_api::{AWSIamConfig, Cluster};
use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{DefaultBackoff, Event};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

pub(crate) use anew::watch_anew;

/// A Cluster or an AWSIamConfig, or why it is none.
pub(crate) type Guard<K> = DeserializeGuard<K>;

/// Longest wait before a watch that broke is taken up again: what it misses, nobody else tells.
const LONGEST: Duration = Duration::from_secs(5);

/// When a watch that broke is taken up again: the usual backoff with jitter, up to [`LONGEST`].
pub(crate) struct TakeUpAgain {
    backoff: DefaultBackoff,
    longest: Duration,
}

impl Default for TakeUpAgain {
    fn default() -> Self {
        Self { backoff: DefaultBackoff::default(), longest: LONGEST }
    }
}

impl TakeUpAgain {
    /// As it is used for an API server far away, which may be gone for days: up to half a minute.
    pub(crate) fn patient() -> Self {
        Self { longest: Duration::from_secs(30), ..Self::default() }
    }
}

impl Iterator for TakeUpAgain {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.backoff.next().map(|wait| wait.min(self.longest))
    }
}

/// Clusters: all of them in the store, of these namespaces, or of all where none is named; in the stream those that
/// changed otherwise than in their status. `touched` sees every event when it is in the store.
pub(crate) fn clusters<F>(
    client: Client,
    namespaces: &[String],
    touched: F,
) -> (Store<Guard<Cluster>>, impl Stream<Item = Result<Guard<Cluster>, watcher::Error>> + Send + use<F>)
where
    F: FnMut(&Event<Guard<Cluster>>) + Send + 'static,
{
    let (store, writer) = reflector::store();
    let meant = predicates::generation
        .combine(predicates::finalizers)
        .combine(predicates::annotations)
        .combine(deletion::<Guard<Cluster>>);
    let changes = reflected(client, namespaces, &store, writer, touched);
    (store, changes.predicate_filter(meant, PredicateConfig::default()))
}

/// AWSIamConfigs, likewise. `listed` turns true once all of them are in the store: before that every
/// reference would look as if it did not resolve. (The store's own `wait_until_ready` wakes only one of
/// several waiters in kube-runtime 5.0.)
pub(crate) fn configs(
    client: Client,
    namespaces: &[String],
    listed: watch::Sender<bool>,
) -> (
    Store<Guard<AWSIamConfig>>,
    impl Stream<Item = Result<Guard<AWSIamConfig>, watcher::Error>> + Send + use<>,
) {
    let (store, writer) = reflector::store();
    let meant =
        predicates::generation.combine(predicates::finalizers).combine(deletion::<Guard<AWSIamConfig>>);
    let changes = reflected(client, namespaces, &store, writer, move |event: &Event<_>| {
        if matches!(event, Event::InitDone) {
            listed.send_replace(true);
        }
    });
    (store, changes.predicate_filter(meant, PredicateConfig::default()))
}

/// Objects of these namespaces; of all where none is named.
fn reflected<K, F>(
    client: Client,
    namespaces: &[String],
    store: &Store<Guard<K>>,
    writer: Writer<Guard<K>>,
    mut touched: F,
) -> impl Stream<Item = Result<Guard<K>, watcher::Error>> + Send + use<K, F>
where
    F: FnMut(&Event<Guard<K>>) + Send + 'static,
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let watch = |api: Api<Guard<K>>| watch_anew(api, watcher::Config::default()).boxed();
    let events = if namespaces.is_empty() {
        watch(Api::all(client))
    } else {
        let each = namespaces.iter().map(|namespace| watch(Api::namespaced(client.clone(), namespace)));
        namespaces::merged(each.collect(), store.clone()).boxed()
    };
    events
        // Who wrote which field of our own resources is not looked at, and takes memory.
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .inspect(move |event| {
            if let Ok(event) = event {
                touched(event);
            }
        })
        .touched_objects()
        .boxed()
}

/// A deletion that begins, or an object that was made again under the same name.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a predicate")]
fn deletion<K: Resource>(object: &K) -> Option<u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    object.meta().deletion_timestamp.is_some().hash(&mut hasher);
    object.meta().uid.hash(&mut hasher);
    Some(hasher.finish())
}

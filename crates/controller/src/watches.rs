//! The watches on our own resources. Objects that do not decode come through with their error; a watch
//! that breaks is taken up again with backoff, and the last thing known stays.

use std::fmt::Debug;
use std::time::Duration;

use awsiam_api::{AWSIamConfig, Cluster};
use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{DefaultBackoff, Event};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// A Cluster or an AWSIamConfig, or why it is none.
pub(crate) type Guard<K> = DeserializeGuard<K>;

/// Longest wait before a watch that broke is taken up again: what it misses, nobody else tells.
const LONGEST: Duration = Duration::from_secs(5);

/// When a watch that broke is taken up again: the usual backoff, up to [`LONGEST`].
#[derive(Default)]
pub(crate) struct TakeUpAgain(DefaultBackoff);

impl Iterator for TakeUpAgain {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|wait| wait.min(LONGEST))
    }
}

impl Backoff for TakeUpAgain {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Clusters: all of them in the store; in the stream those that changed otherwise than in their status.
/// `touched` sees every event when it is in the store.
pub(crate) fn clusters(
    client: Client,
    touched: impl FnMut(&Event<Guard<Cluster>>) + Send + 'static,
) -> (Store<Guard<Cluster>>, impl Stream<Item = Result<Guard<Cluster>, watcher::Error>> + Send) {
    let (store, writer) = reflector::store();
    let meant = predicates::generation
        .combine(predicates::finalizers)
        .combine(predicates::annotations)
        .combine(deletion::<Guard<Cluster>>);
    let changes = reflected(client, writer, touched);
    (store, changes.predicate_filter(meant, PredicateConfig::default()))
}

/// AWSIamConfigs, likewise. `listed` turns true once all of them are in the store: before that every
/// reference would look as if it did not resolve. (The store's own `wait_until_ready` wakes only one of
/// several waiters in kube-runtime 5.0.)
pub(crate) fn configs(
    client: Client,
    listed: watch::Sender<bool>,
) -> (Store<Guard<AWSIamConfig>>, impl Stream<Item = Result<Guard<AWSIamConfig>, watcher::Error>> + Send) {
    let (store, writer) = reflector::store();
    let meant =
        predicates::generation.combine(predicates::finalizers).combine(deletion::<Guard<AWSIamConfig>>);
    let changes = reflected(client, writer, move |event| {
        if matches!(event, Event::InitDone) {
            listed.send_replace(true);
        }
    });
    (store, changes.predicate_filter(meant, PredicateConfig::default()))
}

fn reflected<K>(
    client: Client,
    writer: Writer<Guard<K>>,
    mut touched: impl FnMut(&Event<Guard<K>>) + Send + 'static,
) -> impl Stream<Item = Result<Guard<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    watcher::watcher(Api::<Guard<K>>::all(client), watcher::Config::default())
        .backoff(TakeUpAgain::default())
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

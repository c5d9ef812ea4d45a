//! `aws-auth` of one target as last seen, and the one watch that keeps it fresh. Bounded by itself: nothing that a server
//! answers makes it turn in circles. Needs a client; writes nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use awsiam_api::{Cluster, TargetKind};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::jiff::Timestamp;
use kube::api::{GetParams, ListParams, ObjectList, PartialObjectMeta, Request, WatchEvent, WatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::bounds::OfTheWatch;
use super::health::Health;
use super::lanes::Lanes;
use super::pace::Pace;
use crate::error::answer;
use crate::watches::{Guard, TakeUpAgain};

/// Namespace of `aws-auth`.
pub(crate) const NAMESPACE: &str = "kube-system";
/// Its name.
pub(crate) const NAME: &str = "aws-auth";

/// Shortest time after which a server is asked to end a watch; up to a minute more, so that many watches that began
/// together don't end together.
const WATCH_SECONDS: u32 = 230;
/// How long a watch may stay silent beyond its end before the connection counts as dead.
const OVERDUE: Duration = Duration::from_secs(5);
/// A watch that ended sooner than this is not taken up at once.
const SHORT: Duration = Duration::from_secs(10);

/// What was last seen of `aws-auth`.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// Nothing yet, so that no plan may be made; and why, if the API server said.
    Nothing(Option<String>),
    /// It is not there.
    Absent,
    /// This.
    Present(Arc<ConfigMap>),
}

/// `aws-auth` of one target.
pub(crate) struct AwsAuth {
    kind: TargetKind,
    /// Its Cluster, as logs name it.
    cluster: String,
    client: Client,
    seen: Mutex<Seen>,
    /// How often something was taken in.
    news: AtomicU64,
    /// uid of the target's `kube-system`: which cluster it is.
    identity: OnceLock<String>,
    health: Arc<Health>,
    lanes: Arc<Lanes>,
    changed: Box<dyn Fn() + Send + Sync>,
    /// Asks the watch to begin anew: its connection may be dead without a word.
    reopen: Notify,
}

/// Why the watch has to begin anew.
enum Broken {
    /// The API server does not answer, or refuses.
    Unreachable(String),
    /// The watch itself ended; whether the API server is there shows when it is taken up again.
    Interrupted(String),
}

impl AwsAuth {
    /// Nothing is seen before [`AwsAuth::watch`] runs. `changed` is called when a pass should look.
    pub(crate) fn new(
        kind: TargetKind,
        cluster: &ObjectRef<Guard<Cluster>>,
        client: Client,
        health: Arc<Health>,
        lanes: Arc<Lanes>,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            cluster: format!("{}/{}", cluster.namespace.as_deref().unwrap_or_default(), cluster.name),
            client,
            seen: Mutex::new(Seen::Nothing(None)),
            news: AtomicU64::new(0),
            identity: OnceLock::new(),
            health,
            lanes,
            changed: Box::new(changed),
            reopen: Notify::new(),
        }
    }

    /// For requests to the same target.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whose it is.
    pub(crate) fn kind(&self) -> TargetKind {
        self.kind
    }

    /// What was last seen.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that something changed that a pass looks at.
    pub(crate) fn touched(&self) {
        (self.changed)();
    }

    /// uid of the target's `kube-system`, once it was read.
    pub(crate) fn identity(&self) -> Option<&str> {
        self.identity.get().map(String::as_str)
    }

    /// Has the watch begin anew: requests on this target failed, so its connection may be dead as well.
    pub(super) fn reopen(&self) {
        self.reopen.notify_one();
    }

    /// Takes in what a write, a read or an event returned, unless something newer was seen.
    pub(crate) fn saw(&self, config_map: Option<ConfigMap>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.news.fetch_add(1, Ordering::SeqCst);
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

    /// Takes in what a list returned that was asked for when so much was known. If nothing was taken in since, it says how
    /// things are, even with a lower resourceVersion than before: then a backup was restored.
    fn listed(&self, config_map: Option<ConfigMap>, news_before: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_latest = self.news.load(Ordering::SeqCst) == news_before;
        if let (Seen::Present(old), Some(new), true) = (&*seen, &config_map, is_latest)
            && is_older(new, old)
        {
            tracing::warn!(
                "aws-auth is older than it was: a backup was restored, and what it says now counts"
            );
            *seen = Seen::Absent;
        }
        drop(seen);
        self.saw(config_map);
    }

    /// Whether an event tells what is known: it follows our own write, whose answer came first.
    fn is_known(&self, config_map: &ConfigMap) -> bool {
        let version = |c: &ConfigMap| (c.uid(), c.resource_version());
        matches!(self.seen(), Seen::Present(known) if version(&known) == version(config_map))
    }

    /// Sends a request of the watch, and reads the answer.
    async fn ask<T: DeserializeOwned>(&self, request: Built) -> kube::Result<T> {
        self.client.request(marked(request)?).await
    }

    /// Watches `aws-auth` for ever. A watch that breaks is taken up again with backoff; meanwhile the last
    /// thing seen stays, and a conditional write can do no harm with it.
    pub(crate) async fn watch(&self) {
        let mut waits = match self.kind {
            TargetKind::Local => TakeUpAgain::default(),
            TargetKind::Remote => TakeUpAgain::patient(),
        };
        loop {
            match self.follow().await {
                Broken::Unreachable(why) => self.unreachable(why),
                Broken::Interrupted(why) => {
                    let cluster = &self.cluster;
                    tracing::debug!(cluster, why, "the watch on aws-auth ended; taking it up again");
                }
            }
            tokio::time::sleep(waits.next().unwrap_or(SHORT)).await;
        }
    }

    /// Lists, and then watches as long as it goes.
    async fn follow(&self) -> Broken {
        let only = format!("metadata.name={NAME}");
        let listing = self.list(&only);
        let listed = match self.kind {
            TargetKind::Local => listing.await,
            TargetKind::Remote => self.lanes.begin_watch(&self.health, listing).await,
        };
        let mut version = match listed {
            Ok(version) => version,
            Err(broken) => return broken,
        };
        if self.health.watched() {
            tracing::info!(cluster = self.cluster, "aws-auth is watched again");
        }
        self.touched();
        let mut pace = Pace::default();
        loop {
            let opened = Instant::now();
            if let Err(broken) = self.events(&mut version, &only, &mut pace).await {
                return broken;
            }
            if opened.elapsed() < SHORT {
                return Broken::Interrupted("the API server ended it at once".to_owned());
            }
        }
    }

    /// Reads which cluster it is, and `aws-auth`; gives the resourceVersion to watch from.
    async fn list(&self, only: &str) -> Result<String, Broken> {
        let failed =
            |what: &str, error: &kube::Error| Broken::Unreachable(format!("{what}: {}", answer(error)));
        if self.kind == TargetKind::Remote && self.identity().is_none() {
            let asked =
                Request::new(Namespace::url_path(&(), None)).get_metadata(NAMESPACE, &GetParams::default());
            match self.ask::<PartialObjectMeta<Namespace>>(asked).await {
                Ok(namespace) => drop(namespace.metadata.uid.map(|uid| self.identity.set(uid))),
                Err(error) => return Err(failed("can't read namespace kube-system", &error)),
            }
            if self.identity().is_none() {
                return Err(Broken::Unreachable("namespace kube-system has no uid".to_owned()));
            }
        }
        let news_before = self.news.load(Ordering::SeqCst);
        let asked = config_maps().list(&ListParams::default().fields(only));
        let list: ObjectList<ConfigMap> =
            self.ask(asked).await.map_err(|error| failed("can't list ConfigMap aws-auth", &error))?;
        let Some(version) = list.metadata.resource_version.filter(|version| !version.is_empty()) else {
            let why = "it lists ConfigMap aws-auth without a resourceVersion";
            return Err(Broken::Unreachable(why.to_owned()));
        };
        self.listed(list.items.into_iter().find(is_meant), news_before);
        Ok(version)
    }

    /// One watch from `version` on, until the API server ends it as it was asked to.
    async fn events(&self, version: &mut String, only: &str, pace: &mut Pace) -> Result<(), Broken> {
        let seconds = WATCH_SECONDS + Timestamp::now().subsec_nanosecond().unsigned_abs() % 60;
        let params = WatchParams::default().fields(only).timeout(seconds);
        let asked = marked(config_maps().watch(&params, version));
        let opened = async { self.client.request_events::<ConfigMap>(asked?).await };
        let mut events = opened
            .await
            .map_err(|error| match error {
                // Too old a version: listed again.
                kube::Error::Api(status) if status.code == 410 => Broken::Interrupted(status.message.clone()),
                error => Broken::Unreachable(format!("can't watch ConfigMap aws-auth: {}", answer(&error))),
            })?
            .boxed();
        let silence = Duration::from_secs(seconds.into()) + OVERDUE;
        loop {
            let event = tokio::select! {
                () = self.reopen.notified() => {
                    return Err(Broken::Interrupted("requests to this API server failed".to_owned()));
                }
                event = tokio::time::timeout(silence, events.next()) => event,
            };
            match event {
                Err(_) => return Err(Broken::Interrupted("nothing was heard for long".to_owned())),
                Ok(Some(Err(error))) => return Err(Broken::Interrupted(answer(&error))),
                Ok(None) => return Ok(()),
                Ok(Some(Ok(event))) => {
                    if self.kind == TargetKind::Remote {
                        pace.keep().await;
                    }
                    self.take(event, version)?;
                }
            }
        }
    }

    fn take(&self, event: WatchEvent<ConfigMap>, version: &mut String) -> Result<(), Broken> {
        let (config_map, is_there) = match event {
            WatchEvent::Added(config_map) | WatchEvent::Modified(config_map) => (config_map, true),
            WatchEvent::Deleted(config_map) => (config_map, false),
            WatchEvent::Bookmark(bookmark) => {
                *version = bookmark.metadata.resource_version;
                return Ok(());
            }
            WatchEvent::Error(status) => return Err(Broken::Interrupted(status.message.clone())),
        };
        let new = config_map.resource_version().filter(|version| !version.is_empty());
        *version = new.ok_or_else(|| Broken::Interrupted("an event without a resourceVersion".to_owned()))?;
        if is_meant(&config_map) && !(is_there && self.is_known(&config_map)) {
            self.saw(is_there.then_some(config_map));
            self.touched();
        }
        Ok(())
    }

    /// Takes note of why the API server can't be asked; what was seen once stays.
    fn unreachable(&self, why: String) {
        let is_news = self.health.unreachable(why.clone());
        if is_news {
            tracing::warn!(cluster = self.cluster, why, "aws-auth can't be watched; trying again and again");
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let was_unseen = if let Seen::Nothing(known) = &mut *seen {
            *known = Some(why);
            true
        } else {
            false
        };
        drop(seen);
        if was_unseen || is_news {
            self.touched();
        }
    }
}

/// A request as kube builds it.
type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// Requests about ConfigMaps of its namespace.
fn config_maps() -> Request {
    Request::new(ConfigMap::url_path(&(), Some(NAMESPACE)))
}

/// The same request, as one of the watch.
fn marked(request: Built) -> kube::Result<http::Request<Vec<u8>>> {
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.extensions_mut().insert(OfTheWatch);
    Ok(request)
}

/// Whether it is the object that was asked for: a server may answer with anything.
fn is_meant(config_map: &ConfigMap) -> bool {
    config_map.metadata.name.as_deref() == Some(NAME)
        && config_map.metadata.namespace.as_deref() == Some(NAMESPACE)
}

/// Whether `new` is older than `old`: of the same object (uid), with a lower resourceVersion. Versions of
/// one object can be compared as numbers; where they are none, `new` counts as newer.
fn is_older(new: &ConfigMap, old: &ConfigMap) -> bool {
    let version = |c: &ConfigMap| c.resource_version().and_then(|v| v.parse::<u64>().ok());
    new.uid() == old.uid() && matches!((version(new), version(old)), (Some(new), Some(old)) if new < old)
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// Else a watch that can't be opened would count as a pass that failed, and would be interrupted for it once more.
    #[tokio::test]
    async fn each_request_of_the_watch_is_marked_as_one() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sent = seen.clone();
        let server = tower::service_fn(move |request: Request<Body>| {
            let is_marked = request.extensions().get::<OfTheWatch>().is_some();
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            let answer = match path.as_str() {
                "/api/v1/namespaces/kube-system" => r#"{"metadata": {"name": "kube-system", "uid": "u"}}"#,
                list if !list.contains("watch=true") => {
                    r#"{"metadata": {"resourceVersion": "7"}, "items": []}"#
                }
                _ => "no event",
            };
            sent.lock().unwrap().push((path, is_marked));
            async move { Ok::<_, tower::BoxError>(Response::new(Body::from(answer.as_bytes().to_vec()))) }
        });
        let client = Client::new(server, "default");
        let cluster = ObjectRef::new("prod").within("fleet");
        let (health, lanes) = (Arc::new(Health::default()), Arc::new(Lanes::default()));
        let aws_auth = AwsAuth::new(TargetKind::Remote, &cluster, client, health, lanes, || {});
        assert!(matches!(aws_auth.follow().await, Broken::Interrupted(_)));
        let seen = seen.lock().unwrap();
        let paths: Vec<&str> = seen.iter().map(|(path, _)| path.split('?').next().unwrap()).collect();
        let config_maps = "/api/v1/namespaces/kube-system/configmaps";
        assert_eq!(paths, ["/api/v1/namespaces/kube-system", config_maps, config_maps]);
        assert!(seen.iter().all(|(_, is_marked)| *is_marked), "{seen:?}");
        assert!(seen.iter().skip(1).all(|(path, _)| path.contains("fieldSelector=metadata.name%3Daws-auth")));
    }
}

//! The `IAMIdentityMapping` objects of a target, as last seen. They are watched only where they matter: from when a
//! Cluster's backends name `CRD`, or their CRD is there. Whether it is, is looked at now and then, beside the passes.
//! Read as dynamic objects, because the authenticator's CRD lets objects without a spec pass.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use awsiam_api::TargetKind;
use awsiam_api::identity_mapping::{api_resource, crd};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Error;
use crate::operator::Operator;
use crate::target::Target;
use crate::watches::watch_anew;

/// How long a pass waits for the first list. A CRD that has just been made is not served at once.
const FIRST_LIST: Duration = Duration::from_secs(10);

/// Objects are read in pages of so many, and so many pages at most.
const PAGE: u32 = 500;
const PAGES: u32 = 40;

/// What the objects are called in messages.
const WHAT: &str = "IAMIdentityMapping objects";

/// What is known of the objects.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// Nothing: nobody has looked yet, or the API server does not say.
    Nothing,
    /// Their CRD is not installed, so there are none.
    NoCrd,
    /// All of them, foreign ones too.
    Objects(Vec<Arc<DynamicObject>>),
}

impl Found {
    /// An object by its name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<DynamicObject>> {
        let Found::Objects(objects) = self else { return None };
        objects.iter().find(|object| object.metadata.name.as_deref() == Some(name))
    }
}

/// How far the watch is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It was not listed yet, or the CRD is not served.
    Waiting,
    /// It was listed once; what was seen then and since counts, even while the watch is broken.
    Listed,
    /// It broke before it was listed.
    Broken,
}

/// The objects of one target.
pub(crate) struct IdentityMappings {
    client: Client,
    /// When the CRD was looked for, and whether it was there.
    looked: Mutex<Option<(Instant, bool)>>,
    started: AtomicBool,
    state: watch::Sender<State>,
    /// When the objects of a remote target, which are not watched, were last read.
    read: Mutex<Option<Instant>>,
    objects: Mutex<BTreeMap<String, Arc<DynamicObject>>>,
}

impl IdentityMappings {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            looked: Mutex::default(),
            started: AtomicBool::new(false),
            state: watch::Sender::new(State::Waiting),
            read: Mutex::default(),
            objects: Mutex::default(),
        }
    }

    /// The objects, for requests.
    pub(crate) fn api(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &api_resource())
    }

    /// Whether this target has, or had, anything to do with backend `CRD`.
    pub(crate) fn is_watched(&self) -> bool {
        self.started.load(Ordering::SeqCst)
    }

    /// Whether the CRD was there when it was last looked for.
    fn looked(&self) -> Option<(Instant, bool)> {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw_crd(&self, installed: bool) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), installed));
    }

    /// Looks whether the CRD is installed. What can't be read is as good as not looked at.
    pub(crate) async fn look(&self) -> Option<bool> {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        match crds.get_metadata_opt(&crd().name_any()).await {
            Ok(found) => {
                self.saw_crd(found.is_some());
                Some(found.is_some())
            }
            // Without that right (the chart's rights.authenticator: false) it is looked for on every pass, and refused.
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                tracing::debug!(%status, "may not see whether the CRD of IAMIdentityMappings is installed");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "can't see whether the CRD of IAMIdentityMappings is installed");
                None
            }
        }
    }

    /// The CRD is not what it was taken for: it is looked for again.
    pub(crate) fn forget_crd(&self) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn all(&self) -> Vec<Arc<DynamicObject>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Reads all objects directly: after a refused write, and where they are not watched.
    pub(crate) async fn read(&self) -> Result<Found, Error> {
        match self.pages().await {
            Err(error) if is_not_served(&error) => {
                self.forget_crd();
                Ok(Found::NoCrd)
            }
            Err(error) => Err(Error::read(WHAT)(error)),
            Ok(None) => Err(Error::Unseen {
                what: WHAT.to_owned(),
                why: format!("there are more than {}", PAGES * PAGE),
            }),
            Ok(Some(objects)) => {
                self.listed(objects);
                *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                Ok(Found::Objects(self.all()))
            }
        }
    }

    /// All objects; none where their list has no end.
    async fn pages(&self) -> Result<Option<BTreeMap<String, Arc<DynamicObject>>>, kube::Error> {
        let (mut params, mut objects) = (ListParams::default().limit(PAGE), BTreeMap::new());
        for _ in 0..PAGES {
            let list = self.api().list(&params).await?;
            objects.extend(list.items.into_iter().map(keyed));
            params.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(Some(objects));
            }
        }
        Ok(None)
    }

    /// What was read of a remote target, or is read now, where that is older than `patience`.
    async fn reread(&self, patience: Duration) -> Found {
        let read = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.is_some_and(|at| at.elapsed() < patience) {
            return Found::Objects(self.all());
        }
        self.read().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "can't see the IAMIdentityMappings of a remote target");
            Found::Nothing
        })
    }

    /// Takes in a whole list; what a write returned since then stays.
    fn listed(&self, mut new: BTreeMap<String, Arc<DynamicObject>>) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, object) in &mut new {
            if let Some(known) = objects.get(name).filter(|known| is_older(object, known)) {
                *object = known.clone();
            }
        }
        *objects = new;
    }

    /// Takes in what an event or a write returned, unless something newer was seen.
    pub(crate) fn saw(&self, object: DynamicObject) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, object) = keyed(object);
        if objects.get(&name).is_none_or(|known| !is_older(&object, known)) {
            objects.insert(name, object);
        }
    }

    /// Takes in what a deletion returned: the object, while a finalizer holds it.
    pub(crate) fn deleted(&self, name: &str, uid: &str, left: Option<DynamicObject>) {
        match left {
            Some(object) => self.saw(object),
            None => self.gone(name, Some(uid)),
        }
    }

    fn gone(&self, name: &str, uid: Option<&str>) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        if objects.get(name).is_some_and(|known| known.metadata.uid.as_deref() == uid) {
            objects.remove(name);
        }
    }

    /// What was seen, once the watch has listed.
    async fn seen(&self) -> Found {
        let mut state = self.state.subscribe();
        let known = tokio::time::timeout(FIRST_LIST, state.wait_for(|state| *state != State::Waiting)).await;
        match known.as_ref().map(|known| known.as_deref()) {
            Ok(Ok(State::Listed)) => Found::Objects(self.all()),
            _ => Found::Nothing,
        }
    }

    /// Watches the objects for ever; `changed` is called after each change.
    async fn watch(&self, changed: impl Fn()) {
        let mut events = watch_anew(self.api(), watcher::Config::default()).boxed();
        let mut list = BTreeMap::new();
        loop {
            match events.try_next().await {
                Ok(Some(Event::Init)) => list = BTreeMap::new(),
                Ok(Some(Event::InitApply(object))) => list.extend([keyed(object)]),
                Ok(Some(Event::InitDone)) => {
                    self.listed(std::mem::take(&mut list));
                    self.saw_crd(true);
                    self.state.send_replace(State::Listed);
                    changed();
                }
                Ok(Some(Event::Apply(object))) => {
                    self.saw(object);
                    changed();
                }
                Ok(Some(Event::Delete(object))) => {
                    self.gone(&object.name_any(), object.metadata.uid.as_deref());
                    changed();
                }
                Ok(None) => return,
                Err(error) => {
                    if self.broke(&error) {
                        changed();
                    }
                }
            }
        }
    }

    /// Takes in why the watch broke. True when a pass should look at it.
    fn broke(&self, error: &watcher::Error) -> bool {
        let before = self.state.borrow().clone();
        if is_not_found(error) {
            tracing::debug!("IAMIdentityMappings are not served; looking again");
            self.objects.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.state.send_replace(State::Waiting);
            // Unless the CRD was only just made: then it is about to be served.
            if before == State::Listed {
                self.forget_crd();
            }
            return before == State::Listed;
        }
        tracing::warn!(%error, "the watch on IAMIdentityMappings broke; taking it up again");
        if before == State::Waiting {
            self.state.send_replace(State::Broken);
        }
        before == State::Waiting
    }
}

/// What is known of the objects of a target. Where nobody is known to have to do with them, this takes no request and
/// no wait; with `must` it is found out.
pub(crate) async fn found(operator: &Operator, target: &Arc<Target>, must: bool) -> Found {
    let objects = &target.identity_mappings;
    let looked = match objects.looked() {
        Some((_, true)) => Some(true),
        None | Some(_) if must => objects.look().await,
        Some((at, false)) if at.elapsed() < operator.options.resync => Some(false),
        stale => {
            look_beside(operator, target);
            stale.map(|(_, installed)| installed)
        }
    };
    match looked {
        None => Found::Nothing,
        Some(false) => Found::NoCrd,
        Some(true) => listed(operator, target).await,
    }
}

/// The objects where the CRD is there, or has just been made.
pub(crate) async fn listed(operator: &Operator, target: &Arc<Target>) -> Found {
    let objects = &target.identity_mappings;
    if target.kind == TargetKind::Remote {
        objects.started.store(true, Ordering::SeqCst);
        return objects.reread(target.reads.patience(operator.options.resync)).await;
    }
    if !objects.started.swap(true, Ordering::SeqCst) {
        let target = target.clone();
        operator.forever(async move { target.identity_mappings.watch(|| target.touched()).await });
    }
    objects.seen().await
}

/// Looks for the CRD without holding up the pass, and brings the next one when it is there.
fn look_beside(operator: &Operator, target: &Arc<Target>) {
    let target = target.clone();
    operator.forever(async move {
        if target.identity_mappings.look().await == Some(true) {
            target.touched();
        }
    });
}

fn keyed(object: DynamicObject) -> (String, Arc<DynamicObject>) {
    (object.name_any(), Arc::new(object))
}

/// Whether `new` is older than `old`: of the same object (uid), with a lower resourceVersion.
fn is_older(new: &DynamicObject, old: &DynamicObject) -> bool {
    let version = |object: &DynamicObject| object.resource_version().and_then(|v| v.parse::<u64>().ok());
    new.metadata.uid == old.metadata.uid
        && matches!((version(new), version(old)), (Some(new), Some(old)) if new < old)
}

/// Whether a write failed because nobody serves the resource any more.
pub(crate) fn lost_its_crd(error: &Error) -> bool {
    matches!(error, Error::Write { source, .. } if is_not_served(source))
}

/// Whether a watch broke because nobody serves the resource.
fn is_not_found(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => is_not_served(error),
        watcher::Error::WatchError(status) => status.code == NOT_FOUND,
        watcher::Error::NoResourceVersion => false,
    }
}

const NOT_FOUND: u16 = 404;

/// The code alone: an API server that serves nothing of the group answers in plain words.
fn is_not_served(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == NOT_FOUND)
}

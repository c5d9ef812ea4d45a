//! Remote targets: the Secret with the kubeconfig of a Cluster, read by its name and no other way, and the target behind
//! it, which lives as long as the Secret stays the same. Needs the management cluster's client.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use awsiam_api::{Cluster, TargetKind};
use awsiam_authenticator::target_kubeconfig::{self, TargetKubeconfig};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::aws_auth::AwsAuth;
use super::bounds::Way;
use super::health::{Health, Trouble};
use super::lanes::Lanes;
use super::{NoTarget, Spawn, Touched};
use crate::target::{Access, Target};
use crate::watches::Guard;

/// Key of the Secret, as Cluster API writes it.
const VALUE: &str = "value";
/// How long the Secret is waited for.
const ANSWER: Duration = Duration::from_secs(10);
/// So many Secrets are read at a time: each takes a connection to the management cluster.
const READS: usize = 16;
/// How soon and how late it is read again while there is no target that answers: the longer that lasts, the less often.
const SOONEST: Duration = Duration::from_secs(2);
const LATEST: Duration = Duration::from_mins(1);

/// All remote targets.
pub(super) struct Remote {
    client: Client,
    /// How often everything is read again.
    resync: Duration,
    /// Where Secrets are looked for that are not in the Cluster's own namespace, by the Cluster's namespace.
    elsewhere: BTreeMap<String, String>,
    touched: Touched,
    spawn: Spawn,
    lanes: Arc<Lanes>,
    reads: Semaphore,
    entries: Mutex<HashMap<Key, Entry>>,
}

/// Namespace and name of a Cluster.
type Key = (String, String);
/// uid and resourceVersion of a Secret.
type Version = (Option<String>, Option<String>);

/// What is known of one Cluster's target.
#[derive(Clone)]
struct Entry {
    /// uid of the Cluster.
    cluster: Option<String>,
    /// The Secret that `outcome` comes from.
    secret: Option<Version>,
    /// When it was last read.
    read: Instant,
    /// Since when the outcome has been the same.
    since: Instant,
    outcome: Result<Arc<Target>, NoTarget>,
}

impl Entry {
    /// How long it counts.
    fn patience(&self, resync: Duration) -> Duration {
        let lasted = |trouble: Trouble| {
            Duration::try_from(Timestamp::now().duration_since(trouble.since)).unwrap_or_default()
        };
        let trouble = match &self.outcome {
            Ok(target) => target.health.trouble().map(lasted),
            Err(_) => Some(self.since.elapsed()),
        };
        // Below the pauses between passes, which come up to a tenth early.
        let longest = resync.mul_f64(0.85);
        trouble.map_or(longest, |since| (since / 4).clamp(SOONEST, LATEST).min(longest))
    }
}

impl Remote {
    pub(super) fn new(
        client: Client,
        resync: Duration,
        elsewhere: BTreeMap<String, String>,
        touched: Touched,
        spawn: Spawn,
        lanes: Arc<Lanes>,
    ) -> Self {
        let reads = Semaphore::new(READS);
        Self { client, resync, elsewhere, touched, spawn, lanes, reads, entries: Mutex::default() }
    }

    /// The target of a Cluster as it was last found.
    pub(super) fn known(&self, cluster: &impl ResourceExt) -> Option<Arc<Target>> {
        self.entry(&key(cluster), cluster.uid().as_ref()).and_then(|entry| entry.outcome.ok())
    }

    fn entry(&self, key: &Key, cluster: Option<&String>) -> Option<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|entry| entry.cluster.as_ref() == cluster).cloned()
    }

    /// The target of a Cluster. Its Secret is read again when that was long ago, when the target is in trouble, and each
    /// time where the Cluster is being deleted.
    pub(super) async fn find(&self, cluster: &Cluster) -> Result<Arc<Target>, NoTarget> {
        let key = key(cluster);
        let known = self.entry(&key, cluster.metadata.uid.as_ref());
        let is_going = cluster.metadata.deletion_timestamp.is_some();
        if let Some(entry) = &known
            && !is_going
            && entry.read.elapsed() < entry.patience(self.resync)
        {
            return entry.outcome.clone();
        }
        let entry = self.look(cluster, known).await;
        let outcome = entry.outcome.clone();
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(key, entry);
        outcome
    }

    /// When a Cluster without a target that answers should be looked at again.
    pub(super) fn again(&self, cluster: &impl ResourceExt) -> Duration {
        let entry = self.entry(&key(cluster), cluster.uid().as_ref());
        entry.map_or(SOONEST, |entry| entry.patience(self.resync).saturating_sub(entry.read.elapsed()))
    }

    /// Drops the targets of Clusters that are gone.
    pub(super) fn keep_only(&self, is_there: impl Fn(&ObjectRef<Guard<Cluster>>) -> bool) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(namespace, name), _| is_there(&ObjectRef::new(name).within(namespace)));
    }

    /// Namespace and name of the Secret of a Cluster.
    fn secret_of(&self, cluster: &Cluster) -> (String, String) {
        let own = cluster.namespace().unwrap_or_default();
        let namespace = self.elsewhere.get(&own).cloned().unwrap_or(own);
        (namespace, format!("{}-kubeconfig", cluster.name_any()))
    }

    /// As messages name it.
    pub(super) fn title(&self, cluster: &Cluster) -> String {
        let (namespace, name) = self.secret_of(cluster);
        format!("Secret {namespace}/{name}")
    }

    async fn look(&self, cluster: &Cluster, known: Option<Entry>) -> Entry {
        let (namespace, name) = self.secret_of(cluster);
        let title = self.title(cluster);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        // It is never closed.
        let place = self.reads.acquire().await.ok();
        let read = tokio::time::timeout(ANSWER, secrets.get_opt(&name)).await;
        drop(place);
        let now = Instant::now();
        let entry = |secret: Option<Version>, outcome: Result<Arc<Target>, NoTarget>| {
            let since =
                known.as_ref().filter(|known| same(&known.outcome, &outcome)).map(|known| known.since);
            let since = since.unwrap_or(now);
            Entry { cluster: cluster.uid(), secret, read: now, since, outcome }
        };
        let unreadable = |why: String| {
            // Nothing is known against what was read before, unless the right to read it is gone.
            match &known {
                Some(known) if known.outcome.is_ok() => Entry { read: now, ..known.clone() },
                _ => entry(None, Err(NoTarget::Unreadable { secret: title.clone(), why })),
            }
        };
        match read {
            Err(_) => unreadable("no answer".to_owned()),
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
                entry(None, Err(NoTarget::Forbidden { secret: title }))
            }
            Ok(Err(error)) => unreadable(crate::error::words(&error)),
            Ok(Ok(None)) => entry(None, Err(NoTarget::Missing { secret: title })),
            Ok(Ok(Some(secret))) => {
                let version = Some((secret.uid(), secret.resource_version()));
                match known {
                    Some(known) if known.secret == version => Entry { read: now, ..known },
                    _ => {
                        let outcome = self.start(cluster, &secret);
                        tracing::info!(secret = title, usable = outcome.is_ok(), "took up a kubeconfig");
                        let refused = |why| NoTarget::Refused { secret: title, why };
                        Entry { since: now, ..entry(version, outcome.map_err(refused)) }
                    }
                }
            }
        }
    }

    /// A target for the kubeconfig in a Secret, or what is wrong with that.
    fn start(&self, cluster: &Cluster, secret: &Secret) -> Result<Arc<Target>, String> {
        let data = secret.data.as_ref().and_then(|data| data.get(VALUE));
        let bytes = data.ok_or_else(|| format!("it has no key {VALUE}"))?;
        let text = str::from_utf8(&bytes.0).map_err(|_| format!("its key {VALUE} is no text"))?;
        let judged = target_kubeconfig::judge(text).map_err(|refusal| refusal.to_string())?;
        let way = Way::to(&judged).map_err(|_| {
            "no client can be made of it: see whether its certificates and its key are whole and belong together".to_owned()
        })?;
        let object = ObjectRef::new(&cluster.name_any()).within(&cluster.namespace().unwrap_or_default());
        Ok(Arc::new(self.target(way, &object, &judged)))
    }

    fn target(&self, way: Way, object: &ObjectRef<Guard<Cluster>>, judged: &TargetKubeconfig) -> Target {
        let (touch, touched) = (object.clone(), self.touched.clone());
        let touch = move || {
            // The queue ends only when the operator does.
            drop(touched.send(touch.clone()));
        };
        let health = Arc::new(Health::default());
        let aws_auth = Arc::new_cyclic(|watched: &Weak<AwsAuth>| {
            let (noted, watched) = (health.clone(), watched.clone());
            let client = way.client(move |why| {
                noted.failed(why);
                if let Some(aws_auth) = watched.upgrade() {
                    aws_auth.reopen();
                }
            });
            let (health, lanes) = (health.clone(), self.lanes.clone());
            AwsAuth::new(TargetKind::Remote, object, client, health, lanes, touch)
        });
        let access = Access { server: judged.server.clone(), authority_pem: judged.authority_pem() };
        Target::start(aws_auth, health, Some(access), &self.spawn)
    }
}

fn key(cluster: &impl ResourceExt) -> Key {
    (cluster.namespace().unwrap_or_default(), cluster.name_any())
}

fn same(one: &Result<Arc<Target>, NoTarget>, other: &Result<Arc<Target>, NoTarget>) -> bool {
    match (one, other) {
        (Err(one), Err(other)) => one == other,
        (Ok(one), Ok(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

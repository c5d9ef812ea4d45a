//! Writes statuses and Events in the background, so that the next pass does not wait for them. Of
//! several reports about one Cluster only the last becomes its status; their Events are all published.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use awsiam_api::{Cluster, ClusterStatus, TargetKind};
use awsiam_core::desired::Backend;
use awsiam_core::mapping::{Key, fold};
use awsiam_core::plan::{Blocked, Outcome, Plan, State};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use tokio::sync::Notify;

use crate::authenticator;
use crate::error::caught;
use crate::events::{self, Publisher};
use crate::gateway::{self, Gateway};
use crate::hands_off::Pause;
use crate::identity_mappings::Found;
use crate::metrics::Metrics;
use crate::observe::{self, Inputs};
use crate::pass::named;
use crate::report;
use crate::targets::NoTarget;
use crate::targets::health::Trouble;

/// Of so many Clusters statuses and Events are written at a time.
const AT_ONCE: usize = 16;

/// What a pass made of a Cluster that it planned for.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) target: TargetKind,
    /// What went wrong with requests to the target meanwhile.
    pub(crate) trouble: Option<Trouble>,
    pub(crate) inputs: Inputs,
    pub(crate) plan: Plan,
    /// Whether the plan's change is still to be written.
    pub(crate) pending: bool,
    pub(crate) pause: Option<Pause>,
    /// The field manager that we leave alone for a while.
    pub(crate) fighting: Option<String>,
    /// What the plan was made on.
    pub(crate) seen: Option<Arc<ConfigMap>>,
    /// The IAMIdentityMapping objects that it was made on.
    pub(crate) mappings: Found,
    /// What came of the authenticator's part.
    pub(crate) authenticator: Vec<authenticator::Said>,
}

impl Planned {
    /// The field manager that changed what the plan repairs; `None` where nobody tells.
    pub(crate) fn other_writer(&self) -> Option<String> {
        self.other_writer_in(Backend::EksConfigMap).or_else(|| self.other_writer_in(Backend::Crd))
    }

    /// Likewise, of what is repaired in one place.
    pub(crate) fn other_writer_in(&self, place: Backend) -> Option<String> {
        let is_repaired = |o: &&Outcome| o.state == State::Repaired && o.place == place;
        let mut repaired = self.plan.changes().filter(is_repaired).peekable();
        repaired.peek()?;
        match place {
            Backend::EksConfigMap => {
                let data_keys: Vec<&str> = repaired.map(|outcome| outcome.key.list.data_key()).collect();
                observe::other_writer(self.seen.as_ref()?, &data_keys)
            }
            Backend::Crd => {
                // Of what is replaced only that which drifted has an ARN that an outcome speaks of.
                let arns: BTreeSet<&str> = repaired.map(|outcome| outcome.key.arn.as_str()).collect();
                let mut writes = self.plan.objects.changes.write.iter();
                writes.find_map(|write| {
                    let is_meant = arns.contains(fold(&write.spec.arn).as_str());
                    observe::other_manager(self.mappings.named(&write.name).filter(|_| is_meant)?.as_ref())
                })
            }
        }
    }

    /// Whether the Cluster, if it is being deleted, may go: everything of ours is out, or nothing is ours.
    pub(crate) fn may_go(&self) -> bool {
        match &self.plan.blocked {
            Some(Blocked::TargetClaimed { .. }) => true,
            Some(_) => false,
            None => {
                let held = self.authenticator.iter().any(authenticator::Said::holds_deletion);
                !self.pending && self.plan.after.ledger.is_none() && !held && !self.owns_objects()
            }
        }
    }
}

impl Planned {
    /// Whether objects of ours are left, or nobody could look.
    fn owns_objects(&self) -> bool {
        match self.mappings {
            Found::Nothing => true,
            Found::NoCrd => false,
            Found::Objects(_) => self.plan.objects.counts.owned > 0,
        }
    }
}

/// What a pass found.
#[derive(Debug)]
pub(crate) enum PassReport {
    /// The object does not decode.
    Undecodable(String),
    /// It has no target.
    NoTarget(NoTarget),
    /// EKS Anywhere controls it.
    EksAnywhere,
    /// An administrator has ended our ownership of its target.
    Released,
    /// The CRD would drop our fields.
    CrdLacksFields(String),
    /// `aws-auth` of the local target has never been seen, and why.
    Unseen(String),
    /// A remote target does not answer.
    Unreachable {
        /// The Secret that leads to it.
        secret: String,
        /// Since when, and why.
        trouble: Trouble,
    },
    /// It failed.
    Failed {
        /// The reason for the condition.
        reason: &'static str,
        /// What went wrong.
        error: String,
        /// Whether the target can be talked to all the same.
        answers: bool,
    },
    /// It planned, and perhaps wrote.
    Planned(Box<Planned>),
}

/// One report.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) cluster: Arc<DeserializeGuard<Cluster>>,
    pub(crate) pass: PassReport,
}

/// What is to be told of one Cluster.
#[derive(Debug)]
struct Pending {
    /// What earlier passes did, whose reports were overtaken before they were written.
    happened: Vec<events::Said>,
    /// Entries that may be orphaned, which one of them found and perhaps no later one finds again.
    orphaned: BTreeSet<Key>,
    report: Report,
}

/// Takes reports, and keeps the last one of each Cluster until it is written: however fast passes follow
/// each other, no more than that is held.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    pending: Mutex<HashMap<ObjectRef<DeserializeGuard<Cluster>>, Pending>>,
    closed: AtomicBool,
    news: Notify,
}

impl Reporter {
    /// Takes a report.
    pub(crate) fn send(&self, report: Report) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        match pending.entry(ObjectRef::from_obj(report.cluster.as_ref())) {
            Entry::Vacant(slot) => {
                slot.insert(Pending { happened: Vec::new(), orphaned: BTreeSet::new(), report });
            }
            Entry::Occupied(mut slot) => {
                let pending = slot.get_mut();
                pending.happened.extend(events::happened(&pending.report.pass));
                pending.orphaned.extend(report::orphaned(&pending.report.pass).cloned());
                pending.report = report;
            }
        }
        self.news.notify_one();
    }

    /// No more reports come: [`write_all`] ends with the last one.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.news.notify_one();
    }

    fn take(&self) -> HashMap<ObjectRef<DeserializeGuard<Cluster>>, Pending> {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What was last said of a Cluster.
#[derive(Default)]
struct Said {
    uid: Option<String>,
    status: Option<ClusterStatus>,
    /// Entries that may be orphaned, until a status tells of them.
    orphaned: BTreeSet<Key>,
    /// Reason of the last thing that is said by Event alone.
    aside: Option<String>,
}

impl Said {
    /// The status is written.
    fn told(&mut self, pass: &PassReport, status: ClusterStatus) {
        // A status that lists them all, and not only what there is room for.
        let is_whole = i64::try_from(status.findings.len()) == Ok(status.findings_total);
        if is_whole && matches!(pass, PassReport::Planned(_)) {
            self.orphaned.clear();
        }
        self.status = Some(status);
    }
}

/// Writes what is pending until the reporter is closed.
pub(crate) async fn write_all(
    publisher: Publisher,
    client: Client,
    gateway: Arc<Gateway>,
    reporter: Arc<Reporter>,
    metrics: Arc<Metrics>,
) {
    let mut said: HashMap<ObjectRef<DeserializeGuard<Cluster>>, Said> = HashMap::new();
    loop {
        let batch = reporter.take();
        if batch.is_empty() {
            if reporter.closed.load(Ordering::SeqCst) {
                return;
            }
            reporter.news.notified().await;
        }
        let each = batch.into_iter().map(|(object, pending)| {
            let mut last = said.remove(&object).unwrap_or_default();
            let (client, gateway, publisher, metrics) = (&client, &gateway, &publisher, &metrics);
            async move {
                let uid = &pending.report.cluster.meta().uid;
                if last.uid != *uid {
                    last = Said { uid: uid.clone(), ..Said::default() };
                }
                let written = caught(async {
                    write_one(client, gateway, publisher, metrics, &mut last, &pending).await;
                    Ok(())
                });
                if let Err(error) = written.await {
                    tracing::error!(cluster = named(pending.report.cluster.as_ref()), %error, "a status or an Event was not written");
                }
                (object, last)
            }
        });
        let each: Vec<_> = each.collect();
        let written: Vec<_> = stream::iter(each).buffer_unordered(AT_ONCE).collect().await;
        said.extend(written);
    }
}

async fn write_one(
    client: &Client,
    gateway: &Gateway,
    publisher: &Publisher,
    metrics: &Metrics,
    said: &mut Said,
    Pending { happened, orphaned, report }: &Pending,
) {
    let guard = &report.cluster;
    for event in happened {
        publisher.publish(guard, event).await;
    }
    let cached = guard.0.as_ref().ok().and_then(|cluster| cluster.status.clone());
    let before = said.status.clone().or(cached).unwrap_or_default();
    said.orphaned.extend(orphaned.iter().chain(report::orphaned(&report.pass)).cloned());
    if let Some(aside) = report::aside(&report.pass) {
        metrics.set_aside(guard.as_ref(), &aside.reason);
        if said.aside.as_ref() != Some(&aside.reason) {
            publisher.publish(guard, &aside).await;
            said.aside = Some(aside.reason);
        }
        return;
    }
    said.aside = None;
    let now = Time(Timestamp::now());
    let status = report::status(guard, &report.pass, &before, &said.orphaned, &now);
    metrics.said(guard.as_ref(), &status);
    let found = events::found(&report.pass, &before, &status);
    for event in events::happened(&report.pass).iter().chain(&found) {
        publisher.publish(guard, event).await;
    }
    if report::same(&before, &status) {
        said.told(&report.pass, before);
        return;
    }
    let (namespace, name) = (guard.namespace().unwrap_or_default(), guard.name_any());
    let api: Api<Cluster> = Api::namespaced(client.clone(), &namespace);
    match gateway.apply_status(&api, &name, &status).await {
        Err(error) if !gateway::is_gone(&error) => {
            tracing::warn!(cluster = named(guard.as_ref()), %error, "can't write a status; the next pass tries again");
            said.status = None;
        }
        _ => said.told(&report.pass, status),
    }
}

//! Writes statuses and Events in the background, so that the next pass does not wait for them. Of
//! several reports about one Cluster only the last becomes its status; their Events are all published.

use std::collections::HashMap;
use std::sync::Arc;

use awsiam_api::{Cluster, ClusterStatus};
use awsiam_core::plan::{Blocked, Plan, State};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use tokio::sync::mpsc;

use crate::error::caught;
use crate::events::{self, Publisher};
use crate::gateway::{self, Gateway};
use crate::hands_off::Pause;
use crate::observe::{self, Inputs};
use crate::report;

/// What a pass made of a Cluster that it planned for.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) inputs: Inputs,
    pub(crate) plan: Plan,
    /// Whether the plan's change is still to be written.
    pub(crate) pending: bool,
    pub(crate) pause: Option<Pause>,
    /// The field manager that we leave alone for a while.
    pub(crate) fighting: Option<String>,
    /// Whether the first backend is one that this version writes to.
    pub(crate) supported: bool,
    /// What the plan was made on.
    pub(crate) seen: Option<Arc<ConfigMap>>,
}

impl Planned {
    /// The field manager that changed what the plan repairs; `None` where nobody tells.
    pub(crate) fn other_writer(&self) -> Option<String> {
        let repaired = self.plan.changes().filter(|outcome| outcome.state == State::Repaired);
        let data_keys: Vec<&str> = repaired.map(|outcome| outcome.key.list.data_key()).collect();
        observe::other_writer(self.seen.as_ref()?, &data_keys)
    }

    /// Whether the Cluster, if it is being deleted, may go: everything of ours is out, or nothing is ours.
    pub(crate) fn may_go(&self) -> bool {
        match &self.plan.blocked {
            Some(Blocked::TargetClaimed { .. }) => true,
            Some(_) => false,
            None => !self.pending && self.plan.after.ledger.is_none(),
        }
    }
}

/// What a pass found.
#[derive(Debug)]
pub(crate) enum PassReport {
    /// The object does not decode.
    Undecodable(String),
    /// It is not the local Cluster.
    TargetNotSupported,
    /// EKS Anywhere controls it.
    EksAnywhere,
    /// The CRD would drop our fields.
    CrdLacksFields(String),
    /// `aws-auth` has never been seen, and why.
    Unreachable(String),
    /// It failed.
    Failed {
        /// The reason for the condition.
        reason: &'static str,
        /// What went wrong.
        error: String,
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

/// Takes reports.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    reports: mpsc::UnboundedSender<Report>,
}

impl Reporter {
    /// A reporter and the queue that [`write_all`] works off.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Report>) {
        let (reports, queue) = mpsc::unbounded_channel();
        (Self { reports }, queue)
    }

    pub(crate) fn send(&self, report: Report) {
        // The queue ends only when the operator does.
        let _ = self.reports.send(report);
    }
}

/// What was last said of a Cluster.
#[derive(Default)]
struct Said {
    uid: Option<String>,
    status: Option<ClusterStatus>,
    /// Whether that is still to be written.
    unwritten: bool,
    /// Reason of the last thing that is said by Event alone.
    aside: Option<String>,
}

/// Works off the queue until it closes.
pub(crate) async fn write_all(
    publisher: Publisher,
    client: Client,
    gateway: Arc<Gateway>,
    mut queue: mpsc::UnboundedReceiver<Report>,
) {
    let mut said: HashMap<ObjectRef<DeserializeGuard<Cluster>>, Said> = HashMap::new();
    let mut reports = Vec::new();
    while queue.recv_many(&mut reports, usize::MAX).await > 0 {
        let batch = std::mem::take(&mut reports);
        let objects: Vec<_> =
            batch.iter().map(|report| ObjectRef::from_obj(report.cluster.as_ref())).collect();
        let last: HashMap<_, usize> =
            objects.iter().enumerate().map(|(index, o)| (o.clone(), index)).collect();
        for (index, (report, object)) in batch.iter().zip(objects).enumerate() {
            // Of several reports about one object only the last becomes its status.
            let is_last = last.get(&object) == Some(&index);
            let said = said.entry(object).or_default();
            if said.uid != report.cluster.meta().uid {
                *said = Said { uid: report.cluster.meta().uid.clone(), ..Said::default() };
            }
            let written = caught(async {
                write_one(&client, &gateway, &publisher, said, report, is_last).await;
                Ok(())
            });
            if let Err(error) = written.await {
                tracing::error!(%error, "a status or an Event was not written");
            }
        }
    }
}

async fn write_one(
    client: &Client,
    gateway: &Gateway,
    publisher: &Publisher,
    said: &mut Said,
    report: &Report,
    is_last: bool,
) {
    let guard = &report.cluster;
    let cached = guard.0.as_ref().ok().and_then(|cluster| cluster.status.clone());
    let before = said.status.clone().or(cached).unwrap_or_default();
    if let Some(aside) = report::aside(&report.pass) {
        if said.aside.as_ref() != Some(&aside.reason) {
            publisher.publish(guard, &aside).await;
            said.aside = Some(aside.reason);
        }
        return;
    }
    said.aside = None;
    let now = Time(Timestamp::now());
    let status = report::status(guard, &report.pass, &before, &now);
    for event in events::of(&report.pass, &before, &status) {
        publisher.publish(guard, &event).await;
    }
    // Events of later reports compare with this status, whether it is written or not.
    if report::same(&before, &status) {
        said.status = Some(before.clone());
    } else {
        said.status = Some(status.clone());
        said.unwritten = true;
    }
    if !is_last || !said.unwritten {
        return;
    }
    let (namespace, name) = (guard.namespace().unwrap_or_default(), guard.name_any());
    let api: Api<Cluster> = Api::namespaced(client.clone(), &namespace);
    match gateway.apply_status(&api, &name, &status).await {
        Err(error) if !gateway::is_gone(&error) => {
            tracing::warn!(%error, "can't write a status; the next pass tries again");
            said.status = None;
        }
        _ => said.unwritten = false,
    }
}

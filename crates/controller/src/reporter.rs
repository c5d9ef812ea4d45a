//! Writes statuses and Events in the background, so that the next pass does not wait for them. Of
//! several reports about one Cluster only the last becomes its status; their Events are all published.

use std::collections::HashMap;
use std::sync::Arc;

use awsiam_api::{Cluster, ClusterStatus};
use awsiam_core::plan::Plan;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use tokio::sync::mpsc;

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
    /// Who, other than us, changed `aws-auth` last.
    pub(crate) fn other_writer(&self) -> Option<String> {
        match &self.seen {
            Some(seen) => observe::last_other_writer(seen),
            None => Some("whoever deleted aws-auth".to_owned()),
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
    /// It failed.
    Failed(String),
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
        let count = reports.len();
        for (index, report) in std::mem::take(&mut reports).into_iter().enumerate() {
            let object = ObjectRef::from_obj(report.cluster.as_ref());
            let said = said.entry(object).or_default();
            if said.uid != report.cluster.meta().uid {
                *said = Said { uid: report.cluster.meta().uid.clone(), ..Said::default() };
            }
            // Only the last report of a batch becomes a status; one target has one Cluster, so a batch
            // that mixes Clusters writes a few more than it must, never fewer.
            write_one(&client, &gateway, &publisher, said, &report, index + 1 == count).await;
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
        said.status = Some(before);
        return;
    }
    said.status = Some(status.clone());
    if !is_last {
        return;
    }
    let (namespace, name) = (guard.namespace().unwrap_or_default(), guard.name_any());
    let api: Api<Cluster> = Api::namespaced(client.clone(), &namespace);
    match gateway.apply_status(&api, &name, &status).await {
        Err(error) if !gateway::is_gone(&error) => {
            tracing::warn!(%error, "can't write a status; the next pass tries again");
            said.status = None;
        }
        _ => {}
    }
}

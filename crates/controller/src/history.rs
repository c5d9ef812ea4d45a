//! The history records of a target: ConfigMaps `aws-auth-history-0…9`, read once and then kept in mind,
//! since hardly anybody else writes them. Which record goes where is decided in `awsiam_core::history`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use awsiam_api::names::FIELD_MANAGER;
use awsiam_core::history::{self as ring, Record, SLOTS};
use awsiam_core::ledger;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta};
use kube::{Client, ResourceExt};
use tokio::sync::Mutex;

use crate::error::Error;
use crate::gateway::Gateway;
use crate::target::NAMESPACE;

/// Annotation of a record: its revision, counting up.
pub const REVISION: &str = "awsiam-operator.dev/history-revision";
/// Annotation of a record: the field manager that wrote the content.
pub const WRITER: &str = "awsiam-operator.dev/history-writer";
/// Annotation of a record: when the content was seen, RFC 3339.
pub const SEEN: &str = "awsiam-operator.dev/history-seen";
/// Annotation of a record: the ledger that stood on `aws-auth`.
pub const LEDGER: &str = "awsiam-operator.dev/history-ledger";

/// The name of the record in a slot.
#[must_use]
pub fn record_name(slot: usize) -> String {
    format!("aws-auth-history-{slot}")
}

/// The records of one target.
#[derive(Debug)]
pub struct History {
    api: Api<ConfigMap>,
    /// How many are read at a time: each takes a connection.
    at_once: usize,
    /// The records as last read or written; `None` until they were read. Replaced whole, so that a pass
    /// can plan with them while one is being written.
    records: std::sync::Mutex<Option<Arc<Vec<Record>>>>,
    /// Held while a record is written: one after the other.
    writing: Mutex<()>,
}

impl History {
    /// The history of the cluster that `client` reaches.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            at_once: SLOTS,
            api: Api::namespaced(client, NAMESPACE),
            records: std::sync::Mutex::default(),
            writing: Mutex::new(()),
        }
    }

    /// The same, with its records read one after the other: slower, over a single connection.
    #[must_use]
    pub fn one_by_one(self) -> Self {
        Self { at_once: 1, ..self }
    }

    /// The readable records. Reads them at the first call.
    ///
    /// # Errors
    /// [`Error::Read`]: without knowing the history nothing is planned.
    pub async fn records(&self) -> Result<Arc<Vec<Record>>, Error> {
        if let Some(records) = self.known() {
            return Ok(records);
        }
        let reads = (0..SLOTS).map(async |slot| {
            let name = record_name(slot);
            let read = self.api.get_opt(&name).await.map_err(Error::read(format!("ConfigMap {name}")))?;
            Ok::<_, Error>(read.and_then(|config_map| recorded(slot, &config_map)))
        });
        let records: Vec<Option<Recorded>> = stream::iter(reads).buffered(self.at_once).try_collect().await?;
        let records: Vec<Record> = records.into_iter().flatten().map(|recorded| recorded.record).collect();
        let records = Arc::new(records);
        self.keep(records.clone());
        Ok(records)
    }

    fn known(&self) -> Option<Arc<Vec<Record>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, records: Arc<Vec<Record>>) {
        *self.records.lock().unwrap_or_else(PoisonError::into_inner) = Some(records);
    }

    /// Records a content of `aws-auth` that `writer` wrote, unless the newest record holds it. `has_nodes`: whether
    /// nodes join by it, where that is known already.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Write`].
    pub async fn record(
        &self,
        gateway: &Gateway,
        config_map: &ConfigMap,
        writer: String,
        has_nodes: Option<bool>,
    ) -> Result<(), Error> {
        let data = config_map.data.clone().unwrap_or_default();
        let ledger = config_map.annotations().get(ledger::ANNOTATION).cloned();
        let _writing = self.writing.lock().await;
        let mut records = self.records().await?;
        if !ring::needs_record(&records, &data, ledger.as_deref()) {
            return Ok(());
        }
        let (mut slot, mut revision) = ring::next(&records);
        if !self.is_as_known(slot, &records).await? {
            *self.records.lock().unwrap_or_else(PoisonError::into_inner) = None;
            records = self.records().await?;
            if !ring::needs_record(&records, &data, ledger.as_deref()) {
                return Ok(());
            }
            (slot, revision) = ring::next(&records);
        }
        let mut record = Record::new(slot, revision, data, ledger, writer);
        if let Some(has_nodes) = has_nodes {
            record = record.knowing_nodes(has_nodes);
        }
        gateway.apply(&self.api, &record_name(slot), &render(&record)).await?;
        let kept = records.iter().filter(|r| r.slot != slot).cloned();
        self.keep(Arc::new(kept.chain([record]).collect()));
        Ok(())
    }
}

impl History {
    /// Whether the slot that is to be written holds what we know. An administrator who restores a content records the
    /// one before, too, and takes the very slot that we would take. Reads no content.
    async fn is_as_known(&self, slot: usize, records: &[Record]) -> Result<bool, Error> {
        let name = record_name(slot);
        let read =
            self.api.get_metadata_opt(&name).await.map_err(Error::read(format!("ConfigMap {name}")))?;
        let there = read.as_ref().and_then(revision);
        let known = records.iter().find(|record| record.slot == slot);
        Ok(there == known.map(|known| known.revision))
    }
}

/// Whether the newest record holds this content of `aws-auth`.
#[must_use]
pub fn holds(records: &[Record], config_map: &ConfigMap) -> bool {
    let none = BTreeMap::new();
    let ledger = config_map.annotations().get(ledger::ANNOTATION).map(String::as_str);
    !ring::needs_record(records, config_map.data.as_ref().unwrap_or(&none), ledger)
}

/// A record as it lies in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What it holds.
    pub record: Record,
    /// When that content was seen, RFC 3339; empty where nobody says.
    pub seen: String,
}

/// Reads the ConfigMap of a slot; none if it is no record.
#[must_use]
pub fn recorded(slot: usize, config_map: &ConfigMap) -> Option<Recorded> {
    let revision = revision(config_map)?;
    let annotations = config_map.annotations();
    let writer = annotations.get(WRITER).cloned().unwrap_or_default();
    let data = config_map.data.clone().unwrap_or_default();
    let record = Record::new(slot, revision, data, annotations.get(LEDGER).cloned(), writer);
    Some(Recorded { record, seen: annotations.get(SEEN).cloned().unwrap_or_default() })
}

fn revision(object: &impl ResourceExt) -> Option<u64> {
    object.annotations().get(REVISION)?.parse().ok()
}

fn render(record: &Record) -> ConfigMap {
    let mut annotations = BTreeMap::from([
        (REVISION.to_owned(), record.revision.to_string()),
        (WRITER.to_owned(), record.writer.clone()),
        (SEEN.to_owned(), Timestamp::now().to_string()),
    ]);
    annotations.extend(record.ledger.clone().map(|ledger| (LEDGER.to_owned(), ledger)));
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(record_name(record.slot)),
            namespace: Some(NAMESPACE.to_owned()),
            labels: Some(BTreeMap::from([(
                "app.kubernetes.io/managed-by".to_owned(),
                FIELD_MANAGER.to_owned(),
            )])),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        data: Some(record.data.clone()),
        ..ConfigMap::default()
    }
}

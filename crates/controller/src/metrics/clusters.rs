//! What is last known of each Cluster, and the series that it becomes. A Cluster that is gone has none.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use awsiam_api::conditions::{READY, Status, TARGET_REACHABLE, condition, reasons};
use awsiam_api::{ClusterStatus, Severity};
use awsiam_core::mapping::List;
use awsiam_core::plan::{Outcome, State};
use kube::ResourceExt;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::{Until, gauges};
use crate::report;
use crate::reporter::Planned;

/// What became of mappings and owned entries.
const STATES: [&str; 9] =
    ["applied", "pending", "already_present", "refused", "conflict", "shadowed", "frozen", "held", "moving"];

/// Whether a Cluster exists, by namespace and name.
type IsThere = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// The Clusters.
#[derive(Default)]
pub(super) struct Clusters {
    known: Mutex<HashMap<(String, String), Known>>,
    is_there: Mutex<Option<IsThere>>,
}

impl fmt::Debug for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clusters").field("known", &self.known().len()).finish_non_exhaustive()
    }
}

/// What is last known of one.
#[derive(Debug, Default)]
struct Known {
    /// How many mappings and owned entries, by kind and state.
    entries: BTreeMap<(&'static str, &'static str), i64>,
    /// How many mappings are refused, by reason.
    refusals: BTreeMap<String, i64>,
    /// Type, status and reason of each condition.
    conditions: Vec<[String; 3]>,
    reachable: Option<bool>,
    until: Option<Until>,
    repairs: u64,
}

/// The label for a list.
pub(super) fn kind(list: List) -> &'static str {
    match list {
        List::Roles => "role",
        List::Users => "user",
        List::Accounts => "account",
    }
}

/// The label for a change.
pub(super) fn change(state: State) -> &'static str {
    match state {
        State::Added => "added",
        State::Changed => "changed",
        State::Repaired => "repaired",
        State::Adopted => "adopted",
        State::Removed => "removed",
        // No change.
        _ => "none",
    }
}

/// The label for what became of a mapping or an owned entry; none for an entry that went.
fn state(outcome: &Outcome, is_done: bool) -> Option<&'static str> {
    Some(match outcome.state {
        State::InEffect => "applied",
        State::Removed if is_done => return None,
        changed if changed.is_change() => {
            if is_done {
                "applied"
            } else {
                "pending"
            }
        }
        State::AlreadyPresent => "already_present",
        State::Conflict => "conflict",
        State::Shadowed => "shadowed",
        State::Frozen => "frozen",
        State::Held if report::is_progress(outcome.reason.name()) => "moving",
        State::Held => "held",
        _ => "refused",
    })
}

/// The kind of a row of an AWSIamConfig, by its field such as `spec.mapRoles[3].roleARN`.
fn kind_of(field: &str) -> Option<&'static str> {
    let list = List::ALL.into_iter().find(|list| field.contains(list.data_key()))?;
    Some(kind(list))
}

impl Clusters {
    fn known(&self) -> MutexGuard<'_, HashMap<(String, String), Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, cluster: &impl ResourceExt, work: impl FnOnce(&mut Known)) {
        let key = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        work(self.known().entry(key).or_default());
    }

    pub(super) fn known_by(&self, is_there: impl Fn(&str, &str) -> bool + Send + Sync + 'static) {
        *self.is_there.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(is_there));
    }

    pub(super) fn forget_gone(&self) {
        let is_there = self.is_there.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(is_there) = &*is_there {
            self.known().retain(|(namespace, name), _| is_there(namespace, name));
        }
    }

    /// A pass over a Cluster planned this, and perhaps wrote it.
    pub(super) fn planned(&self, cluster: &impl ResourceExt, planned: &Planned) {
        let (mut entries, mut refusals) = (BTreeMap::new(), BTreeMap::new());
        let mut refused = |reason: &str| *refusals.entry(reason.to_owned()).or_default() += 1;
        for outcome in &planned.plan.outcomes {
            let Some(state) = state(outcome, !planned.pending) else { continue };
            *entries.entry((kind(outcome.key.list), state)).or_default() += 1;
            if matches!(outcome.state, State::Refused | State::Conflict) {
                refused(outcome.reason.name());
            }
        }
        let findings = planned.inputs.resolution.findings.values().flatten();
        for finding in findings.filter(|finding| finding.severity == Severity::Refused) {
            refused(&finding.reason.to_string());
            if let Some(kind) = kind_of(&finding.field_path) {
                *entries.entry((kind, "refused")).or_default() += 1;
            }
        }
        let is_repair =
            !planned.pending && planned.plan.changes().any(|outcome| outcome.state == State::Repaired);
        self.with(cluster, |known| {
            (known.entries, known.refusals) = (entries, refusals);
            known.repairs += u64::from(is_repair);
        });
    }

    pub(super) fn said(&self, cluster: &impl ResourceExt, status: &ClusterStatus) {
        let reachable = condition(&status.conditions, TARGET_REACHABLE)
            .filter(|c| c.reason != reasons::TARGET_NOT_SUPPORTED)
            .map(|c| c.status == Status::True.as_str());
        let conditions = status.conditions.iter();
        let conditions = conditions.map(|c| [c.type_.clone(), c.status.clone(), c.reason.clone()]).collect();
        self.with(cluster, |known| (known.conditions, known.reachable) = (conditions, reachable));
    }

    pub(super) fn set_aside(&self, cluster: &impl ResourceExt, reason: &str) {
        let status = Status::Unknown.as_str().to_owned();
        let only = vec![[READY.to_owned(), status, reason.to_owned()]];
        self.with(cluster, |known| {
            *known = Known { conditions: only, repairs: known.repairs, ..Known::default() };
        });
    }

    pub(super) fn certificates(&self, cluster: &impl ResourceExt, until: Option<Until>) {
        self.with(cluster, |known| known.until = until);
    }

    #[cfg(test)]
    pub(super) fn refuses(&self, name: &str, reason: &str) {
        let mut known = self.known();
        known.entry(("team".into(), name.into())).or_default().refusals.insert(reason.into(), 1);
    }

    /// The series of the Clusters that are there.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.forget_gone();
        let known = self.known();
        let all = || {
            known.iter().map(|((namespace, name), known)| ([("namespace", namespace), ("name", name)], known))
        };
        let count = i64::try_from(known.len()).unwrap_or(i64::MAX);
        super::gauge(encoder, "awsiam_clusters", "Clusters that were looked at", count)?;
        gauges(
            encoder,
            "awsiam_entries",
            "Mappings and owned entries of all Clusters, by kind and state",
            summed_entries(known.values()),
        )?;
        gauges(
            encoder,
            "awsiam_refused_mappings",
            "Mappings of all Clusters that are refused, by reason",
            summed_refusals(known.values()),
        )?;
        let reachable = all().filter_map(|(labels, known)| Some((labels, i64::from(known.reachable?))));
        gauges(encoder, "awsiam_target_reachable", "Whether the target of a Cluster answers", reachable)?;
        let conditions = all().flat_map(|(labels, known)| {
            known.conditions.iter().map(move |[kind, status, reason]| {
                let [namespace, name] = labels;
                ([namespace, name, ("type", kind), ("status", status), ("reason", reason)], 1)
            })
        });
        gauges(
            encoder,
            "awsiam_cluster_condition",
            "1 for each condition of a Cluster as it is now",
            conditions,
        )?;
        let until = all().filter_map(|(labels, known)| known.until.map(|until| (labels, until)));
        let until = until.flat_map(|([namespace, name], until)| {
            let series = |which: &'static str, last| {
                let namespace = (namespace.0, Cow::from(namespace.1.as_str()));
                ([namespace, (name.0, name.1.as_str().into()), ("certificate", which.into())], last)
            };
            [series("serving", until.serving), series("ca", until.authority)]
        });
        gauges(
            encoder,
            "awsiam_certificate_expiry_timestamp_seconds",
            "When a certificate of a Cluster's authenticator ends, Unix time",
            until,
        )?;
        if known.is_empty() {
            return Ok(());
        }
        let help = "Times that what others had changed of our entries was put back.";
        let mut repairs =
            encoder.encode_descriptor("awsiam_drift_repairs", help, None, MetricType::Counter)?;
        for (labels, known) in all() {
            ConstCounter::new(known.repairs).encode(repairs.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

type Pair = [(&'static str, Cow<'static, str>); 2];

/// All kinds and states, those of which there is none as well: so a panel has a line from the start.
fn summed_entries<'a>(known: impl Iterator<Item = &'a Known>) -> Vec<(Pair, i64)> {
    let mut sums: BTreeMap<(&'static str, &'static str), i64> = BTreeMap::new();
    for list in List::ALL {
        sums.extend(STATES.map(|state| ((kind(list), state), 0)));
    }
    for (key, count) in known.flat_map(|known| &known.entries) {
        *sums.entry(*key).or_default() += count;
    }
    sums.into_iter()
        .map(|((kind, state), sum)| ([("kind", kind.into()), ("state", state.into())], sum))
        .collect()
}

fn summed_refusals<'a>(
    known: impl Iterator<Item = &'a Known>,
) -> Vec<([(&'static str, &'a String); 1], i64)> {
    let mut sums: BTreeMap<&'a String, i64> = BTreeMap::new();
    for (reason, count) in known.flat_map(|known| &known.refusals) {
        *sums.entry(reason).or_default() += count;
    }
    sums.into_iter().map(|(reason, sum)| ([("reason", reason)], sum)).collect()
}

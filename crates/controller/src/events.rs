//! What happened, as Events on the Cluster: one for each kind of change and pass, naming up to ten
//! entries; and one for each kind of finding when it appears.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use awsiam_api::{AWSIamConfig, Cluster, ClusterFinding, ClusterStatus};
use awsiam_core::desired::Backend;
use awsiam_core::plan::{Note, Outcome, State};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};

use crate::gateway::Gateway;
use crate::pass::named as named_object;
use crate::report::{self, listed};
use crate::reporter::{PassReport, Planned};

/// So many entries are named in one Event.
const NAMED: usize = 10;
/// Most characters that named entries take of it.
const MAX_NAMES: usize = 800;
/// Most bytes of an Event's note: Kubernetes refuses one of more than 1 KiB.
const MAX_NOTE: usize = 1000;

/// One Event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) kind: EventType,
    pub(crate) reason: String,
    pub(crate) action: &'static str,
    pub(crate) note: String,
    /// The AWSIamConfig that it is about, if it is about one.
    pub(crate) config: Option<String>,
}

/// Publishes Events.
pub(crate) struct Publisher {
    recorder: Recorder,
    gateway: Arc<Gateway>,
}

impl Publisher {
    pub(crate) fn new(client: Client, gateway: Arc<Gateway>, instance: Option<String>) -> Self {
        let controller = awsiam_api::names::FIELD_MANAGER.to_owned();
        let instance = instance.or_else(|| Some(controller.clone()));
        Self { recorder: Recorder::new(client, Reporter { controller, instance }), gateway }
    }

    pub(crate) async fn publish(&self, cluster: &DeserializeGuard<Cluster>, said: &Said) {
        let object = named_object(cluster);
        match said.kind {
            EventType::Normal => {
                tracing::info!(cluster = object, reason = said.reason, note = said.note, "event");
            }
            EventType::Warning => {
                tracing::warn!(cluster = object, reason = said.reason, note = said.note, "event");
            }
        }
        let event = Event {
            type_: said.kind,
            reason: said.reason.clone(),
            note: Some(cut(&said.note)),
            action: said.action.to_owned(),
            secondary: said.config.as_ref().map(|name| ObjectReference {
                api_version: Some(AWSIamConfig::api_version(&()).into_owned()),
                kind: Some(AWSIamConfig::kind(&()).into_owned()),
                namespace: cluster.namespace(),
                name: Some(name.clone()),
                ..ObjectReference::default()
            }),
        };
        if let Err(error) = self.gateway.admit().await {
            tracing::debug!(%error, "no Event");
            return;
        }
        if let Err(error) = self.recorder.publish(&event, &cluster.object_ref(&())).await {
            tracing::warn!(%error, "can't publish an Event");
        }
    }
}

/// What fits into an Event.
fn cut(note: &str) -> String {
    if note.len() <= MAX_NOTE {
        return note.to_owned();
    }
    let (start, _) = note.split_at(note.floor_char_boundary(MAX_NOTE));
    format!("{start}…")
}

/// What a pass did: the changes that it wrote.
pub(crate) fn happened(pass: &PassReport) -> Vec<Said> {
    let PassReport::Planned(planned) = pass else { return Vec::new() };
    if planned.pending {
        return Vec::new();
    }
    let plan = &planned.plan;
    let wrote_aws_auth = plan.has_write();
    let mut said = Vec::new();
    if wrote_aws_auth {
        said.extend(changes(planned, Backend::EksConfigMap));
    }
    if plan.has_object_writes() {
        said.extend(changes(planned, Backend::Crd));
    }
    if wrote_aws_auth {
        said.extend(plan.notes.iter().filter_map(note));
    }
    said
}

/// What a pass found that was not there before.
pub(crate) fn found(pass: &PassReport, before: &ClusterStatus, after: &ClusterStatus) -> Vec<Said> {
    let mut said = condition_turned(before, after);
    if matches!(pass, PassReport::Planned(_)) {
        said.extend(new_findings(before, after));
    }
    said
}

/// The name of each kind of change.
const CHANGES: [(State, &str, &str); 5] = [
    (State::Added, "MappingsAdded", "Add"),
    (State::Changed, "MappingsChanged", "Change"),
    (State::Repaired, "DriftRepaired", "Repair"),
    (State::Adopted, "EntriesAdopted", "Adopt"),
    (State::Removed, "MappingsRemoved", "Remove"),
];

fn changes(planned: &Planned, place: Backend) -> Vec<Said> {
    let of_state = |state: State| -> Vec<&Outcome> {
        planned.plan.changes().filter(|outcome| outcome.state == state && outcome.place == place).collect()
    };
    CHANGES
        .iter()
        .filter_map(|(state, reason, action)| {
            let outcomes = of_state(*state);
            let configs: BTreeSet<&str> = outcomes.iter().filter_map(|o| o.config.as_deref()).collect();
            let first = outcomes.first()?;
            let entries = named(outcomes.iter().map(|o| format!("{} {}", o.key.list, o.arn())));
            let (kind, note) = if *state == State::Repaired {
                let note = planned.other_writer_in(place).map_or_else(
                    || format!("put back in {}: {entries}", named_place(place)),
                    |manager| format!("put back what field manager {manager} changed: {entries}"),
                );
                (EventType::Warning, note)
            } else {
                (EventType::Normal, format!("{} {}: {entries}", verb(*state), named_place(place)))
            };
            let config = first.config.as_ref().filter(|_| configs.len() == 1).map(ToString::to_string);
            Some(Said { kind, reason: (*reason).to_owned(), action, note, config })
        })
        .collect()
}

/// Up to [`NAMED`] of them, fewer when they are long, and how many more there are.
fn named(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let mut length = 0;
    let fitting = items.iter().take(NAMED).take_while(|item| {
        length += item.chars().count();
        length <= MAX_NAMES
    });
    let most = fitting.count().max(1);
    listed(items.into_iter(), most)
}

fn named_place(place: Backend) -> &'static str {
    match place {
        Backend::EksConfigMap => "aws-auth",
        Backend::Crd => "IAMIdentityMappings",
    }
}

fn verb(state: State) -> &'static str {
    match state {
        State::Added => "added to",
        State::Changed => "changed in",
        State::Adopted => "took over in",
        State::Removed => "removed from",
        _ => "put back in",
    }
}

fn note(note: &Note) -> Option<Said> {
    let (reason, text) = match note {
        Note::LedgerTakenOver { from } => ("LedgerTakenOver", format!("took over the ledger of {from}")),
        Note::LedgerRebuilt { revision, error } => {
            let why = error.as_ref().map_or_else(|| "it was gone".to_owned(), ToString::to_string);
            let how = revision.map_or_else(
                || "by comparing entries with what is wanted".to_owned(),
                |revision| format!("from history revision {revision}"),
            );
            ("LedgerRebuilt", format!("rebuilt the ledger {how}: {why}"))
        }
        Note::Recreated { revision: None, .. } => ("AwsAuthCreated", "created aws-auth".to_owned()),
        Note::Recreated { revision: Some(revision), left_out } if left_out.is_empty() => (
            "AwsAuthRecreated",
            format!("aws-auth was deleted; made it again from history revision {revision}"),
        ),
        Note::Recreated { revision: Some(revision), left_out } => (
            "AwsAuthRecreated",
            format!(
                "aws-auth was deleted; made it again with the node entries and ours of history revision {revision}. Not restored: {}. They stand in that record, one of ConfigMaps kube-system/aws-auth-history-0 to 9",
                named(left_out.iter().map(ToString::to_string))
            ),
        ),
        Note::PossiblyOrphaned { .. }
        | Note::NodeEntriesLost { .. }
        | Note::NotAsked { .. }
        | Note::OlderGeneration { .. } => return None,
    };
    let kind = if matches!(note, Note::Recreated { revision: None, .. }) {
        EventType::Normal
    } else {
        EventType::Warning
    };
    Some(Said { kind, reason: reason.to_owned(), action: "Write", note: text, config: None })
}

/// Whether two findings are about the same thing. Their words may differ, such as in a line number that
/// moved; where they name no ARN, the words are all there is.
fn same_finding(one: &ClusterFinding, other: &ClusterFinding) -> bool {
    let about = |f: &ClusterFinding| (f.reason.clone(), f.list.clone(), f.arn.clone(), f.config.clone());
    about(one) == about(other) && (!one.arn.is_empty() || one.message == other.message)
}

/// Findings that appeared, one Event for each reason and config.
fn new_findings(before: &ClusterStatus, after: &ClusterStatus) -> Vec<Said> {
    let mut appeared: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    let known = |finding: &&ClusterFinding| before.findings.iter().any(|other| same_finding(finding, other));
    // What moves is on its way, and the condition says how far it is.
    let is_news = |finding: &&ClusterFinding| !report::is_progress(&finding.reason) && !known(finding);
    for finding in after.findings.iter().filter(is_news) {
        let subject = if finding.arn.is_empty() { &finding.list } else { &finding.arn };
        let text = format!("{subject}: {}", finding.message);
        appeared.entry((&finding.reason, &finding.config)).or_default().push(text);
    }
    appeared
        .into_iter()
        .map(|((reason, config), texts)| Said {
            kind: EventType::Warning,
            reason: reason.to_owned(),
            action: "Report",
            note: named(texts.into_iter()),
            config: Some(config.to_owned()).filter(|config| !config.is_empty()),
        })
        .collect()
}

/// A condition that turned to its bad side and has no finding of its own.
fn condition_turned(before: &ClusterStatus, after: &ClusterStatus) -> Vec<Said> {
    use awsiam_api::conditions::{
        API_SERVER_CONFIGURED, AUTHENTICATOR_READY, AWS_AUTH_SYNCED, KUBECONFIG_READY, NODE_ENTRIES_LOST,
        TARGET_REACHABLE, condition,
    };
    let bad = [
        (AWS_AUTH_SYNCED, "False"),
        (TARGET_REACHABLE, "False"),
        (AUTHENTICATOR_READY, "False"),
        (API_SERVER_CONFIGURED, "False"),
        (KUBECONFIG_READY, "False"),
        (NODE_ENTRIES_LOST, "True"),
    ];
    bad.iter()
        .filter_map(|(kind, value)| {
            let now = condition(&after.conditions, kind).filter(|c| c.status == *value)?;
            let known = condition(&before.conditions, kind)
                .is_some_and(|c| c.status == now.status && c.reason == now.reason);
            let has_finding = after.findings.iter().any(|finding| finding.reason == now.reason);
            (!known && !has_finding).then(|| Said {
                kind: EventType::Warning,
                reason: now.reason.clone(),
                action: "Report",
                note: now.message.clone(),
                config: None,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_to_what_kubernetes_takes() {
        assert_eq!(cut("as it is"), "as it is");
        let long = cut(&"é".repeat(2000));
        assert!(long.len() <= 1024 && long.ends_with("é…"), "{}", long.len());
    }

    #[test]
    fn long_names_make_way_for_how_many_there_are() {
        let short = named((0..12).map(|n| n.to_string()));
        assert_eq!(short, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        let long = named((0..12).map(|_| "x".repeat(300)));
        assert!(long.ends_with("x and 10 more") && long.len() < MAX_NOTE, "{long}");
    }
}

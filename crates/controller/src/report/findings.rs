//! What became of each AWSIamConfig, and what stands in the way or looks wrong, entry by entry.

use std::collections::{BTreeMap, BTreeSet};

use awsiam_api::cluster_status::{ConfigCounts, FindingSeverity};
use awsiam_api::conditions::reasons;
use awsiam_api::{ClusterFinding, ConfigStatus};
use awsiam_core::desired::{ConfigState, Refs};
use awsiam_core::ledger::{KeyHash, Ledger};
use awsiam_core::lint;
use awsiam_core::mapping::{Key, List};
use awsiam_core::plan::{self, Note, Outcome, Plan, Reason, State};

use super::cut;
use super::synced::{is_on_its_way, not_asked, rank};
use crate::reporter::{PassReport, Planned};

pub(super) fn configs(planned: &Planned) -> Vec<ConfigStatus> {
    let Refs::Listed(configs) = &planned.inputs.resolution.refs else { return Vec::new() };
    let mut outcomes: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in &planned.plan.outcomes {
        outcomes.entry(outcome.config.as_deref().unwrap_or_default()).or_default().push(outcome);
    }
    let done = !planned.pending && planned.plan.blocked.is_none();
    configs
        .iter()
        .map(|config| {
            let mine = outcomes.get(config.name.as_str()).map(Vec::as_slice).unwrap_or_default();
            // By key: a mapping that moves has an outcome in each place.
            let of = |states: &[State]| {
                let counting = mine.iter().filter(|o| states.contains(&o.state) && !is_on_its_way(o));
                counting.map(|outcome| &outcome.key).collect::<BTreeSet<_>>()
            };
            let number = |keys: BTreeSet<&Key>| i64::try_from(keys.len()).unwrap_or(i64::MAX);
            let mut synced = of(&[State::InEffect, State::AlreadyPresent]);
            if done {
                synced.extend(of(&[State::Added, State::Changed, State::Repaired, State::Adopted]));
            }
            let privileged =
                mine.iter().filter(|o| o.state == State::Refused && matches!(o.reason, Reason::Privilege(_)));
            let counting = config.mappings.len().saturating_sub(privileged.count());
            let refused_rows = i64::try_from(config.refused.len()).unwrap_or(i64::MAX);
            ConfigStatus {
                name: config.name.clone(),
                uid: config.uid.clone(),
                generation: Some(config.generation).filter(|_| config.state.is_resolved()),
                state: (&config.state).into(),
                message: match &config.state {
                    ConfigState::Undecodable(why) => cut(why.clone()),
                    ConfigState::Disagrees(fields) => format!("differs in {}", fields.join(", ")),
                    _ => String::new(),
                },
                counts: Some(ConfigCounts {
                    // Without rows that are rejected whatever the target: the AWSIamConfig itself says so.
                    desired: i64::try_from(counting).unwrap_or(i64::MAX),
                    synced: number(synced),
                    refused: number(of(&[State::Refused, State::Conflict, State::Shadowed])) + refused_rows,
                    frozen: number(of(&[State::Frozen, State::Held])),
                }),
            }
        })
        .collect()
}

pub(super) fn findings(
    planned: &Planned,
    before: &[ClusterFinding],
    orphaned: &BTreeSet<Key>,
) -> Vec<ClusterFinding> {
    let plan = &planned.plan;
    let mut findings: Vec<ClusterFinding> = plan
        .outcomes
        .iter()
        .filter(|o| !o.message.is_empty())
        .map(|o| ClusterFinding {
            reason: o.reason.name().to_owned(),
            severity: if rank(o).is_some() { FindingSeverity::Error } else { FindingSeverity::Warning },
            list: o.key.list.data_key().to_owned(),
            arn: o.arn().to_owned(),
            config: o.config.as_deref().unwrap_or_default().to_owned(),
            message: o.message.clone(),
        })
        .collect();
    findings.extend(plan.unreadable.iter().map(|unreadable| ClusterFinding {
        reason: reasons::UNREADABLE.to_owned(),
        severity: FindingSeverity::Error,
        list: unreadable.list.data_key().to_owned(),
        message: unreadable.to_string(),
        ..ClusterFinding::default()
    }));
    findings.extend(plan.notes.iter().filter_map(note_finding));
    findings.extend(orphans(plan, before, orphaned));
    findings.extend(lint::oddities(&plan.after.data).into_iter().map(|oddity| ClusterFinding {
        reason: oddity.reason.to_owned(),
        severity: FindingSeverity::Warning,
        list: oddity.data_key,
        arn: oddity.key.map(|key| key.arn).unwrap_or_default(),
        message: if oddity.line > 0 {
            format!("line {}: {}", oddity.line, oddity.message)
        } else {
            oddity.message
        },
        ..ClusterFinding::default()
    }));
    findings
}

/// Notes that last as long as what they are about; the others are Events alone.
fn note_finding(note: &Note) -> Option<ClusterFinding> {
    if let Some(message) = not_asked(note) {
        return Some(ClusterFinding {
            reason: reasons::ENTRIES_NOT_ASKED.to_owned(),
            severity: FindingSeverity::Warning,
            message,
            ..ClusterFinding::default()
        });
    }
    let Note::OlderGeneration { object, recorded, read } = note else { return None };
    Some(ClusterFinding {
        reason: "OlderGeneration".to_owned(),
        severity: FindingSeverity::Warning,
        message: format!(
            "{object} has generation {read} and was planned with at generation {recorded} before: a backup was restored. What it says now counts"
        ),
        ..ClusterFinding::default()
    })
}

/// Entries of which this pass finds that they may have been ours before the ledger was lost. Where it writes a new ledger
/// no later pass finds them.
pub(crate) fn orphaned(pass: &PassReport) -> impl Iterator<Item = &Key> {
    let plan = match pass {
        PassReport::Planned(planned) => Some(&planned.plan),
        _ => None,
    };
    plan.into_iter().flat_map(noted)
}

fn noted(plan: &Plan) -> impl Iterator<Item = &Key> {
    let keys = plan.notes.iter().filter_map(|note| match note {
        Note::PossiblyOrphaned { keys } => Some(keys),
        _ => None,
    });
    keys.flatten()
}

/// Entries that may have been ours before the ledger was lost: those of this pass, those that no status has told of, and
/// those of earlier ones, as far as they are still there and still nobody's. The status alone remembers them.
fn orphans(plan: &Plan, before: &[ClusterFinding], untold: &BTreeSet<Key>) -> Vec<ClusterFinding> {
    let known = before.iter().filter(|finding| finding.reason == reasons::POSSIBLY_ORPHANED);
    let known = known.filter_map(|finding| {
        let list = List::ALL.into_iter().find(|list| list.data_key() == finding.list)?;
        Some(Key::new(list, &finding.arn))
    });
    let keys: BTreeSet<Key> = noted(plan).chain(untold).cloned().chain(known).collect();
    if keys.is_empty() {
        return Vec::new();
    }
    let ledger = plan.after.ledger.as_deref().and_then(|text| Ledger::parse(text).ok());
    let is_ours = |key: &Key| ledger.as_ref().is_some_and(|l| l.owned.contains_key(&KeyHash::of(key)));
    let entries = plan::entries(&plan.after.data);
    let foreign = keys.into_iter().filter(|key| !is_ours(key)).filter_map(|key| {
        let entry = entries.get(&key.list).into_iter().flatten().find(|entry| entry.key(key.list) == key);
        // What can't be read now may still be there.
        let hidden = plan.unreadable.iter().any(|unreadable| unreadable.list == key.list);
        entry.map(|entry| entry.arn.clone()).or(hidden.then_some(key.arn)).map(|arn| (key.list, arn))
    });
    foreign
        .map(|(list, arn)| ClusterFinding {
            reason: reasons::POSSIBLY_ORPHANED.to_owned(),
            severity: FindingSeverity::Warning,
            list: list.data_key().to_owned(),
            arn,
            message:
                "the ledger was lost, and this entry may have been ours; remove it by hand if nobody needs it"
                    .to_owned(),
            ..ClusterFinding::default()
        })
        .collect()
}

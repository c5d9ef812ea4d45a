//! Whose entries are there: the ledger, or what stands in for one that is lost; and what a deleted
//! `aws-auth` is made again from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Blocked, Note, Request};
use crate::desired::{ConfigState, Refs};
use crate::history::{self, Record};
use crate::ledger::{KeyHash, Ledger, LedgerError, MeaningHash, Owned, Relation};
use crate::mapping::{Entry, List};
use crate::merge::Lists;

/// What we own.
#[derive(Debug)]
pub(super) struct Ownership {
    /// The ledger to plan by.
    pub(super) ledger: Ledger,
    /// The ledger as it stands in the annotation, if it can be used.
    pub(super) written: Option<Ledger>,
    /// It is lost, and no history record has one: equal entries count as ours.
    lost: bool,
    error: Option<LedgerError>,
}

/// Reads the ledger, or finds its replacement.
pub(super) fn ownership(request: &Request<'_>) -> Result<(Ownership, Vec<Note>), Blocked> {
    let found = request.observed.ledger.as_deref().map(Ledger::parse);
    match found {
        Some(Ok(ledger)) => usable(request, ledger),
        Some(Err(LedgerError::Newer(version))) => {
            Err(Blocked::LedgerNewer { message: LedgerError::Newer(version).to_string() })
        }
        Some(Err(error)) => Ok(rebuilt(request, true, Some(error))),
        None => {
            let lost = request.owned_before && request.observed.present && !request.gives_up();
            Ok(rebuilt(request, lost, None))
        }
    }
}

fn usable(request: &Request<'_>, ledger: Ledger) -> Result<(Ownership, Vec<Note>), Blocked> {
    let notes = match ledger.writer.relation_to(request.writer) {
        Relation::Same => Vec::new(),
        Relation::Other if !request.take_over => {
            return Err(Blocked::TargetClaimed { owner: ledger.writer });
        }
        Relation::Predecessor | Relation::Other => {
            vec![Note::LedgerTakenOver { from: ledger.writer.clone() }]
        }
    };
    Ok((Ownership { written: Some(ledger.clone()), ledger, lost: false, error: None }, notes))
}

fn rebuilt(request: &Request<'_>, lost: bool, error: Option<LedgerError>) -> (Ownership, Vec<Note>) {
    let recorded = newest_ledger(request);
    let notes = match &recorded {
        Some((record, _)) if request.observed.present => {
            vec![Note::LedgerRebuilt { revision: Some(record.revision), error: error.clone() }]
        }
        _ => Vec::new(),
    };
    let lost = lost && recorded.is_none();
    let empty = || Ledger::new(request.writer.clone(), request.cluster_generation);
    let ledger = recorded.map_or_else(empty, |(_, ledger)| ledger);
    (Ownership { ledger, written: None, lost, error }, notes)
}

/// The newest history record that has a ledger of ours. One of a predecessor does not count: what it
/// owned may have been released since. Nor does one from before the ledger was taken out on purpose, which
/// shows in a content that the operator, or an administrator with `awsiam release`, wrote without one.
fn newest_ledger<'a>(request: &Request<'a>) -> Option<(&'a Record, Ledger)> {
    let ours = |record: &'a Record| {
        let ledger = Ledger::parse(record.ledger.as_deref()?).ok()?;
        (ledger.writer.relation_to(request.writer) == Relation::Same).then_some((record, ledger))
    };
    let by_us = [history::OPERATOR, history::COMMAND_LINE];
    let released =
        request.history.iter().filter(|r| r.ledger.is_none() && by_us.contains(&r.writer.as_str()));
    let released = released.map(|record| record.revision).max();
    let since = |record: &&Record| released.is_none_or(|released| record.revision > released);
    request.history.iter().filter(since).filter_map(ours).max_by_key(|(record, _)| record.revision)
}

/// The data to plan on: what was read, or what a deleted `aws-auth` is made again from.
pub(super) fn base<'a>(
    request: &Request<'a>,
    ownership: &Ownership,
    notes: &mut Vec<Note>,
) -> Cow<'a, BTreeMap<String, String>> {
    if request.observed.present {
        return Cow::Borrowed(&request.observed.data);
    }
    let record = || {
        history::newest_with_nodes(request.history)
            .or_else(|| newest_ledger(request).map(|(record, _)| record))
            .or_else(|| history::newest(request.history))
    };
    let Some(record) = (if request.remove_all { None } else { record() }) else {
        notes.push(Note::Recreated { revision: None, left_out: Vec::new() });
        return Cow::Owned(BTreeMap::new());
    };
    let keep = |list: List, entry: &Entry| {
        entry.is_node() || ownership.ledger.owned.contains_key(&KeyHash::of(&entry.key(list)))
    };
    let (data, left_out) = history::restorable(record, keep);
    notes.push(Note::Recreated { revision: Some(record.revision), left_out });
    Cow::Owned(data)
}

/// A lost ledger without history: entries that equal what is wanted count as ours, all others but node
/// entries are named.
pub(super) fn by_equality(
    request: &Request<'_>,
    lists: &Lists<'_>,
    mut ownership: Ownership,
    notes: &mut Vec<Note>,
) -> Ownership {
    if !ownership.lost {
        return ownership;
    }
    let configs = match request.refs {
        Refs::Absent => &[],
        Refs::Listed(configs) => configs.as_slice(),
    };
    for config in configs.iter().filter(|c| c.state == ConfigState::Usable) {
        let name: Arc<str> = config.name.as_str().into();
        for row in config.mappings.iter() {
            let key = row.mapping.key();
            let last = lists.with_key(&key).last().and_then(|index| lists.entry(key.list, *index));
            if let Some(entry) = last.filter(|entry| entry.means(&row.mapping) && !entry.is_node()) {
                let meaning = MeaningHash::of(key.list, entry);
                let owned = Owned { config: Arc::clone(&name), meaning };
                ownership.ledger.owned.entry(KeyHash::of(&key)).or_insert(owned);
            }
        }
    }
    let unclear = |key: &crate::mapping::Key| {
        !ownership.ledger.owned.contains_key(&KeyHash::of(key))
            && !lists.with_key(key).iter().filter_map(|i| lists.entry(key.list, *i)).any(Entry::is_node)
    };
    let keys: Vec<_> = lists.keys().filter(unclear).collect();
    notes.push(Note::LedgerRebuilt { revision: None, error: ownership.error.clone() });
    if !keys.is_empty() {
        notes.push(Note::PossiblyOrphaned { keys });
    }
    ownership
}

/// Earlier contents had node entries and this one has none.
pub(super) fn lost_nodes(request: &Request<'_>, lists: &Lists<'_>) -> Option<Note> {
    let readable = [List::Roles, List::Users].into_iter().all(|list| lists.side(list).is_readable());
    let any = lists.sides().any(|side| side.entries().any(Entry::is_node));
    if any || !readable {
        return None;
    }
    let record = history::newest_with_nodes(request.history)?;
    Some(Note::NodeEntriesLost { revision: record.revision })
}

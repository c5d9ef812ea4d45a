//! The history of `aws-auth`: which content goes to which of the ten records, and what is found there.
//! It decides; the records are read and written by the controller.

mod change;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::mapping::{Entry, Key, List};
use crate::reader::{self, Block, ReadEntry};
use crate::text::{Edits, Layout};

pub use change::{Change, Held};

/// The field manager of the operator, as records name who wrote a content.
pub const OPERATOR: &str = "awsiam-operator";

/// The field manager of what an administrator writes with the command line.
pub const COMMAND_LINE: &str = "awsiam";

/// How many records there are, `aws-auth-history-0` to `aws-auth-history-9`, used in turn.
pub const SLOTS: usize = 10;

/// One record: a content of `aws-auth` that was seen.
#[derive(Clone, Debug)]
pub struct Record {
    /// The number in its name, below [`SLOTS`].
    pub slot: usize,
    /// Counts up with every record.
    pub revision: u64,
    /// The `data` of `aws-auth`.
    pub data: BTreeMap<String, String>,
    /// The ledger annotation of `aws-auth`.
    pub ledger: Option<String>,
    /// The field manager that wrote it.
    pub writer: String,
    /// Whether nodes join by an entry of it. Found out when it is first asked, because reading takes time.
    has_nodes: OnceLock<bool>,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        let of = |r: &Self| (r.slot, r.revision, r.writer.clone(), r.ledger.clone());
        of(self) == of(other) && self.data == other.data
    }
}

impl Eq for Record {}

impl Record {
    /// A record.
    #[must_use]
    pub fn new(
        slot: usize,
        revision: u64,
        data: BTreeMap<String, String>,
        ledger: Option<String>,
        writer: String,
    ) -> Self {
        Self { slot, revision, data, ledger, writer, has_nodes: OnceLock::new() }
    }

    /// The same, for one who knows already whether it has node entries: whoever planned its content.
    #[must_use]
    pub fn knowing_nodes(self, has_nodes: bool) -> Self {
        Self { has_nodes: has_nodes.into(), ..self }
    }

    /// Whether nodes join by an entry of it.
    #[must_use]
    pub fn has_nodes(&self) -> bool {
        *self.has_nodes.get_or_init(|| has_nodes(&self.data))
    }

    /// Whether it holds this content.
    #[must_use]
    pub fn holds(&self, data: &BTreeMap<String, String>, ledger: Option<&str>) -> bool {
        self.data == *data && self.ledger.as_deref() == ledger
    }
}

/// Whether a readable list of `data` has a node entry.
#[must_use]
pub fn has_nodes(data: &BTreeMap<String, String>) -> bool {
    [List::Roles, List::Users].into_iter().any(|list| {
        data.get(list.data_key())
            .and_then(|text| reader::read(list, text).ok())
            .is_some_and(|block| block.entries.iter().any(|e| e.entry.is_node()))
    })
}

/// The newest record.
#[must_use]
pub fn newest(records: &[Record]) -> Option<&Record> {
    records.iter().max_by_key(|r| r.revision)
}

/// The newest record with a node entry: what `aws-auth` is made again from.
#[must_use]
pub fn newest_with_nodes(records: &[Record]) -> Option<&Record> {
    // From the newest on, so that no older one is read than need be.
    let mut newest_first: Vec<&Record> = records.iter().collect();
    newest_first.sort_by_key(|record| Reverse(record.revision));
    newest_first.into_iter().find(|record| record.has_nodes())
}

/// Whether this content has to be recorded: it is not what the newest record holds.
#[must_use]
pub fn needs_record(records: &[Record], data: &BTreeMap<String, String>, ledger: Option<&str>) -> bool {
    newest(records).is_none_or(|record| !record.holds(data, ledger))
}

/// The slot and revision of the next record: a free slot, else the oldest one; never the one that
/// [`newest_with_nodes`] gives.
#[must_use]
pub fn next(records: &[Record]) -> (usize, u64) {
    let revision = newest(records).map_or(1, |r| r.revision + 1);
    let kept = newest_with_nodes(records).map(|r| r.slot);
    let free = (0..SLOTS).find(|slot| records.iter().all(|r| r.slot != *slot));
    let oldest =
        || records.iter().filter(|r| Some(r.slot) != kept).min_by_key(|r| r.revision).map(|r| r.slot);
    (free.or_else(oldest).unwrap_or(0), revision)
}

/// The data that a deleted `aws-auth` is made again from: the record's text with the entries that
/// `keep` names (node entries and owned ones), comments included. Also the keys that were left out.
/// An entry whose anchor a kept one uses is kept with it, and a list from which the others can't be
/// taken comes back whole.
#[must_use]
pub fn restorable(
    record: &Record,
    keep: impl Fn(List, &Entry) -> bool,
) -> (BTreeMap<String, String>, Vec<Key>) {
    let mut data = BTreeMap::new();
    let mut left_out = Vec::new();
    for list in List::ALL {
        let Some(text) = record.data.get(list.data_key()) else { continue };
        let Ok(block) = reader::read(list, text) else { continue };
        if !block.entries.iter().any(|read| keep(list, &read.entry)) {
            left_out.extend(block.entries.iter().map(|read| read.entry.key(list)));
            continue;
        }
        let thinned = thinned(list, text, &block, &|entry| keep(list, entry));
        let (text, keys) = thinned.unwrap_or_else(|| (text.clone(), Vec::new()));
        data.insert(list.data_key().to_owned(), text);
        left_out.extend(keys);
    }
    (data, left_out)
}

/// The text without the entries that `keep` does not name, and their keys; none if it would say something else.
fn thinned(
    list: List,
    text: &str,
    block: &Block<'_>,
    keep: &dyn Fn(&Entry) -> bool,
) -> Option<(String, Vec<Key>)> {
    let layout = Layout::of(text, block).ok()?;
    let (kept, gone): (Vec<&ReadEntry>, Vec<&ReadEntry>) =
        block.entries.iter().partition(|read| keep(&read.entry) || layout.is_anchored(read.item));
    let edits = Edits { remove: gone.iter().map(|read| read.item).collect(), ..Edits::default() };
    let thinned = layout.apply(&edits);
    let read = reader::read(list, &thinned).ok()?;
    let as_planned = read.entries.iter().map(|read| &read.entry).eq(kept.iter().map(|read| &read.entry));
    as_planned.then(|| (thinned, gone.iter().map(|read| read.entry.key(list)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(slot: usize, revision: u64, has_nodes: bool) -> Record {
        let ledger = Some(format!("{revision}"));
        Record::new(slot, revision, BTreeMap::new(), ledger, "kubectl".into()).knowing_nodes(has_nodes)
    }

    #[test]
    fn slots_are_filled_then_used_in_turn() {
        assert_eq!(next(&[]), (0, 1));
        assert_eq!(next(&[record(0, 1, true), record(1, 2, true)]), (2, 3));
        let full: Vec<_> = (0..SLOTS).map(|s| record(s, 10 + s as u64, true)).collect();
        assert_eq!(next(&full), (0, 20));
    }

    #[test]
    fn the_newest_record_with_node_entries_is_never_reused() {
        let mut full: Vec<_> = (0..SLOTS).map(|s| record(s, 10 + s as u64, false)).collect();
        full[0] = record(0, 10, true);
        assert_eq!(next(&full), (1, 20));
        assert_eq!(newest_with_nodes(&full).map(|r| r.slot), Some(0));
    }

    #[test]
    fn who_does_not_know_whether_nodes_join_reads_it() {
        let roles = |text: &str| BTreeMap::from([("mapRoles".to_owned(), text.to_owned())]);
        let has_nodes = |text: &str| Record::new(0, 1, roles(text), None, String::new()).has_nodes();
        assert!(has_nodes(
            "- rolearn: arn:aws:iam::111122223333:role/n\n  username: n\n  groups: [\"system:n\\x6fdes\"]\n"
        ));
        assert!(!has_nodes("- rolearn: arn:aws:iam::111122223333:role/n\n  username: n\n"));
        assert!(!has_nodes("# groups: [system:nodes]\n"));
    }

    #[test]
    fn the_same_content_is_recorded_once() {
        let records = [record(0, 1, false), record(1, 2, false)];
        assert!(!needs_record(&records, &BTreeMap::new(), Some("2")));
        assert!(needs_record(&records, &BTreeMap::new(), Some("1")));
        assert!(needs_record(&[], &BTreeMap::new(), None));
    }
}

//! Reads a new text before it is written: every foreign entry exactly as before, every admitted mapping
//! the effective answer for its ARN, and nothing else. Trusts no edit.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use crate::effective::Effective;
use crate::mapping::{Entry, Key, List, Mapping};
use crate::merge::{Lists, Side};
use crate::reader::{self, Block};
use crate::render;
use crate::text::{Edits, Layout};

/// What did not come out as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// This mapping, and it can be left out.
    Mapping(Key),
    /// Something in this list that is not ours, or nobody knows what.
    List(List),
}

/// The entries of the readable lists after `edits`, as planned.
#[must_use]
pub fn expected<'l>(
    lists: &'l Lists<'_>,
    edits: &'l BTreeMap<List, Edits>,
) -> BTreeMap<List, Vec<Cow<'l, Entry>>> {
    let readable = lists.sides().filter(|side| side.is_readable());
    readable.map(|side| (side.list, after(side, edits.get(&side.list)).collect())).collect()
}

/// The entries of one list after `edits`, as planned; none where it can't be read.
pub(crate) fn after<'l>(
    side: &'l Side<'_>,
    edits: Option<&'l Edits>,
) -> impl Iterator<Item = Cow<'l, Entry>> {
    let kept = side.entries().zip(side.items()).filter_map(move |(entry, item)| match edits {
        Some(edits) if edits.remove.contains(&item) => None,
        Some(edits) => match edits.replace.get(&item) {
            Some(mapping) => Some(Cow::Owned(Entry::from(mapping))),
            None => Some(Cow::Borrowed(entry)),
        },
        None => Some(Cow::Borrowed(entry)),
    });
    let appended = edits.filter(|_| side.is_readable()).into_iter().flat_map(|edits| &edits.append);
    kept.chain(appended.map(|mapping| Cow::Owned(Entry::from(mapping))))
}

/// Reads the changed lists of `data` and compares them with what was planned.
#[must_use]
pub fn check(
    lists: &Lists<'_>,
    edits: &BTreeMap<List, Edits>,
    admitted: &[&Mapping],
    data: &BTreeMap<String, String>,
) -> Vec<Mismatch> {
    let expected = expected(lists, edits);
    let mut mismatches: Vec<Mismatch> = edits
        .iter()
        .filter(|(_, edits)| !edits.is_empty())
        .flat_map(|(list, edits)| check_list(lists.side(*list), edits, expected.get(list), data))
        .collect();
    let effective = Effective::of(&expected);
    let accounts: HashSet<&str> =
        expected.get(&List::Accounts).into_iter().flatten().map(|account| account.arn.as_str()).collect();
    let denied = admitted.iter().filter(|mapping| match mapping.list {
        List::Accounts => !accounts.contains(mapping.arn.as_str()),
        List::Roles | List::Users => !effective.gives(mapping),
    });
    mismatches.extend(denied.map(|mapping| Mismatch::Mapping(mapping.key())));
    mismatches
}

fn check_list(
    side: &Side<'_>,
    edits: &Edits,
    expected: Option<&Vec<Cow<'_, Entry>>>,
    data: &BTreeMap<String, String>,
) -> Vec<Mismatch> {
    let list = side.list;
    let text = data.get(list.data_key()).map(String::as_str).unwrap_or_default();
    let items = expected_items(side, edits);
    let as_planned = reader::read(list, text).is_ok_and(|block| {
        let read = block.entries.iter().map(|read| (read.item, &read.entry));
        let expected = expected.into_iter().flatten().map(Cow::as_ref);
        items.into_iter().zip(expected).eq(read) && no_new_problems(side, &block)
    });
    if as_planned {
        return Vec::new();
    }
    let ours = edits.append.iter().chain(edits.replace.values());
    let broken: Vec<Mismatch> = ours
        .filter(|mapping| !reads_alone(mapping))
        .map(|mapping| Mismatch::Mapping(mapping.key()))
        .collect();
    if broken.is_empty() { vec![Mismatch::List(list)] } else { broken }
}

/// Which item of the new list each entry is to be. What is no entry has its place too: an item that swallowed
/// a neighbour would not show otherwise.
fn expected_items(side: &Side<'_>, edits: &Edits) -> Vec<usize> {
    let removed: Vec<usize> = edits.remove.iter().copied().collect();
    let kept = side.items().filter(|item| !edits.remove.contains(item));
    let kept = kept.map(|item| item - removed.partition_point(|gone| *gone < item));
    let before = side.layout().map_or(0, Layout::items);
    kept.chain((before.saturating_sub(removed.len())..).take(edits.append.len())).collect()
}

fn no_new_problems(side: &Side<'_>, block: &Block<'_>) -> bool {
    let old: HashSet<&str> = side.problems().collect();
    block.problems.iter().all(|problem| old.contains(problem.message.as_str()))
}

/// Whether the mapping's own text reads back as the mapping, in both styles.
fn reads_alone(mapping: &Mapping) -> bool {
    let reads = |text: &str| {
        reader::read(mapping.list, text)
            .is_ok_and(|block| block.entries.iter().map(|e| &e.entry).eq([&Entry::from(mapping)]))
    };
    reads(&render::block_item(mapping, "", "\n")) && reads(&format!("[{}]", render::flow_item(mapping)))
}

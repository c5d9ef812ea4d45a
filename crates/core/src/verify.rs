//! Reads a new text before it is written: every foreign entry exactly as before, every admitted mapping
//! the effective answer for its ARN, and nothing else. Trusts no edit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::effective::Effective;
use crate::mapping::{Entry, Key, List, Mapping};
use crate::merge::Lists;
use crate::reader;
use crate::render;
use crate::text::Edits;

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
    edits: &BTreeMap<List, Edits>,
) -> BTreeMap<List, Vec<Cow<'l, Entry>>> {
    let of = |list: List| -> Vec<Cow<'l, Entry>> {
        let none = Edits::default();
        let edits = edits.get(&list).unwrap_or(&none);
        let kept = lists.side(list).entries().enumerate().filter_map(|(index, entry)| {
            let item = lists.item(list, index)?;
            match edits.replace.get(&item) {
                _ if edits.remove.contains(&item) => None,
                Some(mapping) => Some(Cow::Owned(Entry::from(mapping))),
                None => Some(Cow::Borrowed(entry)),
            }
        });
        kept.chain(edits.append.iter().map(|mapping| Cow::Owned(Entry::from(mapping)))).collect()
    };
    lists.sides().filter(|side| side.is_readable()).map(|side| (side.list, of(side.list))).collect()
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
        .flat_map(|(list, edits)| check_list(*list, edits, expected.get(list), data))
        .collect();
    let effective = Effective::of(&expected);
    let denied = admitted.iter().filter(|mapping| match mapping.list {
        List::Accounts => !expected
            .get(&List::Accounts)
            .is_some_and(|accounts| accounts.iter().any(|account| account.arn == mapping.arn)),
        List::Roles | List::Users => !effective.gives(mapping),
    });
    mismatches.extend(denied.map(|mapping| Mismatch::Mapping(mapping.key())));
    mismatches
}

fn check_list(
    list: List,
    edits: &Edits,
    expected: Option<&Vec<Cow<'_, Entry>>>,
    data: &BTreeMap<String, String>,
) -> Vec<Mismatch> {
    let text = data.get(list.data_key()).map(String::as_str).unwrap_or_default();
    let as_planned = reader::read(list, text).is_ok_and(|block| {
        let read = block.entries.iter().map(|e| &e.entry);
        expected.is_some_and(|expected| expected.iter().map(Cow::as_ref).eq(read))
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

/// Whether the mapping's own text reads back as the mapping, in both styles.
fn reads_alone(mapping: &Mapping) -> bool {
    let reads = |text: &str| {
        reader::read(mapping.list, text)
            .is_ok_and(|block| block.entries.iter().map(|e| &e.entry).eq([&Entry::from(mapping)]))
    };
    reads(&render::block_item(mapping, "", "\n")) && reads(&format!("[{}]", render::flow_item(mapping)))
}

//! The texts that a merge leads to, whether they say what was planned, and whether they fit.

use std::collections::BTreeMap;

use super::{Blocked, Content, Reason};
use crate::ledger::{self, Ledger};
use crate::mapping::List;
use crate::merge::{Lists, Merge, Overrides};
use crate::observed::Observed;
use crate::verify::{self, Mismatch};

/// The limit of a ConfigMap's values together (Kubernetes `pkg/apis/core/validation`, `MaxSecretSize`).
const MAX_DATA_BYTES: usize = 1024 * 1024;

/// The limit of an object's annotations, keys and values together
/// (`apimachinery/pkg/api/validation`, `TotalAnnotationSizeLimitB`).
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// The data afterwards, and the texts to put back when our last entry goes.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) data: BTreeMap<String, String>,
    pub(super) blanks: BTreeMap<List, Option<String>>,
}

/// Edits the texts of `base`.
pub(super) fn texts(
    base: &BTreeMap<String, String>,
    lists: &Lists<'_>,
    merge: &Merge<'_>,
    old: &Ledger,
) -> Texts {
    let mut data = base.clone();
    let mut blanks = old.blanks.clone();
    for (list, edits) in merge.edits.iter().filter(|(_, edits)| !edits.is_empty()) {
        let side = lists.side(*list);
        let Some(layout) = side.layout() else { continue };
        let key = list.data_key().to_owned();
        if layout.is_blank() {
            blanks.insert(*list, side.text.map(str::to_owned));
        }
        let text = layout.apply(edits);
        if text.is_empty() {
            // Our last entry goes, and nobody has written anything beside it.
            match blanks.remove(list) {
                Some(None) => data.remove(&key),
                Some(Some(original)) => data.insert(key, original),
                None => data.insert(key, text),
            };
            continue;
        }
        data.insert(key, text);
    }
    // Where nothing is ours any more there is nothing to put back.
    blanks.retain(|list, _| merge.owned_lists.contains(list) || !lists.side(*list).is_readable());
    Texts { data, blanks }
}

/// Reads the new texts back. False when something did not come out as planned: then `overrides` has
/// what to leave out, and planning starts again.
pub(super) fn verify(lists: &Lists<'_>, merge: &Merge<'_>, texts: &Texts, overrides: &mut Overrides) -> bool {
    if merge.edits.values().all(crate::text::Edits::is_empty) {
        return true;
    }
    let mismatches = verify::check(lists, &merge.edits, &merge.admitted, &texts.data);
    let as_planned = mismatches.is_empty();
    let mut known = true;
    for mismatch in mismatches {
        known = match mismatch {
            Mismatch::Mapping(key) => {
                let message = "the new text would not give this mapping to its ARN; it is left out. Please report this with the row";
                overrides.held.insert(key, (Reason::VerificationFailed, message.to_owned())).is_some()
            }
            Mismatch::List(list) => {
                let message = format!(
                    "a changed {list} would not read back as planned, so it is left as it is; write the list in plain block style, one item a line"
                );
                overrides.held_lists.insert(list, message).is_some()
            }
        } && known;
    }
    if known && !as_planned {
        // What is left out already and still fails: nothing may be written on a guess.
        let message = "the changed text would not read back as planned; please report this";
        for list in merge.edits.keys() {
            known &= overrides.held_lists.insert(*list, message.to_owned()).is_some();
        }
    }
    known
}

/// Why a result can't be written, if so.
pub(super) fn blocked(observed: &Observed, after: &Content) -> Option<Blocked> {
    if observed.deleting {
        return Some(Blocked::BeingDeleted);
    }
    if observed.immutable {
        return Some(Blocked::Immutable);
    }
    let bytes = after.data.values().map(String::len).sum::<usize>() + observed.binary_bytes;
    if bytes > MAX_DATA_BYTES {
        return Some(Blocked::TooLarge { bytes, limit: MAX_DATA_BYTES, what: "data" });
    }
    let ledger = after.ledger.as_ref().map_or(0, |l| l.len() + ledger::ANNOTATION.len());
    let bytes = observed.other_annotation_bytes + ledger;
    (bytes > MAX_ANNOTATION_BYTES).then_some(Blocked::TooLarge {
        bytes,
        limit: MAX_ANNOTATION_BYTES,
        what: "annotations",
    })
}

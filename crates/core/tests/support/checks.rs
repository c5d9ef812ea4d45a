//! What must hold whatever stands in `aws-auth` and whatever is asked for; each check panics if it does not.
//! Shared by the property tests, the stored cases and the fuzz targets.

use std::collections::BTreeMap;

use awsiam_core::desired::Refs;
use awsiam_core::effective::Effective;
use awsiam_core::ledger::Ledger;
use awsiam_core::mapping::{Entry, List, Mapping};
use awsiam_core::plan::{self, ConflictPolicy, LastAdminAllowance, Plan, State};
use awsiam_core::reader::{self, Block};
use awsiam_core::text::{Edits, Layout};

use super::{Target, config};

/// The `data` of an `aws-auth`.
pub type Texts = BTreeMap<String, String>;

/// Any text can be read or refused under any data key; what is read has its place in the text, and an edit of
/// nothing changes nothing. Nothing depends on which reader took it.
pub fn reads(text: &str) {
    for list in List::ALL {
        let said = |block: Block<'_>| (Layout::of(text, &block), block.entries, block.problems);
        assert_eq!(reader::read(list, text).map(said), reader::read_yaml(list, text).map(said), "{text}");
        let block = match reader::read(list, text) {
            Err(unreadable) => {
                assert!(unreadable.position.offset <= text.len() && unreadable.position.line > 0);
                continue;
            }
            Ok(block) => block,
        };
        assert!(block.entries.iter().all(|e| e.position.offset <= text.len() && e.position.line > 0));
        assert!(block.entries.is_sorted_by(|a, b| a.item < b.item));
        let Ok(layout) = Layout::of(text, &block) else { continue };
        assert_eq!(layout.apply(&Edits::default()), text);
    }
}

/// A fuzzer's bytes: a text, then after a NUL one byte for what the text is, and one for each set of wishes.
pub fn merges(bytes: &[u8]) {
    let (text, control) = match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &b"\x00\x0b\x46"[..]),
    };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (how, wishes) = control.split_first().unwrap_or((&0, b"\x0b"));
    let list = List::ALL[usize::from(how % 3)];
    let data = Texts::from([(list.data_key().to_owned(), text.to_owned())]);
    let wishes: Vec<Refs> = wishes.iter().take(4).map(|byte| wish(list, *byte)).collect();
    if how & 4 == 0 {
        foreign_bytes_survive(&data, &wishes);
    } else {
        the_rest_survives_adoption(&data, &wishes);
    }
}

/// Six mappings, each there or not, in four variants: some meet what stands in the stored texts.
pub fn wish(list: List, byte: u8) -> Refs {
    let variant = usize::from(byte >> 6);
    let mappings = (0..6usize).filter(|bit| byte & (1 << bit) != 0).map(|bit| {
        let arn = match list {
            List::Accounts => format!("11112222333{bit}"),
            List::Roles => format!(
                "arn:aws:iam::123456789012:role/{}",
                ["A", "B", "ours2", "ours3", "ours4", "ours5"][bit]
            ),
            List::Users => format!(
                "arn:aws:iam::123456789012:user/{}",
                ["A", "B", "ours2", "ours3", "ours4", "ours5"][bit]
            ),
        };
        let (username, groups) = match list {
            List::Accounts => ("", &[][..]),
            _ => (
                ["a", "b: c", "yes", "x"][variant],
                [&["g"][..], &[], &["system:masters"], &["- g", "h"]][variant],
            ),
        };
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Mapping { list, arn, username: username.to_owned(), groups }
    });
    Refs::Listed(vec![config("team", mappings)])
}

/// Foreign bytes, order and comments stay through any sequence of wishes, and at any point the text without
/// ours is the original one.
pub fn foreign_bytes_survive(data: &Texts, wishes: &[Refs]) {
    let mut target = target(data);
    for refs in wishes {
        target.refs = refs.clone();
        is_as_said(&target.apply());
        is_sound(&target, &target.plan());
        assert_eq!(&emptied(target.clone()).observed.data, data, "with {:#?}", target.observed.data);
    }
    target.last_admin = Some(LastAdminAllowance::All);
    target.want([]);
    target.apply();
    assert_eq!(&target.observed.data, data);
    assert_eq!(target.owned(), 0);
}

/// What was not adopted stays, with its bytes and in its order; nodes are never adopted.
pub fn the_rest_survives_adoption(data: &Texts, wishes: &[Refs]) {
    let mut target = target(data);
    target.conflicts = ConflictPolicy::Adopt;
    let before = with_bytes(data);
    let mut asked_for: Vec<String> = Vec::new();
    for refs in wishes {
        target.refs = refs.clone();
        let plan = target.apply();
        asked_for.extend(plan.outcomes.iter().map(|outcome| outcome.key.arn.clone()));
        is_as_said(&plan);
        is_sound(&target, &target.plan());
    }
    let after = with_bytes(&target.observed.data);
    for (list, entries) in &before {
        let ours = |entry: &Entry| asked_for.contains(&entry.key(*list).arn);
        let mut found = after.get(list).into_iter().flatten();
        for entry in entries.iter().filter(|(entry, _)| entry.is_node() || !ours(entry)) {
            assert!(found.any(|other| other == entry), "{entry:?} is gone from {:#?}", target.observed.data);
        }
    }
}

/// Somebody writes something else between two passes.
pub fn others_may_write_between(before: &Texts, between: &Texts, wishes: &[Refs]) {
    let mut target = target(before);
    for refs in wishes {
        target.refs = refs.clone();
        target.apply();
    }
    target.observed.data.clone_from(between);
    is_sound(&target, &target.plan());
    target.apply();
}

fn target(data: &Texts) -> Target {
    let mut target = Target::new();
    target.observed.data.clone_from(data);
    target
}

/// The target after everything of ours has gone.
fn emptied(mut target: Target) -> Target {
    target.remove_all = true;
    target.apply();
    target
}

/// The readable lists' entries with the bytes of each.
fn with_bytes(data: &Texts) -> BTreeMap<List, Vec<(Entry, Option<String>)>> {
    let read = |list: List| {
        let text = data.get(list.data_key())?;
        let block = reader::read(list, text).ok()?;
        let layout = Layout::of(text, &block).ok();
        let bytes =
            |item| layout.as_ref().and_then(|l| l.item_text(item)).map(|text| text.trim_end().to_owned());
        Some((list, block.entries.iter().map(|e| (e.entry.clone(), bytes(e.item))).collect()))
    };
    List::ALL.into_iter().filter_map(read).collect()
}

/// What every plan must be, whatever it was made from.
fn is_sound(target: &Target, plan: &Plan) {
    assert_eq!(plan, &target.plan(), "the same request gives another plan");
    let changes = plan.changes().next().is_some();
    assert!(changes || plan.before.data == plan.after.data, "a text changes and nothing says so");
    for unreadable in &plan.unreadable {
        let key = unreadable.list.data_key();
        assert_eq!(plan.before.data.get(key), plan.after.data.get(key));
    }
    is_as_said(plan);
    removes_nothing_in_doubt(target, plan);
}

/// What is said to be in effect is the answer to a login.
fn is_as_said(plan: &Plan) {
    let entries = plan::entries(&plan.after.data);
    let effective = Effective::of(&entries);
    let in_effect = [State::InEffect, State::Added, State::Changed, State::Repaired, State::Adopted];
    for outcome in plan.outcomes.iter().filter(|outcome| in_effect.contains(&outcome.state)) {
        let Some(mapping) = outcome.after.as_ref() else { continue };
        let given = match mapping.list {
            List::Accounts => entries[&List::Accounts].iter().any(|entry| entry.arn == mapping.arn),
            List::Roles | List::Users => effective.gives(mapping),
        };
        assert!(given, "{outcome:?} is not in effect in {:#?}", plan.after.data);
    }
}

/// While a reference does not resolve, what was ours is ours and is there.
fn removes_nothing_in_doubt(target: &Target, plan: &Plan) {
    let doubtful = match &target.refs {
        Refs::Absent => true,
        Refs::Listed(configs) => configs.iter().any(|c| !c.state.is_resolved()),
    };
    if !doubtful || target.remove_all {
        return;
    }
    assert!(plan.outcomes.iter().all(|o| o.state != State::Removed));
    let owned = |ledger: &Option<String>| ledger.as_deref().map(|text| Ledger::parse(text).unwrap().owned);
    let kept = owned(&plan.after.ledger).unwrap_or_default();
    assert!(owned(&plan.before.ledger).unwrap_or_default().keys().all(|key| kept.contains_key(key)));
}

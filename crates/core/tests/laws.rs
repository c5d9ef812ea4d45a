//! Laws that hold whatever stands in `aws-auth` and whatever is asked for.

mod support;

use std::collections::BTreeMap;

use awsiam_core::desired::{ConfigState, DesiredConfig, Refs};
use awsiam_core::effective::Effective;
use awsiam_core::mapping::{Entry, List, Mapping};
use awsiam_core::plan::{self, ConflictPolicy, LastAdminAllowance, Plan, State};
use awsiam_core::reader;
use awsiam_core::text::Layout;
use proptest::prelude::*;
use proptest::sample::select;
use support::{Target, account, config, missing, role, texts, user, with_refused};

type Texts = BTreeMap<String, String>;

fn data(text: fn(List) -> BoxedStrategy<Option<String>>) -> impl Strategy<Value = Texts> {
    (text(List::Roles), text(List::Users), text(List::Accounts)).prop_map(|(roles, users, accounts)| {
        let texts = [(List::Roles, roles), (List::Users, users), (List::Accounts, accounts)];
        texts.into_iter().filter_map(|(list, text)| Some((list.data_key().to_owned(), text?))).collect()
    })
}

fn mapping() -> impl Strategy<Value = Mapping> {
    let username = select(vec!["a", "b", "team:{{SessionName}}", "yes", "é: x", "system:node:x"]);
    let groups = select(vec![
        vec![],
        vec!["g"],
        vec!["g", "h"],
        vec!["system:masters"],
        vec!["- x"],
        vec!["system:nodes"],
    ]);
    (0..3u8, 0..6u8, username, groups).prop_map(|(list, n, username, groups)| match list {
        0 => role(&format!("ours{n}"), username, &groups),
        1 => user(&format!("ours{n}"), username.trim_start_matches("team:{{SessionName}}"), &groups),
        _ => account(&format!("11112222333{n}")),
    })
}

fn one_config(name: &'static str) -> impl Strategy<Value = DesiredConfig> {
    let state = prop_oneof![
        8 => Just(ConfigState::Usable),
        1 => Just(ConfigState::Suspended),
        1 => Just(ConfigState::NotFound),
        1 => Just(ConfigState::Disagrees(vec!["partition".into()])),
    ];
    let refused = proptest::option::weighted(0.1, proptest::option::of(mapping().prop_map(|m| m.key())));
    (proptest::collection::vec(mapping(), 0..6), state, refused, 1..9i64).prop_map(
        move |(mut mappings, state, refused, generation)| {
            let mut seen = std::collections::HashSet::new();
            mappings.retain(|mapping| seen.insert(mapping.key()));
            mappings.sort_by_key(|mapping| mapping.list);
            let config = match state {
                ConfigState::NotFound => missing(name),
                state => DesiredConfig { state, generation, ..config(name, mappings) },
            };
            refused.map_or_else(|| config.clone(), |key| with_refused(config.clone(), key))
        },
    )
}

fn refs() -> impl Strategy<Value = Refs> {
    let configs = prop_oneof![
        3 => one_config("team").prop_map(|c| vec![c]),
        3 => (one_config("team"), one_config("ops")).prop_map(|(a, b)| vec![a, b]),
        2 => (one_config("ops"), one_config("team")).prop_map(|(a, b)| vec![a, b]),
        1 => Just(vec![]),
    ];
    prop_oneof![9 => configs.prop_map(Refs::Listed), 1 => Just(Refs::Absent)]
}

fn wishes() -> impl Strategy<Value = Vec<Refs>> {
    proptest::collection::vec(refs(), 1..5)
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
    List::ALL.into_iter().filter_map(|list| Some((list, read(list)?.1))).collect()
}

/// What every plan must be, whatever it was made from.
fn is_sound(target: &Target, plan: &Plan) -> Result<(), TestCaseError> {
    prop_assert_eq!(plan, &target.plan(), "the same request gives another plan");
    let changes = plan.changes().next().is_some();
    prop_assert!(changes || plan.before.data == plan.after.data, "a text changes and nothing says so");
    for unreadable in &plan.unreadable {
        let key = unreadable.list.data_key();
        prop_assert_eq!(plan.before.data.get(key), plan.after.data.get(key));
    }
    is_as_said(plan)?;
    removes_nothing_in_doubt(target, plan)
}

/// What is said to be in effect is the answer to a login.
fn is_as_said(plan: &Plan) -> Result<(), TestCaseError> {
    let entries = plan::entries(&plan.after.data);
    let effective = Effective::of(&entries);
    for outcome in &plan.outcomes {
        let Some(mapping) = outcome.after.as_ref() else { continue };
        let in_effect = matches!(
            outcome.state,
            State::InEffect | State::Added | State::Changed | State::Repaired | State::Adopted
        );
        if !in_effect {
            continue;
        }
        let given = match mapping.list {
            List::Accounts => entries[&List::Accounts].iter().any(|entry| entry.arn == mapping.arn),
            _ => effective.gives(mapping),
        };
        prop_assert!(given, "{:?} is not in effect in {:#?}", outcome, plan.after.data);
    }
    Ok(())
}

/// While a reference does not resolve, what was ours is ours and is there.
fn removes_nothing_in_doubt(target: &Target, plan: &Plan) -> Result<(), TestCaseError> {
    let doubtful = match &target.refs {
        Refs::Absent => true,
        Refs::Listed(configs) => configs.iter().any(|c| !c.state.is_resolved()),
    };
    if doubtful && !target.remove_all {
        prop_assert!(plan.outcomes.iter().all(|o| o.state != State::Removed));
        let parse =
            |text: &Option<String>| text.as_deref().map(|t| awsiam_core::ledger::Ledger::parse(t).unwrap());
        let (before, after) = (parse(&plan.before.ledger), parse(&plan.after.ledger));
        let owned = before.into_iter().flat_map(|ledger| ledger.owned.into_keys());
        let kept = after.map(|ledger| ledger.owned).unwrap_or_default();
        for key in owned {
            prop_assert!(kept.contains_key(&key));
        }
    }
    Ok(())
}

/// Foreign bytes, order and comments stay through any sequence of wishes, and at any point the text without
/// ours is the original one.
fn foreign_bytes_survive(data: &Texts, wishes: &[Refs]) -> Result<(), TestCaseError> {
    let mut target = target(data);
    for refs in wishes {
        target.refs = refs.clone();
        let plan = target.apply();
        is_sound(&target, &target.plan())?;
        is_as_said(&plan)?;
        prop_assert_eq!(&emptied(target.clone()).observed.data, data, "with {:#?}", target.observed.data);
    }
    target.last_admin = Some(LastAdminAllowance::All);
    target.want([]);
    target.apply();
    prop_assert_eq!(&target.observed.data, data);
    prop_assert_eq!(target.owned(), 0);
    Ok(())
}

/// What was not adopted stays, with its bytes and in its order; nodes are never adopted.
fn the_rest_survives_adoption(data: &Texts, wishes: &[Refs]) -> Result<(), TestCaseError> {
    let mut target = target(data);
    target.conflicts = ConflictPolicy::Adopt;
    let before = with_bytes(data);
    for refs in wishes {
        target.refs = refs.clone();
        let plan = target.apply();
        is_as_said(&plan)?;
        is_sound(&target, &target.plan())?;
    }
    let after = with_bytes(&target.observed.data);
    for (list, entries) in &before {
        let ours = |entry: &Entry| entry.arn.to_lowercase().contains("ours") || entry.arn.starts_with("1111");
        let mut found = after.get(list).into_iter().flatten();
        for entry in entries.iter().filter(|(entry, _)| entry.is_node() || !ours(entry)) {
            prop_assert!(
                found.any(|other| other == entry),
                "{:?} is gone from {:#?}",
                entry,
                target.observed.data
            );
        }
    }
    Ok(())
}

/// Somebody writes something else between two passes.
fn others_may_write_between(before: &Texts, between: &Texts, wishes: &[Refs]) -> Result<(), TestCaseError> {
    let mut target = target(before);
    for refs in wishes {
        target.refs = refs.clone();
        target.apply();
    }
    target.observed.data.clone_from(between);
    is_sound(&target, &target.plan())?;
    target.apply();
    Ok(())
}

proptest! {
    #[test]
    fn realistic_texts_keep_foreign_bytes(data in data(texts::text), wishes in wishes()) {
        foreign_bytes_survive(&data, &wishes)?;
    }

    #[test]
    fn damaged_texts_keep_foreign_bytes(data in data(texts::damaged), wishes in wishes()) {
        foreign_bytes_survive(&data, &wishes)?;
    }

    #[test]
    fn adoption_takes_nothing_else(data in data(texts::text), wishes in wishes()) {
        the_rest_survives_adoption(&data, &wishes)?;
    }

    #[test]
    fn plans_are_sound_after_foreign_writes(
        before in data(texts::text), between in data(texts::damaged), wishes in wishes()
    ) {
        others_may_write_between(&before, &between, &wishes)?;
    }
}

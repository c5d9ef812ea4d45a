//! Laws that hold whatever stands in `aws-auth` and whatever is asked for.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;
#[path = "support/texts.rs"]
mod texts;

use std::collections::HashSet;

use awsiam_core::desired::{ConfigState, DesiredConfig, Refs};
use awsiam_core::mapping::{List, Mapping};
use proptest::prelude::*;
use proptest::sample::select;
use support::checks::{self, Texts};
use support::{account, config, missing, role, user, with_refused};

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
            let mut seen = HashSet::new();
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

/// Cases of each law; more of them with `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(128)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn realistic_texts_keep_foreign_bytes(data in data(texts::text), wishes in wishes()) {
        checks::foreign_bytes_survive(&data, &wishes);
    }

    #[test]
    fn damaged_texts_keep_foreign_bytes(data in data(texts::damaged), wishes in wishes()) {
        checks::foreign_bytes_survive(&data, &wishes);
    }

    #[test]
    fn adoption_takes_nothing_else(data in data(texts::text), wishes in wishes()) {
        checks::the_rest_survives_adoption(&data, &wishes);
    }

    #[test]
    fn plans_are_sound_after_foreign_writes(
        before in data(texts::text), between in data(texts::damaged), wishes in wishes()
    ) {
        checks::others_may_write_between(&before, &between, &wishes);
    }

    #[test]
    fn reading_and_laying_out_never_fails_badly(text in texts::damaged(List::Roles)) {
        checks::reads(&text.unwrap_or_default());
    }
}

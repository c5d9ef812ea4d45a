//! Generated references: configs in all states, with mappings that overlap, some of which no rule admits.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::HashSet;

use awsiam_core::desired::{ConfigState, DesiredConfig, Refs};
use awsiam_core::mapping::Mapping;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{account, config, missing, role, user, with_refused};

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

/// What a Cluster refers to.
pub(crate) fn refs() -> impl Strategy<Value = Refs> {
    let configs = prop_oneof![
        3 => one_config("team").prop_map(|c| vec![c]),
        3 => (one_config("team"), one_config("ops")).prop_map(|(a, b)| vec![a, b]),
        2 => (one_config("ops"), one_config("team")).prop_map(|(a, b)| vec![a, b]),
        1 => Just(vec![]),
    ];
    prop_oneof![9 => configs.prop_map(Refs::Listed), 1 => Just(Refs::Absent)]
}

/// What is asked for, time after time.
pub(crate) fn wishes() -> impl Strategy<Value = Vec<Refs>> {
    proptest::collection::vec(refs(), 1..5)
}

/// Mappings of one config, each key once.
pub(crate) fn usable() -> impl Strategy<Value = Vec<Mapping>> {
    proptest::collection::vec(mapping(), 1..6).prop_map(|mut mappings| {
        let mut seen = HashSet::new();
        mappings.retain(|mapping| seen.insert(mapping.key()));
        mappings
    })
}

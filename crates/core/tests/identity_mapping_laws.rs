//! Laws that hold for both places together, whatever stands in them, whatever is asked for, and wherever a move between
//! them stands.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

#[path = "support/both_places.rs"]
mod both_places;
mod support;
#[path = "support/texts.rs"]
mod texts;
#[path = "support/wishes.rs"]
mod wishes;

use awsiam_core::desired::{Backend, Refs};
use awsiam_core::identity_mappings::IdentityMapping;
use awsiam_core::mapping::List;
use awsiam_core::plan::{LastAdminAllowance, State};
use both_places::{Both, CONFIG_MAP, CONFIG_MAP_FIRST, CRD, CRD_FIRST};
use proptest::prelude::*;
use proptest::sample::select;
use support::{MASTERS, role_arn, user_arn};

/// Something that happens on a target.
#[derive(Clone, Debug)]
enum Event {
    /// The Cluster refers to other configs, with other backends.
    Wish(Refs, &'static [Backend]),
    /// One pass.
    Pass,
    /// The authenticators read the objects.
    Load,
    /// A rollout is over.
    RollOut,
    /// Passes until nothing changes.
    Settle,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let backends = select(vec![CONFIG_MAP, CRD, CONFIG_MAP_FIRST, CRD_FIRST]);
    let event = prop_oneof![
        4 => (wishes::refs(), backends).prop_map(|(refs, backends)| Event::Wish(refs, backends)),
        4 => Just(Event::Pass),
        2 => Just(Event::Load),
        2 => Just(Event::RollOut),
        2 => Just(Event::Settle),
    ];
    proptest::collection::vec(event, 1..16)
}

/// Name, ARN, username and groups of an object that somebody else made.
type Foreign = (&'static str, String, &'static str, &'static [&'static str]);

fn foreign() -> impl Strategy<Value = Vec<Foreign>> {
    let arns = vec![
        role_arn("theirs1"),
        role_arn("ours0"),
        role_arn("OURS1"),
        user_arn("ours2"),
        "arn:aws:sts::111122223333:assumed-role/ours3/me".to_owned(),
        "no arn".to_owned(),
    ];
    let groups: Vec<&[&str]> = vec![&[], &["g"], &[MASTERS], &["system:nodes"]];
    let names = proptest::sample::subsequence(vec!["one", "two", "three", "four"], 0..4);
    let said = proptest::collection::vec((select(arns), select(vec!["a", "b"]), select(groups)), 4);
    (names, said).prop_map(|(names, said)| {
        let both = names.into_iter().zip(said);
        both.map(|(name, (arn, username, groups))| (name, arn, username, groups)).collect()
    })
}

fn start(roles: Option<String>, foreign: &[Foreign], backends: &'static [Backend]) -> Both {
    let mut both = Both::new(backends);
    if let Some(roles) = roles {
        both.target.edit(List::Roles, roles);
    }
    foreign
        .iter()
        .fold(both, |both, (name, arn, username, groups)| both.with_object(name, arn, username, groups))
}

/// The objects that are not ours, as they were made.
fn foreign_objects(both: &Both) -> Vec<&IdentityMapping> {
    both.objects.iter().filter(|object| object.mark.is_none()).collect()
}

/// What is said to be in effect is what the authenticator gives, once it has read everything.
fn is_as_said(both: &Both) {
    for outcome in both.plan().outcomes.iter().filter(|outcome| outcome.state == State::InEffect) {
        let Some(mapping) = outcome.after.as_ref().filter(|mapping| mapping.list != List::Accounts) else {
            continue;
        };
        assert!(both.gives(mapping), "{outcome:?} is not in effect: {both:#?}");
    }
}

fn happen(both: &mut Both, event: &Event) {
    match event {
        Event::Wish(refs, backends) => {
            both.target.refs = refs.clone();
            both.backends = backends;
        }
        Event::Pass => {
            both.pass();
        }
        Event::Load => both.load(),
        // Whether this is safe is for the controller; a foreign administrator may be left behind by it.
        Event::RollOut => both.running = both.backends,
        Event::Settle => {
            both.settle();
        }
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(192)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    // That no step takes the last administrator away is looked at by every write.
    #[test]
    fn foreign_things_survive_and_ours_go_to_the_last_one(
        roles in prop_oneof![3 => texts::text(List::Roles), 1 => texts::damaged(List::Roles)],
        foreign in foreign(), events in events()
    ) {
        let mut both = start(roles, &foreign, CONFIG_MAP);
        let (data, objects) = (both.target.observed.data.clone(), both.objects.clone());
        for event in &events {
            happen(&mut both, event);
            prop_assert_eq!(foreign_objects(&both), objects.iter().collect::<Vec<_>>());
        }
        both.running = both.backends;
        both.settle();
        is_as_said(&both);

        both.target.want([]);
        both.target.last_admin = Some(LastAdminAllowance::All);
        both.may_lose_administrators = true;
        both.settle();
        prop_assert_eq!(&both.objects, &objects);
        prop_assert_eq!(&both.target.observed.data, &data);
        prop_assert_eq!(both.target.owned(), 0);
    }

    #[test]
    fn a_move_that_is_carried_to_its_end_leaves_nothing_behind_and_loses_no_login(
        mappings in wishes::usable(), from in 0..4usize, to in 0..4usize
    ) {
        let orders = [CONFIG_MAP, CRD, CONFIG_MAP_FIRST, CRD_FIRST];
        let (from, to) = (orders[from], orders[to]);
        let mut both = Both::new(from);
        both.target.want([support::config("old", mappings.clone())]);
        both.settle();
        let had: Vec<_> = mappings.iter().filter(|m| m.list != List::Accounts && both.gives(m)).collect();
        let nobody_lost = |both: &Both| had.iter().all(|mapping| both.gives(mapping));

        both.backends = to;
        both.target.want([support::config("new", mappings.clone())]);
        for step in 0..6 {
            both.pass();
            prop_assert!(nobody_lost(&both), "step {} from {:?} to {:?}: {:#?}", step, from, to, both);
            match step {
                1 | 4 => both.load(),
                3 => both.roll_out_after_loading(),
                _ => {}
            }
            prop_assert!(nobody_lost(&both), "after {} from {:?} to {:?}: {:#?}", step, from, to, both);
        }
        both.settle();
        prop_assert!(nobody_lost(&both));
        let roles_and_users = both.target.entries(List::Roles).len() + both.target.entries(List::Users).len();
        let (entries, objects) = (roles_and_users, both.ours().len());
        prop_assert_eq!(if to[0] == Backend::Crd { entries } else { objects }, 0);
    }
}

//! What awsiam promises about `IAMIdentityMapping` objects, and about the move between them and `aws-auth`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

#[path = "support/both_places.rs"]
mod both_places;
mod support;

use awsiam_core::desired::{Backend, ConfigState, Refs};
use awsiam_core::identity_mappings::{Mark, cluster_label, object_name};
use awsiam_core::mapping::{List, Mapping};
use awsiam_core::places::Places;
use awsiam_core::plan::{self, Blocked, ConflictPolicy, LastAdminAllowance, Note, Request, State};
use awsiam_core::privilege::MastersRule;
use both_places::{Both, CONFIG_MAP, CONFIG_MAP_FIRST, CRD, CRD_FIRST, outcome, said_in};
use support::{
    MASTERS, NODES, account, config, in_state, missing, role, role_arn, user, user_arn, with_refused,
};

fn dev() -> Mapping {
    role("Dev", "dev", &["devs"])
}

fn admin() -> Mapping {
    role("Admin", "admin", &[MASTERS])
}

fn said(plan: &plan::Plan, name: &str) -> Option<(State, &'static str)> {
    said_in(plan, Backend::Crd, name)
}

/// Both places with these mappings wanted as objects, written and read.
fn with(mappings: impl IntoIterator<Item = Mapping>) -> Both {
    let mut both = Both::new(CRD);
    both.target.want([config("team", mappings)]);
    both.settle();
    both
}

mod mappings_become_objects {
    use super::*;

    #[test]
    fn a_mapping_is_made_with_name_label_and_mark_and_aws_auth_is_left_alone() {
        let mut both = Both::new(CRD);
        both.target.want([config("team", [dev(), user("bob", "bob", &[])])]);
        let plan = both.settle();
        assert_eq!(said(&plan, "Dev"), Some((State::Added, "Listed")));
        assert!(!plan.has_write(), "{:?}", plan.after);
        assert_eq!((plan.objects.counts.owned, plan.objects.unloaded.len()), (2, 2));
        assert!(both.gives(&dev()) && both.gives(&user("bob", "bob", &[])));

        let name = object_name(&both.target.writer, &dev().key());
        assert!(name.starts_with("awsiam-dev-"));
        let label = cluster_label(&both.target.writer);
        let object = both.object(&name);
        assert_eq!(object.cluster.as_ref(), Some(&label));
        let mark = Mark::parse(object.mark.as_ref().unwrap()).unwrap();
        assert_eq!((mark.key(), mark.config.as_str(), mark.config_generation), (dev().key(), "team", 1));
        assert!(both.plan().objects.unloaded.is_empty());
    }

    #[test]
    fn what_is_unread_is_named_until_an_authenticator_wrote_the_status() {
        let mut both = Both::new(CRD);
        both.target.want([config("team", [dev()])]);
        both.pass();
        assert_eq!(both.plan().objects.unloaded, [both.only_name()]);
        assert!(!both.gives(&dev()));
        both.load();
        assert!(both.plan().objects.unloaded.is_empty() && both.gives(&dev()));
    }

    #[test]
    fn a_changed_row_changes_the_object_in_place_and_a_missing_row_removes_it() {
        let mut both = with([dev(), role("Ops", "ops", &[])]);
        let before = both.objects.clone();
        both.target.want([config("team", [role("Dev", "dev2", &["x"])])]);
        let plan = both.settle();
        assert_eq!(said(&plan, "Dev"), Some((State::Changed, "Listed")));
        assert_eq!(said(&plan, "Ops"), Some((State::Removed, "NoLongerListed")));
        assert_eq!(outcome(&plan, Backend::Crd, "Dev").unwrap().before.as_ref().unwrap().username, "dev");
        assert_eq!(both.ours().len(), 1);
        let uid = &both.ours()[0].version.uid;
        assert!(before.iter().any(|object| object.version.uid == *uid), "it is the same object");
    }

    #[test]
    fn other_generations_alone_are_not_written() {
        let mut both = with([dev()]);
        both.target.generation = 9;
        let Refs::Listed(configs) = &mut both.target.refs else { panic!() };
        configs[0].generation = 9;
        assert!(!both.plan().has_object_writes());
    }

    #[test]
    fn a_change_in_the_case_of_the_arn_is_none() {
        let mut both = with([dev()]);
        let name = both.only_name();
        both.object(&name).spec.arn = role_arn("DEV");
        assert!(!both.plan().has_object_writes());
    }

    #[test]
    fn accounts_need_aws_auth() {
        let mut both = Both::new(CRD_FIRST);
        both.target.want([config("team", [dev(), account("999922223333")])]);
        both.settle();
        assert_eq!(both.target.entries(List::Accounts).len(), 1);
        assert_eq!((both.target.entries(List::Roles).len(), both.ours().len()), (0, 1));

        let mut both = Both::new(CRD);
        both.target.want([config("team", [account("999922223333")])]);
        let plan = both.settle();
        let outcome = plan.outcomes.first().unwrap();
        assert_eq!((outcome.state, outcome.reason.name()), (State::Refused, "RuleRefused"));
        assert!(both.target.observed.data.is_empty());
    }

    #[test]
    fn one_arn_has_one_object_whoever_names_it_again() {
        let mut both = Both::new(CRD);
        let again = Mapping { list: List::Users, ..dev() };
        both.target.want([config("one", [dev()]), config("two", [role("Dev", "x", &[]), again])]);
        let plan = both.settle();
        let shadowed = plan.outcomes.iter().filter(|o| o.state == State::Shadowed).count();
        assert_eq!((shadowed, both.ours().len()), (2, 1));
        assert!(both.gives(&dev()));
    }

    #[test]
    fn objects_that_were_not_read_are_not_written() {
        let mut both = Both::new(CRD);
        both.target.want([config("team", [dev()])]);
        let places = Places { backends: CRD, objects: None, ready: true };
        let plan = plan::plan(&Request { places, ..both.target.request() });
        assert_eq!(said(&plan, "Dev"), Some((State::Held, "Unreadable")));
        assert!(!plan.has_object_writes() && !plan.has_write());
    }

    #[test]
    fn foreign_entries_that_nobody_asks_for_any_more_are_told() {
        let mut both = with([dev()]);
        both.target.edit(List::Roles, NODES);
        let asked = |both: &Both| both.plan().notes.contains(&Note::NotAsked { foreign: 1, nodes: 1 });
        assert!(asked(&both));
        both.backends = CRD_FIRST;
        assert!(!asked(&both));
    }
}

mod foreign_objects_survive {
    use super::*;

    fn theirs() -> Both {
        Both::new(CRD).with_object("theirs", &role_arn("Dev"), "jane", &["ops"])
    }

    #[test]
    fn a_foreign_object_with_our_arn_is_a_conflict_and_keeps_every_byte() {
        let mut both = theirs();
        let before = both.objects.clone();
        both.target.want([config("team", [dev()])]);
        let plan = both.settle();
        assert_eq!(said(&plan, "Dev"), Some((State::Conflict, "Conflict")));
        assert!(outcome(&plan, Backend::Crd, "Dev").unwrap().message.contains("theirs"));
        assert_eq!(both.objects, before);
    }

    #[test]
    fn one_that_says_the_same_is_left_or_adopted_by_its_mark_alone() {
        let mut both = Both::new(CRD).with_object("theirs", &role_arn("DEV"), "dev", &["devs"]);
        both.target.want([config("team", [dev()])]);
        let before = both.objects.clone();
        assert_eq!(said(&both.settle(), "Dev"), Some((State::AlreadyPresent, "AlreadyPresent")));
        assert_eq!(both.objects, before);
        both.target.conflicts = ConflictPolicy::Adopt;
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Adopted, "Listed")));
        assert_eq!(both.objects[0].spec, before[0].spec);
        assert_eq!(both.only_name(), "theirs");
        both.target.want([]);
        both.settle();
        assert!(both.objects.is_empty(), "what is ours goes");
    }

    #[test]
    fn one_that_differs_is_adopted_in_place_and_two_that_differ_are_not() {
        let mut both = theirs();
        both.target.conflicts = ConflictPolicy::Adopt;
        both.target.want([config("team", [dev()])]);
        let plan = both.settle();
        assert_eq!(said(&plan, "Dev"), Some((State::Adopted, "Listed")));
        assert_eq!(outcome(&plan, Backend::Crd, "Dev").unwrap().before.as_ref().unwrap().username, "jane");
        assert!(both.gives(&dev()));

        let mut both = theirs().with_object("others", &role_arn("dev"), "joe", &[]);
        both.target.conflicts = ConflictPolicy::Adopt;
        both.target.want([config("team", [dev()])]);
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Conflict, "Conflict")));
    }

    #[test]
    fn a_status_counts_as_much_as_a_spec() {
        let session = "arn:aws:sts::111122223333:assumed-role/Dev/me";
        let mut both = Both::new(CRD).with_object("session", session, "x", &[]);
        both.target.want([config("team", [dev()])]);
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Conflict, "Conflict")));

        let mut both = Both::new(CRD).with_object("stale", "no arn", "x", &[]);
        both.object("stale").canonical_arn = Some(role_arn("Dev").to_lowercase());
        both.target.want([config("team", [dev()])]);
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Conflict, "Conflict")));
    }

    #[test]
    fn a_rival_that_comes_later_is_a_conflict_and_ours_stays() {
        let mut both = with([dev()]).with_object("rival", &role_arn("Dev"), "x", &[MASTERS]);
        let before = both.objects.clone();
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Conflict, "Conflict")));
        assert_eq!(both.objects, before);
        both.target.conflicts = ConflictPolicy::Adopt;
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Adopted, "Listed")));
        assert!(both.gives(&dev()));
        both.target.want([]);
        both.settle();
        assert!(both.objects.is_empty());
    }

    #[test]
    fn another_clusters_objects_are_foreign_and_never_adopted() {
        let mut both = with([dev()]);
        both.target.writer.name = "other".into();
        both.target.writer.uid = Some("uid-other".into());
        both.target.conflicts = ConflictPolicy::Adopt;
        let before = both.objects.clone();
        assert_eq!(said(&both.settle(), "Dev"), Some((State::AlreadyPresent, "AlreadyPresent")));
        both.target.want([config("team", [role("Dev", "x", &[])])]);
        let plan = both.settle();
        assert_eq!(said(&plan, "Dev"), Some((State::Conflict, "Conflict")));
        assert!(outcome(&plan, Backend::Crd, "Dev").unwrap().message.contains("Cluster default/prod"));
        both.target.want([]);
        both.settle();
        assert_eq!(both.objects, before);
    }

    #[test]
    fn an_administrator_may_have_them_taken_over() {
        let mut both = with([dev(), role("Ops", "ops", &[])]);
        let from = both.target.writer.clone();
        both.target.writer.name = "other".into();
        both.target.take_over = true;
        both.target.want([in_state(config("team", [dev()]), ConfigState::Suspended)]);
        let plan = both.settle();
        assert!(plan.notes.contains(&Note::LedgerTakenOver { from }));
        both.target.take_over = false;
        both.target.want([config("team", [dev()])]);
        let plan = both.settle();
        assert_eq!(said(&plan, "Ops"), Some((State::Removed, "NoLongerListed")), "frozen ones came over too");
        assert_eq!(said(&plan, "Dev"), Some((State::InEffect, "Listed")));
    }

    #[test]
    fn a_cluster_that_was_made_again_finds_its_objects() {
        let mut both = with([dev()]);
        both.target.writer.uid = Some("new".into());
        let plan = both.settle();
        assert_eq!(said(&plan, "Dev"), Some((State::InEffect, "Listed")));
        assert!(plan.notes.iter().any(|note| matches!(note, Note::LedgerTakenOver { .. })));
        assert!(both.plan().notes.is_empty());
    }

    #[test]
    fn a_copy_of_ours_under_another_name_is_foreign() {
        let mut both = with([dev()]);
        let copy = both.objects[0].clone();
        let copy = awsiam_core::identity_mappings::IdentityMapping { name: "copy".into(), ..copy };
        both.objects.push(copy.clone());
        both.target.want([]);
        both.settle();
        assert_eq!(both.objects, [copy]);
    }

    #[test]
    fn a_mark_of_a_newer_version_stops_everything() {
        let mut both = with([dev()]);
        let name = both.only_name();
        both.object(&name).mark = Some(r#"{"v":2}"#.into());
        both.target.want([]);
        let plan = both.pass();
        assert!(matches!(plan.blocked, Some(Blocked::LedgerNewer { .. })), "{:?}", plan.blocked);
        assert!(!plan.has_object_writes());
    }

    #[test]
    fn a_mark_that_was_taken_away_comes_back_by_name_or_is_named() {
        let mut both = with([dev()]);
        let name = both.only_name();
        both.object(&name).mark = None;
        both.object(&name).cluster = None;
        let without = both.clone();
        both.settle();
        assert_eq!(both.only_name(), name);

        let mut both = without;
        both.target.want([]);
        let plan = both.settle();
        assert!(plan.notes.contains(&Note::PossiblyOrphaned { keys: vec![dev().key()] }), "{:?}", plan.notes);
        assert_eq!(both.objects.len(), 1);
    }

    #[test]
    fn an_object_that_has_our_name_and_another_arn_is_a_conflict() {
        let name = object_name(&Both::new(CRD).target.writer, &dev().key());
        let mut both = Both::new(CRD).with_object(&name, &role_arn("Other"), "x", &[]);
        both.target.want([config("team", [dev()])]);
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Conflict, "Conflict")));
    }

    #[test]
    fn foreign_entries_of_aws_auth_are_not_overruled_where_they_are_asked() {
        let entry = |username: &str| {
            format!("- rolearn: {}\n  username: {username}\n  groups: [devs]\n", role_arn("Dev"))
        };
        for (backends, username, state) in [
            (CRD_FIRST, "jane", State::Conflict),
            (CRD_FIRST, "dev", State::AlreadyPresent),
            (CRD, "jane", State::Added),
        ] {
            let mut both = Both::new(backends);
            both.target.edit(List::Roles, entry(username));
            both.target.want([config("team", [dev()])]);
            assert_eq!(said(&both.settle(), "Dev").unwrap().0, state, "{backends:?} {username}");
            assert_eq!(both.target.roles(), entry(username));
        }
    }

    #[test]
    fn foreign_objects_are_not_overruled_by_aws_auth_where_they_are_asked() {
        for (backends, username, state) in [
            (CONFIG_MAP_FIRST, "jane", State::Conflict),
            (CONFIG_MAP_FIRST, "dev", State::AlreadyPresent),
            (CONFIG_MAP, "jane", State::Added),
        ] {
            let mut both = Both::new(backends).with_object("theirs", &role_arn("Dev"), username, &["devs"]);
            both.target.want([config("team", [dev()])]);
            let plan = both.settle();
            assert_eq!(said_in(&plan, Backend::EksConfigMap, "Dev").unwrap().0, state, "{backends:?}");
        }
    }
}

mod accounts_answer_for_everybody_in_them {
    use super::*;

    #[test]
    fn one_in_front_of_the_objects_of_its_identities_is_a_conflict() {
        let account = account("111122223333");
        let said = |both: &mut Both| {
            both.target.want([config("team", [account.clone()])]);
            both.settle().outcomes.first().map(|outcome| (outcome.state, outcome.reason.name())).unwrap()
        };
        for (backends, state) in [(CONFIG_MAP_FIRST, State::Conflict), (CRD_FIRST, State::Added)] {
            let mut both = Both::new(backends).with_object("theirs", &role_arn("Dev"), "dev", &["devs"]);
            assert_eq!(said(&mut both).0, state, "{backends:?}");
            assert!(both.gives(&dev()));
        }
        let mut both = Both::new(CONFIG_MAP).with_object("theirs", &role_arn("Dev"), "dev", &["devs"]);
        both.running = CRD_FIRST;
        assert_eq!(said(&mut both), (State::Held, "Moving"));
        both.roll_out();
        assert_eq!(said(&mut both).0, State::Added);

        let mut both = Both::new(CONFIG_MAP_FIRST).with_object("theirs", "no arn", "dev", &["devs"]);
        assert_eq!(said(&mut both).0, State::Added);
    }
}

mod node_identities_are_nobodys_to_give {
    use super::*;

    #[test]
    fn an_arn_by_which_nodes_join_is_refused_in_both_places() {
        for backends in [CRD, CRD_FIRST] {
            let mut both = Both::new(backends);
            both.target.edit(List::Roles, NODES);
            both.target.conflicts = ConflictPolicy::Adopt;
            both.target.want([config("team", [role("nodes", "x", &[])])]);
            assert_eq!(said(&both.settle(), "nodes"), Some((State::Refused, "NodeEntry")));
        }
        for backends in [CRD, CONFIG_MAP_FIRST] {
            let mut both = Both::new(backends).with_object("n", &role_arn("n"), "system:node:x", &[]);
            both.target.conflicts = ConflictPolicy::Adopt;
            both.target.want([config("team", [role("n", "x", &[])])]);
            let plan = both.settle();
            assert_eq!(said_in(&plan, backends[0], "n"), Some((State::Refused, "NodeEntry")));
            assert_eq!((both.ours().len(), both.target.owned()), (0, 0));
        }
    }

    #[test]
    fn one_of_ours_that_became_a_nodes_is_left() {
        let mut both = with([dev()]);
        let name = both.only_name();
        both.object(&name).spec.groups = vec!["system:nodes".into()];
        both.target.want([config("team", [])]);
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Frozen, "NodeEntry")));
        assert_eq!(both.objects.len(), 1);
    }

    #[test]
    fn privileges_are_refused_as_in_aws_auth_and_what_is_there_freezes() {
        let mut both = with([dev()]);
        both.target.policy.system_masters = MastersRule::Deny;
        both.target.policy.denied_groups = vec!["devs".into()];
        both.target.want([config("team", [dev(), admin(), role("N", "system:node:x", &[])])]);
        let plan = both.settle();
        assert_eq!(said(&plan, "Dev"), Some((State::Frozen, "PrivilegeRefused")));
        assert_eq!(said(&plan, "Admin"), Some((State::Refused, "PrivilegeRefused")));
        assert_eq!(said(&plan, "N"), Some((State::Refused, "PrivilegeRefused")));
        assert!(both.gives(&dev()));
    }
}

mod what_is_in_doubt_is_frozen {
    use super::*;

    #[test]
    fn nothing_goes_unless_its_config_was_read_and_says_so() {
        let rows = || [role("New", "n", &[])];
        let cases: Vec<(Refs, &str)> = vec![
            (Refs::Absent, "NoIdentityProviderRefs"),
            (Refs::Listed(vec![missing("team")]), "FirstRefUnresolved"),
            (Refs::Listed(vec![config("first", []), missing("team")]), "ConfigUnresolved"),
            (Refs::Listed(vec![config("team", rows()), missing("other")]), "RefUnresolved"),
            (Refs::Listed(vec![in_state(config("team", rows()), ConfigState::Suspended)]), "Suspended"),
            (
                Refs::Listed(vec![
                    config("first", []),
                    in_state(config("team", rows()), ConfigState::Disagrees(vec!["backendMode".into()])),
                ]),
                "ConfigDisagrees",
            ),
            (Refs::Listed(vec![with_refused(config("team", rows()), Some(dev().key()))]), "RuleRefused"),
            (Refs::Listed(vec![with_refused(config("team", rows()), None)]), "RowUnreadable"),
        ];
        for (refs, reason) in cases {
            let mut both = with([dev()]);
            let before = both.objects.clone();
            both.target.refs = refs;
            let plan = both.settle();
            assert_eq!(said(&plan, "Dev"), Some((State::Frozen, reason)));
            assert_eq!(both.object(&before[0].name), &before[0]);
        }
    }

    #[test]
    fn an_explicit_empty_list_removes_and_so_does_deletion() {
        let mut both = with([dev(), admin()]);
        both.target.want([]);
        both.target.last_admin = Some(LastAdminAllowance::All);
        both.may_lose_administrators = true;
        let plan = both.settle();
        assert_eq!(said(&plan, "Dev"), Some((State::Removed, "RemoveAll")));
        assert!(both.objects.is_empty());

        let mut both = with([dev(), admin()]);
        both.target.refs = Refs::Absent;
        both.target.remove_all = true;
        both.may_lose_administrators = true;
        both.settle();
        assert!(both.objects.is_empty());
    }

    #[test]
    fn a_frozen_object_keeps_its_key() {
        let mut both = with([dev()]);
        both.target.want([
            config("first", [role("Dev", "x", &[])]),
            in_state(config("team", [dev()]), ConfigState::Suspended),
        ]);
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Frozen, "HeldByFrozen")));
        assert!(both.gives(&dev()));
    }

    #[test]
    fn what_changed_by_hand_is_put_back_its_arn_too() {
        let mut both = with([dev()]);
        let name = both.only_name();
        both.object(&name).spec.groups = vec!["more".into()];
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Repaired, "Drift")));
        assert!(both.gives(&dev()));
        both.object(&name).spec.arn = role_arn("Other");
        both.load();
        assert!(both.gives(&role("Other", "dev", &["devs"])));
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Repaired, "Drift")));
        assert!(both.gives(&dev()) && both.logins(&role_arn("Other")).is_empty());
        both.objects.clear();
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Added, "Listed")));
    }

    #[test]
    fn a_frozen_object_that_came_to_answer_for_another_arn_is_no_company() {
        let mut both = Both::new(CRD);
        let frozen = || in_state(config("frozen", [role("Ops", "ops", &[])]), ConfigState::Suspended);
        both.target.want([config("frozen", [role("Ops", "ops", &[])])]);
        both.settle();
        let name = both.only_name();
        both.object(&name).spec.arn = role_arn("Dev");
        both.target.want([config("team", [dev()]), frozen()]);
        let plan = both.settle();
        assert_eq!(said(&plan, "Dev"), Some((State::Held, "VerificationFailed")));
        assert_eq!(both.ours().len(), 1);
    }

    #[test]
    fn what_is_being_deleted_is_waited_for() {
        let mut both = with([dev()]);
        let name = both.only_name();
        both.object(&name).deleting = true;
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Held, "BeingDeleted")));
        both.target.want([config("team", [])]);
        assert_eq!(said(&both.settle(), "Dev"), Some((State::Held, "BeingDeleted")));
    }

    #[test]
    fn an_older_generation_than_a_mark_records_is_told() {
        let mut both = with([dev()]);
        let Refs::Listed(configs) = &mut both.target.refs else { panic!() };
        configs[0].generation = 0;
        let plan = plan::plan(&both.request());
        let older = Note::OlderGeneration { object: "team".into(), recorded: 1, read: 0 };
        assert!(plan.notes.contains(&older), "{:?}", plan.notes);
        both.target.writer.name = "other".into();
        let plan = plan::plan(&both.request());
        assert_eq!(plan.suspected_stale().count(), 0, "another writer's does not count");
    }

    #[test]
    fn another_writers_ledger_stops_the_objects_too() {
        let mut both = Both::new(CRD_FIRST);
        both.target.want([config("team", [account("999922223333")])]);
        both.settle();
        both.target.writer.name = "other".into();
        both.target.want([config("team", [dev()])]);
        let plan = both.pass();
        assert!(matches!(plan.blocked, Some(Blocked::TargetClaimed { .. })));
        assert!(!plan.has_object_writes());
    }
}

mod the_last_administrator_stays {
    use super::*;

    #[test]
    fn a_removal_and_a_demotion_of_the_last_one_are_held() {
        let mut both = with([admin(), dev()]);
        both.target.want([config("team", [])]);
        let plan = both.settle();
        assert_eq!(said(&plan, "Admin"), Some((State::Held, "LastAdministrator")));
        assert_eq!(said(&plan, "Dev"), Some((State::Removed, "NoLongerListed")));
        both.target.want([config("team", [role("Admin", "admin", &[])])]);
        assert_eq!(said(&both.settle(), "Admin"), Some((State::Held, "LastAdministrator")));
        assert!(both.gives(&admin()));
    }

    #[test]
    fn one_in_the_other_place_lets_it_go_if_that_place_is_asked() {
        let entry = format!("- rolearn: {}\n  username: r\n  groups: [\"{MASTERS}\"]\n", role_arn("Root"));
        for (backends, state) in [(CRD_FIRST, State::Removed), (CRD, State::Held)] {
            let mut both = Both::new(backends);
            both.target.edit(List::Roles, entry.clone());
            both.target.want([config("team", [admin()])]);
            both.settle();
            both.target.want([config("team", [])]);
            assert_eq!(said(&both.settle(), "Admin").unwrap().0, state, "{backends:?}");
        }
        for (backends, state) in [(CONFIG_MAP_FIRST, State::Removed), (CONFIG_MAP, State::Held)] {
            let mut both = Both::new(backends).with_object("r", &role_arn("Root"), "r", &[MASTERS]);
            both.target.want([config("team", [admin()])]);
            both.settle();
            both.target.want([config("team", [])]);
            let plan = both.settle();
            assert_eq!(said_in(&plan, Backend::EksConfigMap, "Admin").unwrap().0, state, "{backends:?}");
        }
    }

    #[test]
    fn one_that_is_shadowed_does_not_count() {
        let theirs = user_arn("root");
        let mut both = Both::new(CRD_FIRST).with_object("theirs", &theirs, "demoted", &[]);
        let entry = format!("- userarn: {theirs}\n  username: r\n  groups: [\"{MASTERS}\"]\n");
        both.target.edit(List::Users, entry);
        both.target.want([config("team", [admin()])]);
        both.settle();
        both.target.want([config("team", [])]);
        assert_eq!(said(&both.settle(), "Admin"), Some((State::Held, "LastAdministrator")));

        // In front of the objects an account answers for all its identities, without groups.
        let mut both = Both::new(CONFIG_MAP_FIRST).with_object("theirs", &theirs, "r", &[MASTERS]);
        both.target.edit(List::Accounts, "- \"111122223333\"\n");
        both.target.want([config("team", [admin()])]);
        both.settle();
        both.target.want([config("team", [])]);
        let plan = both.settle();
        assert_eq!(said_in(&plan, Backend::EksConfigMap, "Admin"), Some((State::Held, "LastAdministrator")));
    }

    #[test]
    fn one_that_no_authenticator_has_read_yet_is_waited_for() {
        let mut both = with([admin()]);
        both.target.want([config("team", [role("Next", "next", &[MASTERS])])]);
        let plan = both.pass();
        assert_eq!(said(&plan, "Admin"), Some((State::Held, "AdministratorNotLoaded")));
        assert_eq!(said(&plan, "Next"), Some((State::Added, "Listed")));
        assert_eq!(said(&both.pass(), "Admin"), Some((State::Held, "AdministratorNotLoaded")));
        both.load();
        assert_eq!(said(&both.pass(), "Admin"), Some((State::Removed, "NoLongerListed")));
        assert!(both.gives(&role("Next", "next", &[MASTERS])));
    }

    #[test]
    fn a_demotion_by_the_other_place_is_held() {
        let mut both = with([admin()]);
        both.backends = CONFIG_MAP_FIRST;
        both.target.want([config("team", [role("Admin", "admin", &[])])]);
        let plan = both.pass();
        assert_eq!(said(&plan, "Admin"), Some((State::Held, "LastAdministrator")));
        assert_eq!(said_in(&plan, Backend::EksConfigMap, "Admin"), Some((State::Held, "LastAdministrator")));
        both.roll_out();
        both.settle();
        assert!(both.gives(&admin()));
    }

    #[test]
    fn the_annotation_lets_it_go() {
        let mut both = with([admin()]);
        both.target.want([config("team", [])]);
        both.target.last_admin = Some(LastAdminAllowance::Config { name: "team".into(), generation: 1 });
        both.may_lose_administrators = true;
        assert_eq!(said(&both.settle(), "Admin"), Some((State::Removed, "NoLongerListed")));
    }
}

mod the_move {
    use super::*;

    fn started(from: &'static [Backend], to: &'static [Backend]) -> Both {
        let mut both = Both::new(from);
        both.target.edit(List::Users, format!("- userarn: {}\n  username: eve\n", user_arn("eve")));
        both.target.want([config("old", [admin(), dev()])]);
        both.settle();
        both.backends = to;
        both.target.want([config("new", [admin(), dev()])]);
        both
    }

    #[test]
    fn to_objects_goes_step_by_step_and_everybody_keeps_his_login() {
        for (from, to) in [(CONFIG_MAP, CRD), (CONFIG_MAP, CRD_FIRST), (CONFIG_MAP_FIRST, CRD_FIRST)] {
            let mut both = started(from, to);
            let has_logins =
                |both: &Both| assert!(both.gives(&admin()) && both.gives(&dev()), "{from:?} {to:?}");
            has_logins(&both);
            let plan = both.pass();
            assert_eq!(said(&plan, "Dev"), Some((State::Added, "Listed")));
            assert_eq!(said_in(&plan, Backend::EksConfigMap, "Dev"), Some((State::Held, "Moving")));
            assert_eq!((both.target.owned(), both.ours().len()), (2, 2));
            has_logins(&both);
            both.settle();
            assert_eq!(both.target.owned(), 2, "the old authenticator may still answer");
            has_logins(&both);

            // The new authenticator runs everywhere; nobody has written a status yet.
            both.running = both.backends;
            let before_reading = both.pass();
            if from == CONFIG_MAP {
                assert!(!before_reading.has_write());
                both.load();
            }
            has_logins(&both);
            both.settle();
            assert_eq!((both.target.owned(), both.ours().len()), (0, 2));
            assert_eq!(both.target.entries(List::Users).len(), 1, "foreign entries stay");
            has_logins(&both);
        }
    }

    #[test]
    fn back_to_aws_auth_goes_step_by_step_and_everybody_keeps_his_login() {
        for (from, to) in [(CRD, CONFIG_MAP), (CRD_FIRST, CONFIG_MAP), (CRD_FIRST, CONFIG_MAP_FIRST)] {
            let mut both = started(from, to);
            let has_logins =
                |both: &Both| assert!(both.gives(&admin()) && both.gives(&dev()), "{from:?} {to:?}");
            let plan = both.pass();
            assert_eq!(said_in(&plan, Backend::EksConfigMap, "Dev"), Some((State::Added, "Listed")));
            assert_eq!(said(&plan, "Dev"), Some((State::Held, "Moving")));
            has_logins(&both);
            both.settle();
            assert_eq!((both.target.owned(), both.ours().len()), (2, 2));
            both.roll_out();
            has_logins(&both);
            assert_eq!(said(&both.settle(), "Dev"), Some((State::Removed, "Moving")));
            assert_eq!((both.target.owned(), both.ours().len()), (2, 0));
            has_logins(&both);
        }
    }

    #[test]
    fn an_object_goes_only_after_its_entry_has_been_seen() {
        let mut both = started(CRD_FIRST, CONFIG_MAP_FIRST);
        both.roll_out();
        let plan = both.pass();
        assert_eq!(said(&plan, "Dev"), Some((State::Held, "Moving")));
        assert!(plan.objects.changes.delete.is_empty(), "the entry is only being written");
        assert_eq!(said(&both.pass(), "Dev"), Some((State::Removed, "Moving")));
    }

    #[test]
    fn changes_and_removals_reach_both_places_while_it_lasts() {
        for (from, to) in [(CONFIG_MAP, CRD_FIRST), (CRD_FIRST, CONFIG_MAP)] {
            let mut both = started(from, to);
            both.pass();
            both.load();
            both.target.want([config("new", [admin(), role("Dev", "dev", &["fewer"])])]);
            both.settle();
            assert!(both.gives(&role("Dev", "dev", &["fewer"])), "{from:?}");
            both.target.want([config("new", [admin()])]);
            both.settle();
            assert!(both.logins(&role_arn("Dev")).is_empty(), "{from:?}");
            both.roll_out();
            both.settle();
            assert!(both.logins(&role_arn("Dev")).is_empty() && both.gives(&admin()), "{from:?}");
        }
    }

    #[test]
    fn another_administrator_in_the_new_place_is_waited_for() {
        for (from, to) in [(CONFIG_MAP, CRD), (CRD, CONFIG_MAP), (CRD_FIRST, CONFIG_MAP_FIRST)] {
            let mut both = started(from, to);
            both.target.want([config("new", [role("Next", "next", &[MASTERS])])]);
            let plan = both.pass();
            let old = said_in(&plan, from[0], "Admin");
            assert_eq!(old, Some((State::Held, "AdministratorNotLoaded")), "{from:?}");
            assert_eq!(said_in(&plan, from[0], "Dev"), Some((State::Removed, "RefLeft")));
            both.roll_out_after_loading();
            both.settle();
            assert!(both.gives(&role("Next", "next", &[MASTERS])));
            assert!(both.logins(&role_arn("Admin")).is_empty(), "{from:?} {to:?}");
        }
    }

    #[test]
    fn what_can_not_be_written_in_the_new_place_stays_in_the_old_one() {
        let mut both = started(CONFIG_MAP, CRD_FIRST).with_object("theirs", &role_arn("Dev"), "x", &[]);
        both.settle();
        both.roll_out();
        let plan = both.settle();
        assert_eq!(said(&plan, "Dev"), Some((State::Conflict, "Conflict")));
        assert_eq!(said_in(&plan, Backend::EksConfigMap, "Dev"), Some((State::Held, "Moving")));
        assert_eq!(both.target.owned(), 1);
    }

    #[test]
    fn what_only_a_foreign_one_would_give_stays_where_it_is_ours() {
        let entry = format!("- rolearn: {}\n  username: dev\n  groups: [devs]\n", role_arn("Dev"));
        let mut both = started(CRD, CONFIG_MAP);
        both.target.edit(List::Roles, entry);
        both.settle();
        both.roll_out();
        let plan = both.settle();
        let there = said_in(&plan, Backend::EksConfigMap, "Dev");
        assert_eq!(there, Some((State::AlreadyPresent, "AlreadyPresent")));
        assert_eq!(said(&plan, "Dev"), Some((State::Held, "Moving")));
    }

    #[test]
    fn nothing_is_deleted_while_aws_auth_can_not_be_written() {
        let mut both = started(CRD, CONFIG_MAP);
        both.settle();
        both.roll_out();
        both.target.want([config("new", [admin(), dev(), role("More", "more", &[])])]);
        both.target.observed.immutable = true;
        let plan = both.plan();
        assert_eq!(plan.blocked, Some(Blocked::Immutable));
        assert!(plan.objects.changes.delete.is_empty());
    }

    #[test]
    fn removal_takes_out_both_places_in_the_midst_of_it() {
        for (from, to) in [(CONFIG_MAP, CRD), (CRD, CONFIG_MAP)] {
            let mut both = started(from, to);
            both.pass();
            both.target.remove_all = true;
            both.may_lose_administrators = true;
            both.settle();
            assert_eq!((both.target.owned(), both.ours().len()), (0, 0));
            assert!(both.target.observed.ledger.is_none());
        }
    }
}

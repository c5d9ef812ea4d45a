//! What awsiam promises about `aws-auth`, promise by promise (`docs/aws-auth.md`).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use awsiam_core::desired::{ConfigState, Refs};
use awsiam_core::history::{self, SLOTS};
use awsiam_core::ledger::Writer;
use awsiam_core::mapping::{Key, List};
use awsiam_core::plan::{Blocked, ConflictPolicy, LastAdminAllowance, Note, State};
use awsiam_core::privilege::MastersRule;
use support::{
    MASTERS, NODES, Target, account, config, find, in_state, missing, role, role_arn, said, user,
    with_refused,
};

/// A hand-written entry, with everything that a printer would lose.
const HAND: &str = "\
# the on-call team, see wiki
- roleARN: \"arn:aws:iam::111122223333:role/oncall\"   # do not touch
  username: 'oncall'
  groups: [ops]
  userid: AROA1
  owner: jane
";

fn foreign() -> String {
    format!("{NODES}{HAND}")
}

fn block(name: &str, username: &str, group: &str) -> String {
    format!("- rolearn: {}\n  username: {username}\n  groups:\n  - {group}\n", role_arn(name))
}

fn dev() -> awsiam_core::mapping::Mapping {
    role("Dev", "dev", &["devs"])
}

fn admin() -> awsiam_core::mapping::Mapping {
    role("Admin", "admin", &[MASTERS])
}

fn with_dev() -> Target {
    Target::holding(List::Roles, &foreign()).wanting([config("team", [dev()])]).applied()
}

mod unreadable_means_untouched {
    use super::*;

    const BROKEN: &str = "- rolearn: a\n  username: @b\n";

    #[test]
    fn a_list_that_cannot_be_read_keeps_its_bytes_and_the_others_go_on() {
        let mut target = Target::holding(List::Roles, BROKEN)
            .wanting([config("team", [dev(), user("bob", "bob", &["devs"]), account("111122223333")])]);
        let plan = target.apply();
        assert_eq!(target.roles(), BROKEN);
        assert_eq!(said(&plan, "Dev"), Some((State::Held, "Unreadable")));
        assert_eq!(target.entries(List::Users).len(), 1);
        assert_eq!(target.entries(List::Accounts).len(), 1);
        let unreadable = plan.unreadable.first().unwrap();
        assert_eq!((unreadable.list, unreadable.position.line), (List::Roles, 2), "{unreadable}");
        assert!(unreadable.position.column > 0);
    }

    #[test]
    fn our_entries_in_a_list_that_became_unreadable_stay_ours() {
        let mut target = with_dev();
        let good = target.roles().to_owned();
        let broken = format!("{good}{BROKEN}");
        target.edit(List::Roles, broken.clone());
        target.want([config("team", [user("bob", "bob", &[])])]);
        target.apply();
        assert_eq!(target.roles(), broken);
        assert_eq!(target.owned(), 2);

        target.edit(List::Roles, good);
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Removed, "NoLongerListed")));
        assert_eq!(target.roles(), foreign());
    }

    #[test]
    fn deletion_waits_for_a_list_that_cannot_be_read() {
        let mut target = with_dev();
        let broken = format!("{}{BROKEN}", target.roles());
        target.edit(List::Roles, broken.clone());
        target.remove_all = true;
        target.apply();
        assert_eq!((target.roles(), target.owned()), (broken.as_str(), 1));
    }

    #[test]
    fn a_list_under_binary_data_counts_as_unreadable() {
        let mut target = Target::new().wanting([config("team", [dev(), user("bob", "bob", &[])])]);
        target.observed.binary_keys.insert("mapRoles".into());
        let plan = target.apply();
        assert!(!target.observed.data.contains_key("mapRoles"));
        assert_eq!(said(&plan, "Dev"), Some((State::Held, "Unreadable")));
        assert_eq!(target.entries(List::Users).len(), 1);
    }
}

mod foreign_entries_survive {
    use super::*;

    #[test]
    fn what_others_wrote_keeps_its_bytes_while_ours_come_change_and_go() {
        let mut target = Target::holding(List::Roles, &foreign());
        target.observed.data.insert("mapRoless".into(), "- not: ours\n".into());
        for mappings in [vec![dev(), admin()], vec![role("Dev", "dev2", &[])], vec![], vec![admin()]] {
            target.want([config("team", mappings)]);
            target.last_admin = Some(LastAdminAllowance::All);
            target.apply();
            assert!(target.roles().starts_with(&foreign()), "{}", target.roles());
            assert_eq!(target.observed.data["mapRoless"], "- not: ours\n");
        }
        target.want([]);
        target.apply();
        assert_eq!(target.roles(), foreign());
    }

    #[test]
    fn nothing_to_change_is_nothing_to_write() {
        let target = with_dev();
        let plan = target.plan();
        assert!(!plan.has_write());
        assert_eq!(plan.before, plan.after);
        assert_eq!(said(&plan, "Dev"), Some((State::InEffect, "Listed")));
    }

    #[test]
    fn a_target_for_which_nothing_is_asked_gets_no_ledger() {
        let mut target = Target::holding(List::Roles, &foreign()).wanting([config("team", [])]);
        assert!(!target.apply().has_write());
        assert_eq!(target.observed.ledger, None);
    }

    #[test]
    fn data_keys_that_were_absent_are_absent_again() {
        let mut target = Target::new().wanting([config("team", [dev(), account("111122223333")])]).applied();
        assert_eq!(target.observed.data.len(), 2);
        target.want([config("team", [])]);
        target.apply();
        assert!(target.observed.data.is_empty());
    }
}

mod node_entries_are_nobodys {
    use super::*;

    fn node_role(group_or_name: (&str, &str)) -> String {
        let (username, group) = group_or_name;
        format!("- rolearn: {}\n  username: {username}\n  groups:\n  - {group}\n", role_arn("Dev"))
    }

    #[test]
    fn a_mapping_with_the_arn_of_a_node_entry_is_refused_whatever_the_policy() {
        let nodes = [
            ("system:node:{{EC2PrivateDNSName}}", "x"),
            ("n", "system:nodes"),
            ("n", "system:bootstrappers"),
            ("n", "system:node-proxier"),
            ("n", "eks:kube-proxy-windows"),
        ];
        for node in nodes {
            for list in [List::Roles, List::Users] {
                for conflicts in [ConflictPolicy::Refuse, ConflictPolicy::Adopt] {
                    let text = node_role(node)
                        .replace("rolearn", if list == List::Roles { "rolearn" } else { "userarn" });
                    let mut target = Target::holding(list, &text).wanting([config("team", [dev()])]);
                    target.conflicts = conflicts;
                    let plan = target.apply();
                    assert_eq!(said(&plan, "Dev"), Some((State::Refused, "NodeEntry")), "{node:?} {list}");
                    assert_eq!(target.text(list), text);
                    assert_eq!(target.owned(), 0);
                }
            }
        }
    }

    #[test]
    fn a_mapping_that_would_be_a_node_entry_is_refused_under_every_flag() {
        let mut target = Target::new().wanting([config(
            "team",
            [role("A", "system:node:a", &[]), role("B", "b", &["system:nodes"]), dev()],
        )]);
        target.policy.allow_system_identities = true;
        let plan = target.apply();
        assert_eq!(said(&plan, "A"), Some((State::Refused, "PrivilegeRefused")));
        assert_eq!(said(&plan, "B"), Some((State::Refused, "PrivilegeRefused")));
        assert_eq!(target.entries(List::Roles).len(), 1);
    }

    #[test]
    fn an_entry_of_ours_that_somebody_made_a_node_entry_is_left_alone() {
        let mut target = with_dev();
        let edited = target.roles().replace("- devs", "- system:nodes");
        target.edit(List::Roles, edited.clone());
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Frozen, "NodeEntry")));
        assert_eq!(target.roles(), edited);
        for remove_all in [false, true] {
            target.remove_all = remove_all;
            target.want([]);
            assert_eq!(said(&target.apply(), "Dev"), Some((State::Frozen, "NodeEntry")));
            assert_eq!(target.roles(), edited);
        }
    }

    #[test]
    fn a_node_entry_that_appears_beside_ours_freezes_ours() {
        let mut target = with_dev();
        let edited = format!("{}{}", target.roles(), node_role(("n", "system:nodes")));
        target.edit(List::Roles, edited.clone());
        target.want([config("team", [role("Dev", "other", &["devs"])])]);
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Frozen, "NodeEntry")));
        assert_eq!(target.roles(), edited);
    }
}

mod an_owned_entry_goes_only_when_nobody_wants_it {
    use super::*;

    #[test]
    fn it_goes_when_its_config_no_longer_lists_it() {
        let mut target = with_dev();
        target.want([config("team", [])]);
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Removed, "NoLongerListed")));
        assert_eq!((target.roles(), target.owned()), (foreign().as_str(), 0));
    }

    #[test]
    fn it_goes_when_its_ref_has_left() {
        let mut target = with_dev();
        target.want([config("other", [])]);
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Removed, "RefLeft")));
        assert_eq!(target.roles(), foreign());
    }

    #[test]
    fn it_goes_when_the_list_of_refs_is_there_and_empty() {
        let mut target = with_dev();
        target.want([]);
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Removed, "RemoveAll")));
        assert_eq!(target.roles(), foreign());
    }

    #[test]
    fn it_stays_when_the_list_of_refs_is_absent() {
        let mut target = with_dev();
        target.refs = Refs::Absent;
        let plan = target.apply();
        assert!(!plan.has_write());
        assert_eq!(said(&plan, "Dev"), Some((State::Frozen, "NoIdentityProviderRefs")));
    }

    #[test]
    fn it_is_frozen_in_every_other_case() {
        let other = || config("first", []);
        let team = || config("team", []);
        let undecodable = ConfigState::Undecodable("spec.mapRoles is a string".into());
        let disagrees = ConfigState::Disagrees(vec!["awsRegion".into()]);
        let dev_key = dev().key();
        let cases = [
            (vec![missing("team")], "FirstRefUnresolved"),
            (vec![other(), missing("team")], "ConfigUnresolved"),
            (vec![other(), in_state(team(), undecodable)], "ConfigUnresolved"),
            (vec![other(), in_state(team(), disagrees.clone())], "ConfigDisagrees"),
            (
                vec![other(), in_state(config("team", [role("Dev", "new", &[])]), disagrees)],
                "ConfigDisagrees",
            ),
            (vec![in_state(team(), ConfigState::Suspended)], "Suspended"),
            (vec![in_state(config("team", [role("Dev", "new", &[])]), ConfigState::Suspended)], "Suspended"),
            (vec![with_refused(team(), Some(dev_key))], "RuleRefused"),
            (vec![with_refused(team(), None)], "RowUnreadable"),
            (vec![team(), missing("third")], "RefUnresolved"),
            (vec![missing("third"), team()], "FirstRefUnresolved"),
            (vec![config("team", [role("Dev", "system:x", &[])])], "PrivilegeRefused"),
        ];
        for (refs, reason) in cases {
            let mut target = with_dev();
            let before = target.observed.data.clone();
            target.want(refs);
            let plan = target.apply();
            assert_eq!(said(&plan, "Dev"), Some((State::Frozen, reason)));
            assert_eq!(target.observed.data, before, "{reason}");
            assert_eq!(target.owned(), 1, "{reason}");
            assert!(!find(&plan, &role_arn("Dev")).unwrap().message.is_empty(), "{reason}");
        }
    }

    #[test]
    fn a_frozen_entry_is_not_repaired_either() {
        let mut target = with_dev();
        let edited = target.roles().replace("username: dev", "username: someone");
        target.edit(List::Roles, edited.clone());
        target.want([in_state(config("team", [dev()]), ConfigState::Suspended)]);
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Frozen, "Suspended")));
        assert_eq!(target.roles(), edited);
    }

    #[test]
    fn a_frozen_entry_holds_its_key_against_other_configs() {
        let other = || config("other", [role("Dev", "taken", &[])]);
        let cases = [
            vec![other(), missing("team")],
            vec![other(), in_state(config("team", []), ConfigState::Disagrees(vec!["partition".into()]))],
            vec![other(), in_state(config("team", [dev()]), ConfigState::Suspended)],
            vec![other(), with_refused(config("team", []), Some(dev().key()))],
            vec![other(), with_refused(config("team", []), None)],
        ];
        for refs in cases {
            let mut target = with_dev();
            let before = target.roles().to_owned();
            target.want(refs.clone());
            let plan = target.apply();
            let (state, reason) = said(&plan, "Dev").unwrap();
            assert_eq!((state, reason), (State::Frozen, "HeldByFrozen"), "{refs:?}");
            assert_eq!(target.roles(), before);
            assert_eq!(target.owned(), 1);
        }
    }

    #[test]
    fn what_is_frozen_is_still_ours_after_somebody_took_it_out_and_put_it_back() {
        for refs in [
            Refs::Absent,
            Refs::Listed(vec![missing("team")]),
            Refs::Listed(vec![in_state(config("team", []), ConfigState::Suspended)]),
            Refs::Listed(vec![with_refused(config("team", []), Some(dev().key()))]),
        ] {
            let mut target = with_dev();
            let with = target.roles().to_owned();
            target.edit(List::Roles, foreign());
            target.refs = refs.clone();
            target.apply();
            assert_eq!(target.roles(), foreign());
            target.edit(List::Roles, with);
            target.want([config("team", [])]);
            assert_eq!(said(&target.apply(), "Dev"), Some((State::Removed, "NoLongerListed")), "{refs:?}");
        }
    }

    #[test]
    fn deletion_removes_even_while_a_ref_does_not_resolve() {
        let mut target = with_dev();
        target.want([missing("team"), missing("third")]);
        target.remove_all = true;
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Removed, "RemoveAll")));
        assert_eq!((target.roles(), target.observed.ledger.as_ref()), (foreign().as_str(), None));
    }

    #[test]
    fn an_explicit_empty_list_takes_the_ledger_out_too_and_what_is_written_later_is_nobodys() {
        let mut target = with_dev();
        let with_ours = target.roles().to_owned();
        target.want([]);
        target.apply();
        assert_eq!((target.roles(), target.observed.ledger.as_ref()), (foreign().as_str(), None));
        // Somebody writes by hand what was ours before: it is theirs, although the history knows it as ours.
        target.edit(List::Roles, with_ours.clone());
        target.apply();
        assert_eq!(target.roles(), with_ours);
        target.want([config("team", [role("Dev", "dev", &["devs"])])]);
        let plan = target.apply();
        assert!(
            !plan.notes.iter().any(|note| matches!(note, Note::LedgerRebuilt { .. })),
            "{:?}",
            plan.notes
        );
    }

    #[test]
    fn while_a_ref_does_not_resolve_others_may_still_add_and_change() {
        let mut target = with_dev();
        target.want([config("team", [role("Dev", "new", &["devs"]), admin()]), missing("third")]);
        let plan = target.apply();
        assert_eq!(said(&plan, "Dev"), Some((State::Changed, "Listed")));
        assert_eq!(said(&plan, "Admin"), Some((State::Added, "Listed")));
    }

    #[test]
    fn while_the_first_ref_does_not_resolve_nothing_is_added() {
        let mut target = with_dev();
        target.want([missing("first"), config("team", [dev(), admin()])]);
        let plan = target.apply();
        assert!(!plan.has_write());
        assert_eq!(said(&plan, "Admin"), Some((State::Held, "FirstRefUnresolved")));
    }

    #[test]
    fn replacing_adds_before_it_removes() {
        let mut target = Target::holding(List::Roles, NODES).wanting([config("team", [admin()])]).applied();
        target.want([config("team", [role("Admin2", "admin2", &[MASTERS])])]);
        let plan = target.apply();
        assert_eq!(said(&plan, "Admin"), Some((State::Removed, "NoLongerListed")));
        assert_eq!(said(&plan, "Admin2"), Some((State::Added, "Listed")));
        let place = |name| plan.outcomes.iter().position(|o| o.key.arn == role_arn(name).to_lowercase());
        assert!(place("Admin2") < place("Admin"));
    }
}

mod equality_is_of_meaning {
    use super::*;

    #[test]
    fn an_entry_of_ours_that_somebody_reformatted_is_not_rewritten() {
        let mut target = with_dev();
        let reformatted = format!(
            "{}- {{\"groups\": [\"devs\"], rolearn: '{}', username: dev}} # tidy\n",
            foreign(),
            role_arn("Dev")
        );
        target.edit(List::Roles, reformatted.clone());
        let plan = target.apply();
        assert!(!plan.has_write());
        assert_eq!(said(&plan, "Dev"), Some((State::InEffect, "Listed")));
    }

    #[test]
    fn absent_groups_are_empty_groups_and_the_case_of_an_arn_does_not_count() {
        let mut target = Target::new().wanting([config("team", [role("Dev", "dev", &[])])]).applied();
        let text = format!("- rolearn: {}\n  username: dev\n  groups: []\n", role_arn("DEV"));
        target.edit(List::Roles, text);
        assert!(!target.apply().has_write());
    }

    #[test]
    fn the_order_of_groups_counts() {
        let mut target = Target::new().wanting([config("team", [role("Dev", "dev", &["a", "b"])])]).applied();
        target.edit(List::Roles, target.roles().replace("- a\n  - b", "- b\n  - a"));
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Repaired, "Drift")));
    }

    #[test]
    fn among_several_entries_with_our_key_ours_is_the_one_we_wrote_else_the_last() {
        let mut target = with_dev();
        let twin = block("DEV", "twin", "x");
        target.edit(List::Roles, format!("{}{twin}", target.roles()));
        target.want([config("team", [])]);
        target.apply();
        assert_eq!(target.roles(), format!("{}{twin}", foreign()));

        let mut target = with_dev();
        let (first, last) = (block("Dev", "a", "x"), block("Dev", "b", "x"));
        target.edit(List::Roles, format!("{first}{last}"));
        target.want([config("team", [])]);
        target.apply();
        assert_eq!(target.roles(), first);
    }
}

mod conflicts {
    use super::*;

    fn meeting(text: &str, conflicts: ConflictPolicy) -> Target {
        let mut target = Target::holding(List::Roles, text).wanting([config("team", [dev()])]);
        target.conflicts = conflicts;
        target
    }

    #[test]
    fn an_equal_foreign_entry_stays_foreign_under_refuse_and_keeps_its_text_under_adopt() {
        let text = format!("# hand made\n{}", block("DEV", "dev", "devs"));
        let mut target = meeting(&text, ConflictPolicy::Refuse);
        let plan = target.apply();
        assert_eq!(said(&plan, "Dev"), Some((State::AlreadyPresent, "AlreadyPresent")));
        assert_eq!((target.roles(), target.owned()), (text.as_str(), 0));

        let mut target = meeting(&text, ConflictPolicy::Adopt);
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Adopted, "Listed")));
        assert_eq!((target.roles(), target.owned()), (text.as_str(), 1));
        target.want([config("team", [])]);
        target.apply();
        assert_eq!(target.roles(), "# hand made\n");
    }

    #[test]
    fn a_different_foreign_entry_is_a_conflict_under_refuse_and_replaced_in_place_under_adopt() {
        let text = format!("{}{}{HAND}", block("DEV", "other", "x"), "# below\n");
        let mut target = meeting(&text, ConflictPolicy::Refuse);
        let plan = target.apply();
        assert_eq!(said(&plan, "Dev"), Some((State::Conflict, "Conflict")));
        assert!(find(&plan, &role_arn("Dev")).unwrap().message.contains("conflictPolicy: Adopt"));
        assert_eq!(target.roles(), text);
        assert!(!plan.has_write());

        let mut target = meeting(&text, ConflictPolicy::Adopt);
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Adopted, "Listed")));
        assert_eq!(target.roles(), format!("{}{}{HAND}", block("Dev", "dev", "devs"), "# below\n"));
    }

    #[test]
    fn adopt_takes_the_last_of_several() {
        let (first, last) = (block("Dev", "a", "x"), block("Dev", "b", "x"));
        let mut target = meeting(&format!("{first}{last}"), ConflictPolicy::Adopt);
        target.apply();
        assert_eq!(target.roles(), format!("{first}{}", block("Dev", "dev", "devs")));
        assert_eq!(target.owned(), 1);
    }

    #[test]
    fn a_later_foreign_duplicate_is_a_conflict_under_refuse_and_takes_our_place_under_adopt() {
        let rival = block("Dev", "rival", "x");
        let mut target = with_dev();
        let text = format!("{}{rival}", target.roles());
        target.edit(List::Roles, text.clone());
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Conflict, "Conflict")));
        assert_eq!((target.roles(), target.owned()), (text.as_str(), 1));

        target.conflicts = ConflictPolicy::Adopt;
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Adopted, "Listed")));
        assert_eq!(target.roles(), format!("{}{}", foreign(), block("Dev", "dev", "devs")));
        assert_eq!(target.owned(), 1);
    }

    #[test]
    fn an_earlier_foreign_duplicate_that_never_answers_is_none() {
        let earlier = block("Dev", "earlier", "x");
        let mut target = with_dev();
        let text = format!("{earlier}{}", target.roles());
        target.edit(List::Roles, text.clone());
        let plan = target.apply();
        assert_eq!(said(&plan, "Dev"), Some((State::InEffect, "Listed")));
        assert_eq!(target.roles(), text);
    }

    #[test]
    fn a_user_in_two_spellings_is_a_conflict_because_chance_answers() {
        let spelt = |arn: &str, name: &str| format!("- userarn: {arn}\n  username: {name}\n");
        let text = spelt(&support::user_arn("Bob"), "x") + &spelt(&support::user_arn("BOB"), "y");
        let mut target =
            Target::holding(List::Users, &text).wanting([config("team", [user("bob", "x", &[])])]);
        for conflicts in [ConflictPolicy::Refuse, ConflictPolicy::Adopt] {
            target.conflicts = conflicts;
            let plan = target.apply();
            assert_eq!(find(&plan, &support::user_arn("bob")).unwrap().state, State::Conflict);
            assert_eq!(target.text(List::Users), text);
        }
    }

    #[test]
    fn the_same_arn_in_the_other_list_is_a_conflict() {
        let in_users = block("Dev", "dev", "devs").replace("rolearn", "userarn");
        for conflicts in [ConflictPolicy::Refuse, ConflictPolicy::Adopt] {
            let mut target = Target::holding(List::Users, &in_users).wanting([config("team", [dev()])]);
            target.conflicts = conflicts;
            let plan = target.apply();
            assert_eq!(said(&plan, "Dev"), Some((State::Conflict, "OtherList")));
            assert!(!plan.has_write());
        }
        let in_roles = format!("- rolearn: {}\n  username: x\n", support::user_arn("bob"));
        let mut target =
            Target::holding(List::Roles, &in_roles).wanting([config("team", [user("bob", "bob", &[])])]);
        assert_eq!(find(&target.apply(), &support::user_arn("bob")).unwrap().reason.name(), "OtherList");
    }

    #[test]
    fn letters_that_the_authenticator_takes_for_ours_are_ours_in_its_eyes() {
        // U+017F and U+212A equal s and k for Go's EqualFold.
        let text = block("Clu\u{17f}ter\u{212a}ey", "x", "y");
        let mut target =
            Target::holding(List::Roles, &text).wanting([config("team", [role("ClusterKey", "dev", &[])])]);
        assert_eq!(said(&target.apply(), "ClusterKey"), Some((State::Conflict, "Conflict")));
        assert_eq!(target.roles(), text);
    }

    #[test]
    fn where_two_refs_name_one_key_the_first_wins_and_the_other_is_told() {
        let mut target = Target::new()
            .wanting([config("one", [dev()]), config("two", [role("Dev", "two", &[]), admin()])]);
        let plan = target.apply();
        let states: Vec<_> =
            plan.outcomes.iter().map(|o| (o.config.as_deref().unwrap(), o.state, o.reason.name())).collect();
        assert_eq!(
            states,
            [
                ("one", State::Added, "Listed"),
                ("two", State::Shadowed, "Precedence"),
                ("two", State::Added, "Listed")
            ]
        );
    }

    #[test]
    fn when_precedence_moves_a_key_between_refs_it_is_replaced_in_place() {
        let (one, two) = (config("one", [dev()]), config("two", [role("Dev", "two", &["x"])]));
        let mut target = Target::new().wanting([one.clone(), config("last", [admin()])]).applied();
        target.want([two, one, config("last", [admin()])]);
        let plan = target.apply();
        assert_eq!(said(&plan, "Dev"), Some((State::Changed, "Listed")));
        assert_eq!(target.roles(), block("Dev", "two", "x") + &block("Admin", "admin", MASTERS));
        assert!(target.ledger().unwrap().owned.values().any(|owned| &*owned.config == "two"));
    }
}

mod verified_before_it_is_written {
    use super::*;

    #[test]
    fn a_text_in_which_a_foreign_entry_would_change_is_left_as_it_is() {
        // The lent line break would become part of the last entry's username.
        let text = format!("- rolearn: {}\n  username: |\n    x", role_arn("Keep"));
        let mut target =
            Target::holding(List::Roles, &text).wanting([config("team", [dev(), user("bob", "bob", &[])])]);
        let plan = target.apply();
        assert_eq!(target.roles(), text);
        assert_eq!(said(&plan, "Dev"), Some((State::Held, "VerificationFailed")));
        assert_eq!(target.entries(List::Users).len(), 1, "the other lists go on");
    }

    #[test]
    fn what_is_written_reads_back_as_the_mapping_whatever_its_characters() {
        for username in [
            "a: b",
            "*x",
            "&x",
            "- a",
            "\"",
            "'",
            "#",
            "é\u{85}\u{2028}",
            "\u{1}",
            "😀",
            "yes",
            "1e3",
            "~",
            "\\n",
        ] {
            let mut target =
                Target::new().wanting([config("team", [role("Dev", username, &[username, "b"])])]);
            target.apply();
            let entries = target.entries(List::Roles);
            let entry = entries.first().unwrap_or_else(|| panic!("{username:?}: {}", target.roles()));
            assert_eq!((entry.username.as_str(), entry.groups[0].as_str()), (username, username));
        }
    }
}

mod the_ledger {
    use super::*;

    #[test]
    fn it_names_its_writer_the_generations_and_the_owner_of_each_entry() {
        let mut target = Target::new().wanting([config("team", [dev()])]);
        target.generation = 5;
        target.apply();
        let ledger = target.ledger().unwrap();
        assert_eq!(ledger.writer, target.writer);
        assert_eq!(ledger.cluster_generation, 5);
        let version = &ledger.configs["team"];
        assert_eq!((version.uid.as_str(), version.generation), ("uid-team", 1));
        assert_eq!(&*ledger.owned.values().next().unwrap().config, "team");
    }

    #[test]
    fn of_another_writer_it_stops_every_write_until_an_administrator_says_otherwise() {
        let mut target = with_dev();
        let theirs = target.observed.clone();
        target.writer.name = "other".into();
        target.want([config("team", [admin()])]);
        let plan = target.apply();
        let owner = Writer { name: "prod".into(), ..target.writer.clone() };
        assert_eq!(plan.blocked, Some(Blocked::TargetClaimed { owner: owner.clone() }));
        assert!(!plan.has_write());
        assert_eq!(target.observed, theirs);

        target.take_over = true;
        let plan = target.apply();
        assert!(plan.notes.contains(&Note::LedgerTakenOver { from: owner }));
        assert_eq!(target.ledger().unwrap().writer.name, "other");
        assert_eq!(said(&plan, "Dev"), Some((State::Removed, "NoLongerListed")));
    }

    #[test]
    fn of_the_same_name_with_another_uid_or_none_it_is_taken_over_and_said() {
        for uid in [None, Some("an-older-uid".to_owned())] {
            let mut target = Target::new().wanting([config("team", [dev()])]);
            let us = target.writer.clone();
            target.writer.uid = uid;
            target.apply();
            let from = std::mem::replace(&mut target.writer, us);
            let plan = target.apply();
            assert!(plan.notes.contains(&Note::LedgerTakenOver { from }));
            assert!(plan.has_write());
            assert_eq!(target.ledger().unwrap().writer, target.writer);
            assert_eq!(said(&plan, "Dev"), Some((State::InEffect, "Listed")));
        }
    }

    #[test]
    fn of_a_newer_version_it_stops_every_write() {
        let mut target = with_dev();
        target.observed.ledger = Some(r#"{"v":2}"#.into());
        target.want([config("team", [])]);
        let plan = target.apply();
        assert!(matches!(plan.blocked, Some(Blocked::LedgerNewer { .. })));
        assert!(!plan.has_write());
    }

    #[test]
    fn lost_or_unreadable_it_is_rebuilt_from_the_newest_history_record() {
        for ledger in [None, Some("garbage".to_owned())] {
            let mut target = with_dev();
            target.record();
            target.observed.ledger.clone_from(&ledger);
            target.record();
            target.owned_before = true;
            target.want([config("team", [])]);
            let plan = target.apply();
            assert!(
                plan.notes.iter().any(|n| matches!(n, Note::LedgerRebuilt { revision: Some(1), .. })),
                "{:?}",
                plan.notes
            );
            assert_eq!(said(&plan, "Dev"), Some((State::Removed, "NoLongerListed")));
            assert_eq!(target.roles(), foreign());
        }
    }

    #[test]
    fn lost_without_history_equal_entries_are_ours_and_the_rest_is_named() {
        for ledger in [None, Some("garbage".to_owned())] {
            let mut target = Target::holding(List::Roles, &foreign())
                .wanting([config("team", [dev(), admin()])])
                .applied();
            target.observed.ledger = ledger;
            target.owned_before = true;
            target.want([config("team", [dev()])]);
            let plan = target.apply();
            let keys =
                vec![Key::new(List::Roles, &role_arn("oncall")), Key::new(List::Roles, &role_arn("Admin"))];
            assert!(plan.notes.contains(&Note::PossiblyOrphaned { keys }), "{:?}", plan.notes);
            assert_eq!(said(&plan, "Dev"), Some((State::InEffect, "Listed")));
            assert_eq!(target.owned(), 1);
            assert_eq!(target.entries(List::Roles).len(), 4, "nothing is removed on a guess");
        }
    }

    #[test]
    fn an_older_generation_is_said_and_believed() {
        let mut target = Target::new().wanting([config("team", [dev()])]);
        target.generation = 7;
        target.apply();
        target.generation = 6;
        target.want([config("team", [])]);
        let plan = target.plan();
        let older = Note::OlderGeneration { object: "Cluster".into(), recorded: 7, read: 6 };
        assert!(plan.notes.contains(&older), "{:?}", plan.notes);
        assert!(plan.suspected_stale().eq(["Cluster"]));
        assert_eq!(said(&plan, "Dev"), Some((State::Removed, "NoLongerListed")));
    }

    #[test]
    fn an_older_generation_of_a_config_counts_for_the_same_uid_alone() {
        let mut team = config("team", [dev()]);
        team.generation = 9;
        let mut target = Target::new().wanting([team.clone()]).applied();
        team.generation = 8;
        target.want([team.clone()]);
        assert!(target.plan().suspected_stale().eq(["team"]));
        team.uid = "made again".into();
        target.want([team]);
        assert_eq!(target.plan().suspected_stale().count(), 0);
    }

    #[test]
    fn generations_alone_are_not_written() {
        let mut target = with_dev();
        let mut team = config("team", [dev()]);
        team.generation = 12;
        target.want([team]);
        target.generation = 12;
        assert!(!target.apply().has_write());
    }
}

mod drift_is_repaired {
    use super::*;

    #[test]
    fn an_entry_that_somebody_changed_or_took_out_is_put_back() {
        let mut target = with_dev();
        let wanted = target.roles().to_owned();
        target.edit(List::Roles, wanted.replace("username: dev", "username: intruder"));
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Repaired, "Drift")));
        assert_eq!(target.roles(), wanted);

        target.edit(List::Roles, foreign());
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Repaired, "Drift")));
        assert_eq!(target.roles(), wanted);
    }

    #[test]
    fn a_deleted_aws_auth_is_made_again_with_node_entries_and_ours_and_the_others_are_named() {
        let mut target = with_dev();
        target.record();
        target.delete();
        let plan = target.apply();
        assert!(!plan.present);
        assert_eq!(
            target.roles(),
            format!("{NODES}# the on-call team, see wiki\n{}", block("Dev", "dev", "devs"))
        );
        assert_eq!(target.owned(), 1);
        let left_out = vec![Key::new(List::Roles, &role_arn("oncall"))];
        assert!(plan.notes.contains(&Note::Recreated { revision: Some(1), left_out }), "{:?}", plan.notes);
    }

    #[test]
    fn the_record_that_has_node_entries_is_used_even_if_a_newer_one_has_none() {
        let mut target = with_dev();
        target.record();
        target.edit(List::Roles, block("Dev", "dev", "devs"));
        target.record();
        let plan = target.plan();
        assert!(plan.notes.contains(&Note::NodeEntriesLost { revision: 1 }), "{:?}", plan.notes);
        target.delete();
        target.apply();
        assert!(target.roles().starts_with(NODES));
    }

    #[test]
    fn frozen_entries_come_back_too_with_or_without_node_entries() {
        for text in [NODES, ""] {
            let mut target = Target::holding(List::Roles, text).wanting([config("team", [dev()])]).applied();
            let before = target.roles().to_owned();
            target.record();
            target.delete();
            target.want([in_state(config("team", [dev()]), ConfigState::Suspended)]);
            target.apply();
            assert_eq!((target.roles(), target.owned()), (before.as_str(), 1), "{text}");
        }
    }

    #[test]
    fn a_foreign_entry_whose_anchor_a_node_entry_needs_comes_back_with_it() {
        let text = format!(
            "- rolearn: {}\n  username: &u x\n  groups: [ops]\n- rolearn: {}\n  username: *u\n  groups: [system:nodes]\n",
            role_arn("x"),
            role_arn("nodes")
        );
        let mut target = Target::holding(List::Roles, &text);
        target.record();
        target.delete();
        target.apply();
        assert_eq!(target.roles(), text);
    }

    #[test]
    fn an_aws_auth_that_never_was_is_made_only_when_there_is_something_to_write() {
        let mut target = Target::new();
        target.delete();
        let plan = target.apply();
        assert!(!plan.has_write());
        assert!(plan.notes.is_empty(), "{:?}", plan.notes);

        target.want([config("team", [dev()])]);
        let plan = target.apply();
        assert!(plan.has_write());
        assert!(plan.notes.contains(&Note::Recreated { revision: None, left_out: vec![] }));
    }

    #[test]
    fn a_deleted_aws_auth_stays_away_when_the_cluster_goes() {
        let mut target = with_dev();
        target.record();
        target.delete();
        target.remove_all = true;
        let plan = target.plan();
        assert!(!plan.has_write());
        assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    }
}

mod the_history {
    use super::*;

    #[test]
    fn ten_slots_are_used_in_turn_and_the_newest_node_entries_are_never_overwritten() {
        let mut target = Target::holding(List::Roles, NODES);
        target.record();
        for round in 0..3 * SLOTS {
            target.edit(List::Roles, block("Dev", &format!("dev{round}"), "devs"));
            target.record();
            assert!(target.history.len() <= SLOTS);
            assert_eq!(history::newest_with_nodes(&target.history).map(|r| r.slot), Some(0));
            assert_eq!(history::newest(&target.history).map(|r| r.revision), Some(round as u64 + 2));
        }
        let mut slots: Vec<_> = target.history.iter().map(|r| r.slot).collect();
        slots.sort_unstable();
        assert_eq!(slots, (0..SLOTS).collect::<Vec<_>>());
    }

    #[test]
    fn repeats_are_collapsed_and_a_changed_ledger_is_a_new_content() {
        let mut target = with_dev();
        target.record();
        let needed =
            |t: &Target| history::needs_record(&t.history, &t.observed.data, t.observed.ledger.as_deref());
        assert!(!needed(&target));
        target.observed.ledger = None;
        assert!(needed(&target));
    }
}

mod the_last_administrator_stays {
    use super::*;

    fn only_admin() -> Target {
        Target::holding(List::Roles, &foreign()).wanting([config("team", [admin(), dev()])]).applied()
    }

    #[test]
    fn a_removal_of_the_last_one_is_held_and_the_rest_goes_on() {
        let mut target = only_admin();
        target.want([config("team", [role("Dev", "dev2", &["devs"]), role("New", "new", &[])])]);
        let plan = target.apply();
        assert_eq!(said(&plan, "Admin"), Some((State::Held, "LastAdministrator")));
        assert_eq!(said(&plan, "Dev"), Some((State::Changed, "Listed")));
        assert_eq!(said(&plan, "New"), Some((State::Added, "Listed")));
        assert!(target.entries(List::Roles).iter().any(|e| e.groups == [MASTERS]));
        assert!(find(&plan, &role_arn("Admin")).unwrap().message.contains("team/1"));
    }

    #[test]
    fn a_demotion_of_the_last_one_is_held() {
        let mut target = only_admin();
        target.want([config("team", [role("Admin", "admin", &["devs"]), dev()])]);
        assert_eq!(said(&target.apply(), "Admin"), Some((State::Held, "LastAdministrator")));
        assert_eq!(target.owned(), 2);
    }

    #[test]
    fn a_ref_that_left_is_held_and_names_the_cluster() {
        let mut target = only_admin();
        target.generation = 4;
        target.want([config("other", [])]);
        let plan = target.apply();
        assert_eq!(said(&plan, "Admin"), Some((State::Held, "LastAdministrator")));
        assert_eq!(said(&plan, "Dev"), Some((State::Removed, "RefLeft")));
        assert!(find(&plan, &role_arn("Admin")).unwrap().message.contains("cluster/4"));
    }

    #[test]
    fn another_administrator_owned_or_foreign_lets_it_go() {
        let mut target = only_admin();
        target.want([config("team", [role("Other", "o", &["x", MASTERS])])]);
        assert_eq!(said(&target.apply(), "Admin"), Some((State::Removed, "NoLongerListed")));

        let mut target = only_admin();
        target.edit(List::Roles, format!("{}{}", target.roles(), block("Theirs", "t", MASTERS)));
        target.want([config("team", [dev()])]);
        assert_eq!(said(&target.apply(), "Admin"), Some((State::Removed, "NoLongerListed")));

        let mut target = only_admin();
        let theirs = block("x", "t", MASTERS).replace("rolearn", "userarn").replace("role/x", "user/x");
        target.edit(List::Users, theirs);
        target.want([config("team", [dev()])]);
        assert_eq!(said(&target.apply(), "Admin"), Some((State::Removed, "NoLongerListed")));
    }

    #[test]
    fn an_administrator_whom_nobody_can_be_does_not_count() {
        let never = [
            block("team/Theirs", "t", MASTERS),
            block("Theirs", "t", MASTERS).replace("iam::111122223333:role", "sts::111122223333:assumed-role"),
            format!("{}{}", block("Theirs", "t", MASTERS), block("Theirs", "t", "demoted")),
        ];
        for theirs in never {
            let mut target = only_admin();
            target.edit(List::Roles, format!("{}{theirs}", target.roles()));
            target.want([config("team", [dev()])]);
            assert_eq!(said(&target.apply(), "Admin"), Some((State::Held, "LastAdministrator")), "{theirs}");
        }
    }

    #[test]
    fn an_administrator_in_a_list_that_cannot_be_read_does_not_count() {
        let mut target = only_admin();
        let theirs = block("x", "t", MASTERS).replace("rolearn", "userarn").replace("role/x", "user/x");
        target.edit(List::Users, format!("{theirs}\t"));
        target.want([config("team", [dev()])]);
        let plan = target.apply();
        assert_eq!(plan.unreadable.len(), 1);
        assert_eq!(said(&plan, "Admin"), Some((State::Held, "LastAdministrator")));
    }

    #[test]
    fn the_annotation_lets_it_go_for_its_own_generation_alone() {
        let cases = [
            (LastAdminAllowance::Config { name: "team".into(), generation: 1 }, State::Removed),
            (LastAdminAllowance::Config { name: "team".into(), generation: 2 }, State::Held),
            (LastAdminAllowance::Config { name: "other".into(), generation: 1 }, State::Held),
            (LastAdminAllowance::Cluster { generation: 1 }, State::Held),
            (LastAdminAllowance::All, State::Removed),
        ];
        for (allowance, state) in cases {
            let mut target = only_admin();
            target.want([config("team", [dev()])]);
            target.last_admin = Some(allowance.clone());
            assert_eq!(said(&target.apply(), "Admin").unwrap().0, state, "{allowance:?}");
        }
        for (generation, state) in [(1, State::Removed), (2, State::Held)] {
            let mut target = only_admin();
            target.want([config("other", [])]);
            target.last_admin = Some(LastAdminAllowance::Cluster { generation });
            assert_eq!(said(&target.apply(), "Admin").unwrap().0, state);
        }
    }

    #[test]
    fn deletion_of_the_cluster_lets_it_go() {
        let mut target = only_admin();
        target.remove_all = true;
        assert_eq!(said(&target.apply(), "Admin"), Some((State::Removed, "RemoveAll")));
        assert_eq!(target.roles(), foreign());
    }

    #[test]
    fn where_there_was_none_nothing_is_held() {
        let mut target = with_dev();
        target.want([config("team", [])]);
        assert_eq!(said(&target.apply(), "Dev"), Some((State::Removed, "NoLongerListed")));
    }

    #[test]
    fn moving_it_to_a_config_that_is_refused_the_group_is_held() {
        let mut target = only_admin();
        target.policy.system_masters = MastersRule::Deny;
        target.want([config("two", [role("Other", "o", &[MASTERS])])]);
        let plan = target.apply();
        assert_eq!(said(&plan, "Other"), Some((State::Refused, "PrivilegeRefused")));
        assert_eq!(said(&plan, "Admin"), Some((State::Held, "LastAdministrator")));
    }
}

mod the_result_must_fit {
    use super::*;

    #[test]
    fn data_over_one_mebibyte_is_refused() {
        let filler = "#".repeat(1024 * 1024 - 150);
        let mut target =
            Target::holding(List::Roles, &format!("{filler}\n")).wanting([config("team", [dev()])]);
        assert!(target.plan().has_write());
        target.observed.binary_bytes = 200;
        let plan = target.plan();
        assert!(matches!(plan.blocked, Some(Blocked::TooLarge { what: "data", .. })), "{:?}", plan.blocked);
        assert!(!plan.has_write());
    }

    #[test]
    fn annotations_over_256_kibibytes_are_refused() {
        let mut target = Target::new().wanting([config("team", [dev()])]);
        target.observed.other_annotation_bytes = 256 * 1024;
        let plan = target.plan();
        assert!(matches!(plan.blocked, Some(Blocked::TooLarge { what: "annotations", .. })));
    }

    #[test]
    fn what_is_immutable_or_going_is_not_written() {
        let mut target = Target::new().wanting([config("team", [dev()])]);
        target.observed.immutable = true;
        assert_eq!(target.plan().blocked, Some(Blocked::Immutable));
        target.observed.deleting = true;
        assert_eq!(target.plan().blocked, Some(Blocked::BeingDeleted));
        target.want([]);
        assert_eq!(target.plan().blocked, None, "nothing to write is nothing to block");
    }
}

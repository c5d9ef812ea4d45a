//! Each owner and each state.

use super::*;
use crate::desired::{ConfigState, DesiredConfig, DesiredMapping, Refs};
use crate::ledger::Writer;
use crate::mapping::Mapping;
use crate::observed::Observed;
use crate::places::Places;
use crate::plan::{ConflictPolicy, plan};
use crate::privilege::Policy;

const NODES: &str = "- rolearn: arn:aws:iam::111122223333:role/nodes\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrappers, system:nodes]\n";

fn role(name: &str, username: &str) -> Mapping {
    Mapping {
        list: List::Roles,
        arn: format!("arn:aws:iam::111122223333:role/{name}"),
        username: username.into(),
        groups: vec!["dev".into()],
    }
}

fn config(name: &str, mappings: &[Mapping]) -> DesiredConfig {
    let field = |(index, mapping): (usize, &Mapping)| DesiredMapping {
        mapping: mapping.clone().into(),
        field: format!("spec.mapRoles[{index}]").into(),
    };
    DesiredConfig {
        name: name.into(),
        uid: format!("uid-{name}"),
        generation: 1,
        state: ConfigState::Usable,
        mappings: mappings.iter().enumerate().map(field).collect(),
        refused: Vec::new(),
    }
}

fn writer() -> Writer {
    Writer { management: Some("m".into()), namespace: "n".into(), name: "c".into(), uid: Some("u".into()) }
}

fn with<R>(
    observed: &Observed,
    configs: Vec<DesiredConfig>,
    look: impl FnOnce(&Request<'_>, &Plan) -> R,
) -> R {
    let (refs, writer, policy) = (Refs::Listed(configs), writer(), Policy::default());
    let request = Request {
        observed,
        places: Places::default(),
        refs: &refs,
        writer: &writer,
        cluster_generation: 1,
        policy: &policy,
        conflicts: ConflictPolicy::Refuse,
        remove_all: false,
        last_admin: None,
        take_over: false,
        history: &[],
        owned_before: false,
    };
    look(&request, &plan(&request))
}

fn observed(roles: &str) -> Observed {
    Observed {
        present: true,
        data: BTreeMap::from([("mapRoles".to_owned(), roles.to_owned())]),
        ..Observed::default()
    }
}

/// `aws-auth` after the operator has written what `configs` ask for.
fn written(roles: &str, configs: Vec<DesiredConfig>) -> Observed {
    let before = observed(roles);
    let after = with(&before, configs, |_, plan| plan.after.clone());
    Observed { data: after.data, ledger: after.ledger, ..before }
}

fn seen(observed: &Observed, configs: Vec<DesiredConfig>) -> Vec<(String, Owner, Standing)> {
    let rows = with(observed, configs, rows);
    let name = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
    rows.into_iter().map(|row| (name(&row.arn), row.owner, row.standing)).collect()
}

fn of(name: &str, owner: Owner, standing: Standing) -> (String, Owner, Standing) {
    (name.to_owned(), owner, standing)
}

#[test]
fn each_entry_has_its_owner_and_what_it_is_worth() {
    let foreign = "- rolearn: arn:aws:iam::111122223333:role/ops\n  username: old\n- rolearn: arn:aws:iam::111122223333:role/ops\n  username: ops\n- rolearn: arn:aws:iam::111122223333:role/team/path\n  username: p\n";
    let team = || Owner::Config("team".into());
    let observed = written(&format!("{NODES}{foreign}"), vec![config("team", &[role("dev", "dev")])]);
    let rows = seen(&observed, vec![config("team", &[role("dev", "dev")])]);
    assert_eq!(
        rows,
        [
            of("dev", team(), Standing::InEffect),
            of("nodes", Owner::Node, Standing::InEffect),
            of("ops", Owner::Foreign, Standing::Shadowed),
            of("ops", Owner::Foreign, Standing::InEffect),
            of("path", Owner::Foreign, Standing::WithoutEffect),
        ]
    );
}

#[test]
fn what_is_asked_for_and_not_there_is_shown_with_the_reason() {
    let foreign = "- rolearn: arn:aws:iam::111122223333:role/ops\n  username: somebody\n";
    let team = || Owner::Config("team".into());
    let wanted = [role("dev", "dev"), role("ops", "ops"), role("sys", "system:x")];
    let later = config("later", &[role("dev", "other")]);
    let rows = seen(&observed(foreign), vec![config("team", &wanted), later]);
    assert_eq!(
        rows,
        [
            of("dev", team(), Standing::Pending),
            of("dev", Owner::Config("later".into()), Standing::Shadowed),
            of("ops", Owner::Foreign, Standing::InEffect),
            of("ops", team(), Standing::Conflict),
            of("sys", team(), Standing::Refused),
        ]
    );
}

#[test]
fn a_frozen_entry_and_one_that_is_about_to_go_are_told_apart() {
    let team = || Owner::Config("team".into());
    let observed = written("", vec![config("team", &[role("a", "a"), role("b", "b")])]);
    let suspended =
        DesiredConfig { state: ConfigState::Suspended, ..config("team", &[role("a", "a"), role("b", "b")]) };
    let all = |standing| [of("a", team(), standing), of("b", team(), standing)];
    assert_eq!(seen(&observed, vec![suspended]), all(Standing::Frozen));
    let rows = seen(&observed, vec![config("team", &[role("a", "a")])]);
    assert_eq!(rows, [of("a", team(), Standing::InEffect), of("b", team(), Standing::Pending)]);
}

#[test]
fn users_that_differ_in_case_alone_are_in_each_other_s_way() {
    let users = "- userarn: arn:aws:iam::111122223333:user/Bob\n  username: one\n- userarn: arn:aws:iam::111122223333:user/bob\n  username: two\n";
    let observed = Observed {
        present: true,
        data: BTreeMap::from([("mapUsers".to_owned(), users.to_owned())]),
        ..Observed::default()
    };
    let rows = with(&observed, vec![], rows);
    assert!(rows.iter().all(|row| row.standing == Standing::Conflict && row.message.contains("chance")));
}

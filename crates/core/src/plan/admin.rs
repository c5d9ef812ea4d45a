//! The last administrator stays: removals and demotions that would leave nobody with `system:masters`
//! are kept back, the rest of the plan goes on.

use std::collections::HashSet;

use super::{LastAdminAllowance, Outcome, Reason, Request, State};
use crate::desired::Refs;
use crate::effective::Effective;
use crate::mapping::{Entry, Key};
use crate::merge::{Lists, Merge, Overrides};
use crate::privilege::MASTERS;
use crate::verify;

/// Keeps back what would take away the last administrator. True when something was added to
/// `overrides`, so that planning has to start again.
pub(super) fn hold_last(
    request: &Request<'_>,
    lists: &Lists<'_>,
    merge: &Merge<'_>,
    overrides: &mut Overrides,
) -> bool {
    if request.remove_all || !merge.outcomes.iter().any(touches_administrator) {
        return false;
    }
    let after = verify::expected(lists, &merge.edits);
    if !Effective::of(&after).administrators().is_empty() {
        return false;
    }
    let before = lists.to_entries();
    let effective = Effective::of(&before);
    let administrators: HashSet<Key> = effective
        .administrators()
        .into_iter()
        .filter_map(|place| Some(effective.entry(place)?.key(place.0)))
        .collect();
    let taken_away =
        merge.outcomes.iter().filter(|o| touches_administrator(o) && administrators.contains(&o.key));
    let mut held = false;
    for outcome in taken_away.filter(|outcome| !is_allowed(request, outcome)) {
        let message = message(request, outcome);
        held |= overrides.held.insert(outcome.key.clone(), (Reason::LastAdministrator, message)).is_none();
    }
    held
}

/// Whether an entry that may be an administrator's changes or goes.
fn touches_administrator(outcome: &Outcome) -> bool {
    let is_administrator = |entry: &Entry| entry.groups.iter().any(|group| group == MASTERS);
    outcome.state.is_change() && outcome.before.as_ref().is_some_and(is_administrator)
}

fn is_allowed(request: &Request<'_>, outcome: &Outcome) -> bool {
    let generation_of = |name: &str| match request.refs {
        Refs::Listed(configs) => configs.iter().find(|c| c.name == name).map(|c| c.generation),
        Refs::Absent => None,
    };
    match request.last_admin {
        None => false,
        Some(LastAdminAllowance::All) => true,
        Some(LastAdminAllowance::Config { name, generation }) => {
            outcome.config.as_ref() == Some(name) && generation_of(name) == Some(*generation)
        }
        Some(LastAdminAllowance::Cluster { generation }) => {
            matches!(outcome.reason, Reason::RefLeft | Reason::RemoveAll)
                && *generation == request.cluster_generation
        }
    }
}

fn message(request: &Request<'_>, outcome: &Outcome) -> String {
    let allowance = match (&outcome.reason, &outcome.config, request.refs) {
        (Reason::RefLeft | Reason::RemoveAll, _, _) | (_, None, _) | (_, _, Refs::Absent) => {
            format!("cluster/{}", request.cluster_generation)
        }
        (_, Some(name), Refs::Listed(configs)) => {
            let generation = configs.iter().find(|c| c.name == *name).map_or(0, |c| c.generation);
            format!("{name}/{generation}")
        }
    };
    let what = if outcome.state == State::Removed { "removing" } else { "changing" };
    format!(
        "{what} {} would leave nobody with group system:masters; add another administrator first, or annotate the Cluster with awsiam-operator.dev/allow-last-admin-removal={allowance}",
        outcome.arn()
    )
}

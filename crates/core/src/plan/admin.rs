//! The last administrator stays: removals and demotions that would leave nobody with `system:masters`
//! are kept back, the rest of the plan goes on. Both places are counted together.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};

use super::{LastAdminAllowance, Outcome, Reason, Request, State};
use crate::desired::{Backend, Refs};
use crate::effective::Effective;
use crate::identity_mappings::{Decided, Objects, Said};
use crate::mapping::{Entry, List, fold};
use crate::merge::{Lists, Merge, Overrides};
use crate::privilege::MASTERS;
use crate::verify;

/// Keeps back what would take away the last administrator. True when something was added to
/// `overrides`, so that planning has to start again.
pub(super) fn hold_last(
    request: &Request<'_>,
    lists: &Lists<'_>,
    objects: Option<&Objects<'_>>,
    merge: &Merge<'_>,
    decided: &Decided<'_>,
    overrides: &mut Overrides,
) -> bool {
    // With two places something new in one may overrule an administrator in the other.
    let may_touch = |o: &&Outcome| touches_administrator(o) || (o.state.is_change() && objects.is_some());
    let changes: Vec<&Outcome> = merge.outcomes.iter().chain(&decided.outcomes).filter(may_touch).collect();
    if request.remove_all || changes.is_empty() {
        return false;
    }
    let after = verify::expected(lists, &merge.edits);
    let steps = objects.map(|objects| objects.steps(&decided.changes)).unwrap_or_default();
    let before = lists.to_entries();
    let last_held = |order: &[Backend]| {
        // After each step of the writes somebody must be left, for it may be the last one that succeeds.
        let stays = !administrators(order, &before, &steps.written).is_empty()
            && !administrators(order, &after, &steps.written).is_empty()
            && !administrators(order, &after, &steps.deleted).is_empty();
        if stays { HashSet::new() } else { administrators(order, &before, &steps.read) }
    };
    let readings = request.places.readings();
    let last: HashSet<(Backend, String)> = readings.into_iter().flat_map(last_held).collect();
    let only_unread = !administrators(request.places.backends, &after, &steps.made).is_empty();
    let mut held = false;
    for outcome in changes {
        let is_meant = |(place, arn): &(Backend, String)| {
            let touches = *place != outcome.place || touches_administrator(outcome);
            touches && (*arn == outcome.key.arn || account_of(arn) == outcome.key.arn)
        };
        if !last.iter().any(is_meant) || is_allowed(request, outcome) {
            continue;
        }
        let reason = if only_unread { Reason::AdministratorNotLoaded } else { Reason::LastAdministrator };
        let held_there = match outcome.place {
            Backend::EksConfigMap => &mut overrides.held,
            Backend::Crd => &mut overrides.held_objects,
        };
        let message = message(request, outcome, only_unread);
        held |= held_there.insert(outcome.key.clone(), (reason, message)).is_none();
    }
    held
}

/// Who is an administrator when the authenticator asks the places in this order: the place that answers, and the ARN.
fn administrators<E: Borrow<Entry>>(
    order: &[Backend],
    entries: &BTreeMap<List, Vec<E>>,
    loaded: &Said<'_>,
) -> HashSet<(Backend, String)> {
    let effective = Effective::of(entries);
    let accounts: HashSet<&str> = entries
        .get(&List::Accounts)
        .into_iter()
        .flatten()
        .map(|account| account.borrow().arn.as_str())
        .collect();
    let answers = |place: &Backend, arn: &str| match place {
        Backend::EksConfigMap => !effective.answers(arn).is_empty() || accounts.contains(account_of(arn)),
        Backend::Crd => loaded.contains_key(arn),
    };
    let mut administrators = HashSet::new();
    for (position, place) in order.iter().enumerate() {
        let found: Vec<String> = match place {
            Backend::EksConfigMap => {
                let places = effective.administrators().into_iter();
                places.filter_map(|place| Some(fold(&effective.entry(place)?.arn))).collect()
            }
            // Of several objects one answers by chance.
            Backend::Crd => {
                let all = |entries: &Vec<&Entry>| entries.iter().all(|entry| is_administrator(entry));
                loaded.iter().filter(|(_, said)| all(said)).map(|(arn, _)| arn.clone()).collect()
            }
        };
        let first = |arn: &String| !order.iter().take(position).any(|earlier| answers(earlier, arn));
        administrators.extend(found.into_iter().filter(first).map(|arn| (*place, arn)));
    }
    administrators
}

fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

fn is_administrator(entry: &Entry) -> bool {
    entry.groups.iter().any(|group| group == MASTERS)
}

/// Whether an entry that may be an administrator's changes or goes.
fn touches_administrator(outcome: &Outcome) -> bool {
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
            outcome.config.as_deref() == Some(name) && generation_of(name) == Some(*generation)
        }
        Some(LastAdminAllowance::Cluster { generation }) => {
            matches!(outcome.reason, Reason::RefLeft | Reason::RemoveAll)
                && *generation == request.cluster_generation
        }
    }
}

fn message(request: &Request<'_>, outcome: &Outcome, only_unread: bool) -> String {
    let allowance = match (&outcome.reason, &outcome.config, request.refs) {
        (Reason::RefLeft | Reason::RemoveAll, _, _) | (_, None, _) | (_, _, Refs::Absent) => {
            format!("cluster/{}", request.cluster_generation)
        }
        (_, Some(name), Refs::Listed(configs)) => {
            let generation = configs.iter().find(|c| *c.name == **name).map_or(0, |c| c.generation);
            format!("{name}/{generation}")
        }
    };
    let what = if outcome.state == State::Removed { "removing" } else { "changing" };
    let arn = outcome.arn();
    if only_unread {
        return format!(
            "{what} {arn} waits until every authenticator has read the administrator that comes in its place; it then happens by itself. If the authenticator can't get ready, annotate the Cluster with awsiam-operator.dev/allow-last-admin-removal={allowance}"
        );
    }
    format!(
        "{what} {arn} would leave nobody with group system:masters; add another administrator first, or annotate the Cluster with awsiam-operator.dev/allow-last-admin-removal={allowance}"
    )
}

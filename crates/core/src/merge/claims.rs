//! What happens to each mapping that a referenced config asks for.

use std::sync::Arc;

use super::remainder::remove;
use super::wishes::{disagreement, refused_state};
use super::{Claimed, Context, Decision, Merge, Subject};
use crate::desired::{Backend, ConfigState, DesiredConfig, DesiredMapping};
use crate::ledger::{KeyHash, MeaningHash, Owned};
use crate::mapping::{Entry, Key, List, Mapping};
use crate::plan::{ConflictPolicy, Reason, State};

/// One mapping of one config.
struct Claim<'c> {
    config: &'c DesiredConfig,
    /// The config's name, as the ledger keeps it.
    name: &'c Arc<str>,
    mapping: &'c Mapping,
    key: Key,
    hash: KeyHash,
    /// What the ledger says of the key.
    owned: Option<&'c Owned>,
    /// The entries with this key.
    found: &'c [usize],
}

/// Decides every mapping in order; gives the keys that were claimed.
pub(super) fn decide<'r>(context: &Context<'r, '_>, merge: &mut Merge<'r>) -> Claimed {
    let mut claimed = Claimed::new();
    for config in context.wishes.claiming() {
        let name: Arc<str> = config.name.as_str().into();
        for DesiredMapping { mapping, field } in config.mappings.iter() {
            let key = mapping.key();
            let hash = KeyHash::of(&key);
            let (owned, found) = (context.ledger.owned.get(&hash), context.lists.with_key(&key));
            let claim = Claim { config, name: &name, mapping, key, hash, owned, found };
            let Some(decision) = decide_one(context, &claim, &mut claimed) else { continue };
            let subject = Subject {
                key: claim.key,
                hash,
                config: Some(Arc::clone(&name)),
                field: Some(Arc::clone(field)),
                mapping: Some(mapping),
            };
            merge.carry_out(context.lists, subject, decision);
        }
    }
    claimed
}

/// What happens to one mapping; none if the entry is frozen for this config alone, which the remainder reports, or
/// if the mapping is an object's, which [`crate::identity_mappings`] reports.
fn decide_one(context: &Context<'_, '_>, claim: &Claim<'_>, claimed: &mut Claimed) -> Option<Decision> {
    let is_home = context.is_home(claim.key.list);
    if !is_home && (claim.owned.is_none() || claimed.contains(&claim.hash)) {
        return None;
    }
    if claimed.contains(&claim.hash) {
        let message = "an earlier reference of the Cluster names the same ARN; remove one of the two";
        return Some(Decision::of(State::Shadowed, Reason::Precedence, message));
    }
    if let ConfigState::Disagrees(fields) = &claim.config.state {
        let is_owner = claim.owned.is_some_and(|owned| owned.config == *claim.name);
        let message = disagreement(claim.config, fields);
        return (!is_owner && is_home)
            .then(|| Decision::of(State::Refused, Reason::ConfigDisagrees, message));
    }
    claimed.insert(claim.hash);
    decide_claim(context, claim, is_home)
}

fn decide_claim(context: &Context<'_, '_>, claim: &Claim<'_>, is_home: bool) -> Option<Decision> {
    if let Some((reason, message)) = refusal(context, claim) {
        let state = refused_state(&reason, claim.owned.is_some());
        return Some(Decision::of(state, reason, message).owned(claim.owned.cloned()));
    }
    let wanted =
        Owned { config: Arc::clone(claim.name), meaning: MeaningHash::of_mapping(&claim.key, claim.mapping) };
    let ours = claim.owned.and_then(|owned| Some((owned, context.ours(&claim.key, owned, claim.found)?)));
    if !is_home && has_moved(context, claim) {
        let (owned, index) = ours?;
        return Some(remove(context, &claim.key, owned, index, Reason::Moving));
    }
    let mut decision = match ours {
        Some((owned, index)) => keep(context, claim, wanted, owned, index),
        None => bring(context, claim, wanted),
    };
    if !is_home && decision.state == State::InEffect {
        (decision.state, decision.reason) = (State::Held, Reason::Moving);
        "its IAMIdentityMapping takes over; this entry goes when the authenticator has loaded that one and is ready everywhere with the new backendMode".clone_into(&mut decision.message);
    }
    Some(decision)
}

/// Whether the object that takes the entry's place answers in its stead already.
fn has_moved(context: &Context<'_, '_>, claim: &Claim<'_>) -> bool {
    let is_ready = context.wishes.request.places.ready;
    is_ready && context.objects.is_some_and(|objects| objects.gives(&claim.key, claim.mapping))
}

/// Why a mapping is not to be written, whatever stands in the list.
fn refusal(context: &Context<'_, '_>, claim: &Claim<'_>) -> Option<(Reason, String)> {
    let Claim { config, mapping, key, .. } = claim;
    let general = context.wishes.refusal(config, mapping, context.overrides.held.get(key));
    if general.is_some() {
        return general;
    }
    if key.list == List::Accounts && !context.wishes.request.places.asks(Backend::EksConfigMap) {
        let message = "accounts stand in aws-auth alone, which the authenticator does not ask; add EKSConfigMap to backendMode, or remove this row";
        return Some((Reason::RuleRefused, message.to_owned()));
    }
    if !context.lists.side(key.list).is_readable() {
        let message =
            format!("{} of aws-auth can't be read; mend it by hand, see the Cluster's status", key.list);
        return Some((Reason::Unreadable, message));
    }
    in_the_way(context, claim).or_else(|| held_by_frozen(context, claim))
}

/// Entries that are nobody's to change, or that stand in the other list.
fn in_the_way(context: &Context<'_, '_>, claim: &Claim<'_>) -> Option<(Reason, String)> {
    let Claim { key, found, .. } = claim;
    let other = match key.list {
        List::Roles => List::Users,
        List::Users => List::Roles,
        List::Accounts => return None,
    };
    let found_there = context.lists.with_arn(other, &key.arn);
    for (list, found) in [(key.list, *found), (other, found_there)] {
        if found.iter().filter_map(|index| context.lists.entry(list, *index)).any(Entry::is_node) {
            let message = format!(
                "nodes join by an entry of {list} with this ARN, and the last entry with an ARN counts; use another role for people"
            );
            return Some((Reason::NodeEntry, message));
        }
    }
    if let Some(object) = context.objects.and_then(|objects| objects.node_object(&key.arn)) {
        return Some((Reason::NodeEntry, object.node_message()));
    }
    let is_ours = || context.owned(&Key { list: other, arn: key.arn.clone() }).is_some();
    if found_there.is_empty() || is_ours() {
        return None;
    }
    let message = format!(
        "an entry with this ARN stands in {other} and is not ours; remove it there, or remove this row"
    );
    Some((Reason::OtherList, message))
}

/// A frozen entry of another config keeps its key.
fn held_by_frozen(context: &Context<'_, '_>, claim: &Claim<'_>) -> Option<(Reason, String)> {
    let owned = claim.owned?;
    if owned.config == *claim.name || claim.found.is_empty() {
        return None;
    }
    context.wishes.held_by_frozen(claim.config, claim.mapping, &owned.config)
}

/// Our entry is there: keep it, or replace it.
fn keep(context: &Context<'_, '_>, claim: &Claim<'_>, wanted: Owned, owned: &Owned, ours: usize) -> Decision {
    let Claim { mapping, key, .. } = claim;
    if let Some(rival) = winning_rival(context, claim, ours) {
        return match context.wishes.request.conflicts {
            ConflictPolicy::Refuse => Decision::of(State::Conflict, Reason::Conflict, conflict_message(key))
                .owned(Some(owned.clone())),
            ConflictPolicy::Adopt => {
                let mut decision = replacement(context, key, wanted, owned, rival, State::Adopted);
                if decision.replace.is_some() && !context.lists.is_anchored(key.list, ours) {
                    decision.remove = Some(ours);
                }
                decision
            }
        };
    }
    let Some(entry) = context.entry(key, ours) else {
        return Decision::of(State::Frozen, Reason::Drift, "").owned(Some(owned.clone()));
    };
    if entry.means(mapping) {
        let mut decision = Decision::of(State::InEffect, Reason::Listed, "").owned(Some(wanted));
        decision.admitted = true;
        return decision;
    }
    let as_written = MeaningHash::of(key.list, entry) == owned.meaning;
    let state = if as_written { State::Changed } else { State::Repaired };
    replacement(context, key, wanted, owned, ours, state)
}

fn replacement(
    context: &Context<'_, '_>,
    key: &Key,
    wanted: Owned,
    owned: &Owned,
    index: usize,
    state: State,
) -> Decision {
    if let Some((reason, message)) = context.locked(key.list) {
        return Decision::of(State::Held, reason, message).owned(Some(owned.clone()));
    }
    if context.lists.is_anchored(key.list, index) {
        return Decision::of(State::Held, Reason::Anchored, anchored_message(key)).owned(Some(owned.clone()));
    }
    let reason = if state == State::Repaired { Reason::Drift } else { Reason::Listed };
    let mut decision = Decision::of(state, reason, "").owned(Some(wanted));
    decision.replace = Some(index);
    decision.admitted = true;
    decision
}

/// Our entry is not there (yet): add it, or deal with the foreign entry in its place.
fn bring(context: &Context<'_, '_>, claim: &Claim<'_>, wanted: Owned) -> Decision {
    let Claim { mapping, key, owned, found: foreign, .. } = claim;
    let Some(last) = foreign.last().copied() else {
        if owned.is_none()
            && let Some(decision) = overruled_object(context, claim)
        {
            return decision;
        }
        if let Some((reason, message)) = context.locked(key.list) {
            return Decision::of(State::Held, reason, message).owned(owned.cloned());
        }
        let (state, reason) =
            if owned.is_some() { (State::Repaired, Reason::Drift) } else { (State::Added, Reason::Listed) };
        let mut decision = Decision::of(state, reason, "").owned(Some(wanted));
        decision.append = true;
        decision.admitted = true;
        return decision;
    };
    let adopt = context.wishes.request.conflicts == ConflictPolicy::Adopt;
    if answering(context, key, foreign).into_iter().all(|entry| entry.means(mapping)) {
        if !adopt {
            let message = "an entry that is not ours says the same; it stays as it is. To manage it, set conflictPolicy: Adopt on the Cluster";
            return Decision::of(State::AlreadyPresent, Reason::AlreadyPresent, message);
        }
        let mut decision = Decision::of(State::Adopted, Reason::Listed, "").owned(Some(wanted));
        decision.admitted = true;
        return decision;
    }
    let ambiguous = answering(context, key, foreign).len() > 1;
    if !adopt || ambiguous {
        return Decision::of(State::Conflict, Reason::Conflict, conflict_message(key));
    }
    if let Some((reason, message)) = context.locked(key.list) {
        return Decision::of(State::Held, reason, message);
    }
    if context.lists.is_anchored(key.list, last) {
        return Decision::of(State::Held, Reason::Anchored, anchored_message(key));
    }
    let mut decision = Decision::of(State::Adopted, Reason::Listed, "").owned(Some(wanted));
    decision.replace = Some(last);
    decision.admitted = true;
    decision
}

/// A foreign entry with our key that would answer in place of ours, or at random beside it, and says
/// something else.
fn winning_rival(context: &Context<'_, '_>, claim: &Claim<'_>, ours: usize) -> Option<usize> {
    let Claim { mapping, key, found, .. } = claim;
    let our_entry = context.entry(key, ours)?;
    let wins = |index: usize, entry: &Entry| {
        index > ours || (index != ours && !replaces(key.list, our_entry, entry))
    };
    let mut rivals = found.iter().rev().copied();
    rivals.find(|index| context.entry(key, *index).is_some_and(|e| wins(*index, e) && !e.means(mapping)))
}

/// Whether of two entries with one key the authenticator keeps the later one. Else both stay, and chance
/// decides at every login: of users it compares ARNs as written, of roles in (Go's) lower case.
fn replaces(list: List, later: &Entry, earlier: &Entry) -> bool {
    match list {
        List::Users => later.arn == earlier.arn,
        List::Roles | List::Accounts => later.arn.to_lowercase() == earlier.arn.to_lowercase(),
    }
}

/// The entries among those with a key that answer.
fn answering<'l>(context: &Context<'_, 'l>, key: &Key, found: &[usize]) -> Vec<&'l Entry> {
    let mut answering: Vec<&Entry> = Vec::new();
    for entry in found.iter().rev().filter_map(|index| context.entry(key, *index)) {
        if !answering.iter().any(|later| replaces(key.list, later, entry)) {
            answering.push(entry);
        }
    }
    answering
}

/// An object that an authenticator may ask after `aws-auth` and that our new entry would overrule.
fn overruled_object(context: &Context<'_, '_>, claim: &Claim<'_>) -> Option<Decision> {
    let places = &context.wishes.request.places;
    let objects = context.objects.filter(|_| places.may_overrule(Backend::EksConfigMap, Backend::Crd))?;
    let Claim { mapping, key, .. } = claim;
    let foreign: Vec<_> = match key.list {
        List::Accounts => {
            let has_entry = |arn: &str| {
                [List::Roles, List::Users].iter().any(|list| !context.lists.with_arn(*list, arn).is_empty())
            };
            objects.of_account(&key.arn, has_entry)
        }
        _ if objects.has_ours(key) => Vec::new(),
        _ => objects.foreign(&key.arn).collect(),
    };
    let object = foreign.iter().find(|object| key.list == List::Accounts || !object.grants(mapping));
    let Some(object) = object else {
        let is_present = !foreign.is_empty() && places.asks(Backend::Crd);
        let message = "an IAMIdentityMapping that is not ours says the same; it stays as it is. To manage the mapping here, remove that object";
        return is_present.then(|| Decision::of(State::AlreadyPresent, Reason::AlreadyPresent, message));
    };
    let name = &object.name;
    if !places.ready {
        let message = format!(
            "the authenticators that run may still ask for IAMIdentityMapping {name}, which this would overrule; it comes when all of them run with the new backendMode"
        );
        return Some(Decision::of(State::Held, Reason::Moving, message));
    }
    let message = if key.list == List::Accounts {
        format!(
            "IAMIdentityMapping {name} is for an identity of this account, and aws-auth, which is asked first, would overrule it; put CRD first in backendMode, or remove that object"
        )
    } else {
        format!(
            "IAMIdentityMapping {name}, which is not ours, has this ARN and says something else, and aws-auth would overrule it; remove it, or make it equal"
        )
    };
    Some(Decision::of(State::Conflict, Reason::Conflict, message))
}

fn conflict_message(key: &Key) -> String {
    format!(
        "an entry of {} that is not ours has this ARN and says something else; remove it, make it equal, or set conflictPolicy: Adopt on the Cluster",
        key.list
    )
}

fn anchored_message(key: &Key) -> String {
    format!(
        "another entry of {} uses a YAML anchor of this one; write that entry out in full, then this one can change",
        key.list
    )
}

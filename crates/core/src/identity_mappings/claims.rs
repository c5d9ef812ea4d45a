//! What happens to each mapping that is written as an object, or was.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::objects::{lost_key, other_writer};
use super::remainder::taken_over;
use super::{Claimed, Context, Decided, Deletion, IdentityMapping, Mark, Objects, Subject, Write};
use super::{canonical_arn, cluster_label, object_name};
use crate::desired::{Backend, ConfigState, DesiredConfig, DesiredMapping};
use crate::effective::Effective;
use crate::ledger::KeyHash;
use crate::mapping::{Entry, Key, List, Mapping};
use crate::merge::wishes::{disagreement, refused_state};
use crate::plan::{ConflictPolicy, Reason, State};

/// One mapping of one config, and the objects that have to do with it.
struct Claim<'c, 'r> {
    config: &'r DesiredConfig,
    mapping: &'r Arc<Mapping>,
    key: Key,
    name: String,
    /// Ours; a mark that is missing has been taken away.
    ours: Vec<(&'r IdentityMapping, Option<&'c Mark>)>,
    /// Foreign ones with this ARN.
    foreign: Vec<&'r IdentityMapping>,
}

/// What becomes of one mapping.
struct Decision<'r> {
    state: State,
    reason: Reason,
    message: String,
    /// Objects that get our spec and mark where they differ from it.
    replace: Vec<&'r IdentityMapping>,
    create: bool,
    delete: Vec<&'r IdentityMapping>,
    admitted: bool,
}

impl<'r> Decision<'r> {
    fn of(state: State, reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { state, reason, message, replace: vec![], create: false, delete: vec![], admitted: false }
    }

    fn writing(mut self, objects: impl IntoIterator<Item = &'r IdentityMapping>) -> Self {
        self.replace = objects.into_iter().filter(|object| !object.deleting).collect();
        self.admitted = true;
        self
    }
}

/// Decides every mapping in order; gives the keys that were claimed.
pub(super) fn decide<'r>(context: &Context<'r, '_>, decided: &mut Decided<'r>) -> Claimed {
    let mut claimed = Claimed::new();
    let mut arns: BTreeMap<String, Key> = BTreeMap::new();
    let entries = destination(context);
    let entries = entries.as_ref().map(Effective::of);
    for config in context.wishes.claiming() {
        for DesiredMapping { mapping, field } in config.mappings.iter() {
            if mapping.list == List::Accounts {
                continue;
            }
            let claim = Claim::of(context, config, mapping);
            // One ARN has one object, whatever list it is written in.
            let first = arns.entry(claim.key.arn.clone()).or_insert_with(|| claim.key.clone());
            let is_second = *first != claim.key || claimed.contains(&KeyHash::of(&claim.key));
            let Some(decision) = decide_one(context, &claim, is_second, entries.as_ref(), &mut claimed)
            else {
                continue;
            };
            carry_out(context, decided, claim, decision, field);
        }
    }
    claimed
}

impl<'c, 'r> Claim<'c, 'r> {
    fn of(context: &Context<'r, 'c>, config: &'r DesiredConfig, mapping: &'r Arc<Mapping>) -> Self {
        let key = mapping.key();
        let writer = context.wishes.request.writer;
        let name = object_name(writer, &key);
        let mut claim = Self { config, mapping, key, name, ours: Vec::new(), foreign: Vec::new() };
        let Some(objects) = context.objects else { return claim };
        claim.ours = objects.ours(&claim.key).map(|(object, mark)| (object, Some(mark))).collect();
        for object in objects.foreign(&claim.key.arn) {
            if lost_key(writer, object).as_ref() == Some(&claim.key) {
                claim.ours.push((object, None));
            } else {
                claim.foreign.push(object);
            }
        }
        claim
    }

    fn objects(&self) -> impl Iterator<Item = &'r IdentityMapping> {
        self.ours.iter().map(|(object, _)| *object)
    }
}

/// What happens to one mapping; none if what is ours is frozen for this config alone, which the remainder reports, or
/// if it is an entry's, which [`crate::merge`] reports.
fn decide_one<'r>(
    context: &Context<'r, '_>,
    claim: &Claim<'_, 'r>,
    is_second: bool,
    entries: Option<&Effective<'_, Entry>>,
    claimed: &mut Claimed,
) -> Option<Decision<'r>> {
    let is_home = context.wishes.request.places.home(claim.key.list) == Backend::Crd;
    if !is_home && (claim.ours.is_empty() || is_second) {
        return None;
    }
    if is_second {
        let message = "an earlier reference of the Cluster names the same ARN; remove one of the two";
        return Some(Decision::of(State::Shadowed, Reason::Precedence, message));
    }
    if let ConfigState::Disagrees(fields) = &claim.config.state {
        let is_owner = claim.ours.iter().any(|(_, mark)| mark.is_some_and(|m| m.config == claim.config.name));
        let message = disagreement(claim.config, fields);
        return (!is_owner && is_home)
            .then(|| Decision::of(State::Refused, Reason::ConfigDisagrees, message));
    }
    claimed.insert(KeyHash::of(&claim.key));
    if let Some((reason, message)) = refusal(context, claim) {
        let state = refused_state(&reason, !claim.ours.is_empty());
        return Some(Decision::of(state, reason, message));
    }
    if !is_home && has_moved(context, claim, entries) {
        let mut decision = Decision::of(State::Removed, Reason::Moving, "");
        decision.delete = claim.objects().filter(|object| !object.deleting).collect();
        return Some(decision);
    }
    let mut decision = if claim.ours.is_empty() { bring(context, claim) } else { keep(context, claim) };
    if !is_home && decision.state == State::InEffect {
        (decision.state, decision.reason) = (State::Held, Reason::Moving);
        "its entry in aws-auth takes over; this object goes when that one is there and the authenticator is ready everywhere with the new backendMode".clone_into(&mut decision.message);
    }
    Some(decision)
}

/// Why a mapping is not to be written as an object.
fn refusal(context: &Context<'_, '_>, claim: &Claim<'_, '_>) -> Option<(Reason, String)> {
    let Claim { config, mapping, key, .. } = claim;
    let general = context.wishes.refusal(config, mapping, context.overrides.held_objects.get(key));
    if general.is_some() {
        return general;
    }
    if context.objects.is_none() {
        let message =
            "the IAMIdentityMapping objects of the target were not read; nothing about them is changed";
        return Some((Reason::Unreadable, message.to_owned()));
    }
    if canonical_arn(&mapping.arn).is_none_or(|arn| arn != key.arn) {
        let message = "the authenticator would never find this ARN in an IAMIdentityMapping; correct the row";
        return Some((Reason::VerificationFailed, message.to_owned()));
    }
    let joins = |list| context.lists.with_arn(list, &key.arn).iter().map(move |index| (list, *index));
    let mut entries = joins(List::Roles).chain(joins(List::Users));
    let is_node = |(list, index)| context.lists.entry(list, index).is_some_and(Entry::is_node);
    if entries.any(is_node) {
        let message =
            "nodes join by an entry of aws-auth with this ARN; use another role for people".to_owned();
        return Some((Reason::NodeEntry, message));
    }
    if let Some(object) = claim.foreign.iter().chain(&claim.unmarked()).find(|object| object.spec.is_node()) {
        return Some((Reason::NodeEntry, object.node_message()));
    }
    let holders = claim.ours.iter().filter_map(|(_, mark)| mark.map(|mark| mark.config.as_str()));
    holders.into_iter().find_map(|holder| context.wishes.held_by_frozen(config, mapping, holder))
}

impl<'r> Claim<'_, 'r> {
    fn unmarked(&self) -> Vec<&'r IdentityMapping> {
        self.ours.iter().filter(|(_, mark)| mark.is_none()).map(|(object, _)| *object).collect()
    }
}

/// Our object is there: keep it, or put it right.
fn keep<'r>(context: &Context<'r, '_>, claim: &Claim<'_, 'r>) -> Decision<'r> {
    let Claim { mapping, ours, foreign, .. } = claim;
    if claim.objects().all(|object| object.deleting) {
        let message = "our IAMIdentityMapping is being deleted and a finalizer holds it; it is made again when it has gone, so remove the finalizer";
        return Decision::of(State::Held, Reason::BeingDeleted, message);
    }
    let rivals: Vec<_> = foreign.iter().copied().filter(|object| !object.grants(mapping)).collect();
    if !rivals.is_empty() {
        if let Some(conflict) = conflict(context, &rivals) {
            return conflict;
        }
        return Decision::of(State::Adopted, Reason::Listed, "").writing(claim.objects().chain(rivals));
    }
    let wrong = |object: &IdentityMapping| !object.deleting && !object.spec.means(mapping);
    let drifted = |(object, mark): &(&IdentityMapping, Option<&Mark>)| {
        wrong(object) && mark.is_none_or(|mark| !mark.is_as_written(&object.spec))
    };
    let (state, reason) = match (claim.objects().any(wrong), ours.iter().any(drifted)) {
        (false, _) => (State::InEffect, Reason::Listed),
        (true, false) => (State::Changed, Reason::Listed),
        (true, true) => (State::Repaired, Reason::Drift),
    };
    Decision::of(state, reason, "").writing(claim.objects())
}

/// None of ours is there: make one, or deal with what is in its place.
fn bring<'r>(context: &Context<'r, '_>, claim: &Claim<'_, 'r>) -> Decision<'r> {
    let Claim { mapping, foreign, .. } = claim;
    if let Some(object) = foreign.iter().find(|object| object.deleting) {
        let message = format!(
            "IAMIdentityMapping {} has this ARN and is being deleted; this mapping comes when it has gone",
            object.name
        );
        return Decision::of(State::Held, Reason::BeingDeleted, message);
    }
    if !foreign.is_empty() {
        let adopt = context.wishes.request.conflicts == ConflictPolicy::Adopt;
        if foreign.iter().all(|object| object.grants(mapping)) && (!adopt || is_claimed(foreign)) {
            let message = if is_claimed(foreign) {
                "an IAMIdentityMapping of another Cluster's operator says the same; it stays as it is"
            } else {
                "an IAMIdentityMapping that is not ours says the same; it stays as it is. To manage it, set conflictPolicy: Adopt on the Cluster"
            };
            return Decision::of(State::AlreadyPresent, Reason::AlreadyPresent, message);
        }
        // Which of several that differ answers is left to chance: nobody can say what to adopt.
        let first = foreign.first().map(|object| &object.spec);
        let same = |o: &&IdentityMapping| {
            first.is_some_and(|f| f.username == o.spec.username && f.groups == o.spec.groups)
        };
        if !foreign.iter().all(same) {
            return conflict_with(foreign);
        }
        return conflict(context, foreign).unwrap_or_else(|| {
            Decision::of(State::Adopted, Reason::Listed, "").writing(foreign.iter().copied())
        });
    }
    if let Some(decision) = overruled_entry(context, claim) {
        return decision;
    }
    if let Some(taken) = context.objects.and_then(|objects| objects.named(&claim.name)) {
        let message = format!(
            "an IAMIdentityMapping named {} is there for another ARN and is not ours; remove it",
            taken.object.name
        );
        return Decision::of(State::Conflict, Reason::Conflict, message);
    }
    let mut decision = Decision::of(State::Added, Reason::Listed, "");
    (decision.create, decision.admitted) = (true, true);
    decision
}

/// A foreign entry of `aws-auth` that an authenticator may ask after the objects and that ours would overrule. Where we
/// own an entry with the key, that one answers there or is itself in conflict.
fn overruled_entry<'r>(context: &Context<'r, '_>, claim: &Claim<'_, 'r>) -> Option<Decision<'r>> {
    let places = &context.wishes.request.places;
    let is_owned = context.ledger.owned.contains_key(&KeyHash::of(&claim.key));
    if is_owned || !places.may_overrule(Backend::Crd, Backend::EksConfigMap) {
        return None;
    }
    let found = |list| {
        let indexes = context.lists.with_arn(list, &claim.key.arn);
        indexes.iter().filter_map(move |index| context.lists.entry(list, *index))
    };
    let entries: Vec<&Entry> = found(List::Roles).chain(found(List::Users)).collect();
    let is_asked = places.asks(Backend::EksConfigMap);
    if entries.iter().all(|entry| entry.means(claim.mapping)) {
        let message = "an entry of aws-auth that is not ours says the same; it stays as it is. To manage it here, remove it there";
        return (is_asked && !entries.is_empty())
            .then(|| Decision::of(State::AlreadyPresent, Reason::AlreadyPresent, message));
    }
    if !places.ready {
        let message = "the authenticators that run may still ask for an entry of aws-auth that is not ours, has this ARN and says something else; the object comes when all of them run with the new backendMode";
        return Some(Decision::of(State::Held, Reason::Moving, message));
    }
    let message = "an entry of aws-auth that is not ours has this ARN and says something else, and the object would overrule it; remove it, or make it equal";
    Some(Decision::of(State::Conflict, Reason::Conflict, message))
}

/// Why foreign objects can't become ours, if so.
fn conflict<'r>(context: &Context<'_, '_>, foreign: &[&IdentityMapping]) -> Option<Decision<'r>> {
    let adopt = context.wishes.request.conflicts == ConflictPolicy::Adopt;
    (!adopt || is_claimed(foreign)).then(|| conflict_with(foreign))
}

/// Whether another Cluster's operator looks after one of them: that one is never adopted.
fn is_claimed(foreign: &[&IdentityMapping]) -> bool {
    foreign.iter().any(|object| other_writer(object).is_some())
}

fn conflict_with<'r>(foreign: &[&IdentityMapping]) -> Decision<'r> {
    let names: Vec<&str> = foreign.iter().take(5).map(|object| object.name.as_str()).collect();
    let names = names.join(", ");
    let message = match foreign.iter().find_map(|object| other_writer(object)) {
        Some(owner) => format!(
            "IAMIdentityMapping {names} has this ARN and belongs to {owner}; remove the row from one of the two"
        ),
        None => format!(
            "IAMIdentityMapping {names}, which is not ours, has this ARN and says something else; remove it, make it equal, or, if it is the only one, set conflictPolicy: Adopt on the Cluster"
        ),
    };
    Decision::of(State::Conflict, Reason::Conflict, message)
}

/// `aws-auth` as it was read, where objects of ours may be leaving for it.
fn destination(context: &Context<'_, '_>) -> Option<BTreeMap<List, Vec<Entry>>> {
    let request = context.wishes.request;
    let leaving = request.places.ready
        && request.places.home(List::Roles) == Backend::EksConfigMap
        && context.objects.is_some_and(Objects::any_ours);
    (leaving && request.observed.present).then(|| context.lists.to_entries())
}

/// Whether our entry in `aws-auth` answers for a mapping already.
fn has_moved(
    context: &Context<'_, '_>,
    claim: &Claim<'_, '_>,
    entries: Option<&Effective<'_, Entry>>,
) -> bool {
    let is_owned = context.ledger.owned.contains_key(&KeyHash::of(&claim.key));
    is_owned && entries.is_some_and(|entries| entries.gives(claim.mapping))
}

fn carry_out<'r>(
    context: &Context<'r, '_>,
    decided: &mut Decided<'r>,
    claim: Claim<'_, 'r>,
    decision: Decision<'r>,
    field: &Arc<str>,
) {
    let request = context.wishes.request;
    let mark = |name: &str| {
        let generation = request.cluster_generation;
        Mark::of(name, request.writer, generation, claim.config, claim.mapping)
    };
    let cluster = cluster_label(request.writer);
    let mut before = decision.delete.first().map(|object| object.spec.clone());
    for object in &decision.replace {
        let wanted = mark(&object.name);
        let found = object.mark.as_deref().and_then(|text| Mark::parse(text).ok());
        let means = object.spec.means(claim.mapping);
        let is_marked = found.is_some_and(|found| found.same_but_for_generations(&wanted));
        if means && is_marked && object.cluster.as_ref() == Some(&cluster) {
            continue;
        }
        if !means || decision.state == State::Adopted {
            before.get_or_insert_with(|| object.spec.clone());
        }
        // What is equal in meaning keeps its text, such as the case of its ARN.
        let spec = if means { object.spec.clone() } else { Entry::from(&**claim.mapping) };
        let replaces = Some(object.version.clone());
        let (name, cluster) = (object.name.clone(), cluster.clone());
        decided.changes.write.push(Write { name, replaces, spec, cluster, mark: wanted.render() });
    }
    if decision.create {
        let (name, mark) = (claim.name.clone(), mark(&claim.name).render());
        let spec = Entry::from(&**claim.mapping);
        decided.changes.write.push(Write { name, replaces: None, spec, cluster, mark });
    }
    if decision.replace.is_empty() && decision.delete.is_empty() {
        let kept = claim.ours.iter().filter_map(|(object, mark)| Some((*object, (*mark)?)));
        let kept = kept.filter(|(object, _)| !object.deleting);
        decided.changes.write.extend(kept.filter_map(|(object, mark)| taken_over(context, object, mark)));
    }
    let deletions = decision.delete.iter();
    decided.changes.delete.extend(deletions.map(|object| Deletion::of(object)));
    if decision.admitted {
        decided.admitted.push(claim.mapping);
    }
    let subject = Subject {
        key: claim.key,
        config: Some(claim.config.name.as_str().into()),
        field: Some(Arc::clone(field)),
        mapping: Some(claim.mapping),
        before,
    };
    decided.say(subject, decision.state, decision.reason, decision.message);
}

//! What happens to objects of ours that no mapping claimed: they go only when it is certain that nobody wants them.

use super::objects::lost_key;
use super::{
    Claimed, Context, Decided, Deletion, IdentityMapping, Mark, Objects, Subject, Write, cluster_label,
};
use crate::ledger::{KeyHash, Relation};
use crate::mapping::Key;
use crate::plan::{Note, Reason, State};

impl Deletion {
    pub(super) fn of(object: &IdentityMapping) -> Self {
        Self { name: object.name.clone(), version: object.version.clone() }
    }
}

/// Decides every key of ours that was not claimed.
pub(super) fn decide<'r>(
    context: &Context<'r, '_>,
    objects: &Objects<'r>,
    claimed: &Claimed,
    decided: &mut Decided<'r>,
) {
    for key in objects.keys().filter(|key| !claimed.contains(&KeyHash::of(key))) {
        let ours: Vec<_> = objects.ours(key).collect();
        let Some((first, mark)) = ours.first() else { continue };
        let (state, reason, message) = decide_one(context, key, &ours);
        let mut before = None;
        if state == State::Removed {
            before = Some(first.spec.clone());
            let leaving = ours.iter().filter(|(object, _)| !object.deleting);
            decided.changes.delete.extend(leaving.map(|(object, _)| Deletion::of(object)));
        } else {
            let stay = ours.iter().filter(|(object, _)| !object.deleting);
            decided.changes.write.extend(stay.filter_map(|(object, mark)| taken_over(context, object, mark)));
        }
        let config = Some(mark.config.as_str().into());
        let subject = Subject { key: key.clone(), config, field: None, mapping: None, before };
        decided.say(subject, state, reason, message);
    }
}

fn decide_one(
    context: &Context<'_, '_>,
    key: &Key,
    ours: &[(&IdentityMapping, &Mark)],
) -> (State, Reason, String) {
    let hash = KeyHash::of(key);
    let mut removal = Reason::RemoveAll;
    for (_, mark) in ours {
        match context.wishes.removal_reason(hash, &mark.config) {
            Ok(reason) => removal = reason,
            Err((reason, message)) => return (State::Frozen, reason, message),
        }
    }
    if let Some((reason, message)) = context.overrides.held_objects.get(key) {
        return (State::Held, reason.clone(), message.clone());
    }
    if ours.iter().any(|(object, _)| object.spec.is_node()) {
        let message = "somebody made this object of ours one by which nodes join; it is left as it is";
        return (State::Frozen, Reason::NodeEntry, message.to_owned());
    }
    if ours.iter().all(|(object, _)| object.deleting) {
        let message = "the IAMIdentityMapping is deleted and a finalizer holds it; it answers logins until the finalizer is removed";
        return (State::Held, Reason::BeingDeleted, message.to_owned());
    }
    (State::Removed, removal, String::new())
}

/// The same object under our own mark, where it has another writer's that we take over.
pub(super) fn taken_over(context: &Context<'_, '_>, object: &IdentityMapping, mark: &Mark) -> Option<Write> {
    let writer = context.wishes.request.writer;
    if mark.writer.relation_to(writer) == Relation::Same {
        return None;
    }
    let mut mark = mark.clone();
    mark.writer.clone_from(writer);
    let (name, replaces) = (object.name.clone(), Some(object.version.clone()));
    let (spec, cluster) = (object.spec.clone(), cluster_label(writer));
    Some(Write { name, replaces, spec, cluster, mark: mark.render() })
}

/// Objects that are ours by their name, have lost their mark, and are asked for by nobody: they stay, and are named.
pub(super) fn orphans(context: &Context<'_, '_>, objects: &Objects<'_>, claimed: &Claimed) -> Option<Note> {
    let lost = objects.all().filter(|found| found.mark.is_none());
    let keys: Vec<Key> = lost
        .filter_map(|found| lost_key(context.wishes.request.writer, found.object))
        .filter(|key| !claimed.contains(&KeyHash::of(key)))
        .collect();
    (!keys.is_empty()).then_some(Note::PossiblyOrphaned { keys })
}

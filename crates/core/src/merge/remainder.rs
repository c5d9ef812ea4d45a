//! What happens to entries that we own and that no mapping claimed: they are removed only when it is
//! certain that nobody wants them, else frozen.

use std::sync::Arc;

use super::{Claimed, Context, Decision, Merge, Subject};
use crate::ledger::{KeyHash, Owned};
use crate::mapping::{Entry, Key};
use crate::plan::{Reason, State};

/// Decides every owned entry that was not claimed.
pub(super) fn decide(context: &Context<'_, '_>, claimed: &Claimed, merge: &mut Merge<'_>) {
    if context.ledger.owned.keys().all(|hash| claimed.contains(hash)) {
        return;
    }
    let mut seen = claimed.clone();
    for key in context.lists.keys() {
        let hash = KeyHash::of(&key);
        let Some(owned) = context.ledger.owned.get(&hash) else { continue };
        if seen.insert(hash)
            && let Some(ours) = context.ours(&key, owned, context.lists.with_key(&key))
        {
            let decision = decide_one(context, &key, hash, owned, ours);
            let config = Some(Arc::clone(&owned.config));
            let subject = Subject { key, hash, config, field: None, mapping: None };
            merge.carry_out(context.lists, subject, decision);
        }
    }
    // What is not seen may stand in a list that can't be read. What is frozen stays ours although somebody took
    // it out: put back, it would be nobody's, and the grant could not be revoked any more.
    let all_readable = context.lists.all_readable();
    let unseen = context.ledger.owned.iter().filter(|(hash, owned)| {
        !seen.contains(*hash)
            && (!all_readable || context.wishes.removal_reason(**hash, &owned.config).is_err())
    });
    merge.owned.extend(unseen.map(|(hash, owned)| (*hash, owned.clone())));
}

fn decide_one(context: &Context<'_, '_>, key: &Key, hash: KeyHash, owned: &Owned, ours: usize) -> Decision {
    let keep =
        |state, reason, message: String| Decision::of(state, reason, message).owned(Some(owned.clone()));
    let removal = match context.wishes.removal_reason(hash, &owned.config) {
        Ok(reason) => reason,
        Err((reason, message)) => return keep(State::Frozen, reason, message),
    };
    if let Some((reason, message)) = context.overrides.held.get(key) {
        return keep(State::Held, reason.clone(), message.clone());
    }
    if context.entry(key, ours).is_some_and(Entry::is_node) {
        let message =
            "somebody made this entry of ours one by which nodes join; it is left as it is".to_owned();
        return keep(State::Frozen, Reason::NodeEntry, message);
    }
    remove(context, key, owned, ours, removal)
}

/// Takes our entry out, if the text lets us.
pub(super) fn remove(
    context: &Context<'_, '_>,
    key: &Key,
    owned: &Owned,
    ours: usize,
    reason: Reason,
) -> Decision {
    let held =
        |reason, message: String| Decision::of(State::Held, reason, message).owned(Some(owned.clone()));
    if let Some((reason, message)) = context.locked(key.list) {
        return held(reason, message);
    }
    if context.lists.is_anchored(key.list, ours) {
        let message = "another entry uses a YAML anchor of this one; write that entry out in full, then this one can go";
        return held(Reason::Anchored, message.to_owned());
    }
    let mut decision = Decision::of(State::Removed, reason, "");
    decision.remove = Some(ours);
    decision
}

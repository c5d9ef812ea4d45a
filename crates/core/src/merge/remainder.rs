//! What happens to entries that we own and that no mapping claimed: they are removed only when it is
//! certain that nobody wants them, else frozen.

use super::claims::disagreement;
use super::{Claimed, Context, Decision, Merge, Subject};
use crate::desired::{ConfigState, DesiredConfig, Refs, RefusedRow};
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
            let config = Some(owned.config.clone());
            let subject = Subject { key, hash, config, field: None, mapping: None };
            merge.carry_out(context.lists, subject, decision);
        }
    }
    // What is not seen may stand in a list that can't be read. What is frozen stays ours although somebody took
    // it out: put back, it would be nobody's, and the grant could not be revoked any more.
    let all_readable = context.lists.all_readable();
    let unseen = context.ledger.owned.iter().filter(|(hash, owned)| {
        !seen.contains(*hash) && (!all_readable || removal_reason(context, **hash, owned).is_err())
    });
    merge.owned.extend(unseen.map(|(hash, owned)| (*hash, owned.clone())));
}

fn decide_one(context: &Context<'_, '_>, key: &Key, hash: KeyHash, owned: &Owned, ours: usize) -> Decision {
    let keep =
        |state, reason, message: String| Decision::of(state, reason, message).owned(Some(owned.clone()));
    let removal = match removal_reason(context, hash, owned) {
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
    if let Some((reason, message)) = context.locked(key.list) {
        return keep(State::Held, reason, message);
    }
    if context.lists.is_anchored(key.list, ours) {
        let message = "another entry uses a YAML anchor of this one; write that entry out in full, then this one can go";
        return keep(State::Held, Reason::Anchored, message.to_owned());
    }
    let mut decision = Decision::of(State::Removed, removal, "");
    decision.remove = Some(ours);
    decision
}

/// Why the entry goes, or why it is frozen.
fn removal_reason(
    context: &Context<'_, '_>,
    key: KeyHash,
    owned: &Owned,
) -> Result<Reason, (Reason, String)> {
    if context.request.remove_all {
        return Ok(Reason::RemoveAll);
    }
    if let Some((reason, message)) = &context.frozen {
        return Err((reason.clone(), (*message).to_owned()));
    }
    if let Some(why) = frozen_for_its_config(context, key, owned) {
        return Err(why);
    }
    if let Some(missing) = context.unresolved {
        let message = format!(
            "nothing is removed while AWSIamConfig {missing}, which the Cluster refers to, does not resolve; create or mend it, or remove its reference"
        );
        return Err((Reason::RefUnresolved, message));
    }
    let all_left = matches!(context.request.refs, Refs::Listed(configs) if configs.is_empty());
    Ok(match context.configs.contains_key(owned.config.as_str()) {
        true => Reason::NoLongerListed,
        false if all_left => Reason::RemoveAll,
        false => Reason::RefLeft,
    })
}

/// Why the config that an entry comes from, and that does not list it, is no reason to remove it. None: it is.
pub(super) fn frozen_for_its_config(
    context: &Context<'_, '_>,
    key: KeyHash,
    owned: &Owned,
) -> Option<(Reason, String)> {
    let name = &owned.config;
    let config = context.configs.get(name.as_str())?;
    let (reason, message) = match &config.state {
        ConfigState::NotFound | ConfigState::Undecodable(_) => (
            Reason::ConfigUnresolved,
            format!(
                "AWSIamConfig {name} was not found or does not decode; create or mend it, or remove its reference"
            ),
        ),
        ConfigState::Suspended => {
            (Reason::ConfigSuspended, format!("AWSIamConfig {name} is suspended; set spec.suspend to false"))
        }
        ConfigState::Disagrees(fields) => (Reason::ConfigDisagrees, disagreement(config, fields)),
        ConfigState::Usable => refused_row(config, key)?,
    };
    Some((reason, message))
}

/// The row that may be the one the entry was made from.
fn refused_row(config: &DesiredConfig, key: KeyHash) -> Option<(Reason, String)> {
    let name = &config.name;
    let same = |row: &&RefusedRow| row.key.as_ref().is_some_and(|k| KeyHash::of(k) == key);
    if let Some(row) = config.refused.iter().find(same) {
        let message = format!("{} of AWSIamConfig {name} is refused by a rule; mend that row", row.field);
        return Some((Reason::RuleRefused, message));
    }
    let row = config.refused.iter().find(|row| row.key.is_none())?;
    let message = format!(
        "{} of AWSIamConfig {name} has an ARN that can't be read and may mean this entry; mend that row",
        row.field
    );
    Some((Reason::RowUnreadable, message))
}

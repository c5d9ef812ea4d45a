//! What the references of a Cluster say about something that we own, wherever it stands: whether it may change
//! or go. One set of rules for entries of `aws-auth` and for `IAMIdentityMapping` objects.

use std::collections::HashMap;

use crate::desired::{ConfigState, DesiredConfig, Refs, RefusedRow};
use crate::ledger::KeyHash;
use crate::mapping::Mapping;
use crate::plan::{Reason, Request, State};

/// The references, looked through once.
pub(crate) struct Wishes<'r> {
    pub(crate) request: &'r Request<'r>,
    /// Configs by name.
    pub(crate) configs: HashMap<&'r str, &'r DesiredConfig>,
    /// Why nothing of the whole Cluster changes, if so.
    frozen: Option<(Reason, &'static str)>,
    /// The reference that does not resolve, if one doesn't: nothing is removed.
    unresolved: Option<&'r str>,
}

impl<'r> Wishes<'r> {
    /// Looks through the references.
    pub(crate) fn of(request: &'r Request<'r>) -> Self {
        let configs: &[DesiredConfig] = match request.refs {
            Refs::Absent => &[],
            Refs::Listed(configs) => configs,
        };
        let frozen = match request.refs {
            _ if request.remove_all => None,
            Refs::Absent => Some((
                Reason::NoIdentityProviderRefs,
                "the Cluster has no identityProviderRefs; write identityProviderRefs: [] to remove our entries, or name an AWSIamConfig",
            )),
            Refs::Listed(configs) => configs.first().filter(|first| !first.state.is_resolved()).map(|_| {
                (
                    Reason::FirstRefUnresolved,
                    "the first AWSIamConfig of identityProviderRefs does not resolve, and it sets region, partition and backendMode; create or mend it",
                )
            }),
        };
        Self {
            request,
            configs: configs.iter().map(|c| (c.name.as_str(), c)).collect(),
            frozen,
            unresolved: configs.iter().find(|c| !c.state.is_resolved()).map(|c| c.name.as_str()),
        }
    }

    /// The configs whose mappings are looked at, in order; none while everything goes.
    pub(crate) fn claiming(&self) -> &'r [DesiredConfig] {
        match self.request.refs {
            Refs::Listed(configs) if !self.request.remove_all => configs,
            _ => &[],
        }
    }

    /// Why a mapping is not to be written, wherever it would stand. `held`: a decision of a later step.
    pub(crate) fn refusal(
        &self,
        config: &DesiredConfig,
        mapping: &Mapping,
        held: Option<&(Reason, String)>,
    ) -> Option<(Reason, String)> {
        if let Some((reason, message)) = &self.frozen {
            return Some((reason.clone(), (*message).to_owned()));
        }
        if let Some((reason, message)) = held {
            return Some((reason.clone(), message.clone()));
        }
        if config.state == ConfigState::Suspended {
            let message = format!("AWSIamConfig {} is suspended; set spec.suspend to false", config.name);
            return Some((Reason::ConfigSuspended, message));
        }
        let refusal = self.request.policy.check(&self.request.writer.namespace, mapping).err()?;
        Some((Reason::Privilege(refusal.clone()), refusal.to_string()))
    }

    /// A frozen entry or object of another config, `holder`, keeps its key.
    pub(crate) fn held_by_frozen(
        &self,
        config: &DesiredConfig,
        mapping: &Mapping,
        holder: &str,
    ) -> Option<(Reason, String)> {
        let key = mapping.key();
        let (_, why) = self.frozen_for_its_config(KeyHash::of(&key), holder)?;
        let found = self.configs.get(holder).filter(|_| holder != config.name)?;
        // A holder that lists the key has lost it to precedence alone.
        if found.state == ConfigState::Usable && found.mappings.iter().any(|row| row.mapping.key() == key) {
            return None;
        }
        let message = format!("the entry belongs to AWSIamConfig {holder} and is frozen: {why}");
        Some((Reason::HeldByFrozen, message))
    }

    /// Why what comes from `config` and is no longer asked for goes, or why it is frozen.
    pub(crate) fn removal_reason(&self, key: KeyHash, config: &str) -> Result<Reason, (Reason, String)> {
        if self.request.remove_all {
            return Ok(Reason::RemoveAll);
        }
        if let Some((reason, message)) = &self.frozen {
            return Err((reason.clone(), (*message).to_owned()));
        }
        if let Some(why) = self.frozen_for_its_config(key, config) {
            return Err(why);
        }
        if let Some(missing) = self.unresolved {
            let message = format!(
                "nothing is removed while AWSIamConfig {missing}, which the Cluster refers to, does not resolve; create or mend it, or remove its reference"
            );
            return Err((Reason::RefUnresolved, message));
        }
        let all_left = matches!(self.request.refs, Refs::Listed(configs) if configs.is_empty());
        Ok(match self.configs.contains_key(config) {
            true => Reason::NoLongerListed,
            false if all_left => Reason::RemoveAll,
            false => Reason::RefLeft,
        })
    }

    /// Why the config that something comes from, and that does not list it, is no reason to remove it. None: it is.
    fn frozen_for_its_config(&self, key: KeyHash, name: &str) -> Option<(Reason, String)> {
        let config = self.configs.get(name)?;
        let (reason, message) = match &config.state {
            ConfigState::NotFound | ConfigState::Undecodable(_) => (
                Reason::ConfigUnresolved,
                format!(
                    "AWSIamConfig {name} was not found or does not decode; create or mend it, or remove its reference"
                ),
            ),
            ConfigState::Suspended => (
                Reason::ConfigSuspended,
                format!("AWSIamConfig {name} is suspended; set spec.suspend to false"),
            ),
            ConfigState::Disagrees(fields) => (Reason::ConfigDisagrees, disagreement(config, fields)),
            ConfigState::Usable => refused_row(config, key)?,
        };
        Some((reason, message))
    }
}

/// What a mapping is that is not written for `reason`.
pub(crate) fn refused_state(reason: &Reason, owned: bool) -> State {
    match reason {
        Reason::LastAdministrator | Reason::AdministratorNotLoaded | Reason::VerificationFailed => {
            State::Held
        }
        _ if owned => State::Frozen,
        Reason::OtherList => State::Conflict,
        Reason::Privilege(_) | Reason::NodeEntry | Reason::RuleRefused => State::Refused,
        // The rest passes: the mapping comes as soon as something else is mended.
        _ => State::Held,
    }
}

/// How a config differs from the first reference, and what to do.
pub(crate) fn disagreement(config: &DesiredConfig, fields: &[String]) -> String {
    format!(
        "AWSIamConfig {} differs from the Cluster's first reference in {}; make them equal, or refer to it from another Cluster",
        config.name,
        fields.join(", ")
    )
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

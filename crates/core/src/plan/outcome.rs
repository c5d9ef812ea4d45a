//! What happens to one entry or mapping, and why. Values only; who decides them is [`crate::merge`].

use std::sync::Arc;

use serde::Serialize;

use crate::desired::Backend;
use crate::mapping::{Entry, Key, Mapping};
use crate::privilege::Refusal;

/// What happens to one entry or mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum State {
    /// Ours, there, and as wanted.
    InEffect,
    /// Comes.
    Added,
    /// Ours, gets a new text because the config changed.
    Changed,
    /// Ours, was changed or removed by somebody, and is put back.
    Repaired,
    /// Foreign so far, becomes ours.
    Adopted,
    /// Ours, goes.
    Removed,
    /// A foreign entry says the same; it stays foreign.
    AlreadyPresent,
    /// A rule refuses the mapping.
    Refused,
    /// A foreign entry is in the way.
    Conflict,
    /// An earlier reference names the same key.
    Shadowed,
    /// Ours, neither changed, repaired nor removed for now.
    Frozen,
    /// A change that is kept back.
    Held,
}

impl State {
    /// Whether `aws-auth`, the ledger or an object changes by it.
    #[must_use]
    pub fn is_change(self) -> bool {
        matches!(self, State::Added | State::Changed | State::Repaired | State::Adopted | State::Removed)
    }
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Reason {
    /// The config lists it.
    Listed,
    /// The entry was not as the ledger says we wrote it.
    Drift,
    /// Its config no longer lists it.
    NoLongerListed,
    /// The ref to its config has left the Cluster.
    RefLeft,
    /// All our entries go: `identityProviderRefs: []` or deletion with `Delete`.
    RemoveAll,
    /// `AlreadyPresent`.
    AlreadyPresent,
    /// A foreign entry with the same key says something else.
    Conflict,
    /// The same ARN stands in the other list.
    OtherList,
    /// Nodes join by an entry with this ARN.
    NodeEntry,
    /// A privilege rule.
    Privilege(Refusal),
    /// An admission rule refuses the row.
    RuleRefused,
    /// The data key can't be read.
    Unreadable,
    /// `identityProviderRefs` is absent.
    NoIdentityProviderRefs,
    /// The first reference does not resolve, so region, partition and backend are unknown.
    FirstRefUnresolved,
    /// Some reference of the Cluster does not resolve.
    RefUnresolved,
    /// Its config was not found or does not decode.
    ConfigUnresolved,
    /// Its config is suspended.
    ConfigSuspended,
    /// Its config differs from the first reference.
    ConfigDisagrees,
    /// A row of its config has an unreadable ARN, which may be this one misspelt.
    RowUnreadable,
    /// A frozen entry of another config holds the key.
    HeldByFrozen,
    /// An earlier reference names the same key.
    Precedence,
    /// Nobody would be an administrator after it.
    LastAdministrator,
    /// As `LastAdministrator`, and the one who comes in its place is written, but not yet read by every
    /// authenticator: the change comes by itself.
    AdministratorNotLoaded,
    /// It stands in the place that `backendMode` no longer names first, and goes when the other place answers.
    Moving,
    /// Somebody deletes the object, and a finalizer holds it.
    BeingDeleted,
    /// Its YAML anchor is used outside of it.
    Anchored,
    /// The text can't be edited without touching other bytes.
    TextNotEditable,
    /// The new text did not read back as planned.
    VerificationFailed,
}

impl Reason {
    /// The reason as status and Events name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Reason::Listed => "Listed",
            Reason::Drift => "Drift",
            Reason::NoLongerListed => "NoLongerListed",
            Reason::RefLeft => "RefLeft",
            Reason::RemoveAll => "RemoveAll",
            Reason::AlreadyPresent => "AlreadyPresent",
            Reason::Conflict => "Conflict",
            Reason::OtherList => "OtherList",
            Reason::NodeEntry => "NodeEntry",
            Reason::Privilege(_) => "PrivilegeRefused",
            Reason::RuleRefused => "RuleRefused",
            Reason::Unreadable => "Unreadable",
            Reason::NoIdentityProviderRefs => "NoIdentityProviderRefs",
            Reason::FirstRefUnresolved => "FirstRefUnresolved",
            Reason::RefUnresolved => "RefUnresolved",
            Reason::ConfigUnresolved => "ConfigUnresolved",
            Reason::ConfigSuspended => "Suspended",
            Reason::ConfigDisagrees => "ConfigDisagrees",
            Reason::RowUnreadable => "RowUnreadable",
            Reason::HeldByFrozen => "HeldByFrozen",
            Reason::Precedence => "Precedence",
            Reason::LastAdministrator => "LastAdministrator",
            Reason::AdministratorNotLoaded => "AdministratorNotLoaded",
            Reason::Moving => "Moving",
            Reason::BeingDeleted => "BeingDeleted",
            Reason::Anchored => "Anchored",
            Reason::TextNotEditable => "TextNotEditable",
            Reason::VerificationFailed => "VerificationFailed",
        }
    }
}

/// What happens to one entry or mapping, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The place it speaks of. While a mapping moves from one to the other there is an outcome for each.
    #[serde(skip_serializing_if = "is_aws_auth")]
    pub place: Backend,
    /// Its key.
    pub key: Key,
    /// The AWSIamConfig it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Arc<str>>,
    /// The row in that config, such as `spec.mapRoles[3]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Arc<str>>,
    /// What happens.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// What is wrong and what to do next; empty where nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The entry that is there, if it changes or goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Entry>,
    /// What is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Arc<Mapping>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_aws_auth(place: &Backend) -> bool {
    *place == Backend::EksConfigMap
}

impl Outcome {
    /// The ARN or account id as somebody wrote it: the wanted mapping, else the entry, else the key.
    #[must_use]
    pub fn arn(&self) -> &str {
        let wanted = self.after.as_ref().map(|mapping| mapping.arn.as_str());
        wanted.or(self.before.as_ref().map(|entry| entry.arn.as_str())).unwrap_or(&self.key.arn)
    }
}

//! One thing that is wrong with a resource. Plain data; the words lie in [`crate::messages`].

use std::fmt;

use awsiam_core::arn::ArnError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that is wrong with a resource, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Its place, such as `spec.mapRoles[3].roleARN`.
    pub field_path: String,
    /// What it is about: mostly the ARN as written; may be empty.
    pub subject: String,
    /// One word for programs.
    pub reason: Reason,
    /// What is wrong and what to write instead.
    pub message: String,
    /// Whether it keeps the row, or the file, from counting.
    pub severity: Severity,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field_path, self.message)
    }
}

/// Whether a finding keeps something from counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// The row, or the whole spec, does not count; `validate` and `upgrade cluster` refuse it.
    Refused,
    /// It counts and is worth a look.
    Warning,
}

/// Why something is found wrong, in one word that stays the same from release to release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// No ARN.
    EmptyArn,
    /// No username.
    EmptyUsername,
    /// A blank or another character that no ARN has.
    BadCharacter,
    /// Not an ARN.
    NotAnArn,
    /// A user's ARN under `mapRoles`.
    UserInRoles,
    /// A role's ARN under `mapUsers`.
    RoleInUsers,
    /// An account's root user under `mapRoles`.
    RootInRoles,
    /// A federated user's ARN under `mapRoles`.
    FederatedUserInRoles,
    /// A session of a role.
    AssumedRole,
    /// An instance profile.
    InstanceProfile,
    /// An IAM group.
    Group,
    /// A policy.
    Policy,
    /// Something else that nobody logs in as.
    NotAPrincipal,
    /// An account id that is not 12 digits.
    BadAccount,
    /// A name that IAM does not allow.
    BadName,
    /// Another partition than `spec.partition`.
    WrongPartition,
    /// `spec.partition` is none of the known.
    UnknownPartition,
    /// `spec.awsRegion` is empty.
    EmptyRegion,
    /// `spec.backendMode` is empty.
    NoBackendMode,
    /// `spec.backendMode` names one twice.
    RepeatedBackendMode,
    /// `spec.backendMode` names one that does not exist.
    UnknownBackendMode,
    /// `spec.backendMode` names MountedFile.
    MountedFile,
    /// `spec.mapAccounts` without backend EKSConfigMap.
    AccountsNeedConfigMap,
    /// A field that cannot be changed has changed.
    Immutable,
    /// An ARN that an earlier row of the same list names.
    DuplicateArn,
    /// Two references of one kind and name.
    DuplicateRef,
    /// More rows or references than are admitted, or a text that is too long.
    TooLong,
    /// A proxy variable that is not one of the three.
    UnknownVariable,
    /// The root user of an account, which stands for nobody else.
    RootUser,
    /// A region whose first word is unknown.
    UnknownRegion,
    /// A region of another partition than `spec.partition`.
    RegionOfOtherPartition,
    /// An empty group name, which grants nothing.
    EmptyGroup,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants' names are the words.
        fmt::Debug::fmt(self, f)
    }
}

impl From<&ArnError> for Reason {
    fn from(error: &ArnError) -> Self {
        match error {
            ArnError::Empty => Reason::EmptyArn,
            ArnError::BadCharacter => Reason::BadCharacter,
            ArnError::NotAnArn => Reason::NotAnArn,
            ArnError::UserInRoles => Reason::UserInRoles,
            ArnError::RootInRoles => Reason::RootInRoles,
            ArnError::FederatedUserInRoles => Reason::FederatedUserInRoles,
            ArnError::RoleInUsers => Reason::RoleInUsers,
            ArnError::AssumedRole { .. } => Reason::AssumedRole,
            ArnError::InstanceProfile => Reason::InstanceProfile,
            ArnError::Group => Reason::Group,
            ArnError::Policy => Reason::Policy,
            ArnError::OtherKind => Reason::NotAPrincipal,
            ArnError::BadAccount => Reason::BadAccount,
            ArnError::BadName => Reason::BadName,
            ArnError::UnknownPartition | ArnError::WrongPartition { .. } => Reason::WrongPartition,
        }
    }
}

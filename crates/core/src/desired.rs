//! What the AWSIamConfigs of one Cluster ask for, with every reference looked up.
//! Plain data: `awsiam-api` makes it from the resources, the plan reads it. Nothing is decided here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::mapping::{Key, Mapping};

/// `spec.identityProviderRefs` of a Cluster. Absent and empty are different wishes: an absent list
/// freezes what we own, only a list that is there and empty removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refs {
    /// The field is not there.
    Absent,
    /// The references of kind AWSIamConfig, in their order; other kinds are left out.
    Listed(Vec<DesiredConfig>),
}

/// One referenced AWSIamConfig. A name that is not found is here too, with its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredConfig {
    /// `metadata.name`, as the reference writes it.
    pub name: String,
    /// `metadata.uid`; empty when the object was not found or comes from a file.
    pub uid: String,
    /// `metadata.generation`; 0 when the object was not found or comes from a file.
    pub generation: i64,
    /// Whether its mappings count, and why not.
    pub state: ConfigState,
    /// Its admissible mappings, each key once: mapRoles, then mapUsers, then mapAccounts.
    /// Shared, because every pass has them and none changes them.
    pub mappings: Arc<[DesiredMapping]>,
    /// Its rows that an admission rule refuses: an owned entry with such a key is frozen, not removed.
    pub refused: Vec<RefusedRow>,
}

/// Whether the mappings of a referenced AWSIamConfig count. In every state but `Usable` its owned
/// entries are frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigState {
    /// Read and valid as a whole; single rows may still have been left out.
    Usable,
    /// `spec.suspend` is true: planned and reported, nothing is written.
    Suspended,
    /// No object of that name in the Cluster's namespace.
    NotFound,
    /// The object could not be read as an AWSIamConfig; the text says why.
    Undecodable(String),
    /// It differs from the Cluster's first AWSIamConfig in these fields, such as `awsRegion`.
    Disagrees(Vec<String>),
}

impl ConfigState {
    /// Whether the object was there and could be read.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        !matches!(self, ConfigState::NotFound | ConfigState::Undecodable(_))
    }
}

/// One mapping and where it is written. Plans and reports refer to both rather than copy them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredMapping {
    /// The grant, ready to be written.
    pub mapping: Arc<Mapping>,
    /// Its place in the AWSIamConfig, such as `spec.mapRoles[3]`.
    pub field: Arc<str>,
}

/// One row that an admission rule refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// Its key, where its ARN can be read. While it can't, nothing of this config is removed: the row
    /// may be one of those that are owned, misspelt.
    pub key: Option<Key>,
    /// Its place in the AWSIamConfig, such as `spec.mapRoles[3]`.
    pub field: String,
}

/// Where the authenticator looks for mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Backend {
    /// `kube-system/aws-auth`
    #[serde(rename = "EKSConfigMap")]
    EksConfigMap,
    /// Objects of kind `IAMIdentityMapping`.
    #[serde(rename = "CRD")]
    Crd,
}

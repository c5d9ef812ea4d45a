//! What a pass saw of `aws-auth`, without Kubernetes types.

use std::collections::{BTreeMap, BTreeSet};

/// `kube-system/aws-auth` as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the ConfigMap exists.
    pub present: bool,
    /// Its `data`, empty when the field is absent.
    pub data: BTreeMap<String, String>,
    /// The keys of its `binaryData`, which the authenticator does not read.
    pub binary_keys: BTreeSet<String>,
    /// Bytes of all values of `binaryData`, for the size limit.
    pub binary_bytes: usize,
    /// The ledger annotation's value.
    pub ledger: Option<String>,
    /// Bytes of all other annotations, keys and values, for the size limit.
    pub other_annotation_bytes: usize,
    /// `immutable: true`.
    pub immutable: bool,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
}

//! The resources `AWSIamConfig` and `Cluster`: their types, the rules by which they are admitted, the
//! words those rules refuse with, and their conversion into what `awsiam-core` plans with.
//! No I/O: nothing here talks to a cluster.
//!
//! The doc comments of the resources are what `kubectl explain` prints.

pub mod authenticator;
pub mod cluster;
pub mod cluster_status;
pub mod conditions;
pub mod crd;
pub mod finding;
pub mod iam_config;
pub mod identity_mapping;
pub mod messages;
pub mod names;
pub mod resolve;
mod rules;
pub mod validate;

pub use authenticator::{
    ApiServer, AuthenticatorMode, ConflictPolicy, DeletionPolicy, IamAuthenticator, Rollout,
};
pub use cluster::{Cluster, ClusterSpec, IdentityProviderRef};
pub use cluster_status::{ClusterFinding, ClusterStatus, ConfigStatus, TargetKind};
pub use crd::{Installation, crds, crds_yaml, installation, missing_fields};
pub use finding::{Finding, Reason, Severity};
pub use iam_config::{AWSIamConfig, AWSIamConfigSpec, AWSIamConfigStatus, MapRole, MapUser};
pub use identity_mapping::{IAMIdentityMapping, IAMIdentityMappingSpec, IAMIdentityMappingStatus};
pub use resolve::{ConfigLookup, FoundConfig, Judged, Resolution, Settings, resolve};
pub use validate::{PROXY_VARIABLES, validate, validate_cluster, validate_update};

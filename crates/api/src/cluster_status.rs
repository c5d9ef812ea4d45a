//! `Cluster.status`: what one pass found and did. Only the shape.

use awsiam_core::desired::ConfigState;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::readable;

/// Most findings that a status names.
pub const MAX_FINDINGS: usize = 100;

/// What the operator found and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Local: the cluster the operator runs in. Remote: the one behind the Secret NAME-kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetKind>,

    /// Ready, and what it is made of. A condition of a part that does not apply is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "readable")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// How many entries aws-auth holds, by owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<EntryCounts>,

    /// The AWSIamConfigs that this Cluster refers to, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub configs: Vec<ConfigStatus>,

    /// What stands in the way on this target, and what looks wrong in aws-auth; the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub findings: Vec<ClusterFinding>,

    /// How many findings there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub findings_total: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Which cluster a Cluster object stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// The one the operator runs in.
    Local,
    /// One behind a kubeconfig Secret.
    Remote,
}

/// Numbers of entries in aws-auth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EntryCounts {
    /// Entries of this Cluster's AWSIamConfigs.
    pub owned: i64,
    /// Entries that somebody else wrote, those of nodes included.
    pub foreign: i64,
    /// Entries by which nodes join.
    pub nodes: i64,
    /// Owned entries that are neither changed nor removed for now.
    pub frozen: i64,
}

/// What became of one AWSIamConfig on this target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStatus {
    /// Name of the AWSIamConfig.
    pub name: String,
    /// Its uid, when it was found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Usable, Suspended, NotFound, Undecodable or Disagrees. In all but the first its entries are frozen.
    pub state: ConfigStateName,
    /// Why it is in that state.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How many of its mappings there are, and what became of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<ConfigCounts>,
}

/// Numbers of mappings of one AWSIamConfig on one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigCounts {
    /// Mappings that it asks for, rejected rows left out.
    pub desired: i64,
    /// Those that aws-auth has, in our name or somebody else's.
    pub synced: i64,
    /// Those that are not written, each with a finding.
    pub refused: i64,
    /// Entries of it that are neither changed nor removed for now.
    pub frozen: i64,
}

/// The state of a referenced AWSIamConfig, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConfigStateName {
    /// It was read and its mappings count.
    #[default]
    Usable,
    /// It says suspend: true.
    Suspended,
    /// There is no such object.
    NotFound,
    /// It could not be read.
    Undecodable,
    /// It differs from the first reference in region, partition or backends.
    Disagrees,
}

impl From<&ConfigState> for ConfigStateName {
    fn from(state: &ConfigState) -> Self {
        match state {
            ConfigState::Usable => Self::Usable,
            ConfigState::Suspended => Self::Suspended,
            ConfigState::NotFound => Self::NotFound,
            ConfigState::Undecodable(_) => Self::Undecodable,
            ConfigState::Disagrees(_) => Self::Disagrees,
        }
    }
}

/// One thing that stands in the way on this target, or looks wrong in its aws-auth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFinding {
    /// One word for programs, such as Conflict or NeverMatches.
    pub reason: String,
    /// Error: a mapping is not in force. Warning: worth a look.
    pub severity: FindingSeverity,
    /// mapRoles, mapUsers or mapAccounts; empty if it concerns none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub list: String,
    /// The ARN or account id it concerns; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arn: String,
    /// The AWSIamConfig it concerns; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FindingSeverity {
    /// A mapping is not in force.
    #[default]
    Error,
    /// Worth a look.
    Warning,
}

//! `AWSIamConfig`: who may log in. Only the shape; the rules lie in `rules` and [`mod@crate::validate`].
#![allow(rustdoc::broken_intra_doc_links, reason = "field paths such as x[3] are for kubectl explain")]
#![allow(clippy::duplicated_attributes, reason = "it takes the parts of two print columns for one attribute")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::readable;
use crate::rules;

/// Most rows of one list.
pub const MAX_MAPPINGS: usize = 2000;
/// Most rejected rows that a status names.
pub const MAX_REJECTED: usize = 50;
/// Most unsynced Clusters that a status names.
pub const MAX_UNSYNCED: usize = 50;

/// Who may log in with an AWS identity, and as whom. A Cluster in the same namespace refers to it
/// under spec.identityProviderRefs.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "anywhere.eks.amazonaws.com",
    version = "v1alpha1",
    kind = "AWSIamConfig",
    plural = "awsiamconfigs",
    singular = "awsiamconfig",
    namespaced,
    status = "AWSIamConfigStatus",
    category = "awsiam",
    derive = "PartialEq",
    doc = "AWSIamConfig says who may log in to a cluster with an AWS identity, and as whom. A Cluster in the same namespace refers to it under spec.identityProviderRefs. Whoever may write it is an administrator of those clusters.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Mappings", type_ = "integer", json_path = ".status.counts.accepted"),
    printcolumn(name = "Rejected", type_ = "integer", json_path = ".status.counts.rejected"),
    printcolumn(name = "Clusters", type_ = "integer", json_path = ".status.clusters.total"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.awsRegion", priority = 1),
    printcolumn(name = "Partition", type_ = "string", json_path = ".spec.partition", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::config()))]
pub struct AWSIamConfigSpec {
    /// Region whose STS the logins ask, such as eu-central-1. Cannot be changed.
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::aws_region()))]
    pub aws_region: String,

    /// Partition of every ARN in this object: aws, aws-cn, aws-us-gov, aws-iso, aws-iso-b, aws-iso-e,
    /// aws-iso-f or aws-eusc. Cannot be changed.
    #[serde(default = "default_partition")]
    #[schemars(length(max = 16), extend("x-kubernetes-validations" = rules::partition()))]
    pub partition: String,

    /// Where the authenticator looks for mappings, in this order: EKSConfigMap (kube-system/aws-auth),
    /// CRD (IAMIdentityMapping objects), or both. Cannot be changed.
    #[schemars(
        length(max = 8),
        inner(length(max = 64)),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = rules::backend_mode())
    )]
    pub backend_mode: Vec<String>,

    /// Roles that may log in. Whoever applies a manifest replaces the whole list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000), extend("x-kubernetes-list-type" = "atomic"))]
    pub map_roles: Vec<MapRole>,

    /// IAM users and federated users that may log in. Whoever applies a manifest replaces the whole list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000), extend("x-kubernetes-list-type" = "atomic"))]
    pub map_users: Vec<MapUser>,

    /// Accounts, as 12 digits in quotes, all of whose roles and users may log in: each under its ARN as
    /// username and without groups. Needs backend EKSConfigMap. Not part of EKS Anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 2000),
        inner(length(max = 64)),
        extend("x-kubernetes-list-type" = "atomic"),
        transform = rules::accounts
    )]
    pub map_accounts: Vec<String>,

    /// True freezes what this object has granted: nothing is added, changed or removed, the plan is
    /// only reported. Not part of EKS Anywhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

fn default_partition() -> String {
    "aws".to_owned()
}

/// One role and what it becomes in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MapRole {
    /// ARN of an IAM role, such as arn:aws:iam::111122223333:role/Admin. A path is accepted and left
    /// out of aws-auth, as logins carry none. Not a session (assumed-role) or an instance profile.
    #[serde(rename = "roleARN")]
    #[schemars(length(max = 680), extend("x-kubernetes-validations" = rules::role_arn()))]
    pub role_arn: String,

    /// Kubernetes username. Of the placeholders, {{AccountID}}, {{SessionName}} and {{SessionNameRaw}}
    /// make sense here; the last two after a prefix with a colon, as in admin:{{SessionName}}.
    #[schemars(length(max = 1024), extend("x-kubernetes-validations" = rules::username()))]
    pub username: String,

    /// Kubernetes groups, such as system:masters for administrators. Without any, the login has only the
    /// rights of system:authenticated and those bound to its username.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 512)), extend("x-kubernetes-list-type" = "atomic"))]
    pub groups: Vec<String>,
}

/// One user and what it becomes in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MapUser {
    /// ARN of an IAM user, path included, such as arn:aws:iam::111122223333:user/team/alice, or of a
    /// federated user, arn:aws:sts::111122223333:federated-user/alice.
    #[serde(rename = "userARN")]
    #[schemars(length(max = 680), extend("x-kubernetes-validations" = rules::user_arn()))]
    pub user_arn: String,

    /// Kubernetes username.
    #[schemars(length(max = 1024), extend("x-kubernetes-validations" = rules::username()))]
    pub username: String,

    /// Kubernetes groups, such as system:masters for administrators. Without any, the login has only the
    /// rights of system:authenticated and those bound to its username.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 512)), extend("x-kubernetes-list-type" = "atomic"))]
    pub groups: Vec<String>,
}

/// What became of this AWSIamConfig on the clusters that refer to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AWSIamConfigStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, and what it is made of: Valid (no row is rejected) and Synced (every referring Cluster
    /// has this generation).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "readable")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// How many rows there are and how many of them count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<MappingCounts>,

    /// Rows that are left out, the first 50; counts.rejected says how many there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub rejected: Vec<RejectedMapping>,

    /// How many Clusters refer to this object, and how many of them have this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterTotals>,

    /// Clusters that do not have this generation, the first 50; clusters.unsynced says how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub unsynced: Vec<UnsyncedCluster>,
}

/// Numbers of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MappingCounts {
    /// Rows of mapRoles.
    pub roles: i64,
    /// Rows of mapUsers.
    pub users: i64,
    /// Rows of mapAccounts.
    pub accounts: i64,
    /// Rows that count.
    pub accepted: i64,
    /// Rows that are left out.
    pub rejected: i64,
}

/// One row that is left out, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectedMapping {
    /// Where it is written, such as spec.mapRoles[3].roleARN.
    pub field: String,
    /// The ARN or account id as written.
    pub arn: String,
    /// One word for programs, such as AssumedRole.
    pub reason: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Numbers of Clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTotals {
    /// Clusters that refer to this object.
    pub total: i64,
    /// Those that have this generation.
    pub synced: i64,
    /// Those that do not.
    pub unsynced: i64,
}

/// One Cluster that does not have this generation, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnsyncedCluster {
    /// Name of the Cluster.
    pub name: String,
    /// One word for programs, such as TargetNotReachable.
    pub reason: String,
    /// What is wrong and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

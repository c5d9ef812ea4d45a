//! `spec.iamAuthenticator` of a Cluster: our own block, all of it optional. Only the shape.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::rules;

/// How logins are made to work on this cluster. Not part of EKS Anywhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IamAuthenticator {
    /// True stops every write to the target: the plan is only reported. Status and Events go on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,

    /// Who runs aws-iam-authenticator. DaemonSet: this operator, on the control-plane nodes.
    /// External: somebody else, as on Amazon EKS; only the mappings are managed.
    pub mode: AuthenticatorMode,

    /// The cluster id that login tokens carry, for mode External; on Amazon EKS the name of the cluster.
    /// Without it no user kubeconfig is made.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub cluster_id: Option<String>,

    /// Image of aws-iam-authenticator. Without it, the operator takes the one of its catalogue for
    /// spec.kubernetesVersion. It must start with a prefix that the operator allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,

    /// CPU and memory of aws-iam-authenticator. Without it: requests of 10m and 32Mi, a memory limit
    /// of 128Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Environment of aws-iam-authenticator: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, nothing else. NO_PROXY
    /// must contain the cluster's service range.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub env: Vec<ProxyVariable>,

    /// How the API server learns of the authenticator.
    #[serde(skip_serializing_if = "ApiServer::is_default")]
    pub api_server: ApiServer,

    /// What to do with an entry of aws-auth that somebody else wrote for the ARN of a mapping. Refuse:
    /// leave it and report. Adopt: replace it. Entries by which nodes join are never touched.
    pub conflict_policy: ConflictPolicy,

    /// What happens on the target when this Cluster object is deleted. Orphan: nothing, logins go on.
    /// Delete: our entries, the webhook flag and the authenticator are removed.
    pub deletion_policy: DeletionPolicy,
}

/// Who runs the authenticator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthenticatorMode {
    /// This operator.
    #[default]
    DaemonSet,
    /// Somebody else, as on Amazon EKS.
    External,
}

/// How the API server learns of the authenticator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiServer {
    /// Auto: KubeadmControlPlane where Cluster API has one of this cluster's name, else Manual.
    /// KubeadmControlPlane: the webhook file and flag are added to it, which replaces the control-plane
    /// machines one by one. HostPath: as Manual, and a DaemonSet of its own keeps the file
    /// /etc/kubernetes/awsiam/token-webhook.yaml on control-plane nodes that exist.
    /// Manual: an administrator sets what "awsiam control-plane" prints. What was chosen stays.
    pub rollout: Rollout,
}

impl ApiServer {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Ways to configure the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Rollout {
    /// Chosen once by what is there.
    #[default]
    Auto,
    /// Through Cluster API.
    KubeadmControlPlane,
    /// The file by a DaemonSet, the flag by an administrator.
    HostPath,
    /// File and flag by an administrator.
    Manual,
}

/// What to do with a foreign entry that has the key of a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConflictPolicy {
    /// Leave it and report.
    #[default]
    Refuse,
    /// Make it ours.
    Adopt,
}

/// What to do on the target when the Cluster object goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Leave everything working.
    #[default]
    Orphan,
    /// Remove what is ours.
    Delete,
}

/// CPU and memory of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// Most it may use, such as memory: 128Mi.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Amount>,
    /// What is set aside for it, such as cpu: 10m.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Amount>,
}

impl Resources {
    /// The same in the words of a container.
    #[must_use]
    pub fn to_requirements(&self) -> ResourceRequirements {
        let quantities = |amounts: &BTreeMap<String, Amount>| {
            let amounts = amounts.iter().map(|(name, amount)| (name.clone(), Quantity::from(amount)));
            Some(amounts.collect::<BTreeMap<_, _>>()).filter(|amounts| !amounts.is_empty())
        };
        ResourceRequirements {
            limits: quantities(&self.limits),
            requests: quantities(&self.requests),
            ..ResourceRequirements::default()
        }
    }
}

/// An amount of CPU or memory as manifests write it: `128Mi`, `"0.5"` or `1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    /// A whole number without unit.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl From<&Amount> for Quantity {
    fn from(amount: &Amount) -> Self {
        match amount {
            Amount::Number(number) => Quantity(number.to_string()),
            Amount::Text(text) => Quantity(text.clone()),
        }
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Amount")
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "An amount, such as 10m or 128Mi.", "x-kubernetes-int-or-string": true })
    }
}

/// One environment variable of the authenticator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyVariable {
    /// HTTPS_PROXY, HTTP_PROXY or NO_PROXY.
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::proxy_variable()))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096))]
    pub value: String,
}

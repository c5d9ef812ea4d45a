//! `Cluster.spec`: the few fields that awsiam reads. Every other field of an EKS Anywhere Cluster is
//! kept, in the object and in these types, and never looked at.
#![allow(clippy::duplicated_attributes, reason = "it takes the parts of two print columns for one attribute")]

use k8s_openapi::api::core::v1::Taint;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::authenticator::IamAuthenticator;
use crate::cluster_status::ClusterStatus;
use crate::rules;

/// Most references of one Cluster.
pub const MAX_REFS: usize = 256;

/// The cluster whose logins are managed. Fields that are not listed here are kept and not read.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "anywhere.eks.amazonaws.com",
    version = "v1alpha1",
    kind = "Cluster",
    plural = "clusters",
    singular = "cluster",
    namespaced,
    status = "ClusterStatus",
    category = "awsiam",
    derive = "PartialEq",
    doc = "Cluster stands for one cluster whose kube-system/aws-auth and aws-iam-authenticator are managed: the one the operator runs in, or a remote one that is reached through the Secret NAME-kubeconfig.",
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target"),
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
    printcolumn(name = "Mappings", type_ = "integer", json_path = ".status.entries.owned"),
    printcolumn(
        name = "Synced",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"AwsAuthSynced\")].status",
        priority = 1
    ),
    printcolumn(
        name = "Authenticator",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"AuthenticatorReady\")].status",
        priority = 1
    ),
    printcolumn(
        name = "API server",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"ApiServerConfigured\")].status",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ClusterSpec {
    /// The AWSIamConfigs of this cluster, in its namespace. Of several, the first sets region, partition
    /// and backends, and wins where two name one ARN. Absent: what was granted stays as it is. An
    /// empty list, []: everything that was granted here is removed. Other kinds are left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = rules::identity_provider_refs())
    )]
    pub identity_provider_refs: Option<Vec<IdentityProviderRef>>,

    /// Kubernetes version of the cluster, such as "1.33"; chooses the authenticator's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,

    /// The control plane; only endpoint.host and taints are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_configuration: Option<ControlPlaneConfiguration>,

    /// The management cluster, by name. It does not decide which cluster is the local one: the operator
    /// is told that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management_cluster: Option<ManagementCluster>,

    /// How logins are made to work on this cluster. Not part of EKS Anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iam_authenticator: Option<IamAuthenticator>,

    /// Every other field, kept.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

impl ClusterSpec {
    /// The block `iamAuthenticator`, or its defaults where it is absent.
    #[must_use]
    pub fn authenticator(&self) -> IamAuthenticator {
        self.iam_authenticator.clone().unwrap_or_default()
    }

    /// The host of the control plane's endpoint, if the Cluster names one.
    #[must_use]
    pub fn endpoint_host(&self) -> Option<&str> {
        let endpoint = self.control_plane_configuration.as_ref()?.endpoint.as_ref()?;
        Some(endpoint.host.as_str()).filter(|host| !host.is_empty())
    }

    /// The taints of the control-plane nodes.
    #[must_use]
    pub fn taints(&self) -> &[Taint] {
        self.control_plane_configuration.as_ref().map_or(&[], |plane| plane.taints.as_slice())
    }
}

/// A reference to an identity provider in the Cluster's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct IdentityProviderRef {
    /// AWSIamConfig; other kinds, such as OIDCConfig, are left alone.
    #[schemars(length(max = 64))]
    pub kind: String,
    /// Name of the object.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// What awsiam reads of the control plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ControlPlaneConfiguration {
    /// Where the API server answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// Taints of the control-plane nodes; the authenticator tolerates them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub taints: Vec<Taint>,
    /// Every other field, kept.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

/// Where the API server answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Endpoint {
    /// Address or name, with or without a port.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Every other field, kept.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

/// The management cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ManagementCluster {
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Every other field, kept.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

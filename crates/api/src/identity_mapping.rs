//! `IAMIdentityMapping`, the object that the authenticator's backend `CRD` reads: its shape, its CRD, and its conversion
//! to and from what `awsiam-core` plans with. The kind is the authenticator's, not ours: nothing is added to it.

use awsiam_core::identity_mappings::{IdentityMapping, Version, Write};
use awsiam_core::mapping::Entry;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, DynamicObject};
use kube::{CustomResource, CustomResourceExt, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::crd::{MANAGED_BY, polished};
use crate::names::{FIELD_MANAGER, IDENTITY_MAPPING_CLUSTER, IDENTITY_MAPPING_MARK};

/// One identity and what it becomes in the cluster (`pkg/mapper/crd/apis/iamauthenticator/v1alpha1/types.go` of
/// aws-iam-authenticator). Good for writing; read with [`observed`], because the authenticator's CRD lets objects
/// without a spec pass, and one of those must not stop a watch.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "iamauthenticator.k8s.aws",
    version = "v1alpha1",
    kind = "IAMIdentityMapping",
    plural = "iamidentitymappings",
    singular = "iamidentitymapping",
    status = "IAMIdentityMappingStatus",
    category = "all",
    derive = "PartialEq",
    doc = "IAMIdentityMapping maps one AWS identity to a Kubernetes username and groups. aws-iam-authenticator reads it with backend CRD."
)]
pub struct IAMIdentityMappingSpec {
    /// ARN of an IAM role without path, of an IAM user with its path, of a federated user or of an account's root.
    pub arn: String,

    /// Kubernetes username.
    pub username: String,

    /// Kubernetes groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// What the authenticator has read; written by it alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IAMIdentityMappingStatus {
    /// The ARN in lower case by which logins find this object.
    #[serde(rename = "canonicalARN", default, skip_serializing_if = "Option::is_none")]
    pub canonical_arn: Option<String>,

    /// Not filled by the authenticator.
    #[serde(rename = "userID", default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
}

/// The resource, for dynamic clients and watches.
#[must_use]
pub fn api_resource() -> ApiResource {
    ApiResource::erase::<IAMIdentityMapping>(&())
}

/// The CRD, to be installed where there is none: the authenticator's own (`deploy/iamidentitymapping.yaml`), with
/// descriptions and the label by which we know what we installed.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = polished(IAMIdentityMapping::crd());
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            // The authenticator's lets objects without spec pass, and ours is to refuse nothing that it takes.
            schema.required = None;
            schema.title = None;
        }
    }
    crd
}

/// An object as the plan reads it. What is missing or of a wrong type is empty: such an object means nothing to the
/// authenticator either, but its status may.
#[must_use]
pub fn observed(object: &DynamicObject) -> IdentityMapping {
    let text =
        |pointer: &str| object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let groups = object.data.pointer("/spec/groups").and_then(Value::as_array).into_iter().flatten();
    let groups = groups.map(|group| group.as_str().unwrap_or_default().to_owned()).collect();
    let status = text("/status/canonicalARN");
    IdentityMapping {
        name: object.name_any(),
        version: Version {
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
        },
        cluster: object.labels().get(IDENTITY_MAPPING_CLUSTER).cloned(),
        mark: object.annotations().get(IDENTITY_MAPPING_MARK).cloned(),
        spec: Entry { arn: text("/spec/arn"), username: text("/spec/username"), groups, ..Entry::default() },
        canonical_arn: Some(status).filter(|arn| !arn.is_empty()),
        deleting: object.metadata.deletion_timestamp.is_some(),
    }
}

/// The object to POST for a write, or, with the object that was read, to PUT: everything else about that one stays,
/// and its uid and resourceVersion make the API server refuse if somebody was faster.
#[must_use]
pub fn written(write: &Write, read: Option<&DynamicObject>) -> DynamicObject {
    let new = || DynamicObject::new(&write.name, &api_resource());
    let mut object = read.cloned().unwrap_or_else(new);
    object.metadata.managed_fields = None;
    if let Some(version) = &write.replaces {
        object.metadata.uid = Some(version.uid.clone());
        object.metadata.resource_version = Some(version.resource_version.clone());
    }
    let labels = object.labels_mut();
    labels.insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
    labels.insert(IDENTITY_MAPPING_CLUSTER.to_owned(), write.cluster.clone());
    object.annotations_mut().insert(IDENTITY_MAPPING_MARK.to_owned(), write.mark.clone());
    let spec = serde_json::json!({
        "arn": write.spec.arn, "username": write.spec.username, "groups": write.spec.groups,
    });
    match &mut object.data {
        Value::Object(data) => {
            data.insert("spec".to_owned(), spec);
        }
        data => *data = serde_json::json!({ "spec": spec }),
    }
    object
}

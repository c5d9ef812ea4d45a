//! The CustomResourceDefinitions: ours, and what somebody else's of the same name would drop.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::{CustomResourceExt, ResourceExt};
use serde_saphyr::ser_options;

use crate::cluster::Cluster;
use crate::iam_config::AWSIamConfig;
use crate::names::{CRD_VERSION, FIELD_MANAGER, VERSION};

mod installation;

pub use installation::{Installation, installation};

/// Label by which a CRD is known as ours; one without it is never changed.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The version of awsiam that these CRDs are of.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Both CRDs: AWSIamConfig, then Cluster. Each says of which version of awsiam it is.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds: Vec<_> = [AWSIamConfig::crd(), Cluster::crd()].into_iter().map(polished).collect();
    for crd in &mut crds {
        crd.annotations_mut().insert(CRD_VERSION.to_owned(), OWN_VERSION.to_owned());
    }
    crds
}

/// Whether a CRD was made by awsiam.
#[must_use]
pub fn is_ours(crd: &CustomResourceDefinition) -> bool {
    crd.labels().get(MANAGED_BY).is_some_and(|manager| manager == FIELD_MANAGER)
}

/// Both CRDs as YAML documents, as `awsiam crd` prints them.
#[must_use]
pub fn crds_yaml() -> String {
    crds().iter().flat_map(|crd| ["---\n".to_owned(), crd_yaml(crd)]).collect()
}

/// One CRD as YAML.
///
/// # Panics
/// Never: maps, lists and strings are written into memory.
#[must_use]
#[expect(clippy::expect_used, reason = "maps, lists and strings are written into memory")]
pub fn crd_yaml(crd: &CustomResourceDefinition) -> String {
    // Folded lines would break the rules' texts over several lines.
    let options = ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(crd, options).expect("a CRD is plain data")
}

pub(crate) fn polished(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.labels_mut().insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            polish(schema);
        }
    }
    crd
}

/// Takes `nullable` out, which the derive adds to every optional field: without it the API server drops a
/// null as if the field were absent, as it does with EKS Anywhere's CRDs. And joins the lines of
/// descriptions, which `kubectl explain` breaks by itself.
fn polish(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.description = schema.description.as_deref().map(|text| text.replace('\n', " "));
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        polish(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        polish(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        polish(values);
    }
}

/// The fields of ours that a CRD in the cluster would drop, such as `spec.suspend`; empty if it keeps
/// all. A CRD of another name is not looked at.
#[must_use]
pub fn missing_fields(crd: &CustomResourceDefinition) -> Vec<String> {
    let Some(ours) = crds().into_iter().find(|ours| ours.name_any() == crd.name_any()) else { return vec![] };
    let Some(theirs) = crd.spec.versions.iter().find(|version| version.name == VERSION && version.served)
    else {
        return vec![format!("version {VERSION}")];
    };
    let mut missing = Vec::new();
    if theirs.subresources.as_ref().is_none_or(|subresources| subresources.status.is_none()) {
        missing.push("status (as a subresource)".to_owned());
    }
    let ours = ours.spec.versions.first().and_then(|version| version.schema.as_ref());
    let schema = theirs.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    if let Some(ours) = ours.and_then(|schema| schema.open_api_v3_schema.as_ref()) {
        collect_missing(ours, schema, "", &mut missing);
    }
    missing
}

fn collect_missing(
    ours: &JSONSchemaProps,
    theirs: Option<&JSONSchemaProps>,
    path: &str,
    missing: &mut Vec<String>,
) {
    let keeps_all = theirs.is_some_and(|schema| schema.x_kubernetes_preserve_unknown_fields == Some(true));
    let known = theirs.and_then(|schema| schema.properties.as_ref());
    for (name, property) in ours.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match known.and_then(|properties| properties.get(name)) {
            Some(theirs) => collect_missing(property, Some(theirs), &path, missing),
            None if !keeps_all => missing.push(path),
            None => {}
        }
    }
    if let (Some(JSONSchemaPropsOrArray::Schema(ours)), Some(JSONSchemaPropsOrArray::Schema(theirs))) =
        (&ours.items, theirs.and_then(|schema| schema.items.as_ref()))
    {
        collect_missing(ours, Some(theirs), &format!("{path}[]"), missing);
    }
}

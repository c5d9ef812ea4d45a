//! The CRDs: the stored files are what the code makes, names are EKS Anywhere's, and fields that somebody
//! else's CRD would drop are named.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::path::Path;

use awsiam_api::crd::{crd_yaml, is_ours};
use awsiam_api::{crds, crds_yaml, missing_fields};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use serde_json::{Value, json};

#[test]
fn the_stored_files_are_what_the_code_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    for crd in crds() {
        let file = folder.join(format!("{}.yaml", crd.spec.names.plural));
        let stored = std::fs::read_to_string(&file).unwrap_or_default();
        let advice = "run: cargo run -p awsiam-api --example write-crds crds";
        assert!(stored == crd_yaml(&crd), "{} is out of date; {advice}", file.display());
    }
}

#[test]
fn the_yaml_reads_back_as_the_crds() {
    let read: Vec<CustomResourceDefinition> = serde_saphyr::from_multiple(&crds_yaml()).unwrap();
    assert_eq!(read, crds());
}

#[test]
fn names_are_those_of_eks_anywhere_and_none_is_short() {
    let names: Vec<Value> = crds().iter().map(|crd| serde_json::to_value(&crd.spec.names).unwrap()).collect();
    let expected = [
        json!({ "kind": "AWSIamConfig", "listKind": "AWSIamConfigList", "plural": "awsiamconfigs",
            "singular": "awsiamconfig", "categories": ["awsiam"] }),
        json!({ "kind": "Cluster", "listKind": "ClusterList", "plural": "clusters", "singular": "cluster",
            "categories": ["awsiam"] }),
    ];
    assert_eq!(names, expected);
    for crd in crds() {
        assert_eq!(crd.spec.group, "anywhere.eks.amazonaws.com");
        assert_eq!(crd.spec.scope, "Namespaced");
        assert!(is_ours(&crd));
    }
}

#[test]
fn no_field_is_nullable_and_every_field_is_described() {
    for crd in crds() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        assert!(!schema.to_string().contains("nullable"));
        let schema = &schema["openAPIV3Schema"]["properties"];
        for part in ["spec", "status"] {
            assert_described(&schema[part], part);
        }
    }
}

fn assert_described(schema: &Value, path: &str) {
    assert!(schema["description"].is_string(), "{path} has no description");
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        assert_described(property, &format!("{path}.{name}"));
    }
    for (name, property) in schema["items"]["properties"].as_object().into_iter().flatten() {
        assert_described(property, &format!("{path}[].{name}"));
    }
}

#[test]
fn our_own_crds_miss_nothing() {
    for crd in crds() {
        assert_eq!(missing_fields(&crd), Vec::<String>::new());
    }
}

/// A CRD with the name of one of ours and EKS Anywhere's fields.
fn foreign(plural: &str, spec: &Value) -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "metadata": { "name": format!("{plural}.anywhere.eks.amazonaws.com") },
        "spec": {
            "group": "anywhere.eks.amazonaws.com", "scope": "Namespaced",
            "names": { "plural": plural, "kind": "Any" },
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": spec, "status": { "type": "object" } },
                } },
            }],
        },
    }))
    .unwrap()
}

fn row(arn: &str) -> Value {
    let string = json!({ "type": "string" });
    let groups = json!({ "type": "array", "items": string });
    json!({ "type": "array", "items": {
        "type": "object", "properties": { arn: string, "username": string, "groups": groups },
    } })
}

#[test]
fn eks_anywheres_crds_miss_what_is_ours() {
    let string = json!({ "type": "string" });
    let strings = json!({ "type": "array", "items": string });
    let config = foreign(
        "awsiamconfigs",
        &json!({ "type": "object", "properties": {
            "awsRegion": string, "partition": string, "backendMode": strings,
            "mapRoles": row("roleARN"), "mapUsers": row("userARN"),
        } }),
    );
    let missing = missing_fields(&config);
    assert_eq!(missing[..2], ["spec.mapAccounts", "spec.suspend"]);
    assert!(missing[2..].iter().all(|field| field.starts_with("status.")), "{missing:?}");
    assert!(!is_ours(&config));

    let cluster = missing_fields(&foreign("clusters", &json!({ "type": "object", "properties": {} })));
    assert!(cluster.contains(&"spec.iamAuthenticator".to_owned()), "{cluster:?}");
    assert!(cluster.contains(&"status.conditions".to_owned()), "{cluster:?}");
}

#[test]
fn a_field_deep_down_is_missed_too() {
    let mut config = crds().remove(0);
    let schema = config.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
    let mut value = serde_json::to_value(&*schema).unwrap();
    let roles = value.pointer_mut("/properties/spec/properties/mapRoles/items/properties").unwrap();
    roles.as_object_mut().unwrap().remove("groups");
    *schema = serde_json::from_value(value).unwrap();
    assert_eq!(missing_fields(&config), ["spec.mapRoles[].groups"]);
}

#[test]
fn what_keeps_unknown_fields_drops_none() {
    let keeps = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let mut cluster = foreign("clusters", &keeps);
    assert!(missing_fields(&cluster).iter().all(|field| field.starts_with("status.")));
    cluster.spec.versions[0].subresources = None;
    assert_eq!(missing_fields(&cluster)[0], "status (as a subresource)");
    cluster.spec.versions[0].served = false;
    assert_eq!(missing_fields(&cluster), ["version v1alpha1"]);
    assert_eq!(cluster.name_any(), "clusters.anywhere.eks.amazonaws.com");
}

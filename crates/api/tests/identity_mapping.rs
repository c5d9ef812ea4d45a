//! `IAMIdentityMapping`: the CRD has the shape of the authenticator's own, and objects are read and written whole.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use awsiam_api::identity_mapping::{api_resource, crd, observed, written};
use awsiam_api::{IAMIdentityMapping, names};
use awsiam_core::identity_mappings::{Version, Write};
use awsiam_core::mapping::Entry;
use kube::core::DynamicObject;
use serde_json::{Value, json};

fn without_descriptions(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("description");
            map.values_mut().for_each(without_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(without_descriptions),
        _ => {}
    }
}

#[test]
fn the_crd_has_the_shape_of_the_authenticators_own() {
    // deploy/iamidentitymapping.yaml of aws-iam-authenticator v0.7.18.
    let text = json!({ "type": "string" });
    let upstream = json!({
        "group": "iamauthenticator.k8s.aws",
        "scope": "Cluster",
        "names": {
            "plural": "iamidentitymappings", "singular": "iamidentitymapping",
            "kind": "IAMIdentityMapping", "categories": ["all"], "listKind": "IAMIdentityMappingList",
        },
        "versions": [{
            "name": "v1alpha1", "served": true, "storage": true, "subresources": { "status": {} },
            "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                "spec": { "type": "object", "required": ["arn", "username"], "properties": {
                    "arn": text, "username": text, "groups": { "type": "array", "items": text },
                } },
                "status": { "type": "object", "properties": { "canonicalARN": text, "userID": text } },
            } } },
        }],
    });
    let mut ours = serde_json::to_value(crd().spec).unwrap();
    without_descriptions(&mut ours);
    for noise in ["additionalPrinterColumns", "selectableFields"] {
        let version = ours["versions"][0].as_object_mut().unwrap();
        assert!(version.remove(noise).is_none_or(|value| value == json!([])), "{noise}");
    }
    assert_eq!(ours, upstream);
    assert_eq!(crd().metadata.name.as_deref(), Some("iamidentitymappings.iamauthenticator.k8s.aws"));
    assert!(awsiam_api::crd::is_ours(&crd()));
}

#[test]
fn the_names_are_those_of_the_kind() {
    let resource = api_resource();
    assert_eq!(
        (
            resource.group.as_str(),
            resource.version.as_str(),
            resource.kind.as_str(),
            resource.plural.as_str()
        ),
        (
            names::IDENTITY_MAPPING_GROUP,
            names::IDENTITY_MAPPING_VERSION,
            names::IDENTITY_MAPPING_KIND,
            names::IDENTITY_MAPPING_PLURAL
        )
    );
}

fn write(replaces: Option<Version>) -> Write {
    Write {
        name: "awsiam-dev-0".into(),
        replaces,
        spec: Entry {
            arn: "arn:aws:iam::111122223333:role/Dev".into(),
            username: "dev".into(),
            groups: vec!["devs".into()],
            ..Entry::default()
        },
        cluster: "0123".into(),
        mark: "{}".into(),
    }
}

#[test]
fn what_is_written_reads_back() {
    let object = written(&write(None), None);
    assert_eq!(object.types.as_ref().unwrap().api_version, "iamauthenticator.k8s.aws/v1alpha1");
    assert!(object.metadata.resource_version.is_none());
    let read = observed(&object);
    assert_eq!(
        (read.spec, read.cluster, read.mark),
        (write(None).spec, Some("0123".into()), Some("{}".into()))
    );
    assert_eq!((read.name.as_str(), read.canonical_arn, read.deleting), ("awsiam-dev-0", None, false));
    let typed: IAMIdentityMapping = object.try_parse().unwrap();
    assert_eq!(typed.spec.groups, ["devs"]);
}

#[test]
fn a_replacement_keeps_what_others_wrote_and_names_the_version_it_replaces() {
    let read: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "iamauthenticator.k8s.aws/v1alpha1",
        "kind": "IAMIdentityMapping",
        "metadata": {
            "name": "awsiam-dev-0", "uid": "u", "resourceVersion": "7", "finalizers": ["x/y"],
            "labels": { "team": "a" }, "annotations": { "note": "b" },
        },
        "spec": { "arn": "x", "username": "y" },
        "status": { "canonicalARN": "z" },
    }))
    .unwrap();
    let seen = observed(&read);
    assert_eq!((seen.canonical_arn.as_deref(), seen.spec.arn.as_str()), (Some("z"), "x"));
    let object = serde_json::to_value(written(&write(Some(seen.version)), Some(&read))).unwrap();
    assert_eq!(object["metadata"]["resourceVersion"], "7");
    assert_eq!(object["metadata"]["uid"], "u");
    assert_eq!(object["metadata"]["finalizers"], json!(["x/y"]));
    assert_eq!(object["metadata"]["labels"]["team"], "a");
    assert_eq!(object["metadata"]["annotations"]["note"], "b");
    assert_eq!(object["status"], json!({ "canonicalARN": "z" }));
    assert_eq!(object["spec"]["username"], "dev");
}

#[test]
fn an_object_without_spec_or_with_odd_values_is_read_all_the_same() {
    for data in [json!({}), json!({ "spec": null }), json!({ "spec": { "arn": 5, "groups": null } })] {
        let mut object = DynamicObject::new("odd", &api_resource());
        object.data = data;
        assert_eq!(observed(&object).spec, Entry::default());
    }
}

//! What the types do with manifests in the shape of EKS Anywhere's: read what is ours, keep the rest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::path::Path;

use awsiam_api::{AWSIamConfig, Cluster, DeletionPolicy, Severity, TargetKind, validate, validate_cluster};
use serde_json::{Value, json};

/// The documents of a manifest in the repository.
fn documents(path: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap()
}

const MANIFESTS: [&str; 4] = [
    "tests/manifests/docker-management.yaml",
    "tests/manifests/vsphere-workload.yaml",
    "tests/manifests/china-gitops.yaml",
    "examples/local-cluster.yaml",
];

fn clusters() -> impl Iterator<Item = Value> {
    MANIFESTS.into_iter().flat_map(documents).filter(|document| document["kind"] == "Cluster")
}

#[test]
fn a_cluster_comes_out_of_the_types_as_it_went_in() {
    for document in clusters() {
        let cluster: Cluster = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(&cluster).unwrap(), document);
    }
}

#[test]
fn nothing_is_refused_and_nothing_is_warned_of() {
    for document in clusters() {
        let cluster: Cluster = serde_json::from_value(document).unwrap();
        assert_eq!(validate_cluster(&cluster.spec), []);
    }
    for document in
        MANIFESTS.into_iter().flat_map(documents).filter(|document| document["kind"] == "AWSIamConfig")
    {
        let config: AWSIamConfig = serde_json::from_value(document).unwrap();
        assert_eq!(validate(&config.spec), []);
    }
}

#[test]
fn what_is_read_of_a_cluster_is_found() {
    let document = clusters().nth(1).unwrap();
    let spec = serde_json::from_value::<Cluster>(document).unwrap().spec;
    assert_eq!(spec.kubernetes_version.as_deref(), Some("1.32"));
    assert_eq!(spec.endpoint_host(), Some("10.20.30.40"));
    assert_eq!(
        spec.taints().iter().map(|taint| taint.key.as_str()).collect::<Vec<_>>(),
        ["dedicated", "critical"]
    );
    assert_eq!(spec.management_cluster.as_ref().map(|cluster| cluster.name.as_str()), Some("mgmt"));
    assert_eq!(spec.identity_provider_refs.as_ref().map(Vec::len), Some(2));
    assert_eq!(spec.authenticator().deletion_policy, DeletionPolicy::Orphan);
}

#[test]
fn amounts_of_resources_may_be_numbers() {
    let spec = json!({ "iamAuthenticator": { "resources": {
        "requests": { "cpu": 1, "memory": "32Mi" }, "limits": { "memory": 5_000_000_000_i64 },
    } } });
    let cluster: Cluster = serde_json::from_value(json!({
        "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster",
        "metadata": { "name": "c" }, "spec": spec,
    }))
    .unwrap();
    let resources = cluster.spec.authenticator().resources.unwrap().to_requirements();
    let resources = serde_json::to_value(resources).unwrap();
    let expected =
        json!({ "requests": { "cpu": "1", "memory": "32Mi" }, "limits": { "memory": "5000000000" } });
    assert_eq!(resources, expected);
}

#[test]
fn a_status_of_eks_anywhere_can_be_read() {
    let cluster: Cluster = serde_json::from_value(json!({
        "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster",
        "metadata": { "name": "c" }, "spec": {},
        "status": {
            "childrenReconciledGeneration": 3, "observedGeneration": 2, "reconciledGeneration": 2,
            "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" },
                { "type": "ControlPlaneReady", "status": "False", "severity": "Info", "reason": "ScalingUp" },
            ],
        },
    }))
    .unwrap();
    let status = cluster.status.unwrap();
    assert_eq!((status.observed_generation, status.target), (Some(2), None::<TargetKind>));
    assert_eq!(status.conditions.len(), 1, "the one in the shape of a condition");
}

#[test]
fn warnings_are_no_refusals() {
    let config: AWSIamConfig = serde_json::from_value(json!({
        "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "AWSIamConfig",
        "metadata": { "name": "c" },
        "spec": {
            "awsRegion": "cn-north-1", "backendMode": ["EKSConfigMap"],
            "mapRoles": [{ "roleARN": "arn:aws:iam::111122223333:role/A", "username": "a", "groups": [""] }],
            "mapUsers": [{ "userARN": "arn:aws:iam::111122223333:root", "username": "root" }],
        },
    }))
    .unwrap();
    let findings = validate(&config.spec);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Warning), "{findings:?}");
    let places: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let expected = [
        "spec.awsRegion: awsRegion cn-north-1 is in partition aws-cn, and partition says aws: one of the two is wrong",
        "spec.mapRoles[0].groups[0]: an empty group name grants nothing: remove it or write the group's name",
        "spec.mapUsers[0].userARN: arn:aws:iam::111122223333:root matches the root user of the account alone, not the account as in a trust policy; mapAccounts lets a whole account in",
    ];
    assert_eq!(places, expected);
}

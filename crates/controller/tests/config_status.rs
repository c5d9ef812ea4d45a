//! The status of an AWSIamConfig that very many Clusters use: it stays small.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use awsiam_api::{AWSIamConfig, AWSIamConfigStatus, Cluster};
use awsiam_controller::config_status::status;
use awsiam_core::privilege::Policy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

/// The status of an AWSIamConfig that 1,000 Clusters use, of which so many have it.
fn of_a_thousand(synced: usize, deleted: Option<&str>) -> AWSIamConfigStatus {
    let config: AWSIamConfig = serde_json::from_value(json!({
        "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "AWSIamConfig",
        "metadata": {"name": "team", "namespace": "n", "generation": 2, "deletionTimestamp": deleted},
        "spec": {"awsRegion": "eu-west-1", "backendMode": ["EKSConfigMap"]},
    }))
    .unwrap();
    let cluster = |number: usize| -> Cluster {
        let generation = if number < synced { 2 } else { 1 };
        serde_json::from_value(json!({
            "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster",
            "metadata": {"name": format!("{}-{number}", "long".repeat(12)), "namespace": "n"},
            "spec": {"identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}]},
            "status": {"conditions": [], "configs": [{"name": "team", "generation": generation, "state": "Usable"}]},
        }))
        .unwrap()
    };
    let clusters: Vec<Cluster> = (0..1000).map(cluster).collect();
    let clusters: Vec<&Cluster> = clusters.iter().collect();
    let before = AWSIamConfigStatus::default();
    status(&config, &clusters, &Policy::default(), &before, &Time(Timestamp::now()))
}

fn synced(status: &AWSIamConfigStatus) -> &str {
    &status.conditions.iter().find(|condition| condition.type_ == "Synced").unwrap().message
}

#[test]
fn it_says_how_many_have_it_and_names_a_few_of_the_others() {
    let status = of_a_thousand(12, None);
    assert!(synced(&status).starts_with("12/1000 Clusters; long"), "{}", synced(&status));
    let totals = status.clusters.as_ref().unwrap();
    assert_eq!((totals.total, totals.synced, totals.unsynced), (1000, 12, 988));
    assert_eq!(status.unsynced.len(), 50);
    assert!(serde_json::to_string(&status).unwrap().len() < 16 * 1024);
    assert_eq!(synced(&of_a_thousand(1000, None)), "1000/1000 Clusters");
}

#[test]
fn what_keeps_it_from_being_deleted_is_named_within_bounds() {
    let status = of_a_thousand(1000, Some("2026-01-01T00:00:00Z"));
    let message = synced(&status);
    assert!(message.contains("and 990 more; take it out") && message.len() < 2000, "{message}");
}

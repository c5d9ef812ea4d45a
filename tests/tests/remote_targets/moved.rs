//! The objects move to another management cluster, as `clusterctl move` moves those with its label: without uid and status.

use awsiam_authenticator::names;
use awsiam_core::ledger::{self, Ledger};
use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::documents::{RUNBOOK, run};
use awsiam_tests::site::printed;
use awsiam_tests::stage::{OPERATOR_NAMESPACE, data, install_with, operator_config};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use serde_json::Value;

use super::*;

/// A namespace of the same name in another management cluster, with an operator that may serve it.
async fn other_management(stage: &Stage) -> Stage {
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await.unwrap()));
    let there = Stage::beside(plane, &stage.namespace).await;
    let values = [
        "rights.remote.enabled=true".to_owned(),
        format!("rights.remote.namespaces={{{}}}", stage.namespace),
    ];
    install_with(plane, OPERATOR_NAMESPACE, "here", &values).await.unwrap();
    there
}

/// Copies these objects.
fn moved(from: &Stage, to: &Stage, names: &[&str]) {
    for name in names {
        let words = ["-n", &from.namespace, "get", name, "-o", "json"];
        let mut object: Value =
            serde_json::from_str(&printed(from.plane.kubectl().unwrap().args(words)).unwrap()).unwrap();
        object.as_object_mut().unwrap().remove("status");
        let metadata = object["metadata"].as_object_mut().unwrap();
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            metadata.remove(field);
        }
        apply(to.plane, &object.to_string()).unwrap();
    }
}

/// `aws-auth` of a workload cluster, and what the authenticator serves with.
async fn target(workload: &Workload) -> (ConfigMap, Secret) {
    let secrets: Api<Secret> = Api::namespaced(workload.client.clone(), "kube-system");
    let serving = secrets.get("aws-iam-authenticator-serving").await.unwrap();
    (workload.config_maps().get("aws-auth").await.unwrap(), serving)
}

fn writer(aws_auth: &ConfigMap) -> ledger::Writer {
    Ledger::parse(&aws_auth.annotations()[ledger::ANNOTATION]).unwrap().writer
}

#[tokio::test]
async fn a_cluster_that_moves_is_taken_over_by_annotation_with_its_ca_and_the_one_left_behind_takes_nothing_along()
 {
    let stage = fleet::namespace().await;
    let workload = Workload::shared().await;
    workload.make_aws_auth(NODES).await;
    team(&stage).await;
    put_kubeconfig(&stage, "prod", &workload.kubeconfig()).await;
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    let block = json!({"mode": "DaemonSet", "deletionPolicy": "Delete"});
    let spec = json!({"kubernetesVersion": "1.33", "identityProviderRefs": refs, "iamAuthenticator": block});
    stage.cluster_object("prod", json!({}), spec).await;
    let probe_image = Some("registry.example.com/awsiam:test".to_owned());
    let options = Options { probe_image, ..fleet::options(&[&stage]) };
    let first = operator(&stage, options.clone()).await;
    stage.condition_of("prod", "KubeconfigReady", "True", "Written").await;
    stage.condition_of("prod", "AwsAuthSynced", "True", "Synced").await;
    stage.condition_of("prod", "AuthenticatorReady", "False", "NoControlPlaneNodes").await;
    let (original, served) = target(&workload).await;
    assert_eq!(data(&original)["mapRoles"], format!("{NODES}{OURS}"));
    let ca = names::ca_secret("prod");

    let there = other_management(&stage).await;
    let secret = format!("secret/{ca}");
    let objects = [
        "awsiamconfigs.anywhere.eks.amazonaws.com/team",
        "secret/prod-kubeconfig",
        secret.as_str(),
        "clusters.anywhere.eks.amazonaws.com/prod",
    ];
    moved(&stage, &there, &objects);
    let second = Running::start(operator_config(there.plane).await, options);
    let message = there.condition_of("prod", "AwsAuthSynced", "False", "TargetClaimed").await;
    assert!(message.contains("awsiam-operator.dev/take-over=true"), "{message}");
    assert_eq!(target(&workload).await.0.metadata.resource_version, original.metadata.resource_version);

    let steps = RUNBOOK.blocks("Moved to another management cluster");
    let [take_over] = steps.as_slice() else { panic!("{steps:#?}") };
    run(&there, take_over, "prod", "").await;
    there.condition_of("prod", "AwsAuthSynced", "True", "Synced").await;
    there.condition_of("prod", "KubeconfigReady", "True", "Written").await;
    there.condition_of("prod", "AuthenticatorReady", "False", "NoControlPlaneNodes").await;
    let (taken, leaf) = target(&workload).await;
    assert_eq!(data(&taken), data(&original), "not a byte");
    assert_ne!(writer(&taken), writer(&original));
    assert_eq!(leaf.data, served.data, "API servers trust what serves, as before");
    let text = |secret: Secret| secret.data.unwrap()["cert.pem"].0.clone();
    let (here_ca, there_ca) =
        (fleet::secrets(&stage).get(&ca).await.unwrap(), fleet::secrets(&there).get(&ca).await.unwrap());
    assert_eq!(text(here_ca), text(there_ca));

    // The first operator is still at work: it says so, and what goes with its Cluster is none of the target's.
    stage.condition_of("prod", "AwsAuthSynced", "False", "TargetClaimed").await;
    stage.clusters().delete("prod", &DeleteParams::default()).await.unwrap();
    stage
        .eventually("the Cluster to go", async || match stage.clusters().get_opt("prod").await.unwrap() {
            None => Ok(()),
            Some(cluster) => Err(format!("{:#?}", cluster.status)),
        })
        .await;
    let (after, leaf) = target(&workload).await;
    assert_eq!(after.metadata.resource_version, taken.metadata.resource_version);
    assert_eq!(leaf.data, served.data);
    assert!(workload.daemon_sets().get_opt(names::NAME).await.unwrap().is_some(), "logins go on");
    // And the new one's changes arrive.
    there.config("team", &[("Dev", "dev", &["viewers"]), ("Ops", "ops", &[])]).await;
    gets(&there, &workload, "role/Ops").await;
    first.stop().await;
    second.stop().await;
    workload.daemon_sets().delete(names::NAME, &DeleteParams::default()).await.unwrap();
    workload.config_maps().delete(names::NAME, &DeleteParams::default()).await.unwrap();
}

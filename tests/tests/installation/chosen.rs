//! Installations that serve chosen namespaces and Clusters, or all there are: the program with the words of the chart's
//! Deployment, under what these values grant.

use std::sync::Arc;

use awsiam_tests::control_plane::{AuditEvent, AuditMark};
use awsiam_tests::fleet::{cluster, put_kubeconfig};
use awsiam_tests::process::Process;
use awsiam_tests::stage::{CLUSTER, OPERATOR_NAMESPACE, Stage, install, install_with, operator_words};
use awsiam_tests::stand_in::{Load, StandIn};
use serde_json::json;

/// Starts the operator as the chart does with these values, once their rights are there.
async fn installed(stage: &Stage, values: &[String]) -> Process {
    let manifests = install_with(stage.plane, &stage.namespace, CLUSTER, values).await.unwrap();
    let words = operator_words(&manifests).unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let kubeconfig = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam").await.unwrap();
    Process::run(&kubeconfig, &words, &stage.plane.folder().join("chosen-operator.log")).unwrap()
}

fn values(more: &[&str]) -> Vec<String> {
    let all = ["rights.remote.enabled=true", "resync=2s"].iter().chain(more);
    all.map(|value| (*value).to_owned()).collect()
}

/// A Cluster of this name in a namespace, whose kubeconfig Secret lies in another or the same one; refers to `team`.
async fn target(of: &Stage, secrets_of: &Stage, name: &str) -> StandIn {
    let stand_in = StandIn::start(&Arc::new(Load::default())).await.unwrap();
    put_kubeconfig(secrets_of, name, &stand_in.kubeconfig()).await;
    of.config("team", &[("Dev", "dev", &["viewers"])]).await;
    cluster(of, name, &["team"], json!({})).await;
    stand_in
}

async fn gets(stage: &Stage, target: &StandIn, part: &str) {
    stage
        .eventually(part, async || if target.roles().contains(part) { Ok(()) } else { Err(target.roles()) })
        .await;
}

/// What the operator asked for since then.
fn asked(stage: &Stage, mark: AuditMark) -> Vec<AuditEvent> {
    let events = stage.plane.audit_events_since(mark).unwrap().into_iter();
    events.filter(|event| event.user.ends_with(":awsiam")).collect()
}

fn told(events: &[&AuditEvent]) -> Vec<String> {
    let told = |e: &&AuditEvent| format!("{} {} {}/{} {:?}", e.verb, e.resource, e.namespace, e.name, e.code);
    events.iter().map(told).collect()
}

#[tokio::test]
async fn chosen_namespaces_and_clusters_are_served_under_their_roles_alone_and_nothing_else_is_looked_at() {
    let stage = Stage::set().await;
    let plane = stage.plane;
    let [singles, edge, strangers, provisioned] =
        ["chosen-singles", "chosen-edge", "strangers", "eksa-system"].map(|name| Stage::beside(plane, name));
    let (singles, edge) = (singles.await, edge.await);
    let (strangers, provisioned) = (strangers.await, provisioned.await);
    let prod = target(&singles, &singles, "prod").await;
    let other = target(&singles, &singles, "other").await;
    let factory = target(&edge, &provisioned, "factory").await;
    let foreign = target(&strangers, &strangers, "foreign").await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;

    let mark = plane.audit_mark().unwrap();
    let watched = format!("watchNamespaces={{{},chosen-singles,chosen-edge}}", stage.namespace);
    let chosen = values(&[
        &watched,
        "rights.remote.clusters={chosen-singles/prod}",
        "clusterApiNamespaces.chosen-edge=eksa-system",
    ]);
    let mut operator = installed(&stage, &chosen).await;
    stage.text_gets("mapRoles", "role/Dev").await;
    gets(&singles, &prod, "role/Dev").await;
    gets(&edge, &factory, "role/Dev").await;
    for (of, name) in [(&stage, CLUSTER), (&singles, "prod"), (&edge, "factory")] {
        of.condition_of(name, "Ready", "True", "Ready").await;
    }
    // In a namespace that it serves, but not listed.
    let said = singles.condition_of("other", "TargetReachable", "False", "KubeconfigSecretForbidden").await;
    assert!(said.contains("rights.remote"), "{said}");
    // A change, and an object that comes later.
    edge.config("team", &[("Dev", "dev", &[]), ("Ops", "ops", &[])]).await;
    gets(&edge, &factory, "role/Ops").await;
    assert!(!prod.roles().contains("role/Ops"), "each namespace has an AWSIamConfig of its own");
    assert!(operator.terminate().unwrap().0.success());

    assert_eq!(strangers.clusters().get("foreign").await.unwrap().status, None);
    assert_eq!(strangers.configs().get("team").await.unwrap().status, None);
    assert_eq!((foreign.requests().len(), other.requests().len()), (0, 0));
    let events = asked(&stage, mark);
    let own = |event: &&AuditEvent| event.group == "anywhere.eks.amazonaws.com";
    let served = [stage.namespace.as_str(), "chosen-singles", "chosen-edge"];
    let elsewhere: Vec<_> =
        events.iter().filter(own).filter(|event| !served.contains(&event.namespace.as_str())).collect();
    assert!(elsewhere.is_empty(), "{:#?}", told(&elsewhere));
    let refused: Vec<_> = events.iter().filter(|event| event.code == Some(403)).collect();
    let about_other = |event: &&AuditEvent| event.is_about("secrets", "chosen-singles", "other-kubeconfig");
    assert!(!refused.is_empty() && refused.iter().all(about_other), "{:#?}", told(&refused));
    install(plane).await.unwrap();
}

#[tokio::test]
async fn with_all_namespaces_a_cluster_in_a_namespace_that_nobody_listed_is_served() {
    let stage = Stage::set().await;
    let (before, later) =
        (Stage::beside(stage.plane, "made-before").await, Stage::beside(stage.plane, "made-later").await);
    let first = target(&before, &before, "first").await;
    let mark = stage.plane.audit_mark().unwrap();
    let mut operator = installed(&stage, &values(&["rights.remote.allNamespaces=true"])).await;
    gets(&before, &first, "role/Dev").await;
    let second = target(&later, &later, "second").await;
    gets(&later, &second, "role/Dev").await;
    for (of, name) in [(&before, "first"), (&later, "second")] {
        of.condition_of(name, "Ready", "True", "Ready").await;
    }
    assert!(operator.terminate().unwrap().0.success());
    let events = asked(&stage, mark);
    let refused: Vec<_> = events.iter().filter(|event| event.code == Some(403)).collect();
    assert!(refused.is_empty(), "{:#?}", told(&refused));
    let listed: Vec<_> =
        events.iter().filter(|event| event.resource == "secrets" && event.name.is_empty()).collect();
    assert!(listed.is_empty(), "no Secret is listed, however many may be read: {:#?}", told(&listed));
    install(stage.plane).await.unwrap();
}

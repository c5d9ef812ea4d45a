//! Ten Clusters that Cluster API made, before its own webhooks, each with a target that is a real API server: their
//! KubeadmControlPlanes are changed one at a time, also when another operator comes in the middle. There are no machines:
//! what Cluster API would say of them, the test says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use awsiam_authenticator::kubeadm_control_plane::is_ours;
use awsiam_controller::Options;
use awsiam_tests::cluster_api::{ClusterApi, SetUp, control_planes, machines};
use awsiam_tests::control_plane::{AuditEvent, AuditMark};
use awsiam_tests::fleet::{self, Workload, put_kubeconfig};
use awsiam_tests::stage::{OPERATOR, Running, Stage};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

const CLUSTERS: usize = 10;

const CONFIGURED: &str = "ApiServerConfigured";

fn control_plane(cluster: &str) -> String {
    format!("{cluster}-control-plane")
}

async fn operator(stage: &Stage) -> Running {
    let options = Options {
        probe_image: Some("registry.example.com/awsiam:test".to_owned()),
        resync: Duration::from_secs(1),
        ..fleet::options(&[stage])
    };
    fleet::operator(stage.plane, options).await
}

/// A Cluster with its target, a control-plane node there, and a KubeadmControlPlane here.
async fn cluster(stage: &Stage, name: &str, target: &Workload) {
    target.make_node().await;
    put_kubeconfig(stage, name, &target.kubeconfig()).await;
    SetUp { cluster: name, name: &control_plane(name) }.make(stage, json!({}), |_| {}).await;
    let block = json!({"mode": "DaemonSet", "apiServer": {"rollout": "KubeadmControlPlane"}});
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    let spec = json!({"kubernetesVersion": "1.33", "identityProviderRefs": refs, "iamAuthenticator": block});
    stage.cluster_object(name, json!({}), spec).await;
}

/// The Clusters whose KubeadmControlPlane holds our change.
async fn changed(stage: &Stage) -> BTreeSet<String> {
    let list = control_planes(stage, "v1beta2").list(&ListParams::default()).await.unwrap();
    let ours = list.items.iter().filter(|object| is_ours(&serde_json::to_value(object).unwrap()));
    ours.map(|object| object.name_any().trim_end_matches("-control-plane").to_owned()).collect()
}

/// Waits until one more than these holds our change; never two.
async fn next(stage: &Stage, before: &BTreeSet<String>) -> String {
    stage
        .eventually("the next", async || {
            let now = changed(stage).await;
            assert!(now.len() < before.len() + 2, "{now:?} after {before:?}");
            now.difference(before).next().cloned().ok_or_else(|| "none".to_owned())
        })
        .await
}

/// Waits until every Cluster but those that are done is seen to wait for this one.
async fn others_wait(stage: &Stage, done: &BTreeSet<String>, current: &str, names: &[String]) {
    let title = format!("{}/{}", stage.namespace, control_plane(current));
    for name in names.iter().filter(|name| *name != current && !done.contains(*name)) {
        stage
            .eventually(&format!("{name} to wait for {title}"), async || {
                let message = stage.condition_of(name, CONFIGURED, "False", "WaitingForTurn").await;
                if message.contains(&title) { Ok(()) } else { Err(message) }
            })
            .await;
    }
}

/// Waits until the operator has looked at the KubeadmControlPlane of each of these twice more.
async fn looked_again(stage: &Stage, names: &[String]) {
    let mark = stage.plane.audit_mark().unwrap();
    stage
        .eventually("two looks at each", async || {
            let events = stage.plane.audit_events_since(mark).unwrap();
            let is_few = |name: &&String| {
                let of =
                    |e: &&AuditEvent| e.user == OPERATOR && e.verb == "get" && e.name == control_plane(name);
                events.iter().filter(of).count() < 2
            };
            match names.iter().find(is_few) {
                None => Ok(()),
                Some(name) => Err(format!("not at {name}")),
            }
        })
        .await;
}

/// What was done to KubeadmControlPlanes: whose it was, and whether the operator changed it, else its status was said.
fn told(stage: &Stage, mark: AuditMark) -> Vec<(String, bool)> {
    let mut events = stage.plane.audit_events_since(mark).unwrap();
    events.retain(|e| e.is_write() && e.resource == "kubeadmcontrolplanes" && e.code == Some(200));
    events.sort_by(|one, other| one.received.cmp(&other.received));
    let name = |e: &AuditEvent| e.name.trim_end_matches("-control-plane").to_owned();
    events.iter().map(|e| (name(e), e.user == OPERATOR)).collect()
}

#[tokio::test]
async fn of_ten_control_planes_one_is_changed_when_the_one_before_is_rolled_out() {
    let (stage, targets) = tokio::join!(fleet::namespace(), Workload::start_all(CLUSTERS));
    let _manager = ClusterApi::start(stage.plane).await.unwrap();
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    let names: Vec<String> = (0..CLUSTERS).map(|number| format!("c{number}")).collect();
    for (name, target) in names.iter().zip(&targets) {
        cluster(&stage, name, target).await;
    }
    let mark = stage.plane.audit_mark().unwrap();
    let mut operator = operator(&stage).await;
    for (name, target) in names.iter().zip(&targets) {
        stage
            .eventually("the authenticator", async || match target.authenticator_image().await {
                image if image.is_empty() => Err(format!("none on {name}")),
                _ => Ok(()),
            })
            .await;
    }
    assert_eq!(changed(&stage).await, BTreeSet::new(), "no authenticator is ready");
    futures::future::join_all(targets.iter().map(Workload::authenticator_runs)).await;

    let (mut done, mut order) = (BTreeSet::new(), Vec::new());
    while done.len() < names.len() {
        let current = next(&stage, &done).await;
        others_wait(&stage, &done, &current, &names).await;
        if [3, 6].contains(&done.len()) {
            // The machines are on their way, and another operator comes.
            machines(&stage, &control_plane(&current), 1).await;
            drop(operator);
            operator = self::operator(&stage).await;
            looked_again(&stage, &names).await;
            assert_eq!(next(&stage, &done).await, current);
        }
        machines(&stage, &control_plane(&current), 3).await;
        stage.condition_of(&current, CONFIGURED, "True", "Configured").await;
        done.insert(current.clone());
        order.push(current);
    }
    operator.stop().await;

    // From the audit log: each is changed once, and only when the one before was said to be rolled out.
    let mut told = told(&stage, mark);
    told.dedup();
    let expected: Vec<(String, bool)> =
        order.iter().flat_map(|name| [(name.clone(), true), (name.clone(), false)]).collect();
    assert_eq!(told, expected);
}

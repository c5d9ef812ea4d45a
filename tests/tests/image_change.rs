//! A new image of the catalogue on several targets, each a real API server of its own: it reaches one after the other, a
//! dead one is passed over, and one that does not become ready with it stops the rest. Another mirror stands for another
//! catalogue. There are no pods: what the DaemonSet's controller and the node would say, the test says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::time::Duration;

use awsiam_controller::{ImagePolicy, Options};
use awsiam_tests::control_plane::{AuditEvent, AuditMark};
use awsiam_tests::fleet::{self, Workload, put_kubeconfig};
use awsiam_tests::stage::{Running, Stage};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const NAME: &str = "aws-iam-authenticator";
const READY: &str = "AuthenticatorReady";
/// On a Cluster whose turn it is.
const TURN: &str = "awsiam-operator.dev/image-change";
const BEFORE: &str = "public.ecr.aws/eks-distro";
const AFTER: &str = "mirror.example.com/eks-distro";

/// The operator of before, or, with a mirror, the one that comes after it.
async fn operator(stage: &Stage, registry: &str) -> Running {
    let mirror = (registry != BEFORE).then(|| registry.to_owned());
    let options = Options {
        probe_image: Some("registry.example.com/awsiam:test".to_owned()),
        images: ImagePolicy { mirror, ..ImagePolicy::default() },
        resync: Duration::from_secs(1),
        ..fleet::options(&[stage])
    };
    fleet::operator(stage.plane, options).await
}

/// A Cluster with more fields of its spec, and of `iamAuthenticator`.
async fn cluster(stage: &Stage, name: &str, more: Value, block: Value) {
    let mut spec = json!({"kubernetesVersion": "1.33",
        "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
        "iamAuthenticator": {"mode": "DaemonSet", "apiServer": {"rollout": "Manual"}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec["iamAuthenticator"].as_object_mut().unwrap().extend(block.as_object().unwrap().clone());
    stage.cluster_object(name, json!({}), spec).await;
}

/// Clusters of these names, each with a target and a control-plane node of its own.
async fn clusters<'a>(stage: &Stage, names: &[&'a str], targets: Vec<Workload>) -> Vec<(&'a str, Workload)> {
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    for (name, target) in names.iter().zip(&targets) {
        target.make_node().await;
        put_kubeconfig(stage, name, &target.kubeconfig()).await;
        cluster(stage, name, json!({}), json!({})).await;
    }
    names.iter().copied().zip(targets).collect()
}

/// Waits until a target is to run an image of this registry.
async fn gets(stage: &Stage, target: &Workload, registry: &str) {
    stage
        .eventually(&format!("an image of {registry}"), async || {
            let image = target.authenticator_image().await;
            if image.starts_with(registry) { Ok(()) } else { Err(image) }
        })
        .await;
}

/// Waits until the only one of these that is to run an image of the new registry is there.
async fn first<'a>(stage: &Stage, targets: &[&'a (&'a str, Workload)]) -> &'a (&'a str, Workload) {
    stage
        .eventually("one with the new image", async || {
            let mut with = Vec::new();
            for target in targets {
                if target.1.authenticator_image().await.starts_with(AFTER) {
                    with.push(*target);
                }
            }
            assert!(with.len() < 2, "two at a time");
            with.pop().ok_or_else(|| "none".to_owned())
        })
        .await
}

/// The authenticator of a target runs as it is to run, and the operator has seen it.
async fn runs(stage: &Stage, (name, target): &(&str, Workload)) {
    target.authenticator_runs().await;
    stage.condition_of(name, READY, "True", "RolledOut").await;
}

/// What the operator did to the DaemonSet of a target. It has the same credentials there as the test has.
fn writes(target: &Workload, mark: AuditMark) -> Vec<AuditEvent> {
    let mut events = target.plane().audit_events_since(mark).unwrap();
    events.retain(|event| {
        event.is_write()
            && event.is_about("daemonsets", "kube-system", NAME)
            && event.uri.contains("fieldManager=awsiam-operator")
    });
    events
}

/// Waits until the operator has looked at the authenticator of each of these twice more.
async fn looked_again(stage: &Stage, targets: &[&(&str, Workload)]) {
    let marks: Vec<AuditMark> =
        targets.iter().map(|(_, target)| target.plane().audit_mark().unwrap()).collect();
    for ((name, target), mark) in targets.iter().zip(marks) {
        stage
            .eventually(&format!("two looks at {name}"), async || {
                let events = target.plane().audit_events_since(mark).unwrap();
                let looks = events.iter().filter(|e| e.verb == "list" && e.resource == "nodes").count();
                if looks >= 4 { Ok(()) } else { Err(format!("{looks} of 4 lists, by two labels")) }
            })
            .await;
    }
}

async fn has_turn(stage: &Stage, name: &str) -> bool {
    stage.clusters().get(name).await.unwrap().annotations().contains_key(TURN)
}

#[tokio::test]
async fn four_targets_get_a_new_image_one_after_the_other_and_a_dead_one_is_passed_over() {
    let (stage, targets) = tokio::join!(fleet::namespace(), Workload::start_all(5));
    let mut all = clusters(&stage, &["a", "b", "c", "d", "dead"], targets).await;
    let old = operator(&stage, BEFORE).await;
    for (_, target) in &all {
        // A first installation waits for nobody: none of the others is ready.
        gets(&stage, target, BEFORE).await;
    }
    for target in &all {
        runs(&stage, target).await;
    }
    old.stop().await;
    let mut dead = all.pop().unwrap();
    dead.1.own().stop_api_server();
    let marks: Vec<AuditMark> = all.iter().map(|(_, target)| target.plane().audit_mark().unwrap()).collect();

    let mut new = operator(&stage, AFTER).await;
    stage.condition_of("dead", "TargetReachable", "False", "Unreachable").await;
    let mut waiting: Vec<&(&str, Workload)> = all.iter().collect();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let current = first(&stage, &waiting).await;
        order.push(current.0);
        waiting.retain(|target| target.0 != current.0);
        stage.condition_of(current.0, READY, "False", "RollingOut").await;
        assert!(has_turn(&stage, current.0).await);
        if waiting.len() == 2 {
            // Another operator comes in the middle of a turn, and knows nothing of what was.
            drop(new);
            new = operator(&stage, AFTER).await;
        }
        for (name, _) in &waiting {
            let whom = format!("{}/{} has got it and is not ready with it yet", stage.namespace, current.0);
            stage
                .eventually(&whom, async || {
                    let message = stage.condition_of(name, READY, "True", "ImageHeldBack").await;
                    if message.contains(&whom) { Ok(()) } else { Err(message) }
                })
                .await;
            stage.condition_of(name, "AwsAuthSynced", "True", "Synced").await;
        }
        if let [(_, target), ..] = waiting[..] {
            is_mended(&stage, target).await;
        }
        looked_again(&stage, &waiting).await;
        for (name, target) in &waiting {
            assert!(target.authenticator_image().await.starts_with(BEFORE), "{name} waits");
        }
        runs(&stage, current).await;
        stage
            .eventually("the turn to end", async || {
                if has_turn(&stage, current.0).await { Err("it goes on".to_owned()) } else { Ok(()) }
            })
            .await;
    }

    // The same by the clock of the API servers: nobody was given it before the one before was said to run with it.
    let mut before: Option<(String, String)> = None;
    for name in order {
        let index = all.iter().position(|target| target.0 == name).unwrap();
        let events = all[index].1.plane().audit_events_since(marks[index]).unwrap();
        let of_set = |event: &&AuditEvent| event.resource == "daemonsets" && event.is_write();
        let given = events.iter().filter(of_set).rfind(|event| event.subresource.is_empty()).unwrap();
        let runs = events.iter().filter(of_set).rfind(|event| event.subresource == "status").unwrap();
        if let Some((earlier, runs)) = before {
            assert!(given.received > runs, "{name} at {}, {earlier} ran at {runs}", given.received);
        }
        before = Some((name.to_owned(), runs.received.clone()));
    }

    // The dead one has its turn when it is back.
    dead.1.own().start_api_server().await.unwrap();
    gets(&stage, &dead.1, AFTER).await;
    runs(&stage, &dead).await;
    new.stop().await;
}

/// A target that waits keeps the image it was given, and the rest of its DaemonSet is kept up.
async fn is_mended(stage: &Stage, target: &Workload) {
    let edit = json!({"spec": {"template": {"spec": {"hostNetwork": false, "containers": [
        {"name": NAME, "image": "registry.example.com/somebody:else"}]}}}});
    let api = target.daemon_sets();
    api.patch(NAME, &PatchParams::default(), &Patch::Strategic(&edit)).await.unwrap();
    stage
        .eventually("the DaemonSet as it was", async || {
            let pod = api.get(NAME).await.unwrap().spec.unwrap().template.spec.unwrap();
            let image = target.authenticator_image().await;
            if pod.host_network == Some(true) && image.starts_with(BEFORE) { Ok(()) } else { Err(image) }
        })
        .await;
    // The controller is done with that, too.
    target.authenticator_runs().await;
}

#[tokio::test]
async fn one_that_does_not_become_ready_again_stops_the_rest_and_only_the_rest() {
    let (stage, targets) = tokio::join!(fleet::namespace(), Workload::start_all(4));
    let all = clusters(&stage, &["a", "b", "late", "suspended"], targets).await;
    let [a, b, late, suspended] = &all[..] else { panic!() };
    let old = operator(&stage, BEFORE).await;
    for (_, target) in &all {
        gets(&stage, target, BEFORE).await;
    }
    for target in [a, b, suspended] {
        runs(&stage, target).await;
    }
    old.stop().await;
    cluster(&stage, "suspended", json!({}), json!({"suspend": true})).await;
    let new = operator(&stage, AFTER).await;

    let broken = first(&stage, &[a, b]).await;
    let other = if broken.0 == "a" { b } else { a };
    stage.condition_of(broken.0, READY, "False", "RollingOut").await;
    can_not_pull(&broken.1).await;
    let message = stage.condition_of(broken.0, READY, "False", "ImagePullFailed").await;
    assert!(message.contains("other targets wait until it is ready here"), "{message}");
    let message = stage.condition_of(other.0, READY, "True", "ImageHeldBack").await;
    let whom = format!("{}/{} has got it and is not ready with it yet", stage.namespace, broken.0);
    assert!(message.contains(&whom) && message.contains(AFTER), "{message}");
    let message = stage.condition_of("late", READY, "False", "RollingOut").await;
    assert!(message.contains("It is passed over by mirror.example.com/"), "{message}");
    let message = stage.condition_of("suspended", READY, "False", "Suspended").await;
    assert!(message.contains(&format!("Pending: DaemonSet kube-system/{NAME}")), "{message}");

    let still = [other, late, suspended];
    let marks: Vec<AuditMark> =
        still.iter().map(|(_, target)| target.plane().audit_mark().unwrap()).collect();
    looked_again(&stage, &still).await;
    new.stop().await;
    let new = operator(&stage, AFTER).await;
    looked_again(&stage, &still).await;
    for ((name, target), mark) in still.iter().zip(marks) {
        assert_eq!(writes(target, mark), [], "{name}");
    }

    // What a Cluster asks for itself waits for nobody.
    cluster(&stage, "late", json!({"kubernetesVersion": "1.35"}), json!({})).await;
    gets(&stage, &late.1, AFTER).await;
    assert!(!has_turn(&stage, "late").await);
    // One that is left alone on purpose keeps nobody waiting any more.
    cluster(&stage, broken.0, json!({}), json!({"suspend": true})).await;
    gets(&stage, &other.1, AFTER).await;
    runs(&stage, other).await;
    assert!(suspended.1.authenticator_image().await.starts_with(BEFORE));
    new.stop().await;
}

/// What the node would say of an image that it can't pull.
async fn can_not_pull(target: &Workload) {
    let pods: Api<Pod> = Api::namespaced(target.client.clone(), "kube-system");
    let pod = json!({"metadata": {"name": "authenticator-0", "labels": {"app.kubernetes.io/name": NAME}},
        "spec": {"nodeName": "control-0", "serviceAccountName": NAME, "containers": [{"name": NAME, "image": "x"}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let waiting = json!({"reason": "ImagePullBackOff", "message": "there is no such image"});
    let status = json!({"status": {"containerStatuses": [{"name": NAME, "image": "x", "imageID": "",
        "ready": false, "restartCount": 0, "state": {"waiting": waiting}}]}});
    let patch = Patch::Merge(&status);
    pods.patch_status("authenticator-0", &PatchParams::default(), &patch).await.unwrap();
}

//! What is said of a rollout, for each thing that can be seen of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::sync::Arc;

use awsiam_authenticator::rollout::{Fault, Readiness, Seen, readiness};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

fn daemon_set(status: &Value) -> DaemonSet {
    let container = |name: &str| json!({"name": name, "image": "i"});
    let pod = json!({"containers": [container("aws-iam-authenticator"), container("mappings")]});
    let spec = json!({"selector": {}, "template": {"spec": pod}});
    serde_json::from_value(json!({"metadata": {"generation": 2}, "spec": spec, "status": status})).unwrap()
}

fn status(desired: i32, updated: i32, available: i32) -> Value {
    json!({"observedGeneration": 2, "currentNumberScheduled": desired, "numberMisscheduled": 0, "numberReady": available,
        "desiredNumberScheduled": desired, "updatedNumberScheduled": updated, "numberAvailable": available})
}

fn pod(node: &str, status: &Value) -> Pod {
    let made = json!({"name": format!("p-{node}"), "creationTimestamp": "2026-11-23T12:00:00Z"});
    serde_json::from_value(
        json!({"metadata": made, "spec": {"nodeName": node, "containers": []}, "status": status}),
    )
    .unwrap()
}

fn ready_pod(node: &str) -> Pod {
    pod(
        node,
        &json!({"startTime": "2026-11-23T12:00:01Z", "conditions": [{"type": "Ready", "status": "True"}]}),
    )
}

fn container(name: &str, ready: bool, state: &Value, last: &Value) -> Value {
    json!({"name": name, "image": "r/a:v1", "imageID": "", "ready": ready, "restartCount": 3, "state": state, "lastState": last})
}

fn said(daemon_set: &DaemonSet, pods: &[Pod], nodes: &[&str]) -> Readiness {
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    let pods: Vec<Arc<Pod>> = pods.iter().cloned().map(Arc::new).collect();
    readiness(&Seen { daemon_set: Some(daemon_set), pods: &pods, nodes: &nodes })
}

fn fault(pod: Pod) -> (Fault, String) {
    match said(&daemon_set(&status(1, 1, 0)), &[pod], &["a"]) {
        Readiness::Failing { fault, node, detail } => {
            assert_eq!(node, "a");
            (fault, detail)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn ready_means_every_control_plane_node_has_the_newest_version_and_the_mappings() {
    let pods = [ready_pod("a"), ready_pod("b")];
    assert_eq!(said(&daemon_set(&status(2, 2, 2)), &pods, &["a", "b"]), Readiness::Ready { nodes: 2 });
    for (numbers, text) in [
        (status(2, 1, 2), "1 of 2 nodes have the newest version"),
        (status(2, 2, 1), "1 of 2 nodes are ready"),
        (status(1, 1, 1), "1 of 2 control-plane nodes are left out"),
        (
            json!({"observedGeneration": 1, "currentNumberScheduled": 2, "numberMisscheduled": 0, "numberReady": 2,
            "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}),
            "has not taken that up",
        ),
    ] {
        let Readiness::RollingOut(said) = said(&daemon_set(&numbers), &pods, &["a", "b"]) else {
            panic!("{numbers}")
        };
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn without_a_probe_running_is_all_that_is_said() {
    let mut daemon_set = daemon_set(&status(1, 1, 1));
    daemon_set.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers.pop();
    assert_eq!(said(&daemon_set, &[ready_pod("a")], &["a"]), Readiness::Running { nodes: 1 });
}

#[test]
fn a_node_without_a_pod_is_named() {
    let Readiness::RollingOut(said) = said(&daemon_set(&status(1, 1, 1)), &[ready_pod("a")], &["a", "b"])
    else {
        panic!()
    };
    assert!(said.contains(", b;"), "{said}");
}

#[test]
fn no_control_plane_node_is_not_ready() {
    assert_eq!(said(&daemon_set(&status(0, 0, 0)), &[], &[]), Readiness::NoControlPlaneNodes);
    let none = readiness(&Seen { daemon_set: None, pods: &[], nodes: &[] });
    assert!(matches!(none, Readiness::RollingOut(_)), "{none:?}");
}

#[test]
fn an_image_that_can_not_be_pulled_is_told_with_its_name() {
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}});
    let (fault, detail) = fault(pod(
        "a",
        &json!({"containerStatuses": [container("aws-iam-authenticator", false, &waiting, &json!({}))]}),
    ));
    assert_eq!((fault, detail.as_str()), (Fault::ImagePull, "image r/a:v1: not found"));
}

#[test]
fn a_crash_loop_is_told_with_the_last_line_and_a_taken_port_by_its_own_name() {
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let ended = |message: &str| json!({"terminated": {"exitCode": 1, "reason": "Error", "message": message}});
    let crash = |message: &str| {
        fault(pod(
            "a",
            &json!({"containerStatuses": [container("aws-iam-authenticator", false, &waiting, &ended(message))]}),
        ))
    };
    let (what, detail) = crash("first\nno such backend\n");
    assert_eq!(what, Fault::CrashLooping);
    assert!(detail.ends_with("ended with code 1 (Error): no such backend"), "{detail}");
    assert_eq!(crash("listen tcp 127.0.0.1:21362: bind: address already in use").0, Fault::PortTaken);
}

#[test]
fn a_pod_without_a_node_says_why() {
    let unscheduled =
        json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]});
    let (what, detail) = fault(pod("a", &unscheduled));
    assert_eq!((what, detail.as_str()), (Fault::NotScheduled, "no room"));
}

#[test]
fn a_clock_that_is_behind_is_told() {
    let (what, detail) = fault(pod("a", &json!({"startTime": "2026-11-23T11:50:00Z"})));
    assert_eq!(what, Fault::ClockOff);
    assert!(detail.contains("600 s behind"), "{detail}");
}

#[test]
fn a_clock_that_is_ahead_is_told_by_what_the_api_server_was_told_before() {
    let told = |started: &str, told: &str, manager: &str| {
        let running = json!({"running": {"startedAt": started}});
        let status = json!({"startTime": "2026-11-23T12:00:01Z",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [container("aws-iam-authenticator", true, &running, &json!({}))]});
        let mut pod = pod("a", &status);
        let entry =
            json!([{"manager": manager, "operation": "Update", "subresource": "status", "time": told}]);
        pod.metadata.managed_fields = serde_json::from_value(entry).unwrap();
        pod
    };
    let (what, detail) = fault(told("2026-11-23T12:10:00Z", "2026-11-23T12:05:00Z", "kubelet"));
    assert_eq!(what, Fault::ClockOff);
    assert!(detail.contains("300 s ahead of"), "{detail}");
    // A pod that started long after it was made is none: it may have waited for its node or its image.
    let ready = Readiness::Ready { nodes: 1 };
    for (started, at, manager) in [
        ("2026-11-23T12:10:00Z", "2026-11-23T12:10:01Z", "kubelet"),
        ("2026-11-23T12:10:30Z", "2026-11-23T12:10:00Z", "kubelet"),
        ("2026-11-23T12:10:00Z", "2026-11-23T12:05:00Z", "somebody"),
    ] {
        let pod = told(started, at, manager);
        assert_eq!(said(&daemon_set(&status(1, 1, 1)), &[pod], &["a"]), ready, "{started} {at} {manager}");
    }
}

#[test]
fn an_authenticator_that_runs_without_mappings_is_not_ready() {
    let running = json!({"running": {}});
    let statuses = json!({
        "conditions": [{"type": "ContainersReady", "status": "False", "reason": "ContainersNotReady"}],
        "containerStatuses": [
            container("aws-iam-authenticator", true, &running, &json!({})),
            container("mappings", false, &running, &json!({})),
        ],
    });
    assert_eq!(fault(pod("a", &statuses)).0, Fault::MappingsNotLoaded);
}

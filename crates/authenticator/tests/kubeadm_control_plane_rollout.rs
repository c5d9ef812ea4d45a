//! How far a rollout has come, read from both versions of a KubeadmControlPlane, and why it isn't done.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use awsiam_authenticator::kubeadm_control_plane::{Rollout, RolloutState, rollout};
use serde_json::{Value, json};

fn both() -> [Value; 2] {
    [
        serde_saphyr::from_str(include_str!("kubeadm_control_plane/v1beta1.yaml")).unwrap(),
        serde_saphyr::from_str(include_str!("kubeadm_control_plane/v1beta2.yaml")).unwrap(),
    ]
}

/// The object with its status changed; `upToDateReplicas` is meant for either version.
fn with_status(mut object: Value, changes: &Value) -> Rollout {
    let is_old = object["apiVersion"].as_str().unwrap().ends_with("v1beta1");
    for (name, value) in changes.as_object().unwrap() {
        let name = if is_old && name == "upToDateReplicas" { "updatedReplicas" } else { name };
        object["status"][name] = value.clone();
    }
    rollout(&object)
}

#[test]
fn a_rollout_is_done_when_every_machine_is_up_to_date_and_ready_and_none_is_too_many() {
    for object in both() {
        let done = rollout(&object);
        assert_eq!((done.state, done.why.as_str()), (RolloutState::Done, ""));
        let progress = done.progress;
        assert_eq!((progress.wanted, progress.total, progress.up_to_date, progress.ready), (3, 3, 3, 3));
    }
}

#[test]
fn an_unfinished_rollout_says_why() {
    let cases = [
        (json!({ "observedGeneration": 3 }), "has not looked at its generation 4 yet (at 3 so far)"),
        (
            json!({ "upToDateReplicas": 1, "replicas": 4 }),
            "1 of 3 machines are up to date; there are 4 machines",
        ),
        (json!({ "replicas": 4 }), "there are 4 machines and 3 are wanted"),
        (json!({ "replicas": 2 }), "there are 2 machines and 3 are wanted"),
        (json!({ "readyReplicas": 2 }), "2 of 3 machines are ready"),
        (json!({ "conditions": [{ "type": "RollingOut", "status": "True" }] }), "still replacing machines"),
        (
            json!({ "conditions": [{ "type": "MachinesSpecUpToDate", "status": "False" }] }),
            "still replacing machines",
        ),
    ];
    for (changes, why) in cases {
        for object in both() {
            let rollout = with_status(object, &changes);
            assert_eq!(rollout.state, RolloutState::InProgress, "{changes}");
            assert!(rollout.why.contains(why), "{changes}: {}", rollout.why);
        }
    }
}

#[test]
fn an_object_without_status_is_in_progress() {
    for mut object in both() {
        object.as_object_mut().unwrap().remove("status");
        assert_eq!(rollout(&object).state, RolloutState::InProgress);
    }
}

#[test]
fn the_words_of_cluster_api_are_passed_on_in_one_line() {
    let condition = json!([{
        "type": "MachinesReady", "status": "False", "reason": "NotReady",
        "message": "* Machine prod-abc:\n  * NodeHealthy: Waiting for the node",
    }]);
    for object in both() {
        let rollout = with_status(object, &json!({ "readyReplicas": 2, "conditions": condition }));
        assert_eq!(
            rollout.why,
            "2 of 3 machines are ready; MachinesReady (NotReady): * Machine prod-abc: * NodeHealthy: Waiting for the node"
        );
    }
}

#[test]
fn a_rollout_that_needs_somebody_is_stalled() {
    let error = json!([{
        "type": "MachinesCreated", "status": "False", "severity": "Error",
        "reason": "InfrastructureTemplateCloningFailed", "message": "no such template",
    }]);
    let cases = [
        (json!({ "conditions": [{ "type": "Paused", "status": "True" }] }), "it is paused"),
        (json!({ "failureMessage": "out of quota" }), "has given up: out of quota"),
        (json!({ "deprecated": { "v1beta1": { "failureMessage": "gone" } } }), "has given up: gone"),
        (
            json!({ "conditions": error }),
            "MachinesCreated (InfrastructureTemplateCloningFailed): no such template",
        ),
    ];
    for (mut changes, why) in cases {
        for object in both() {
            changes["upToDateReplicas"] = json!(1);
            let stalled = with_status(object.clone(), &changes);
            assert_eq!(stalled.state, RolloutState::Stalled, "{changes}");
            assert!(stalled.why.contains(why) && stalled.why.contains("1 of 3"), "{}", stalled.why);
            assert_eq!(stalled.why.matches(why).count(), 1, "{}", stalled.why);

            changes["upToDateReplicas"] = json!(3);
            let done = with_status(object, &changes);
            assert_eq!(done.state, RolloutState::Done, "{changes}: nothing is left to do");
        }
    }
    for mut object in both() {
        object["metadata"]["annotations"]["cluster.x-k8s.io/paused"] = json!("");
        object["metadata"]["generation"] = json!(5);
        assert_eq!(rollout(&object).state, RolloutState::Stalled);
    }
}

#[test]
fn an_edit_waits_while_a_machine_is_being_made() {
    for mut object in both() {
        assert!(rollout(&object).lets_edit());
        for making in
            [json!({ "replicas": 4 }), json!({ "readyReplicas": 2 }), json!({ "upToDateReplicas": 2 })]
        {
            assert!(!with_status(object.clone(), &making).lets_edit(), "{making}");
        }
        let none = json!({ "replicas": 0, "upToDateReplicas": 0, "readyReplicas": 0 });
        assert!(
            with_status(object.clone(), &none).lets_edit(),
            "what has no machine yet gets it from the start"
        );
        object.as_object_mut().unwrap().remove("status");
        assert!(rollout(&object).lets_edit());
    }
}

#[test]
fn progress_can_be_compared() {
    for object in both() {
        let before = with_status(object.clone(), &json!({ "upToDateReplicas": 1 }));
        assert_eq!(before.progress, with_status(object.clone(), &json!({ "upToDateReplicas": 1 })).progress);
        assert_ne!(before.progress, with_status(object, &json!({ "upToDateReplicas": 2 })).progress);
    }
}

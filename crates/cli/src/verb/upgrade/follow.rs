//! When what was applied is in force: read from the Cluster's status. Pure.

use std::collections::BTreeMap;

use awsiam_api::Cluster;
use awsiam_api::conditions::{self, reasons};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What was applied, and so what a status must speak of.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    /// Generation of the Cluster.
    pub(super) cluster: i64,
    /// Generation of each AWSIamConfig, by name.
    pub(super) configs: BTreeMap<String, i64>,
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The status does not speak of what was applied yet.
    NotSeen,
    /// On its way; what is missing.
    Waiting(String),
    /// Everything is in order.
    Ready,
    /// It does not get there by itself; why.
    Failed(String),
    /// An administrator has to set the API server's file and flag.
    Administrator(String),
}

/// Reasons of `False` that pass by themselves, or may.
const PASSING: [&str; 19] = [
    reasons::PENDING,
    reasons::UNREACHABLE,
    reasons::READ_FAILED,
    reasons::WRITE_FAILED,
    reasons::MOVING,
    reasons::WAITING_FOR_AUTHENTICATOR,
    reasons::BEING_DELETED,
    reasons::NO_CONTROL_PLANE_NODES,
    reasons::ROLLING_OUT,
    reasons::WAITING_FOR_TURN,
    reasons::NOT_OBSERVED,
    reasons::MAPPINGS_NOT_OBSERVED,
    reasons::MAPPINGS_NOT_LOADED,
    reasons::CRASH_LOOPING,
    reasons::IMAGE_PULL_FAILED,
    reasons::NOT_SCHEDULED,
    reasons::KUBECONFIG_SECRET_MISSING,
    reasons::WEBHOOK_UNREACHABLE,
    reasons::REMOVING,
];

/// What the status says of what was applied.
pub(super) fn verdict(cluster: &Cluster, applied: &Applied) -> Verdict {
    let Some(status) = cluster.status.as_ref() else { return Verdict::NotSeen };
    let mut configs = applied.configs.iter();
    let is_seen = |(name, generation): (&String, &i64)| {
        let found = status.configs.iter().find(|config| config.name == *name);
        found.is_some_and(|found| found.generation >= Some(*generation))
    };
    let conditions = status.conditions.as_slice();
    let is_unreachable =
        || conditions::condition(conditions, conditions::TARGET_REACHABLE).is_some_and(is_bad);
    let is_current = status.observed_generation >= Some(applied.cluster);
    if !is_current || !(configs.all(is_seen) || is_unreachable()) {
        return Verdict::NotSeen;
    }
    let Some(ready) = conditions::condition(conditions, conditions::READY) else { return Verdict::NotSeen };
    if ready.status == "True" {
        return Verdict::Ready;
    }
    let parts = || conditions.iter().filter(|condition| condition.type_ != conditions::READY);
    let is_administrators = |part: &&Condition| part.reason == reasons::WAITING_FOR_ADMINISTRATOR;
    let lasting = parts().filter(|part| is_bad(part) && !is_administrators(part));
    if let Some(part) = lasting.clone().find(|part| !PASSING.contains(&part.reason.as_str())) {
        return Verdict::Failed(words(part));
    }
    let missing =
        || parts().filter(|part| part.status != "True" && part.type_ != conditions::NODE_ENTRIES_LOST);
    let others = missing().find(|part| !is_administrators(part));
    match (others, missing().find(is_administrators)) {
        (Some(part), _) => Verdict::Waiting(words(part)),
        (None, Some(part)) => Verdict::Administrator(words(part)),
        (None, None) => Verdict::Waiting(words(ready)),
    }
}

fn is_bad(condition: &Condition) -> bool {
    let bad = if condition.type_ == conditions::NODE_ENTRIES_LOST { "True" } else { "False" };
    condition.status == bad
}

/// A condition in one line.
pub(super) fn words(condition: &Condition) -> String {
    format!("{} {}: {}", condition.type_, condition.reason, condition.message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(generation: i64, config: i64, conditions: &[(&str, &str, &str)]) -> Cluster {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, status, reason)| {
                json!({"type": kind, "status": status, "reason": reason, "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        let object = json!({
            "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster", "metadata": {"name": "c"},
            "spec": {}, "status": {"observedGeneration": generation, "conditions": conditions,
                "configs": [{"name": "team", "generation": config, "state": "Usable"}]},
        });
        serde_json::from_value(object).unwrap()
    }

    fn applied() -> Applied {
        Applied { cluster: 2, configs: BTreeMap::from([("team".to_owned(), 3)]) }
    }

    #[test]
    fn an_older_status_says_nothing_of_what_was_applied() {
        let ready = [("Ready", "True", "Ready")];
        assert_eq!(verdict(&cluster(1, 3, &ready), &applied()), Verdict::NotSeen);
        assert_eq!(verdict(&cluster(2, 2, &ready), &applied()), Verdict::NotSeen);
        assert_eq!(verdict(&cluster(2, 3, &ready), &applied()), Verdict::Ready);
        assert_eq!(verdict(&cluster(3, 4, &ready), &applied()), Verdict::Ready);
    }

    #[test]
    fn what_does_not_pass_by_itself_has_failed() {
        let claimed = [("Ready", "False", "TargetClaimed"), ("AwsAuthSynced", "False", "TargetClaimed")];
        assert_eq!(
            verdict(&cluster(2, 3, &claimed), &applied()),
            Verdict::Failed("AwsAuthSynced TargetClaimed: m".into())
        );
        let rolling = [("Ready", "False", "RollingOut"), ("AuthenticatorReady", "False", "RollingOut")];
        assert_eq!(
            verdict(&cluster(2, 3, &rolling), &applied()),
            Verdict::Waiting("AuthenticatorReady RollingOut: m".into())
        );
        let lost = [("Ready", "False", "NoNodeEntries"), ("NodeEntriesLost", "True", "NoNodeEntries")];
        assert!(matches!(verdict(&cluster(2, 3, &lost), &applied()), Verdict::Failed(_)));
    }

    #[test]
    fn the_administrators_part_is_waited_for_last() {
        let waiting = |other: &'static str| {
            cluster(
                2,
                3,
                &[
                    ("Ready", "False", "WaitingForAdministrator"),
                    ("ApiServerConfigured", "False", "WaitingForAdministrator"),
                    ("AuthenticatorReady", other, "RollingOut"),
                ],
            )
        };
        assert!(matches!(verdict(&waiting("False"), &applied()), Verdict::Waiting(_)));
        assert!(matches!(verdict(&waiting("Unknown"), &applied()), Verdict::Waiting(_)));
        assert!(matches!(verdict(&waiting("True"), &applied()), Verdict::Administrator(_)));
    }

    #[test]
    fn an_unreachable_target_is_waited_for_although_no_config_is_seen() {
        let lost = [("Ready", "False", "Unreachable"), ("TargetReachable", "False", "Unreachable")];
        assert!(matches!(verdict(&cluster(2, 1, &lost), &applied()), Verdict::Waiting(_)));
    }
}

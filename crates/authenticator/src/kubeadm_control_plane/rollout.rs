//! How far a KubeadmControlPlane has come with replacing its machines, read from its spec and status.
//!
//! Knows no time: that nothing has moved for long is seen by comparing [`Progress`] between looks.

use serde_json::Value;

use super::found::text;

/// Set by people and by `clusterctl move`: its controller leaves the object alone.
const PAUSED: &str = "cluster.x-k8s.io/paused";

/// Whether the machines are what the spec says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutState {
    /// Every machine is up to date and ready, and there is none too many.
    Done,
    /// Not yet, and nothing says that it won't be.
    InProgress,
    /// Not yet, and it won't be until somebody acts.
    Stalled,
}

/// Counts of machines. One that is equal to an earlier one has not moved since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Generation of the spec that the status is about.
    pub observed_generation: i64,
    /// Generation of the spec.
    pub generation: i64,
    /// Machines that the spec asks for.
    pub wanted: i64,
    /// Machines that there are.
    pub total: i64,
    /// Of these, made from the spec as it is.
    pub up_to_date: i64,
    /// Of these, ready.
    pub ready: i64,
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// In a word.
    pub state: RolloutState,
    /// Why it isn't done, for people; empty when it is.
    pub why: String,
    /// In numbers.
    pub progress: Progress,
}

/// How far a KubeadmControlPlane, v1beta1 or v1beta2, has come. Before its first machine it is in progress, with none.
#[must_use]
pub fn rollout(object: &Value) -> Rollout {
    let progress = Progress::of(object);
    let reasons = unfinished(object, &progress);
    let stalled = stalled(object);
    let state = match (reasons.is_empty(), stalled.is_empty()) {
        (true, _) => RolloutState::Done,
        (false, true) => RolloutState::InProgress,
        (false, false) => RolloutState::Stalled,
    };
    let why = match state {
        RolloutState::Done => String::new(),
        _ => stalled.into_iter().chain(reasons).chain(told(object)).collect::<Vec<_>>().join("; "),
    };
    Rollout { state, why, progress }
}

impl Rollout {
    /// Whether file, flag and mount may be put in now: no machine is being made that would join without the file. One
    /// that joins reads the flag from the cluster, and its files from what it was made from.
    #[must_use]
    pub fn lets_edit(&self) -> bool {
        self.state == RolloutState::Done || self.progress.total == 0
    }
}

impl Progress {
    fn of(object: &Value) -> Self {
        let number = |paths: &[&str], otherwise: i64| {
            paths.iter().find_map(|path| object.pointer(path)?.as_i64()).unwrap_or(otherwise)
        };
        Self {
            observed_generation: number(&["/status/observedGeneration"], 0),
            generation: number(&["/metadata/generation"], 0),
            wanted: number(&["/spec/replicas"], 1),
            total: number(&["/status/replicas"], 0),
            // The first is v1beta2's, the second v1beta1's.
            up_to_date: number(&["/status/upToDateReplicas", "/status/updatedReplicas"], 0),
            ready: number(&["/status/readyReplicas"], 0),
        }
    }
}

fn unfinished(object: &Value, progress: &Progress) -> Vec<String> {
    let Progress { observed_generation, generation, wanted, total, up_to_date, ready } = *progress;
    if object.get("status").is_none() || observed_generation < generation {
        // Everything else in the status is about an older spec.
        return vec![format!(
            "Cluster API has not looked at its generation {generation} yet (at {observed_generation} so far)"
        )];
    }
    let mut reasons = Vec::new();
    if up_to_date < wanted {
        reasons.push(format!("{up_to_date} of {wanted} machines are up to date"));
    }
    if ready < wanted {
        reasons.push(format!("{ready} of {wanted} machines are ready"));
    }
    if total != wanted {
        reasons.push(format!("there are {total} machines and {wanted} are wanted"));
    }
    if reasons.is_empty() && conditions(object).any(is_rolling) {
        reasons.push("Cluster API says that it is still replacing machines".to_owned());
    }
    reasons
}

/// Conditions of both ages, each with `type`, `status`, `reason`, `message`; v1beta1's have a `severity` besides.
fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    ["/status/conditions", "/status/v1beta2/conditions", "/status/deprecated/v1beta1/conditions"]
        .into_iter()
        .filter_map(|path| object.pointer(path)?.as_array())
        .flatten()
}

fn is(condition: &Value, kind: &str, status: &str) -> bool {
    text(condition, "type") == kind && text(condition, "status") == status
}

fn is_rolling(condition: &Value) -> bool {
    is(condition, "RollingOut", "True")
        || is(condition, "MachinesUpToDate", "False")
        || is(condition, "MachinesSpecUpToDate", "False")
}

/// What keeps it from going on by itself.
fn stalled(object: &Value) -> Vec<String> {
    let mut reasons = Vec::new();
    let annotated =
        object.pointer("/metadata/annotations").is_some_and(|annotations| annotations.get(PAUSED).is_some());
    if annotated || conditions(object).any(|condition| is(condition, "Paused", "True")) {
        reasons.push(format!(
            "it is paused: nothing happens until annotation {PAUSED} and its Cluster's spec.paused are gone"
        ));
    }
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        reasons.push("it is being deleted".to_owned());
    }
    for status in ["/status", "/status/deprecated/v1beta1"] {
        let failure = object.pointer(status).map(|status| text(status, "failureMessage")).unwrap_or_default();
        if !failure.is_empty() {
            reasons.push(format!("Cluster API has given up: {failure}"));
        }
    }
    let errors = conditions(object)
        .filter(|condition| text(condition, "status") == "False" && text(condition, "severity") == "Error");
    reasons.extend(errors.map(sentence));
    reasons
}

/// What Cluster API itself says about machines that are not as they should be.
fn told(object: &Value) -> Vec<String> {
    let mut all: Vec<String> = conditions(object)
        .filter(|condition| {
            is(condition, "MachinesReady", "False")
                || is(condition, "MachinesUpToDate", "False")
                || is(condition, "MachinesSpecUpToDate", "False")
                || is(condition, "ScalingUp", "True")
                || is(condition, "ScalingDown", "True")
                || is(condition, "Remediating", "True")
        })
        .filter(|condition| text(condition, "severity") != "Error" && !text(condition, "message").is_empty())
        .map(sentence)
        .collect();
    all.dedup();
    all
}

fn sentence(condition: &Value) -> String {
    // Cluster API's messages are lists over several lines.
    let message = text(condition, "message").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{} ({}): {message}", text(condition, "type"), text(condition, "reason"))
}

//! Whether the authenticator runs on every control-plane node and can load the mappings there, from what the
//! API server says of the DaemonSet, its pods and the nodes. A ready authenticator alone proves little: it is
//! ready without ever having read `aws-auth`; the probe beside it is what is asked here.

use std::sync::Arc;

use awsiam_core::desired::Backend;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec};

use crate::names::{NAME, NAMESPACE};
use crate::objects::{PROBE, backends_of};

/// Seconds by which a node's clock may differ before it is told.
const CLOCK_TOLERANCE: i64 = 60;

/// What was read of a target.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The DaemonSet, if it is there.
    pub daemon_set: Option<&'a DaemonSet>,
    /// Its pods.
    pub pods: &'a [Arc<Pod>],
    /// Names of the control-plane nodes.
    pub nodes: &'a [String],
}

/// How far the authenticator is on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It runs on every control-plane node, and each can load the mappings.
    Ready {
        /// How many nodes.
        nodes: usize,
    },
    /// It runs on every control-plane node; whether the mappings are loaded is not looked at, because there is
    /// no probe.
    Running {
        /// How many nodes.
        nodes: usize,
    },
    /// No node is labelled as control plane.
    NoControlPlaneNodes,
    /// On its way; the text says what is still to come.
    RollingOut(String),
    /// Something is wrong on a node.
    Failing {
        /// What.
        fault: Fault,
        /// The node; empty where the pod has none.
        node: String,
        /// What the node says.
        detail: String,
    },
}

/// What is wrong on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Another program has the authenticator's port.
    PortTaken,
    /// The container ends again and again.
    CrashLooping,
    /// An image can't be pulled.
    ImagePull,
    /// The pod has no node.
    NotScheduled,
    /// The node's clock is behind that of the API server, or ahead of it: tokens and certificates look as if they were
    /// from the future, or too old.
    ClockOff,
    /// The authenticator runs, and the probe can't load the mappings as it does.
    MappingsNotLoaded,
}

/// Looks at a target.
#[must_use]
pub fn readiness(seen: &Seen<'_>) -> Readiness {
    let Some(daemon_set) = seen.daemon_set else {
        return Readiness::RollingOut("the DaemonSet is not there yet".to_owned());
    };
    if seen.nodes.is_empty() {
        return Readiness::NoControlPlaneNodes;
    }
    if let Some(failing) = seen.pods.iter().filter_map(|pod| fault(pod)).min_by_key(|(fault, ..)| *fault) {
        let (fault, node, detail) = failing;
        return Readiness::Failing { fault, node, detail };
    }
    match unfinished(daemon_set, seen) {
        Some(text) => Readiness::RollingOut(text),
        None if has_probe(daemon_set) => Readiness::Ready { nodes: seen.nodes.len() },
        None => Readiness::Running { nodes: seen.nodes.len() },
    }
}

/// Whether every authenticator that answers asks exactly these backends: the rollout is over, and no pod of an earlier
/// one is left, not even one that is about to end.
#[must_use]
pub fn runs_with(seen: &Seen<'_>, backends: &[Backend]) -> bool {
    let asks = |pod: Option<&PodSpec>| pod.and_then(backends_of).is_some_and(|asked| asked == backends);
    let template =
        seen.daemon_set.and_then(|set| set.spec.as_ref()).and_then(|spec| spec.template.spec.as_ref());
    let is_over = matches!(readiness(seen), Readiness::Ready { .. } | Readiness::Running { .. });
    is_over && asks(template) && seen.pods.iter().all(|pod| asks(pod.spec.as_ref()))
}

fn has_probe(daemon_set: &DaemonSet) -> bool {
    let pod = daemon_set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.is_some_and(|pod| pod.containers.iter().any(|container| container.name == PROBE))
}

/// What is still to come: the generation first, because the numbers beside an old one mean nothing.
fn unfinished(daemon_set: &DaemonSet, seen: &Seen<'_>) -> Option<String> {
    let status = daemon_set.status.clone().unwrap_or_default();
    if status.observed_generation != daemon_set.metadata.generation {
        return Some("the DaemonSet was changed and its controller has not taken that up yet".to_owned());
    }
    let nodes = i32::try_from(seen.nodes.len()).unwrap_or(i32::MAX);
    let wanted = status.desired_number_scheduled;
    if wanted < nodes {
        return Some(format!(
            "{} of {nodes} control-plane nodes are left out, {}; look at their taints",
            nodes - wanted,
            named(&uncovered(seen))
        ));
    }
    let updated = status.updated_number_scheduled.unwrap_or_default();
    if updated < wanted {
        return Some(format!("{updated} of {wanted} nodes have the newest version"));
    }
    let available = status.number_available.unwrap_or_default();
    (available < wanted).then(|| {
        let waiting: Vec<String> =
            seen.pods.iter().filter(|pod| !is_ready(pod)).map(|pod| node_of(pod)).collect();
        format!("{available} of {wanted} nodes are ready; waiting for {}", named(&waiting))
    })
}

/// Control-plane nodes without a pod.
fn uncovered(seen: &Seen<'_>) -> Vec<String> {
    let lacks = |name: &&String| !seen.pods.iter().any(|pod| node_of(pod) == **name);
    seen.nodes.iter().filter(lacks).cloned().collect()
}

fn named(nodes: &[String]) -> String {
    let shown: Vec<&str> = nodes.iter().take(3).map(String::as_str).collect();
    match nodes.len().saturating_sub(shown.len()) {
        0 if shown.is_empty() => "the pods".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn fault(pod: &Pod) -> Option<(Fault, String, String)> {
    let (fault, detail) = not_scheduled(pod)
        .or_else(|| containers(pod).find_map(stuck))
        .or_else(|| clock_off(pod))
        .or_else(|| without_mappings(pod))?;
    Some((fault, node_of(pod), detail))
}

fn not_scheduled(pod: &Pod) -> Option<(Fault, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    (scheduled.status == "False")
        .then(|| (Fault::NotScheduled, scheduled.message.clone().unwrap_or_default()))
}

/// A container that waits for what does not come by itself.
fn stuck(container: &ContainerStatus) -> Option<(Fault, String)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.clone().unwrap_or_default();
    match waiting.reason.as_deref()? {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            Some((Fault::ImagePull, format!("image {}: {message}", container.image)))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some((Fault::CrashLooping, message))
        }
        "CrashLoopBackOff" => {
            let last = last_words(container);
            let fault =
                if last.contains("address already in use") { Fault::PortTaken } else { Fault::CrashLooping };
            Some((fault, format!("container {} {last}", container.name)))
        }
        _ => None,
    }
}

/// Why a container ended the last time, with the end of its log.
fn last_words(container: &ContainerStatus) -> String {
    let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let Some(ended) = ended else { return "ended".to_owned() };
    let reason = ended.reason.as_deref().unwrap_or("ended");
    let log = ended.message.as_deref().unwrap_or_default().trim();
    let last_line = log.lines().last().unwrap_or_default();
    if last_line.is_empty() {
        format!("ended with code {} ({reason})", ended.exit_code)
    } else {
        format!("ended with code {} ({reason}): {last_line}", ended.exit_code)
    }
}

/// Two things that can't be: a pod that its node says it started before the API server made it, and one that its node
/// says it started after the API server had been told so. The API server's clock is that of its own node.
fn clock_off(pod: &Pod) -> Option<(Fault, String)> {
    let made = pod.metadata.creation_timestamp.as_ref()?.0.as_second();
    let started = pod.status.as_ref()?.start_time.as_ref()?.0.as_second();
    let behind = made - started;
    if behind > CLOCK_TOLERANCE {
        return Some((Fault::ClockOff, format!("its clock is {behind} s behind the API server's")));
    }
    let ahead = last_start(pod).unwrap_or(started).max(started) - told_by_kubelet(pod)?;
    (ahead > CLOCK_TOLERANCE)
        .then(|| (Fault::ClockOff, format!("its clock is {ahead} s ahead of the API server's")))
}

/// When the API server last took in what the kubelet says of the pod, by its own clock.
fn told_by_kubelet(pod: &Pod) -> Option<i64> {
    let entries = pod.metadata.managed_fields.iter().flatten();
    let of_kubelet = entries.filter(|entry| {
        entry.manager.as_deref() == Some("kubelet") && entry.subresource.as_deref() == Some("status")
    });
    of_kubelet.filter_map(|entry| Some(entry.time.as_ref()?.0.as_second())).max()
}

/// When the newest of its containers started, by the node's clock.
fn last_start(pod: &Pod) -> Option<i64> {
    let running = containers(pod).filter_map(|container| container.state.as_ref()?.running.as_ref());
    running.filter_map(|running| Some(running.started_at.as_ref()?.0.as_second())).max()
}

fn without_mappings(pod: &Pod) -> Option<(Fault, String)> {
    let ready = |name: &str| containers(pod).find(|c| c.name == name).map(|c| c.ready);
    let running = |name: &str| {
        containers(pod).any(|c| c.name == name && c.state.as_ref().is_some_and(|s| s.running.is_some()))
    };
    let loaded = ready(NAME) == Some(true) && running(PROBE) && ready(PROBE) == Some(false);
    // A pod that has just started has not been asked yet.
    let asked = pod.status.as_ref().and_then(|s| s.conditions.as_ref()).is_some_and(|conditions| {
        conditions.iter().any(|c| c.type_ == "ContainersReady" && c.status == "False" && c.reason.is_some())
    });
    (loaded && asked).then(|| {
        let text = format!(
            "the authenticator runs there, and the probe beside it can't load the mappings as it does; what it saw is told by kubectl -n {NAMESPACE} describe pod {}. Is the API server's service address reachable from this node (kube-proxy, network)?",
            pod.metadata.name.as_deref().unwrap_or_default()
        );
        (Fault::MappingsNotLoaded, text)
    })
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn node_of(pod: &Pod) -> String {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default()
}

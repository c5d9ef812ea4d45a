//! The test machine keeps its word: pods run on it, and nothing of it stays behind, however its test ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use awsiam_tests::machine::{Machine, MachineError, NODE, requirements};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{LogParams, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(90);

#[tokio::test]
async fn pods_run_reach_the_api_server_and_go_with_the_machine() {
    let machine = match Machine::start().await {
        Err(error @ MachineError::Missing(_)) => return requirements::tell_skipped("machine", &error),
        started => started.unwrap(),
    };
    let plane = machine.control_plane();
    let nodes: Api<Node> = Api::all(plane.client());
    let labels = nodes.get(NODE).await.unwrap().metadata.labels.unwrap();
    assert!(labels.contains_key("node-role.kubernetes.io/control-plane"), "{labels:?}");

    // A pod in a network of its own, with nothing but an authenticator that looks for aws-auth.
    let image = awsiam_tests::authenticator::image("awsiam.test/it:1", "").unwrap();
    let archive = machine.folder().join("it.tar");
    image.write(&archive).unwrap();
    machine.import_image(&archive).unwrap();
    let pod = json!({
        "metadata": { "name": "it" },
        "spec": {
            "containers": [{ "name": "it", "image": image.name(), "imagePullPolicy": "Never", "args": ["version"] }],
            "restartPolicy": "Never",
        },
    });
    let pods: Api<Pod> = Api::default_namespaced(plane.client());
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let has_ended = |pod: Option<&Pod>| {
        pod.and_then(|pod| pod.status.as_ref())
            .is_some_and(|status| status.phase.as_deref() == Some("Succeeded"))
    };
    let wait = await_condition(pods.clone(), "it", has_ended);
    tokio::time::timeout(DEADLINE, wait).await.expect("the pod doesn't end").unwrap();
    // By way of kubelet: the API server knows it and may ask it.
    let output = pods.logs("it", &LogParams::default()).await.unwrap();
    assert!(output.contains("v0.7.18"), "{output}");
    // The same among the logs that are searched for secrets when the machine ends.
    let holds_it = |log: &PathBuf| std::fs::read_to_string(log).unwrap().contains("v0.7.18");
    let ended = Instant::now();
    while !machine.kept_logs().unwrap().iter().any(holds_it) {
        assert!(ended.elapsed() < DEADLINE, "the pod's log is not kept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let folder = machine.folder().to_owned();
    assert!(!left_of(&folder).is_empty());
    drop(machine);
    assert_eq!(left_of(&folder), Vec::<String>::new());
}

#[test]
fn a_killed_test_leaves_nothing_of_its_machine() {
    if let Err(error) = requirements::check() {
        return requirements::tell_skipped("machine", &error);
    }
    let (mut child, folder) = machine_in_another_process();
    let running = left_of(&folder).join("\n");
    for expected in ["kubelet", "containerd", "kube-apiserver", "cgroup", "folder"] {
        assert!(running.contains(expected), "no {expected} in\n{running}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    while !left_of(&folder).is_empty() {
        assert!(killed.elapsed() < DEADLINE, "left: {:#?}", left_of(&folder));
        std::thread::sleep(Duration::from_millis(20));
    }
    eprintln!("all gone {:.1?} after the kill", killed.elapsed());
}

/// The `machine` program, ready, and its machine's folder.
fn machine_in_another_process() -> (Child, PathBuf) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_machine")).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let kubeconfig = lines
        .find_map(|line| line.strip_prefix("export KUBECONFIG=").map(PathBuf::from))
        .expect("it prints where its kubeconfig is");
    (child, kubeconfig.parent().unwrap().to_owned())
}

/// What is there of the machine with this folder: the folder, processes, cgroups, mounts.
fn left_of(folder: &Path) -> Vec<String> {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let mut left = Vec::new();
    if folder.exists() {
        left.push(format!("folder {}", folder.display()));
    }
    for pid in std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str().and_then(|name| name.parse::<u32>().ok()))
    {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let cgroups = String::from_utf8_lossy(&read("cgroup")).into_owned();
        if command.contains(name) || cgroups.contains(name) {
            left.push(format!("process {pid}: {command}"));
        }
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    left.extend(mounts.lines().filter(|line| line.contains(name)).map(|line| format!("mount {line}")));
    for root in std::fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path()) {
        let cgroup = root.join(name);
        if cgroup.exists() {
            left.push(format!("cgroup {}", cgroup.display()));
        }
    }
    left
}

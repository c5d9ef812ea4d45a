//! The control plane of the tests keeps its word: it starts fast, tells the truth, and leaves nothing behind.

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

use awsiam_tests::control_plane::{ControlPlane, Options, shared};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::json;

/// Far above the 3 s of an idle machine: this machine may be compiling at the same time.
const START_LIMIT: Duration = Duration::from_mins(1);
/// For what takes milliseconds.
const MOMENT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn etcd_and_api_server_start_within_seconds() {
    let started = Instant::now();
    let control_plane = ControlPlane::start().await.unwrap();
    let elapsed = started.elapsed();
    eprintln!("control plane ready in {elapsed:.1?}");
    assert!(elapsed < START_LIMIT, "took {elapsed:.1?}");
    let version = control_plane.client().apiserver_version().await.unwrap();
    assert!(version.git_version.starts_with("v1."), "an unstamped server: {}", version.git_version);
}

#[tokio::test]
async fn two_control_planes_side_by_side_share_nothing() {
    let (first, second) = tokio::join!(ControlPlane::start(), ControlPlane::start());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.url(), second.url());
    config_maps(first.client()).create(&PostParams::default(), &config_map("only-here")).await.unwrap();
    assert!(config_maps(second.client()).get_opt("only-here").await.unwrap().is_none());
}

#[tokio::test]
async fn a_dropped_control_plane_leaves_no_process_and_no_folder() {
    let control_plane =
        ControlPlane::start_with(Options { scheduler: true, ..Options::default() }).await.unwrap();
    let folder = control_plane.folder().to_owned();
    let expected = ["etcd", "kube-apiserver", "kube-scheduler"];
    eventually("the scheduler runs too", || programs_in(&folder) == expected);
    drop(control_plane);
    assert_eq!(processes_of(&folder), Vec::<String>::new());
    assert!(!folder.exists());
}

#[test]
fn a_killed_test_leaves_no_process_and_no_folder() {
    let (child, folder) = control_plane_in_another_process();
    let expected = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    eventually("all programs run", || programs_in(&folder) == expected);
    drop(child);
    eventually("no process is left", || processes_of(&folder).is_empty());
    eventually("the folder is gone", || !folder.exists());
}

#[test]
fn the_shared_control_plane_ends_with_its_test_program() {
    let temporary = tempfile::tempdir().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_audit_log_names_the_impersonated_user"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    eventually("no process is left", || processes_of(temporary.path()).is_empty());
    eventually("the folder is gone", || temporary.path().read_dir().unwrap().next().is_none());
}

#[test]
fn a_program_that_ends_by_itself_leaves_no_shell_behind() {
    let (child, folder) = control_plane_in_another_process();
    let etcd = pids_of(&folder, "etcd");
    assert_eq!(etcd.len(), 1);
    let killed = Command::new("kill").arg("-9").arg(etcd[0].to_string()).status().unwrap();
    assert!(killed.success());
    eventually("etcd and its shell are gone", || {
        processes_of(&folder).iter().all(|line| !line.contains("--data-dir"))
    });
    drop(child);
    eventually("no process is left", || processes_of(&folder).is_empty());
}

#[test]
fn a_panic_keeps_the_logs_and_ends_the_processes() {
    let panicked = std::thread::spawn(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let control_plane = runtime.block_on(ControlPlane::start()).unwrap();
        // Not `panic_any`: that would run the hook by which any panic keeps the shared control plane.
        std::panic::resume_unwind(Box::new(control_plane.folder().to_owned()));
    })
    .join();
    let folder = *panicked.unwrap_err().downcast::<PathBuf>().unwrap();
    assert_eq!(processes_of(&folder), Vec::<String>::new());
    assert!(folder.join("kube-apiserver.log").is_file());
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn objects_outlive_the_api_server() {
    let mut control_plane = ControlPlane::start().await.unwrap();
    let url = control_plane.url().to_owned();
    config_maps(control_plane.client()).create(&PostParams::default(), &config_map("kept")).await.unwrap();
    control_plane.stop_api_server();
    assert!(config_maps(control_plane.client()).get("kept").await.is_err());
    control_plane.start_api_server().await.unwrap();
    assert_eq!(control_plane.url(), url);
    config_maps(control_plane.client()).get("kept").await.unwrap();
}

#[tokio::test]
async fn new_arguments_count_from_the_next_start_of_the_api_server() {
    let mut control_plane = ControlPlane::start().await.unwrap();
    assert!(
        config_maps(control_plane.client_as("system:anonymous", &[]))
            .list(&ListParams::default())
            .await
            .is_err()
    );
    control_plane.set_api_server_arguments(vec!["--authorization-mode=AlwaysAllow".to_owned()]);
    control_plane.stop_api_server();
    control_plane.start_api_server().await.unwrap();
    config_maps(control_plane.client_as("system:anonymous", &[])).list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn an_answered_request_is_in_the_audit_log() {
    let control_plane = shared().await;
    let admin = config_maps(control_plane.client());
    for number in 0..50 {
        let name = format!("audited-{number}");
        let mark = control_plane.audit_mark().unwrap();
        admin.create(&PostParams::default(), &config_map(&name)).await.unwrap();
        let events = control_plane.audit_events_since(mark).unwrap();
        let event = events.iter().find(|event| event.verb == "create" && event.uri.contains("/configmaps"));
        let event = event.unwrap_or_else(|| panic!("no create of {name} in {events:?}"));
        assert_eq!((event.user.as_str(), event.code), ("admin", Some(201)));
        assert_eq!((event.user_agent.as_str(), event.stage.as_str()), ("awsiam-tests", "ResponseComplete"));
        assert!(event.is_write());
    }
}

#[tokio::test]
async fn the_audit_log_names_the_impersonated_user() {
    let control_plane = shared().await;
    let reader = config_maps(control_plane.client_as("jane", &["readers"]));
    assert!(reader.get("kube-root-ca.crt").await.is_err());
    let events = control_plane.audit_events().unwrap();
    let event = events.iter().find(|event| event.user == "jane").unwrap();
    assert!(event.is_about("configmaps", "default", "kube-root-ca.crt"), "{event:?}");
    assert_eq!(event.code, Some(403));
    assert!(!event.is_write());
}

#[tokio::test]
async fn a_service_account_has_its_own_rights_and_no_others() {
    let control_plane = shared().await;
    let accounts: Api<ServiceAccount> = Api::default_namespaced(control_plane.client());
    let account = serde_json::from_value(json!({ "metadata": { "name": "powerless" } })).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let kubeconfig = control_plane.service_account_kubeconfig("default", "powerless").await.unwrap();
    let kubectl = |arguments: &[&str]| {
        let mut kubectl = control_plane.kubectl().unwrap();
        kubectl.env("KUBECONFIG", &kubeconfig).args(arguments).output().unwrap()
    };
    let whoami = kubectl(&["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"]);
    assert_eq!(String::from_utf8_lossy(&whoami.stdout), "system:serviceaccount:default:powerless");
    let refused = kubectl(&["get", "configmaps"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Forbidden"), "{refused:?}");
    let impersonated = config_maps(control_plane.client_as_service_account("default", "powerless"));
    let error = impersonated.list(&ListParams::default()).await.unwrap_err().to_string();
    assert!(error.contains("system:serviceaccount:default:powerless"), "{error}");
}

#[tokio::test]
async fn the_controller_manager_and_the_scheduler_work() {
    let options = Options { controller_manager: true, scheduler: true, ..Options::default() };
    let control_plane = ControlPlane::start_with(options).await.unwrap();
    let client = control_plane.client();

    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": "short-lived" } })).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    namespaces.delete("short-lived", &DeleteParams::default()).await.unwrap();
    let is_gone = |namespace: Option<&Namespace>| namespace.is_none();
    let wait = await_condition(namespaces, "short-lived", is_gone);
    tokio::time::timeout(START_LIMIT, wait).await.expect("the namespace stays").unwrap();

    let pods: Api<Pod> = Api::default_namespaced(client);
    let pod = json!({
        "metadata": { "name": "homeless" },
        "spec": { "containers": [{ "name": "it", "image": "none" }] },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let seen = await_condition(pods, "homeless", is_called_unschedulable);
    tokio::time::timeout(START_LIMIT, seen).await.expect("no scheduler looked at the pod").unwrap();
}

#[tokio::test]
async fn a_failed_start_names_the_log_and_shows_its_end() {
    let options = Options { api_server_arguments: vec!["--no-such-flag".to_owned()], ..Options::default() };
    let error = ControlPlane::start_with(options).await.unwrap_err().to_string();
    assert!(error.starts_with("kube-apiserver ended"), "{error}");
    assert!(error.contains("unknown flag: --no-such-flag"), "{error}");
    let log = error.split_whitespace().find(|word| word.ends_with("kube-apiserver.log"));
    let log = PathBuf::from(log.unwrap_or_else(|| panic!("no log is named in: {error}")));
    assert!(log.is_file(), "{} is named and isn't there", log.display());
    let folder = log.parent().unwrap();
    assert_eq!(processes_of(folder), Vec::<String>::new());
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_folder_of_the_callers_keeps_the_objects_for_the_next_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { folder: Some(folder.path().to_owned()), ..Options::default() };
    let first = ControlPlane::start_with(options.clone()).await.unwrap();
    config_maps(first.client()).create(&PostParams::default(), &config_map("inherited")).await.unwrap();
    drop(first);
    let second = ControlPlane::start_with(options).await.unwrap();
    config_maps(second.client()).get("inherited").await.unwrap();
}

#[tokio::test]
async fn helm_talks_to_the_control_plane() {
    let control_plane = shared().await;
    let helm = control_plane.helm().unwrap().args(["list", "--output=json"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&helm.stdout).trim(), "[]", "{helm:?}");
}

fn config_maps(client: Client) -> Api<ConfigMap> {
    Api::default_namespaced(client)
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

/// Without nodes that is all a scheduler can say, but it takes a scheduler to say it.
fn is_called_unschedulable(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.reason.as_deref() == Some("Unschedulable")))
}

/// A process that is killed when dropped: SIGKILL, so that it can do nothing about it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The `control-plane` program, ready, and the folder of what it runs.
fn control_plane_in_another_process() -> (Killed, PathBuf) {
    let child = Command::new(env!("CARGO_BIN_EXE_control-plane")).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = Killed(child);
    let mut lines = BufReader::new(child.0.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let kubeconfig = lines
        .find_map(|line| line.strip_prefix("export KUBECONFIG=").map(PathBuf::from))
        .expect("it prints where its kubeconfig is");
    (child, kubeconfig.parent().unwrap().to_owned())
}

/// Command lines of the processes that name `folder`: all that a control plane starts do.
fn processes_of(folder: &Path) -> Vec<String> {
    processes(folder).into_iter().map(|(_, command_line)| command_line.join(" ")).collect()
}

/// Names of the programs among them, sorted: not the shells that watch them.
fn programs_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        processes(folder).into_iter().map(|(_, command_line)| name(&command_line)).collect();
    names.retain(|name| name != "sh");
    names.sort();
    names
}

fn pids_of(folder: &Path, program: &str) -> Vec<u32> {
    let all = processes(folder).into_iter();
    all.filter(|(_, command_line)| name(command_line) == program).map(|(pid, _)| pid).collect()
}

fn name(command_line: &[String]) -> String {
    command_line[0].rsplit('/').next().unwrap_or_default().to_owned()
}

fn processes(folder: &Path) -> Vec<(u32, Vec<String>)> {
    let folder = folder.to_str().unwrap();
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, std::fs::read(format!("/proc/{pid}/cmdline")).ok()?)))
        .map(|(pid, bytes)| (pid, String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()))
        .filter(|(_, command_line)| command_line.contains(folder))
        .map(|(pid, command_line)| (pid, command_line.split('\0').map(str::to_owned).collect()))
        .collect()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + MOMENT;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {MOMENT:?}: {what}");
        std::thread::yield_now();
    }
}

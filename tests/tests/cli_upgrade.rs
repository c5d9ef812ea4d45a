//! `awsiam upgrade cluster` on a real API server, with and without a terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

#[path = "../../crates/cli/tests/schema/mod.rs"]
mod schema;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::process;
use awsiam_tests::stage::{CLUSTER, DEADLINE, Stage, role_arn};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

struct Run {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Run {
    /// The output as JSON, which is as its schema says.
    fn json(&self) -> Value {
        let said = serde_json::from_str(&self.stdout);
        let said = said.unwrap_or_else(|e| panic!("{e}: {}{}", self.stdout, self.stderr));
        schema::holds("upgrade-cluster", &said);
        if let Some(plan) = said.get("plan") {
            schema::holds("diff", plan);
        }
        said
    }
}

fn group() -> &'static str {
    "anywhere.eks.amazonaws.com/v1alpha1"
}

/// An AWSIamConfig `team` with these roles, and more of its spec.
fn config(roles: &[&str], more: &Value) -> Value {
    let rows: Vec<Value> = roles
        .iter()
        .map(|role| json!({"roleARN": role_arn(role), "username": role.to_lowercase(), "groups": ["dev"]}))
        .collect();
    let mut spec = json!({"awsRegion": "eu-west-1", "backendMode": ["EKSConfigMap"], "mapRoles": rows});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"apiVersion": group(), "kind": "AWSIamConfig", "metadata": {"name": "team"}, "spec": spec})
}

fn cluster() -> Value {
    json!({"apiVersion": group(), "kind": "Cluster", "metadata": {"name": CLUSTER}, "spec": {
        "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
        "iamAuthenticator": {"mode": "External"}, "kubernetesVersion": "1.33"}})
}

/// The documents as one file in a folder of their own.
struct Files(tempfile::TempDir);

impl Files {
    fn of(documents: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text: Vec<String> = documents.iter().map(Value::to_string).collect();
        std::fs::write(folder.path().join("cluster.yaml"), text.join("\n---\n")).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cluster.yaml")
    }
}

/// The command, as an administrator in the test's namespace.
fn command(stage: &Stage, files: &Files, words: &[&str]) -> Command {
    let mut command = Command::new(process::binary());
    command.args(["upgrade", "cluster", "-f"]).arg(files.path()).args(["-n", &stage.namespace]);
    command.arg("--kubeconfig").arg(stage.plane.kubeconfig_path()).args(words).current_dir(files.0.path());
    command
}

async fn upgrade(stage: &Stage, files: &Files, words: &[&str]) -> Run {
    run(command(stage, files, words)).await
}

async fn run(mut command: Command) -> Run {
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    Run {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

#[tokio::test]
async fn a_file_becomes_ready_and_every_later_run_says_so() {
    let stage = Stage::set().await;
    let operator = stage.operator().await;
    let files = Files::of(&[config(&["Dev"], &json!({})), cluster()]);
    let dry = upgrade(&stage, &files, &["--dry-run"]).await;
    assert_eq!(dry.code, Some(0), "{}{}", dry.stdout, dry.stderr);
    assert!(dry.stdout.contains("would be created"), "{}", dry.stdout);
    assert!(stage.clusters().get_opt(CLUSTER).await.unwrap().is_none());

    let first = upgrade(&stage, &files, &["--yes"]).await;
    assert_eq!(first.code, Some(0), "{}{}", first.stdout, first.stderr);
    assert!(first.stdout.ends_with("is Ready\n"), "{}", first.stdout);
    assert!(first.stderr.contains("AwsAuthSynced       True    Synced"), "{}", first.stderr);
    assert!(stage.text("mapRoles").await.contains(&role_arn("Dev")));

    // Nothing changes, so nobody is asked.
    let second = upgrade(&stage, &files, &["-o", "json"]).await;
    assert_eq!(second.code, Some(0), "{}{}", second.stdout, second.stderr);
    let said = second.json();
    assert_eq!(said["outcome"], "Ready");
    assert_eq!(said["applied"][0]["change"], "unchanged");
    assert_eq!(said["plan"]["differs"], false);

    let files = Files::of(&[config(&["Dev", "Ops"], &json!({})), cluster()]);
    let third = upgrade(&stage, &files, &["--yes", "-o", "json"]).await.json();
    assert_eq!(
        (third["outcome"].as_str(), third["applied"][0]["change"].as_str()),
        (Some("Ready"), Some("changed"))
    );
    assert!(stage.text("mapRoles").await.contains(&role_arn("Ops")), "Ready means that it is there");
    operator.stop().await;
}

#[tokio::test]
async fn without_a_terminal_nothing_is_applied_that_nobody_agreed_to() {
    let stage = Stage::set().await;
    let files = Files::of(&[config(&["Dev"], &json!({})), cluster()]);
    let run = upgrade(&stage, &files, &[]).await;
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("--yes"), "{}", run.stderr);
    assert!(stage.configs().get_opt("team").await.unwrap().is_none());
}

#[tokio::test]
async fn what_kubectl_applied_and_the_file_no_longer_says_is_gone() {
    let stage = Stage::set().await;
    let operator = stage.operator().await;
    let users = json!({"mapUsers": [{"userARN": "arn:aws:iam::111122223333:user/ann", "username": "ann"}]});
    let before = Files::of(&[config(&["Dev", "Ops"], &users), cluster()]);
    let mut kubectl = stage.plane.kubectl().unwrap();
    let output = kubectl.args(["apply", "-n", &stage.namespace, "-f"]).arg(before.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    stage.text_gets("mapUsers", "user/ann").await;

    let after = Files::of(&[config(&["Dev"], &json!({})), cluster()]);
    let run = upgrade(&stage, &after, &["--yes", "-o", "json"]).await;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert!(!stage.text("mapRoles").await.contains(&role_arn("Ops")));
    assert!(stage.text("mapUsers").await.is_empty());
    let config = stage.configs().get("team").await.unwrap();
    let managers: Vec<_> =
        config.metadata.managed_fields.into_iter().flatten().filter_map(|e| e.manager).collect();
    assert!(!managers.contains(&"kubectl-client-side-apply".to_owned()), "{managers:?}");
    operator.stop().await;
}

/// Client-side apply's fields are taken over by a write that is conditional on what was read, and a status is written at any time.
#[tokio::test]
async fn writers_in_between_do_not_stop_it() {
    let stage = Stage::set().await;
    let operator = stage.operator().await;
    let files = Files::of(&[config(&["Dev"], &json!({})), cluster()]);
    let mut kubectl = stage.plane.kubectl().unwrap();
    let output = kubectl.args(["apply", "-n", &stage.namespace, "-f"]).arg(files.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    stage.text_gets("mapRoles", "role/Dev").await;

    let (configs, clusters) = (stage.configs(), stage.clusters());
    let writer = tokio::spawn(async move {
        for count in 0_u64.. {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {"test/count": count.to_string()}}}));
            configs.patch("team", &PatchParams::default(), &patch).await.unwrap();
            clusters.patch(CLUSTER, &PatchParams::default(), &patch).await.unwrap();
        }
    });
    let run = upgrade(&stage, &files, &["--yes"]).await;
    writer.abort();
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    operator.stop().await;
}

#[tokio::test]
async fn fields_of_other_managers_are_named_and_not_taken_unasked() {
    let stage = Stage::set().await;
    let operator = stage.operator().await;
    let theirs = json!({"mapUsers": [{"userARN": "arn:aws:iam::111122223333:user/ann", "username": "ann"}]});
    let object = config(&["Dev"], &theirs);
    let flux = PatchParams::apply("flux");
    stage.configs().patch("team", &flux, &Patch::Apply(&object)).await.unwrap();

    let ours = json!({"mapUsers": [{"userARN": "arn:aws:iam::111122223333:user/bob", "username": "bob"}]});
    let files = Files::of(&[config(&["Dev"], &ours), cluster()]);
    let refused = upgrade(&stage, &files, &["--yes"]).await;
    assert_eq!(refused.code, Some(1), "{}{}", refused.stdout, refused.stderr);
    assert!(
        refused.stderr.contains("flux") && refused.stderr.contains("spec.mapUsers"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("--take-ownership"), "{}", refused.stderr);
    assert!(
        stage.clusters().get_opt(CLUSTER).await.unwrap().is_none(),
        "the file is applied whole or not at all"
    );

    // What the file does not speak of stays theirs, and is not what the file says.
    let silent = Files::of(&[config(&["Dev"], &json!({})), cluster()]);
    let differs = upgrade(&stage, &silent, &["--yes"]).await;
    assert_eq!(differs.code, Some(1), "{}{}", differs.stdout, differs.stderr);
    assert!(differs.stderr.contains("spec.mapUsers is not what the file says"), "{}", differs.stderr);
    assert!(differs.stderr.contains("flux"), "{}", differs.stderr);

    let taken = upgrade(&stage, &files, &["--yes", "--take-ownership"]).await;
    assert_eq!(taken.code, Some(0), "{}{}", taken.stdout, taken.stderr);
    assert!(stage.text("mapUsers").await.contains("user/bob"));
    operator.stop().await;
}

#[tokio::test]
async fn nothing_is_applied_when_anything_in_the_files_is_refused() {
    let stage = Stage::set().await;
    let bad = json!({"mapUsers": [{"userARN": role_arn("Dev"), "username": "ann"}]});
    let files = Files::of(&[cluster(), config(&["Dev"], &bad)]);
    let run = upgrade(&stage, &files, &["--yes"]).await;
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("cluster.yaml:3:"), "{}", run.stderr);
    assert!(run.stderr.contains("nothing was applied"), "{}", run.stderr);
    assert!(stage.clusters().get_opt(CLUSTER).await.unwrap().is_none());

    // A refusal that only the server knows of: the first object would have been fine.
    stage.config_spec("team", json!({"mapRoles": []})).await;
    let moved = json!({"awsRegion": "eu-north-1"});
    let files = Files::of(&[cluster(), config(&["Dev"], &moved)]);
    let run = upgrade(&stage, &files, &["--yes", "-o", "json"]).await;
    assert_eq!(run.code, Some(1));
    let said = run.json();
    assert_eq!(said["outcome"], "Failed");
    assert!(said["findings"].to_string().contains("awsRegion"), "{said}");
    assert!(stage.clusters().get_opt(CLUSTER).await.unwrap().is_none());
}

#[tokio::test]
async fn the_time_and_the_administrator_have_exit_codes_of_their_own() {
    let stage = Stage::set().await;
    let files = Files::of(&[config(&["Dev"], &json!({})), cluster()]);
    let late = upgrade(&stage, &files, &["--yes", "--timeout", "1s"]).await;
    assert_eq!(late.code, Some(3), "{}{}", late.stdout, late.stderr);
    assert!(late.stderr.contains("the operator has not looked at what was applied"), "{}", late.stderr);

    // What the operator would say where file and flag are an administrator's to set; it does not run here.
    let generation = stage.clusters().get(CLUSTER).await.unwrap().metadata.generation;
    let of_config = stage.configs().get("team").await.unwrap().metadata.generation;
    let condition = |kind: &str| {
        json!({"type": kind, "status": "False", "reason": "WaitingForAdministrator", "message": "the flag is not set",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let status = json!({"status": {"observedGeneration": generation, "target": "Local",
        "conditions": [condition("Ready"), condition("ApiServerConfigured")],
        "configs": [{"name": "team", "generation": of_config, "state": "Usable"}]}});
    stage.clusters().patch_status(CLUSTER, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    // Nothing changes, so it waits a while for what the administrator may just have done.
    let waiting = upgrade(&stage, &files, &["--yes", "--timeout", "2s"]).await;
    assert_eq!(waiting.code, Some(4), "{}{}", waiting.stdout, waiting.stderr);
    assert!(waiting.stderr.contains("awsiam control-plane"), "{}", waiting.stderr);

    let not_waited = upgrade(&stage, &files, &["--yes", "--wait=false"]).await;
    assert_eq!(not_waited.code, Some(0), "{}{}", not_waited.stdout, not_waited.stderr);
}

#[tokio::test]
async fn a_cluster_without_the_operators_resources_is_told_how_to_get_them() {
    let plane = ControlPlane::start().await.unwrap();
    let files = Files::of(&[config(&["Dev"], &json!({})), cluster()]);
    let mut command = Command::new(process::binary());
    command.args(["upgrade", "cluster", "-f"]).arg(files.path());
    command.arg("--kubeconfig").arg(plane.kubeconfig_path());
    let run = run(command).await;
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("awsiam crd | kubectl apply"), "{}", run.stderr);
}

/// A command in a pseudo-terminal, which `script` (util-linux) makes; what is typed goes to its standard input.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn open(command: &Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--flush", "--command", &words.join(" "), "/dev/null"]);
        script.current_dir(command.get_current_dir().unwrap()).env("TERM", "xterm");
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut output, into) = (child.stdout.take().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, shown }
    }

    async fn shows(&self, part: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.shown.lock().unwrap().contains(part) {
            assert!(Instant::now() < end, "no {part:?} in:\n{}", self.shown.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn types(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    async fn ends(mut self) -> (Option<i32>, String) {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.shown.lock().unwrap().clone());
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.shown.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn at_a_terminal_it_asks_shows_each_condition_and_can_be_interrupted() {
    let stage = Stage::set().await;
    let files = Files::of(&[config(&["Dev"], &json!({})), cluster()]);
    let mut refusing = Terminal::open(&command(&stage, &files, &[]));
    refusing.shows("Apply this? [y/N]").await;
    refusing.types("n\n");
    let (code, shown) = refusing.ends().await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(stage.configs().get_opt("team").await.unwrap().is_none());

    // Nobody serves it yet, so there is time to interrupt it.
    let mut interrupted = Terminal::open(&command(&stage, &files, &[]));
    interrupted.shows("Apply this? [y/N]").await;
    interrupted.types("y\n");
    stage
        .eventually("the Cluster is applied", async || {
            stage.clusters().get_opt(CLUSTER).await.unwrap().map(drop).ok_or_else(|| "not yet".to_owned())
        })
        .await;
    interrupted.types("\u{3}");
    let (code, shown) = interrupted.ends().await;
    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.contains("the operator goes on"), "{shown}");

    let operator = stage.operator().await;
    let following = Terminal::open(&command(&stage, &files, &["--yes"]));
    following.shows("AwsAuthSynced").await;
    let (code, shown) = following.ends().await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("is Ready"), "{shown}");
    operator.stop().await;
}

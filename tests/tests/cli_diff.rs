//! `awsiam diff` on a real API server: the plan that it shows is the one that the operator carries out, and
//! it writes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use awsiam_core::diff;
use awsiam_core::plan::Content;
use awsiam_tests::stage::{CLUSTER, Stage, data, role_arn};
use serde_json::{Value, json};

const FOREIGN: &str = "# nodes\n- rolearn: arn:aws:iam::111122223333:role/nodes\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n  - system:bootstrappers\n  - system:nodes\n";

/// What a run left.
struct Run {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", self.stdout, self.stderr))
    }
}

/// The program, which is built beside the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("awsiam");
    assert!(program.exists(), "build it first: cargo build -p awsiam");
    program
}

/// Runs `awsiam diff` as an administrator in the test's namespace.
async fn awsiam_diff(stage: &Stage, words: &[&str]) -> Run {
    awsiam_diff_with(stage.plane.kubeconfig_path(), &stage.namespace, words).await
}

async fn awsiam_diff_with(kubeconfig: &Path, namespace: &str, words: &[&str]) -> Run {
    let mut command = std::process::Command::new(program());
    command.arg("diff").args(["--kubeconfig"]).arg(kubeconfig).args(["-n", namespace]).args(words);
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    Run {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

fn config_manifest(roles: &[&str], region: &str) -> String {
    let rows: Vec<Value> = roles
        .iter()
        .map(|role| json!({"roleARN": role_arn(role), "username": role.to_lowercase(), "groups": ["dev"]}))
        .collect();
    json!({
        "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "AWSIamConfig",
        "metadata": {"name": "team"},
        "spec": {"awsRegion": region, "backendMode": ["EKSConfigMap"], "mapRoles": rows},
    })
    .to_string()
}

#[tokio::test]
async fn it_shows_what_the_operator_then_does_and_writes_nothing_itself() {
    let stage = Stage::set().await;
    let before = stage.make_aws_auth(&[("mapRoles", FOREIGN)]).await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;

    let mark = stage.plane.audit_mark().unwrap();
    let shown = awsiam_diff(&stage, &[CLUSTER, "--local", "-o", "json"]).await;
    assert_eq!(shown.code, Some(1), "{}{}", shown.stdout, shown.stderr);
    let events = stage.plane.audit_events_since(mark).unwrap();
    assert!(events.len() > 5);
    for event in &events {
        assert!(["get", "list"].contains(&event.verb.as_str()), "{event:?}");
    }
    assert_eq!(stage.aws_auth().await, Some(before.clone()));

    let operator = stage.operator().await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    operator.stop().await;
    let after = stage.aws_auth().await.unwrap();
    let content = |c| Content { data: data(c), ledger: None };
    assert_eq!(shown.json()["diff"], diff::unified(&content(&before), &content(&after)));

    // The status says by now which cluster it stands for, so --local need not be said.
    let same = awsiam_diff(&stage, &[&format!("{}/{CLUSTER}", stage.namespace)]).await;
    assert_eq!(
        (same.code, same.stdout.as_str()),
        (Some(0), "nothing changes: 1 unchanged\n"),
        "{}",
        same.stderr
    );
}

#[tokio::test]
async fn a_cluster_that_does_not_say_what_it_stands_for_needs_local() {
    let stage = Stage::set().await;
    stage.cluster(&[]).await;
    let run = awsiam_diff(&stage, &[CLUSTER]).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains("pass --local"), "{}", run.stderr);
    let run = awsiam_diff(&stage, &["nowhere", "--local"]).await;
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.contains(&format!("there is no Cluster {}/nowhere", stage.namespace)),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn objects_of_files_take_the_place_of_those_in_the_cluster() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &["dev"]), ("Ops", "ops", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    operator.stop().await;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("team.json");
    std::fs::write(&file, config_manifest(&["Dev", "New"], "eu-west-1")).unwrap();
    let run = awsiam_diff(&stage, &["-o", "json", "-f", file.to_str().unwrap()]).await;
    let outcomes: Vec<(String, String)> = run.json()["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| (o["state"].as_str().unwrap().to_owned(), o["arn"].as_str().unwrap().to_owned()))
        .collect();
    let wanted = [("InEffect", "Dev"), ("Added", "New"), ("Removed", "Ops")];
    assert_eq!(outcomes, wanted.map(|(state, role)| (state.to_owned(), role_arn(role))));
    assert_eq!((run.code, run.json()["findings"].as_array().unwrap().len()), (Some(1), 0));

    std::fs::write(&file, config_manifest(&["Dev", "Ops"], "eu-central-1")).unwrap();
    let run = awsiam_diff(&stage, &["-f", file.to_str().unwrap()]).await;
    assert!(run.stderr.contains("awsRegion cannot be changed"), "{}", run.stderr);

    let live = stage.configs().get("team").await.unwrap();
    assert_eq!(live.spec.map_roles.len(), 2);
}

#[tokio::test]
async fn a_cluster_that_is_only_in_a_file_can_be_looked_at_beforehand() {
    let stage = Stage::set().await;
    let folder = tempfile::tempdir().unwrap();
    let (team, here) = (folder.path().join("team.json"), folder.path().join("here.yaml"));
    std::fs::write(&team, config_manifest(&["Dev"], "eu-west-1")).unwrap();
    std::fs::write(&here, "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nmetadata: {name: here}\nspec: {identityProviderRefs: [{kind: AWSIamConfig, name: team}]}\n").unwrap();
    let alone = awsiam_diff(&stage, &["--local", "-f", team.to_str().unwrap()]).await;
    assert_eq!(alone.code, Some(2));
    assert!(alone.stderr.contains("no Cluster in the cluster refers to one of them"), "{}", alone.stderr);
    let both = awsiam_diff(&stage, &["--local", "-f", folder.path().to_str().unwrap()]).await;
    assert_eq!(both.code, Some(1), "{}", both.stderr);
    assert!(both.stdout.contains("+- rolearn: arn:aws:iam::111122223333:role/Dev"), "{}", both.stdout);
    assert!(both.stdout.ends_with("1 added\n"), "{}", both.stdout);
}

#[tokio::test]
async fn what_the_operator_would_not_write_is_said() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage
        .cluster_spec(json!({
            "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
            "iamAuthenticator": {"suspend": true},
        }))
        .await;
    let run = awsiam_diff(&stage, &[CLUSTER, "--local"]).await;
    assert_eq!(run.code, Some(1));
    assert!(
        run.stdout.contains("the operator would not write this: spec.iamAuthenticator.suspend"),
        "{}",
        run.stdout
    );
}

#[tokio::test]
async fn who_may_not_read_is_told_what_could_not_be_read() {
    let stage = Stage::set().await;
    stage.cluster(&[]).await;
    let nobody = stage.plane.kubeconfig_for("nobody", &[]).unwrap();
    let run = awsiam_diff_with(&nobody, &stage.namespace, &[CLUSTER, "--local"]).await;
    assert_eq!(run.code, Some(2));
    let says = format!("awsiam: can't read Cluster {}/{CLUSTER}: ", stage.namespace);
    assert!(run.stderr.starts_with(&says) && run.stderr.contains("forbidden"), "{}", run.stderr);
}

//! `awsiam controller` as a process on a real API server: it starts, logs, works, and stops when it is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use awsiam_tests::secrets::Secrets;
use awsiam_tests::stage::{CLUSTER, OPERATOR_NAMESPACE, Stage, role_arn};
use serde_json::Value;

/// How long the process may take to end after a signal.
const END: Duration = Duration::from_secs(5);

/// The process, ended with the test, and its log so far.
struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    secrets: Secrets,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, which is built beside the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("awsiam");
    assert!(program.exists(), "build it first: cargo build -p awsiam");
    program
}

async fn start(stage: &Stage, words: &[&str]) -> Process {
    let kubeconfig = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam").await.unwrap();
    let secrets = Secrets::of(&kubeconfig);
    let mut child = Command::new(program())
        .arg("controller")
        .arg(format!("--local-cluster={}/{CLUSTER}", stage.namespace))
        .arg("--log-format=json")
        .args(words)
        .env("KUBECONFIG", kubeconfig)
        .env("HOSTNAME", "pod-1")
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Arc::new(Mutex::new(String::new()));
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let kept = log.clone();
    let reader = std::thread::spawn(move || {
        stderr.lines().map_while(Result::ok).for_each(|line| *kept.lock().unwrap() += &(line + "\n"));
    });
    Process { child, log, reader: Some(reader), secrets }
}

/// The lines of a log that tell of a write of `aws-auth`.
fn writes(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["message"] == "wrote aws-auth").collect()
}

impl Process {
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended; gives how, and the log.
    async fn ended(&mut self) -> (ExitStatus, String) {
        let last = Instant::now() + END;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < last, "it has not ended {END:?} after the signal");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.reader.take().unwrap().join().unwrap();
        let log = self.log.lock().unwrap().clone();
        assert_eq!(self.secrets.line_in(&log), None, "a key or a token stands in the log");
        (status, log)
    }
}

#[tokio::test]
async fn it_does_its_work_and_exits_with_0_when_told_to_stop() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    for signal in ["-TERM", "-INT"] {
        let mut process = start(&stage, &["--resync=2s"]).await;
        stage.condition("AwsAuthSynced", "True", "Synced").await;
        let empty = || ("mapRoles".to_owned(), "[]\n".to_owned());
        stage.edit_aws_auth("somebody", |c| c.data.as_mut().unwrap().extend([empty()])).await;
        stage.text_gets("mapRoles", "role/Dev").await;
        process.signal(signal);
        let (status, log) = process.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        for line in log.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        }
        assert!(log.contains("\"message\":\"starting\"") && log.contains("\"arn\":\"arn:aws:iam::"), "{log}");
        let repaired = format!("mapRoles {}", role_arn("Dev"));
        let says_who =
            |line: &Value| line["undone_by"] == "somebody" && line["repaired"] == repaired.as_str();
        assert_eq!(writes(&log).iter().filter(|line| says_who(line)).count(), 1, "{log}");
        if signal == "-TERM" {
            let first = &writes(&log)[0];
            assert_eq!((&first["added"], &first["configs"]), (&repaired.into(), &"team".into()), "{log}");
            assert_eq!(first["span"]["cluster"], format!("{}/{CLUSTER}", stage.namespace), "{log}");
            assert!(first["removed"].is_null() && first["resource_version"].is_string(), "{log}");
        }
    }
    let by_us = |event: &awsiam_tests::control_plane::AuditEvent| event.user_agent.starts_with("awsiam/");
    assert!(stage.plane.audit_events().unwrap().iter().any(by_us));
}

#[tokio::test]
async fn a_write_that_hangs_does_not_hold_up_the_end_and_a_second_signal_ends_it_at_once() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    for second in [false, true] {
        let mut process = start(&stage, &["--hang-after-writes=0"]).await;
        stage
            .eventually("the first write to hang", async || {
                let log = process.log.lock().unwrap().clone();
                if log.contains("this write hangs") { Ok(()) } else { Err(log) }
            })
            .await;
        process.signal("-TERM");
        if second {
            stage
                .eventually("the first signal to be heard", async || {
                    let log = process.log.lock().unwrap().clone();
                    if log.contains("a second signal ends the process") { Ok(()) } else { Err(log) }
                })
                .await;
            process.signal("-TERM");
        }
        let (status, log) = process.ended().await;
        assert_eq!(status.code(), Some(if second { 143 } else { 0 }), "{log}");
    }
    assert_eq!(stage.aws_auth().await, None);
}

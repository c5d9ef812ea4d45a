//! What the operator does as time goes by, on a real API server under the chart's rights: drift, history,
//! statuses, Events, deletion, keeping its hands off, and going on when something breaks. What it writes
//! into `aws-auth`, and what it never does to it, is tested elsewhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

mod drift;
mod events;
mod failures;
mod finalizers;
mod hands_off;
mod history;
mod status;

use std::collections::BTreeMap;

use awsiam_tests::control_plane::{AuditEvent, AuditMark};
use awsiam_tests::stage::{OPERATOR, Running, Stage};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ListParams};

/// An entry by which nodes join.
const NODES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups:
  - system:bootstrappers
  - system:nodes
";

/// An entry that a person wrote.
const THEIRS: &str = "\
- rolearn: arn:aws:iam::111122223333:role/Theirs  # ask Ann
  username: theirs
  groups: [system:masters]
";

/// The mapping of most tests, as `Stage::config` takes it.
const DEV: (&str, &str, &[&str]) = ("Dev", "dev", &["viewers"]);

/// The entry that it becomes.
const OURS: &str = "\
- rolearn: arn:aws:iam::111122223333:role/Dev
  username: dev
  groups:
  - viewers
";

/// Starts an operator on an `aws-auth` with a node entry and a person's, and waits until [`DEV`] is in it.
async fn in_effect(stage: &Stage) -> Running {
    stage.make_aws_auth(&[("mapRoles", &format!("{NODES}{THEIRS}"))]).await;
    stage.config("team", &[DEV]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &format!("{NODES}{THEIRS}{OURS}")).await;
    stage.condition("Ready", "True", "Ready").await;
    operator
}

fn set_roles(config_map: &mut ConfigMap, text: &str) {
    config_map.data.get_or_insert_default().insert("mapRoles".to_owned(), text.to_owned());
}

/// Waits until the operator has written nothing for a while. What a test has seen written may still be on its way
/// into the audit log, and a write beside it, too.
async fn settled(stage: &Stage) {
    stage.comes_to_rest(async || tokio::time::sleep(std::time::Duration::from_millis(500)).await).await;
}

/// The writes of the operator since `mark`, as far as they are answered.
fn writes_since(stage: &Stage, mark: AuditMark) -> Vec<AuditEvent> {
    let events = stage.plane.audit_events_since(mark).expect("an audit log");
    events.into_iter().filter(|event| event.is_write() && event.user == OPERATOR).collect()
}

/// Those that are no Events.
fn writes_but_events_since(stage: &Stage, mark: AuditMark) -> Vec<String> {
    let writes = writes_since(stage, mark).into_iter().filter(|write| write.resource != "events");
    writes.map(|write| format!("{} {}", write.verb, write.uri)).collect()
}

/// All Events of a reason in the test's namespace.
async fn events(stage: &Stage, reason: &str) -> Vec<Event> {
    let api: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let all = api.list(&ListParams::default()).await.expect("Events").items;
    all.into_iter().filter(|event| event.reason.as_deref() == Some(reason)).collect()
}

/// The notes of all Events of a reason, each as often as it was said.
async fn notes(stage: &Stage, reason: &str) -> Vec<String> {
    let said = |event: &Event| usize::try_from(event.series.as_ref().map_or(1, |s| s.count)).unwrap();
    let events = events(stage, reason).await;
    events.iter().flat_map(|event| vec![event.note.clone().unwrap_or_default(); said(event)]).collect()
}

/// The history records, by revision.
async fn records(stage: &Stage) -> BTreeMap<u64, ConfigMap> {
    let mut records = BTreeMap::new();
    for slot in 0..awsiam_core::history::SLOTS {
        let name = awsiam_controller::history::record_name(slot);
        if let Some(record) = stage.config_maps().get_opt(&name).await.expect("a read") {
            let revision = annotation(&record, awsiam_controller::history::REVISION);
            records.insert(revision.parse().expect("a number"), record);
        }
    }
    records
}

/// Waits until a content of `mapRoles` is the newest on record.
async fn recorded(stage: &Stage, roles: &str) -> ConfigMap {
    stage
        .eventually("the content to be the newest on record", async || {
            let newest = records(stage).await.into_values().next_back();
            let text = newest.as_ref().and_then(|r| r.data.as_ref()?.get("mapRoles").cloned());
            if text.as_deref() == Some(roles) { Ok(newest.unwrap()) } else { Err(format!("{text:?}")) }
        })
        .await
}

fn annotation(config_map: &ConfigMap, name: &str) -> String {
    let annotations = config_map.metadata.annotations.as_ref();
    annotations.and_then(|a| a.get(name)).cloned().unwrap_or_default()
}

/// Waits for a condition of an AWSIamConfig for its current generation; gives its message.
async fn config_condition(stage: &Stage, name: &str, kind: &str, status: &str, reason: &str) -> String {
    stage
        .eventually(&format!("condition {kind}={status} ({reason}) of AWSIamConfig {name}"), async || {
            let config = stage.configs().get(name).await.map_err(|e| e.to_string())?;
            let conditions = config.status.map(|s| s.conditions).unwrap_or_default();
            let fits = |c: &&Condition| {
                (c.type_.as_str(), c.status.as_str(), c.reason.as_str()) == (kind, status, reason)
                    && c.observed_generation == config.metadata.generation
            };
            let found = conditions.iter().find(fits).map(|c| c.message.clone());
            found.ok_or_else(|| format!("{conditions:#?}"))
        })
        .await
}

/// What `kubectl` prints, in the test's namespace.
async fn kubectl(stage: &Stage, arguments: &[&str]) -> String {
    let mut command = stage.plane.kubectl().expect("kubectl");
    command.args(["--namespace", &stage.namespace]).args(arguments);
    // The operator runs on this thread.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "kubectl {arguments:?}: {text}{errors}");
    text.into_owned()
}

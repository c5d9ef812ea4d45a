//! Where nothing changes, nothing is written: not by `aws-auth`, nor by status, Event or history.

use std::io::Write as _;
use std::time::Duration;

use awsiam_core::ledger::Ledger;
use awsiam_tests::control_plane::AuditEvent;
use awsiam_tests::stage::{OPERATOR, Stage, role_arn};
use serde_json::json;

use crate::{LEDGER, finding, foreign, ledger_of, make, node_entry, patch};

/// So long nothing may have happened before the watch for writes begins.
const QUIET: Duration = Duration::from_secs(3);

#[tokio::test]
async fn at_rest_nothing_is_written_for_half_a_minute() {
    rest(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn at_rest_nothing_is_written_for_ten_minutes() {
    if std::env::var_os("AWSIAM_LONG").is_some() {
        rest(Duration::from_mins(10)).await;
        return;
    }
    // Past the capture of a passing test's output.
    let mut screen = std::io::stderr();
    writeln!(screen, "not run: ten minutes at rest; set AWSIAM_LONG=1 to run it").unwrap();
}

/// Brings an operator that looks again every 2 seconds to rest, with as much to report as there can be,
/// and watches the audit log.
async fn rest(time: Duration) {
    let stage = Stage::alone().await;
    let roles = format!("{}{}", node_entry(), foreign("Taken", "somebody"));
    make(&stage, json!({"data": {"mapRoles": roles, "mapUsers": "unreadable", "maproles": "odd"}})).await;
    let rows = json!({"mapRoles": [
        {"roleARN": role_arn("Dev"), "username": "dev"},
        {"roleARN": role_arn("nodes"), "username": "refused"},
        {"roleARN": role_arn("Taken"), "username": "conflict"},
        {"roleARN": role_arn("Forbidden"), "username": "system:forbidden"},
    ], "mapUsers": [{"userARN": "arn:aws:iam::111122223333:user/alice", "username": "alice"}]});
    stage.config_spec("team", rows).await;
    stage.config_spec("elsewhere", json!({"awsRegion": "us-east-1"})).await;
    stage.cluster(&["team", "elsewhere", "missing"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    // From now on each pass reads the config directly, which the audit log shows: the pulse.
    let mut ledger = Ledger::parse(&ledger_of(&stage.aws_auth().await.unwrap()).unwrap()).unwrap();
    ledger.configs.values_mut().for_each(|version| version.generation += 10);
    patch(&stage, json!({"metadata": {"annotations": {LEDGER: ledger.render()}}})).await;
    finding(&stage, "OlderGeneration").await;
    stage.comes_to_rest(async || tokio::time::sleep(QUIET).await).await;

    let mark = stage.plane.audit_mark().unwrap();
    tokio::time::sleep(time).await;
    let asked = stage.plane.audit_events_since(mark).unwrap();
    let ours = || asked.iter().filter(|e| e.user == OPERATOR);
    let writes: Vec<&AuditEvent> = ours().filter(|e| e.is_write()).collect();
    assert!(writes.is_empty(), "{writes:#?}");
    let pulse =
        ours().filter(|e| e.verb == "get" && e.resource == "awsiamconfigs" && e.name == "team").count();
    assert!(pulse as u64 >= time.as_secs() / 3, "{pulse} passes in {time:?}");
    operator.stop().await;
}

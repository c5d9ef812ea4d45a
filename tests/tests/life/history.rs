//! The ten records of past contents.

use awsiam_controller::history::{LEDGER, REVISION, WRITER};
use awsiam_core::history::SLOTS;
use awsiam_core::ledger;
use awsiam_tests::stage::{Stage, data};

use crate::{NODES, OURS, THEIRS, annotation, in_effect, recorded, records, set_roles, settled};

#[tokio::test]
async fn every_content_is_on_record_with_its_ledger_and_who_wrote_it() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    let ours = recorded(&stage, &format!("{NODES}{THEIRS}{OURS}")).await;
    let ledger = annotation(&stage.aws_auth().await.unwrap(), ledger::ANNOTATION);
    assert_eq!(annotation(&ours, LEDGER), ledger);
    assert_eq!(annotation(&ours, WRITER), "awsiam-operator");
    let first = records(&stage).await.into_values().next().unwrap();
    assert_eq!(data(&first)["mapRoles"], format!("{NODES}{THEIRS}"));
    assert_eq!(annotation(&first, LEDGER), "");

    let edited = format!("# hello\n{NODES}{THEIRS}{OURS}");
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &edited)).await;
    let theirs = recorded(&stage, &edited).await;
    assert_eq!(annotation(&theirs, LEDGER), ledger);
    assert_eq!(annotation(&theirs, WRITER), "kubectl-edit");
    operator.stop().await;
}

#[tokio::test]
async fn a_content_that_repeats_is_recorded_once() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    let all = format!("{NODES}{THEIRS}{OURS}");
    let before = annotation(&recorded(&stage, &all).await, REVISION).parse::<u64>().unwrap();
    stage
        .edit_aws_auth("kubectl-label", |config_map| {
            config_map.metadata.labels.get_or_insert_default().insert("team".into(), "blue".into());
        })
        .await;
    // The next content gets the next revision: nothing was recorded in between.
    let edited = format!("{all}# the end\n");
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &edited)).await;
    let after = annotation(&recorded(&stage, &edited).await, REVISION).parse::<u64>().unwrap();
    assert_eq!(after, before + 1);
    operator.stop().await;
    // Nor does the next operator record it again.
    let operator = stage.operator().await;
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &all)).await;
    let last = annotation(&recorded(&stage, &all).await, REVISION).parse::<u64>().unwrap();
    assert_eq!(last, after + 1);
    operator.stop().await;
}

#[tokio::test]
async fn ten_records_are_used_in_turn_and_the_newest_with_node_entries_is_never_reused() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    let all = format!("{NODES}{THEIRS}{OURS}");
    let with_nodes = annotation(&recorded(&stage, &all).await, REVISION).parse::<u64>().unwrap();
    for number in 0..12 {
        let without_nodes = format!("{THEIRS}{OURS}# {number}\n");
        stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &without_nodes)).await;
        recorded(&stage, &without_nodes).await;
    }
    let records = records(&stage).await;
    assert_eq!(records.len(), SLOTS);
    assert_eq!(data(&records[&with_nodes])["mapRoles"], all);
    let newest = with_nodes + 12;
    let revisions: Vec<u64> = records.keys().copied().collect();
    let wanted: Vec<u64> = std::iter::once(with_nodes).chain(newest - 8..=newest).collect();
    assert_eq!(revisions, wanted);
    operator.stop().await;
}

#[tokio::test]
async fn what_somebody_else_wrote_is_on_record_before_it_is_overwritten() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    recorded(&stage, &format!("{NODES}{THEIRS}{OURS}")).await;
    settled(&stage).await;
    let mark = stage.plane.audit_mark().unwrap();
    let edited = format!("{NODES}# gone: Theirs\n{}", OURS.replace("dev", "root"));
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &edited)).await;
    stage.text_becomes("mapRoles", &format!("{NODES}# gone: Theirs\n{OURS}")).await;
    let (recorded_at, overwritten_at) = stage
        .eventually("both writes in the audit log", async || {
            let writes = crate::writes_since(&stage, mark);
            let record = writes.iter().find(|w| w.name.starts_with("aws-auth-history-"));
            let update = writes.iter().find(|w| w.is_about("configmaps", "kube-system", "aws-auth"));
            match (record, update) {
                (Some(record), Some(update)) => Ok((record.received.clone(), update.received.clone())),
                _ => Err(format!("{writes:#?}")),
            }
        })
        .await;
    assert!(recorded_at < overwritten_at, "{recorded_at} {overwritten_at}");
    let texts: Vec<String> = records(&stage).await.values().map(|r| data(r)["mapRoles"].clone()).collect();
    assert!(texts.contains(&edited), "{texts:#?}");
    operator.stop().await;
}

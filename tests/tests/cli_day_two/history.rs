//! `history` and `rollback`.

use awsiam_controller::by_hand;
use awsiam_core::ledger;
use awsiam_core::plan::Content;
use awsiam_tests::stage::{CLUSTER, Running, Stage, data};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{Run, THEIRS, awsiam};

pub(super) async fn listed(stage: &Stage) -> Value {
    awsiam(stage, &["history", CLUSTER, "-o", "json"]).await.done().json_of("history")
}

/// Waits until so many contents are on record.
async fn on_record(stage: &Stage, count: usize) -> Value {
    stage
        .eventually(&format!("{count} records"), async || {
            let run = awsiam(stage, &["history", CLUSTER, "-o", "json"]).await;
            if run.code != Some(0) {
                // aws-auth is written before the status is, which names the target.
                return Err(run.stderr);
            }
            let found = run.json_of("history");
            let records = found["revisions"].as_array().map_or(0, Vec::len);
            if records == count && !found["current"].is_null() {
                Ok(found)
            } else {
                Err(format!("{found:#}"))
            }
        })
        .await
}

/// Has `Dev` put beside what is there, and both contents recorded; gives the text of roles then.
pub(super) async fn served(stage: &Stage) -> (Running, String) {
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let with_ours = stage.text_gets("mapRoles", "role/Dev").await;
    on_record(stage, 2).await;
    (operator, with_ours)
}

async fn rolled_back(stage: &Stage, revision: u64, more: &[&str]) -> Run {
    let revision = revision.to_string();
    let words = ["rollback", CLUSTER, "--to-revision", &revision];
    awsiam(stage, &[&words, more].concat()).await
}

#[tokio::test]
async fn what_was_there_is_listed_and_put_back_with_its_ledger() {
    let stage = Stage::set().await;
    let original = stage.make_aws_auth(&[("mapRoles", THEIRS)]).await;
    let (operator, with_ours) = served(&stage).await;
    let mine =
        format!("{with_ours}# by hand\n- rolearn: arn:aws:iam::111122223333:role/New\n  username: new\n");
    stage
        .edit_aws_auth("kubectl-edit", |c| {
            c.data.get_or_insert_default().insert("mapRoles".to_owned(), mine.clone());
        })
        .await;
    let found = on_record(&stage, 3).await;
    let said: Vec<(&str, &str)> = found["revisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["writer"].as_str().unwrap(), r["summary"].as_str().unwrap()))
        .collect();
    assert_eq!(said[0].1, "the oldest on record");
    assert_eq!(said[1], ("awsiam-operator", "1 added: arn:aws:iam::111122223333:role/dev"));
    assert_eq!(said[2], ("kubectl-edit", "1 added: arn:aws:iam::111122223333:role/new"));
    let text = awsiam(&stage, &["history", CLUSTER, "--diff"]).await.done().stdout;
    assert!(text.contains("+- rolearn: arn:aws:iam::111122223333:role/New"), "{text}");
    let table = awsiam(&stage, &["history", CLUSTER]).await.done().stdout;
    assert!(table.lines().count() == 4 && table.contains("3 (now)"), "{table}");

    // Nobody to be asked: nothing is written, and the diff is shown.
    let asked = rolled_back(&stage, 2, &[]).await;
    assert_eq!((asked.code, asked.stderr.contains("--yes")), (Some(2), true), "{}", asked.stderr);
    assert!(asked.stdout.contains("-- rolearn: arn:aws:iam::111122223333:role/New"), "{}", asked.stdout);
    assert!(
        asked.stdout.contains("brings back what the Cluster's AWSIamConfigs declare"),
        "{}",
        asked.stdout
    );
    assert_eq!(stage.text("mapRoles").await, mine);

    rolled_back(&stage, 2, &["--yes"]).await.done();
    assert_eq!(stage.text("mapRoles").await, with_ours);
    let again = rolled_back(&stage, 2, &["--yes"]).await.done();
    assert!(again.stdout.contains("nothing is to be written"), "{}", again.stdout);
    // Before we owned anything: the operator brings back what is declared.
    rolled_back(&stage, 1, &["--yes"]).await.done();
    stage.text_becomes("mapRoles", &with_ours).await;
    operator.stop().await;

    // Without an operator it lasts, and what it replaces is on record.
    rolled_back(&stage, 1, &["--yes"]).await.done();
    let back = stage.aws_auth().await.unwrap();
    assert_eq!(data(&back), data(&original));
    assert_eq!(back.annotations().get(ledger::ANNOTATION), None);
    let found = listed(&stage).await;
    let last = found["revisions"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["writer"], &found["current"]), (&json!("awsiam"), &last["revision"]));
    let managers: Vec<_> = back.managed_fields().iter().filter_map(|m| m.manager.clone()).collect();
    assert!(managers.contains(&"awsiam".to_owned()), "{managers:?}");
}

#[tokio::test]
async fn a_rollback_while_suspended_keeps_what_it_replaces_on_record() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", THEIRS)]).await;
    let (operator, with_ours) = served(&stage).await;
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    stage.cluster_spec(json!({"identityProviderRefs": refs, "iamAuthenticator": {"suspend": true}})).await;
    stage
        .eventually("the operator to know", async || {
            let cluster = stage.clusters().get(CLUSTER).await.map_err(|e| e.to_string())?;
            let status = cluster.status.as_ref().ok_or("no status")?;
            let seen = status.observed_generation;
            // The command line asks for the target that the status names.
            let knows = seen == cluster.metadata.generation && status.target.is_some();
            if knows { Ok(()) } else { Err(format!("{seen:?} {:?}", status.target)) }
        })
        .await;
    let mine = format!("{with_ours}# while suspended\n");
    stage
        .edit_aws_auth("kubectl-edit", |c| {
            c.data.get_or_insert_default().insert("mapRoles".to_owned(), mine.clone());
        })
        .await;
    rolled_back(&stage, 1, &["--yes"]).await.done();
    assert_eq!(stage.text("mapRoles").await, THEIRS);
    let texts = |found: &Value| {
        found["revisions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["writer"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let writers = texts(&listed(&stage).await);
    assert_eq!(writers[1..], ["awsiam-operator", "kubectl-edit", "awsiam"]);
    // The operator, which kept the records in mind, does not write over those of the command line.
    stage.cluster_spec(json!({"identityProviderRefs": refs, "iamAuthenticator": {"suspend": false}})).await;
    stage.text_gets("mapRoles", "role/Dev").await;
    let found = on_record(&stage, 5).await;
    assert_eq!(texts(&found)[1..], ["awsiam-operator", "kubectl-edit", "awsiam", "awsiam-operator"]);
    operator.stop().await;
}

#[tokio::test]
async fn what_must_not_be_put_back_is_not() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", "[]")]).await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let ours = stage.text_gets("mapRoles", "role/Dev").await;
    on_record(&stage, 2).await;
    stage
        .edit_aws_auth("kubectl-edit", |c| {
            c.data.get_or_insert_default().insert("mapRoles".to_owned(), format!("{THEIRS}{ours}"));
        })
        .await;
    on_record(&stage, 3).await;
    operator.stop().await;
    let run = rolled_back(&stage, 2, &["--yes"]).await;
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("--without-nodes"), "{}", run.stderr);
    let run = rolled_back(&stage, 77, &["--yes"]).await;
    assert!(run.stderr.contains("revision 77 is not on record; there is 1, 2, 3"), "{}", run.stderr);
    assert_eq!(stage.text("mapRoles").await, format!("{THEIRS}{ours}"));
    rolled_back(&stage, 2, &["--yes", "--without-nodes"]).await.done();
    assert_eq!(stage.text("mapRoles").await, ours);
}

#[tokio::test]
async fn what_somebody_writes_in_between_is_not_lost() {
    let stage = Stage::set().await;
    let shown = stage.make_aws_auth(&[("mapRoles", THEIRS)]).await;
    let theirs = stage
        .edit_aws_auth("kubectl-edit", |c| {
            c.data.get_or_insert_default().insert("mapUsers".to_owned(), "[]".to_owned());
        })
        .await;
    let content = Content { data: data(&shown), ledger: None };
    for seen in [Some(&shown), None] {
        let refused = by_hand::put(&stage.client, seen, &content).await.unwrap_err();
        assert!(by_hand::is_race(&refused), "{refused}");
    }
    assert_eq!(stage.aws_auth().await, Some(theirs));
}

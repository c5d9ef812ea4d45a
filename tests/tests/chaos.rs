//! Races and kills, on a real API server: nobody's entry is lost at any resourceVersion, and whatever
//! write an operator dies after, the next one ends at the same text.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use awsiam_tests::process::Process;
use awsiam_tests::stage::{CLUSTER, OPERATOR, OPERATOR_NAMESPACE, Stage, role_arn};
use awsiam_tests::versions::{Versions, never_lost};
use kube::api::PostParams;
use serde_json::json;

const NODE: &str = "\
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

fn foreign_item(number: usize) -> String {
    format!(
        "- rolearn: {}  # edit {number}\n  username: foreign-{number}\n",
        role_arn(&format!("foreign-{number}"))
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_foreign_edits_are_all_kept_while_mappings_change() {
    const EDITS: usize = 200;
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", NODE)]).await;
    stage.config("team", &[("Dev", "dev-0", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "username: dev-0").await;

    let watching = Versions::follow(stage.config_maps());
    let editing = {
        let api = stage.config_maps();
        tokio::spawn(async move {
            for number in 0..EDITS {
                // A conditional writer of its own: read, append, PUT; again when somebody was faster.
                loop {
                    let mut config_map = api.get("aws-auth").await.unwrap();
                    let text = config_map.data.as_mut().unwrap().get_mut("mapRoles").unwrap();
                    text.push_str(&foreign_item(number));
                    let params = PostParams { field_manager: Some("rival".into()), ..PostParams::default() };
                    match api.replace("aws-auth", &params, &config_map).await {
                        Ok(_) => break,
                        Err(kube::Error::Api(status)) if status.is_conflict() => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    };
    let mut change = 0;
    while !editing.is_finished() {
        change += 1;
        stage.config("team", &[("Dev", &format!("dev-{change}"), &[]), ("Ops", "ops", &["ops"])]).await;
    }
    editing.await.unwrap();
    let last = stage.text_gets("mapRoles", &format!("username: dev-{change}\n")).await;
    let seen = watching.all().await;
    operator.stop().await;

    assert!(change > 10, "the mappings changed only {change} times beside the edits");
    let known = never_lost(&seen, |arn| arn.contains("/foreign-") || arn.contains("/nodes"));
    assert_eq!(known.len(), EDITS + 1);
    let foreign: String = last.split_inclusive('\n').filter(|line| line.contains("# edit")).collect();
    let items: Vec<String> = (0..EDITS).map(foreign_item).collect();
    let wanted: String = items.iter().filter_map(|item| item.split_inclusive('\n').next()).collect();
    assert_eq!(foreign, wanted, "every foreign line is there once, in order, with its comment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_killed_after_any_write_is_taken_over_by_the_next_at_the_same_text() {
    let stage = Stage::set().await;
    let kubeconfig = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam").await.unwrap();
    let log = stage.plane.folder().join("killed-operators.log");
    let cluster = format!("{}/{CLUSTER}", stage.namespace);
    let ours =
        |name: &str| format!("- rolearn: {}\n  username: {name}\n  groups:\n  - viewers\n", role_arn(name));
    stage.make_aws_auth(&[("mapRoles", NODE)]).await;
    let mut round = 0_usize;
    loop {
        // A pass with everything in it: finalizers, a foreign content to record, an entry that comes, one
        // that changes place, statuses, Events.
        let (one, two) = (format!("one-{round}"), format!("two-{round}"));
        stage.config("team", &[(&one, &one, &["viewers"]), (&two, &two, &["viewers"])]).await;
        stage
            .cluster_spec(json!({"identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
                "iamAuthenticator": {"deletionPolicy": if round.is_multiple_of(2) { "Delete" } else { "Orphan" }}}))
            .await;
        let foreign = foreign_item(round);
        stage
            .edit_aws_auth("somebody", |config_map| {
                let text = format!("{NODE}{foreign}");
                config_map.data.get_or_insert_default().insert("mapRoles".into(), text);
            })
            .await;
        let wanted = format!("{NODE}{foreign}{}{}", ours(&one), ours(&two));

        let mark = stage.plane.audit_mark().unwrap();
        let writes = || {
            let events = stage.plane.audit_events_since(mark).unwrap();
            events.iter().filter(|e| e.user == OPERATOR && e.is_write()).count()
        };
        let limit = round.to_string();
        let doomed = Process::start(&kubeconfig, &cluster, &["--hang-after-writes", &limit], &log).unwrap();
        // It has made its last write, or it had nothing more to write.
        let finished = stage
            .eventually("the operator to make its last write", async || {
                let made = writes();
                let config_done = status_is_current(&stage).await;
                if made >= round {
                    Ok(false)
                } else if config_done {
                    Ok(true)
                } else {
                    Err(format!("{made} of {round} writes"))
                }
            })
            .await;
        doomed.kill();
        let successor = Process::start(&kubeconfig, &cluster, &[], &log).unwrap();
        stage.text_becomes("mapRoles", &wanted).await;
        stage.condition("Ready", "True", "Ready").await;
        successor.kill();
        if finished {
            break;
        }
        round += 1;
        assert!(round < 60, "a pass that never comes to rest");
    }
    assert!(round >= 5, "only {round} writes were cut short; the pass should have more");
}

async fn status_is_current(stage: &Stage) -> bool {
    let Ok(cluster) = stage.clusters().get(CLUSTER).await else { return false };
    let Ok(config) = stage.configs().get("team").await else { return false };
    let status = cluster.status.unwrap_or_default();
    let seen = status.configs.iter().find(|c| c.name == "team").and_then(|c| c.generation);
    status.observed_generation == cluster.metadata.generation
        && seen == config.metadata.generation
        && config.status.unwrap_or_default().observed_generation == config.metadata.generation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_thirty_restarts_in_a_row_under_change_all_is_there_once_and_nothing_is_written_at_rest() {
    const RESTARTS: u64 = 30;
    let stage = Stage::set().await;
    let kubeconfig = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam").await.unwrap();
    let log = stage.plane.folder().join("restarted-operators.log");
    let cluster = format!("{}/{CLUSTER}", stage.namespace);
    stage.make_aws_auth(&[("mapRoles", NODE)]).await;
    stage.config("team", &[("Dev", "dev-0", &[])]).await;
    stage.cluster(&["team"]).await;
    let watching = Versions::follow(stage.config_maps());

    let restarted = AtomicBool::new(false);
    let restarts = async {
        let mut worked = 0;
        for number in 0..RESTARTS {
            let before = stage.text("mapRoles").await;
            let mut operator = Process::start(&kubeconfig, &cluster, &[], &log).unwrap();
            // Lives of any length, from one that ends before its first request to one of several passes; each fifth lasts until
            // it has written, however slow the computer is.
            if number % 5 == 4 {
                stage
                    .eventually("a write of this life", async || {
                        let now = stage.text("mapRoles").await;
                        if dev(&now) == dev(&before) { Err(now) } else { Ok(()) }
                    })
                    .await;
            }
            tokio::time::sleep(Duration::from_millis(20 + number * 53 % 400)).await;
            if number % 3 == 0 {
                let (status, _) = tokio::task::block_in_place(|| operator.terminate()).unwrap();
                // One that had not come to listen for signals yet ends by the signal.
                assert!(status.code().is_none_or(|code| code == 0), "{status}");
            } else {
                operator.kill();
            }
            worked += u64::from(dev(&stage.text("mapRoles").await) != dev(&before));
        }
        restarted.store(true, Ordering::SeqCst);
        worked
    };
    let changes = async {
        let mut change = 0;
        while !restarted.load(Ordering::SeqCst) {
            change += 1;
            stage.config("team", &[("Dev", &format!("dev-{change}"), &[])]).await;
            let foreign = foreign_item(change);
            stage
                .edit_aws_auth("somebody", |config_map| {
                    let text = config_map.data.get_or_insert_default().entry("mapRoles".into()).or_default();
                    text.push_str(&foreign);
                })
                .await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        change
    };
    let (worked, changes) = tokio::join!(restarts, changes);
    assert!(worked >= RESTARTS / 5, "only {worked} of {RESTARTS} wrote");

    let last = Process::start(&kubeconfig, &cluster, &[], &log).unwrap();
    let text = stage.text_gets("mapRoles", &format!("username: dev-{changes}\n")).await;
    stage.condition("Ready", "True", "Ready").await;
    assert_eq!(text.matches("username: dev-").count(), 1, "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("# edit")).count(), changes, "{text}");
    let written_in = async |span: Duration| {
        let mark = stage.plane.audit_mark().unwrap();
        tokio::time::sleep(span).await;
        let events = stage.plane.audit_events_since(mark).unwrap();
        events.into_iter().filter(|event| event.user == OPERATOR && event.is_write()).collect::<Vec<_>>()
    };
    // A status is written at most once a second, so the last ones come late.
    stage
        .eventually("the statuses to be written", async || {
            let written = written_in(Duration::from_secs(2)).await;
            if written.is_empty() { Ok(()) } else { Err(format!("{written:#?}")) }
        })
        .await;
    assert!(status_is_current(&stage).await);
    // Two rounds of --resync and more.
    let written = written_in(Duration::from_secs(5)).await;
    assert!(written.is_empty(), "{written:#?}");
    // It was there all the time.
    stage.config("team", &[("Dev", "dev-at-last", &[])]).await;
    stage.text_gets("mapRoles", "username: dev-at-last\n").await;
    last.kill();
    let known = never_lost(&watching.all().await, |arn| arn.contains("/foreign-") || arn.contains("/nodes"));
    assert_eq!(known.len(), changes + 1);
}

/// The username that our entry has.
fn dev(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.trim().strip_prefix("username: dev-"))
}

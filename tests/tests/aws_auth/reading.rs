//! Promise 1: a failed or unreadable read never leads to a write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use awsiam_tests::stage::{CLUSTER, OPERATOR, Running, Stage, role_arn};
use futures::FutureExt;
use http::StatusCode;
use serde_json::{Value, json};

use crate::intercept::{self, Asked, Counter};
use crate::{finding, foreign, looked_at, make, recorded, role, set_roles, user_arn};

const BROKEN: &str = "- rolearn: arn:aws:iam::111122223333:role/A\n  username: a: b\n";

#[tokio::test]
async fn unreadable_map_roles_stay_to_the_byte_while_map_users_go_on() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", BROKEN)]).await;
    let rows = json!({
        "mapRoles": [{"roleARN": role_arn("Dev"), "username": "dev"}],
        "mapUsers": [{"userARN": user_arn("alice"), "username": "alice"}],
    });
    stage.config_spec("team", rows).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapUsers", &format!("- userarn: {}\n  username: alice\n", user_arn("alice"))).await;
    let message = stage.condition("AwsAuthSynced", "False", "Unreadable").await;
    assert!(message.starts_with("mapRoles, line 2, column 14: "), "{message}");
    assert_eq!(stage.text("mapRoles").await, BROKEN);

    let mended = foreign("A", "a");
    set_roles(&stage, &mended).await;
    stage.text_becomes("mapRoles", &format!("{mended}{}", role("Dev", "dev", &[]))).await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    operator.stop().await;
}

#[tokio::test]
async fn texts_of_which_the_authenticator_reads_nothing_are_left_alone() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", BROKEN)]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let texts = ["words", "key: value\n", "{}", "- a\n\t- b\n", "- 'a", "- a\r- b\n", "- a\u{2028}\n", "[{]"];
    for text in texts {
        set_roles(&stage, text).await;
        recorded(&stage).await;
        assert_eq!(stage.text("mapRoles").await, text);
    }
    operator.stop().await;
    assert_eq!(stage.text("mapRoles").await, "[{]");
}

#[tokio::test]
async fn what_we_own_in_a_text_that_became_unreadable_stays_ours() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let ours = role("Dev", "dev", &[]);
    stage.text_becomes("mapRoles", &ours).await;
    let broken = format!("{ours}- ]\n");
    set_roles(&stage, &broken).await;
    stage.condition("AwsAuthSynced", "False", "Unreadable").await;
    let emptied = stage.config("team", &[]).await;
    looked_at(&stage, &emptied).await;
    assert_eq!(stage.text("mapRoles").await, broken);

    let mended = format!("{ours}{}", foreign("Other", "other"));
    set_roles(&stage, &mended).await;
    stage.text_becomes("mapRoles", &foreign("Other", "other")).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_list_under_binary_data_is_unreadable_and_the_others_go_on() {
    let stage = Stage::set().await;
    let before = make(&stage, json!({"binaryData": {"mapRoles": "AAEC"}})).await;
    let rows = json!({
        "mapRoles": [{"roleARN": role_arn("Dev"), "username": "dev"}],
        "mapAccounts": ["444455556666"],
    });
    stage.config_spec("team", rows).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapAccounts", "- \"444455556666\"\n").await;
    let message = stage.condition("AwsAuthSynced", "False", "Unreadable").await;
    assert!(message.contains("mapRoles stands under binaryData"), "{message}");
    let finding = finding(&stage, "Unreadable").await;
    assert_eq!(finding.list, "mapRoles");
    let after = stage.aws_auth().await.unwrap();
    assert_eq!(after.binary_data, before.binary_data);
    assert!(!after.data.unwrap().contains_key("mapRoles"));
    operator.stop().await;
}

#[tokio::test]
async fn nothing_is_written_before_aws_auth_was_read() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let (failing, writes, refused) =
        (Arc::new(AtomicBool::new(true)), Counter::default(), Counter::default());
    let client = intercept::client(&stage, {
        let (failing, writes, refused) = (failing.clone(), writes.clone(), refused.clone());
        move |asked| {
            if asked.is_put() || asked.is_post() {
                writes.up();
            }
            let refuse = asked.is_read() && failing.load(Ordering::SeqCst);
            if refuse {
                refused.up();
            }
            async move { refuse.then_some(StatusCode::INTERNAL_SERVER_ERROR) }.boxed()
        }
    })
    .await;
    let operator = Running::start_with(client, stage.options());
    let message = stage.condition("TargetReachable", "False", "Unreachable").await;
    assert!(message.contains("nothing is written before it was read"), "{message}");
    assert!(refused.get() > 0);
    assert_eq!(writes.get(), 0);
    failing.store(false, Ordering::SeqCst);
    stage
        .text_becomes("mapRoles", &format!("{}{}", foreign("Other", "other"), role("Dev", "dev", &[])))
        .await;
    operator.stop().await;
}

#[tokio::test]
async fn no_awsiamconfig_is_judged_before_the_clusters_are_known() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let finalizers = async || stage.configs().get("team").await.unwrap().metadata.finalizers;
    stage
        .eventually("its finalizer", async || finalizers().await.map(drop).ok_or_else(|| "none".to_owned()))
        .await;
    stage.condition("Ready", "True", "Ready").await;
    operator.stop().await;

    let configs = Counter::default();
    let (client, barrier) = intercept::behind_barrier(&stage, {
        let configs = configs.clone();
        move |asked| {
            if asked.is_list_of("awsiamconfigs") {
                configs.up();
            }
            asked.is_list_of("clusters")
        }
    })
    .await;
    let mark = stage.plane.audit_mark().unwrap();
    let operator = Running::start_with(client, stage.options());
    barrier.holds(&stage).await;
    // The second one is the watch behind the list.
    let listed = async || if configs.get() > 1 { Ok(()) } else { Err("they are not listed".to_owned()) };
    stage.eventually("the AWSIamConfigs to be known", listed).await;
    // What would be wrong comes at once.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let events = stage.plane.audit_events_since(mark).unwrap();
    let written: Vec<_> = events
        .iter()
        .filter(|e| e.user == OPERATOR && e.is_write() && e.resource == "awsiamconfigs")
        .collect();
    assert!(written.is_empty(), "{written:#?}");
    barrier.lift();
    stage.config("team", &[("Dev", "dev2", &[])]).await;
    stage.text_gets("mapRoles", "dev2").await;
    assert!(finalizers().await.is_some());
    operator.stop().await;
}

/// A Cluster for which a pass sets a finalizer, as the last thing before it needs the AWSIamConfigs.
fn deleting(suspend: bool) -> Value {
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    json!({"identityProviderRefs": refs, "iamAuthenticator": {"deletionPolicy": "Delete", "suspend": suspend}})
}

/// Waits until one has come so far.
async fn a_pass_needs_the_configs(stage: &Stage) {
    stage
        .eventually("a finalizer", async || {
            let finalizers = stage.clusters().get(CLUSTER).await.unwrap().metadata.finalizers;
            finalizers.map(drop).ok_or_else(|| "none".to_owned())
        })
        .await;
}

#[tokio::test]
async fn an_operator_that_waits_for_the_awsiamconfigs_stops_at_once() {
    let stage = Stage::set().await;
    let before = stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster_spec(deleting(false)).await;
    let (client, barrier) =
        intercept::behind_barrier(&stage, |asked| asked.is_list_of("awsiamconfigs")).await;
    let operator = Running::start_with(client, stage.options());
    barrier.holds(&stage).await;
    a_pass_needs_the_configs(&stage).await;
    let asked = Instant::now();
    operator.stop().await;
    // Passes that do not end are given up after 4 s.
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(stage.aws_auth().await.unwrap().metadata.resource_version, before.metadata.resource_version);
}

#[tokio::test]
async fn what_changes_while_the_awsiamconfigs_are_waited_for_counts() {
    let stage = Stage::set().await;
    let before = stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster_spec(deleting(false)).await;
    let list = |asked: &Asked| asked.is_list_of("awsiamconfigs");
    let (client, barrier) = intercept::behind_barrier(&stage, list).await;
    let operator = Running::start_with(client, stage.options());
    a_pass_needs_the_configs(&stage).await;
    stage.cluster_spec(deleting(true)).await;
    // Told of one that came later, the operator knows of the change.
    stage.cluster_object("other", json!({}), json!({"identityProviderRefs": []})).await;
    stage
        .eventually("a status of the other one", async || {
            stage.clusters().get("other").await.unwrap().status.map(drop).ok_or_else(|| "none".to_owned())
        })
        .await;
    barrier.lift();
    stage.condition("AwsAuthSynced", "False", "Suspended").await;
    assert_eq!(stage.aws_auth().await.unwrap().metadata.resource_version, before.metadata.resource_version);
    operator.stop().await;
}

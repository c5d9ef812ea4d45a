//! Promises 9 and 13: how `aws-auth` is written, and when it is not.

use std::sync::{Arc, Mutex};

use awsiam_tests::stage::{OPERATOR, Running, Stage};
use futures::FutureExt;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::intercept::{self, Asked, Counter};
use crate::{
    delete_aws_auth, foreign, ledger_of, looked_at, make, node_entry, patch, resource_version, role,
};

#[tokio::test]
async fn an_edit_between_read_and_write_is_kept() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let puts: Arc<Mutex<Vec<Value>>> = Arc::default();
    let admin = stage.config_maps();
    let client = intercept::client(&stage, {
        let puts = puts.clone();
        move |asked: Asked| {
            let first = asked.is_put() && {
                let mut puts = puts.lock().unwrap();
                puts.push(asked.body.clone());
                puts.len() == 1
            };
            let admin = admin.clone();
            async move {
                if first {
                    let mut racing = admin.get("aws-auth").await.unwrap();
                    let text = racing.data.as_mut().unwrap().get_mut("mapRoles").unwrap();
                    text.push_str(&foreign("Racing", "racing"));
                    admin.replace("aws-auth", &PostParams::default(), &racing).await.unwrap();
                }
                None
            }
            .boxed()
        }
    })
    .await;
    let operator = Running::start_with(client, stage.options());
    let text =
        format!("{}{}{}", foreign("Other", "other"), foreign("Racing", "racing"), role("Dev", "dev", &[]));
    stage.text_becomes("mapRoles", &text).await;
    operator.stop().await;
    let puts = puts.lock().unwrap();
    let versions: Vec<&Value> = puts.iter().map(|body| &body["metadata"]["resourceVersion"]).collect();
    assert_eq!(versions.len(), 2, "{versions:?}");
    assert!(versions.iter().all(|version| version.as_str().is_some_and(|v| !v.is_empty())), "{versions:?}");
    assert_ne!(versions[0], versions[1]);
}

#[tokio::test]
async fn every_put_is_conditional_and_no_get_stands_in_front_of_it() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[]).await;
    stage.cluster(&["team"]).await;
    let (conditional, other) = (Counter::default(), Counter::default());
    let client = intercept::client(&stage, {
        let (conditional, other) = (conditional.clone(), other.clone());
        move |asked: Asked| {
            let version = asked.body["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            if asked.is_put() && !version.is_empty() {
                conditional.up();
            } else if asked.is_put() || asked.is_post() {
                other.up();
            }
            async { None }.boxed()
        }
    })
    .await;
    let mark = stage.plane.audit_mark().unwrap();
    let operator = Running::start_with(client, stage.options());
    for number in 0..5 {
        let username = format!("dev{number}");
        stage.config("team", &[("Dev", &username, &[])]).await;
        stage.text_gets("mapRoles", &username).await;
    }
    operator.stop().await;
    assert_eq!((conditional.get(), other.get()), (5, 0));
    let asked = stage.plane.audit_events_since(mark).unwrap();
    let of_ours =
        asked.iter().filter(|e| e.user == OPERATOR && e.is_about("configmaps", "kube-system", "aws-auth"));
    let verbs: Vec<&str> =
        of_ours.map(|e| e.verb.as_str()).filter(|verb| !["list", "watch"].contains(verb)).collect();
    assert_eq!(verbs, ["update"; 5]);
}

#[tokio::test]
async fn where_there_is_no_aws_auth_it_is_made_by_a_plain_post() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let mark = stage.plane.audit_mark().unwrap();
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &role("Dev", "dev", &[])).await;
    stage.event("AwsAuthCreated").await;
    operator.stop().await;
    let made = stage.aws_auth().await.unwrap();
    assert!(ledger_of(&made).is_some());
    let asked = stage.plane.audit_events_since(mark).unwrap();
    let writes = asked.iter().filter(|e| {
        e.user == OPERATOR && e.is_write() && e.resource == "configmaps" && !e.name.contains("history")
    });
    let writes: Vec<(&str, Option<u16>)> = writes.map(|e| (e.verb.as_str(), e.code)).collect();
    assert_eq!(writes, [("create", Some(201))]);
}

#[tokio::test]
async fn an_aws_auth_that_somebody_makes_at_the_same_moment_is_kept() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let posts = Counter::default();
    let admin = stage.config_maps();
    let client = intercept::client(&stage, {
        let posts = posts.clone();
        move |asked: Asked| {
            let first = asked.is_post() && posts.up() == 0;
            let admin = admin.clone();
            async move {
                if first {
                    let theirs =
                        json!({"metadata": {"name": "aws-auth"}, "data": {"mapRoles": node_entry()}});
                    let theirs = serde_json::from_value(theirs).unwrap();
                    admin.create(&PostParams::default(), &theirs).await.unwrap();
                }
                None
            }
            .boxed()
        }
    })
    .await;
    let operator = Running::start_with(client, stage.options());
    stage.text_becomes("mapRoles", &format!("{}{}", node_entry(), role("Dev", "dev", &[]))).await;
    operator.stop().await;
    assert_eq!(posts.get(), 1);
}

#[tokio::test]
async fn where_nothing_is_wanted_no_aws_auth_is_made() {
    let stage = Stage::set().await;
    let config = stage.config("team", &[]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    looked_at(&stage, &config).await;
    operator.stop().await;
    assert_eq!(stage.aws_auth().await, None);
}

#[tokio::test]
async fn an_immutable_aws_auth_is_left_alone_and_made_again_with_its_nodes_once_it_is_deleted() {
    let stage = Stage::set().await;
    let text = format!("{}{}", node_entry(), foreign("Other", "other"));
    make(&stage, json!({"immutable": true, "data": {"mapRoles": text}})).await;
    let before = resource_version(&stage).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let mark = stage.plane.audit_mark().unwrap();
    let operator = stage.operator().await;
    stage.condition("AwsAuthSynced", "False", "Immutable").await;
    crate::recorded(&stage).await;
    assert_eq!(resource_version(&stage).await, before);
    let asked = stage.plane.audit_events_since(mark).unwrap();
    assert!(asked.iter().all(|e| e.user != OPERATOR || e.verb != "update"), "{asked:#?}");

    delete_aws_auth(&stage).await;
    stage.text_becomes("mapRoles", &format!("{}{}", node_entry(), role("Dev", "dev", &[]))).await;
    let note = stage.event("AwsAuthRecreated").await;
    assert!(note.contains("Not restored: ") && note.to_lowercase().contains("role/other"), "{note}");
    operator.stop().await;
}

#[tokio::test]
async fn an_aws_auth_that_is_being_deleted_is_left_alone_and_made_again_with_its_nodes() {
    let stage = Stage::set().await;
    let held = json!({
        "metadata": {"finalizers": ["example.com/held"]},
        "data": {"mapRoles": node_entry()},
    });
    make(&stage, held).await;
    delete_aws_auth(&stage).await;
    let before = stage.aws_auth().await.unwrap();
    assert!(before.metadata.deletion_timestamp.is_some());
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.condition("AwsAuthSynced", "False", "BeingDeleted").await;
    crate::recorded(&stage).await;
    let after = stage.aws_auth().await.unwrap();
    patch(&stage, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
    stage.text_becomes("mapRoles", &format!("{}{}", node_entry(), role("Dev", "dev", &[]))).await;
    operator.stop().await;
}

#[tokio::test]
async fn data_that_would_not_fit_is_refused_with_a_condition() {
    let stage = Stage::set().await;
    let big = "x".repeat(1024 * 1024 - 60);
    make(&stage, json!({"data": {"notes": big}})).await;
    let before = resource_version(&stage).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let message = stage.condition("AwsAuthSynced", "False", "TooLarge").await;
    assert!(
        message.contains("the data of aws-auth would take ") && message.contains(" 1048576"),
        "{message}"
    );
    assert_eq!(resource_version(&stage).await, before);
    patch(&stage, json!({"data": {"notes": "short"}})).await;
    stage.text_becomes("mapRoles", &role("Dev", "dev", &[])).await;
    operator.stop().await;
}

#[tokio::test]
async fn annotations_that_would_not_fit_are_refused_with_a_condition() {
    let stage = Stage::set().await;
    let big = "x".repeat(256 * 1024 - 60);
    make(&stage, json!({"metadata": {"annotations": {"notes": big}}})).await;
    let before = resource_version(&stage).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let message = stage.condition("AwsAuthSynced", "False", "TooLarge").await;
    assert!(message.contains("the annotations of aws-auth would take "), "{message}");
    assert_eq!(resource_version(&stage).await, before);
    patch(&stage, json!({"metadata": {"annotations": {"notes": null}}})).await;
    stage.text_becomes("mapRoles", &role("Dev", "dev", &[])).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_write_in_flight_is_finished_before_the_operator_ends() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &node_entry())]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let (client, barrier) = intercept::behind_barrier(&stage, Asked::is_put).await;
    let operator = Running::start_with(client, stage.options());
    barrier.holds(&stage).await;
    // It is told to stop first.
    tokio::join!(biased; operator.stop(), async { barrier.lift() });
    assert_eq!(stage.text("mapRoles").await, format!("{}{}", node_entry(), role("Dev", "dev", &[])));
}

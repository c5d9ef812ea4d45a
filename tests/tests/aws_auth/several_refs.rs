//! Promise 4 and 6 for Clusters with several references: precedence, and a reference that disagrees.

use awsiam_tests::stage::{Stage, role_arn};
use serde_json::json;

use crate::{finding, foreign, looked_at, role, set_roles, status};

#[tokio::test]
async fn of_two_configs_with_one_key_the_first_counts_and_the_other_is_reported() {
    let stage = Stage::set().await;
    stage.config("one", &[("Dev", "from-one", &[])]).await;
    stage.config("two", &[("Dev", "from-two", &[]), ("Two", "two", &[])]).await;
    stage.cluster(&["one", "two"]).await;
    let operator = stage.operator().await;
    stage
        .text_becomes("mapRoles", &format!("{}{}", role("Dev", "from-one", &[]), role("Two", "two", &[])))
        .await;
    let finding = finding(&stage, "Precedence").await;
    assert_eq!((finding.config.as_str(), finding.list.as_str()), ("two", "mapRoles"));
    operator.stop().await;
}

#[tokio::test]
async fn a_key_that_moves_between_refs_is_replaced_in_place() {
    let stage = Stage::set().await;
    stage.config("one", &[("Dev", "from-one", &[])]).await;
    stage.config("two", &[("Dev", "from-two", &[])]).await;
    stage.cluster(&["one", "two"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &role("Dev", "from-one", &[])).await;
    let behind = foreign("Other", "other");
    set_roles(&stage, &format!("{}{behind}", role("Dev", "from-one", &[]))).await;
    stage.cluster(&["two", "one"]).await;
    stage.text_becomes("mapRoles", &format!("{}{behind}", role("Dev", "from-two", &[]))).await;
    // The one that has it now is its owner: without it the key falls back, in place again.
    stage.cluster(&["one"]).await;
    stage.text_becomes("mapRoles", &format!("{}{behind}", role("Dev", "from-one", &[]))).await;
    stage.config("one", &[]).await;
    stage.text_becomes("mapRoles", &behind).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_ref_that_disagrees_with_the_first_is_frozen_whole() {
    let stage = Stage::set().await;
    let elsewhere = |username: &str| {
        json!({"awsRegion": "us-east-1", "mapRoles": [
            {"roleARN": role_arn("A"), "username": username}, {"roleARN": role_arn(username), "username": "new"},
        ]})
    };
    stage.config("first", &[("First", "first", &[])]).await;
    stage.config_spec("team", elsewhere("a")).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let team = format!("{}{}", role("A", "a", &[]), role("a", "new", &[]));
    // Role "a" and role "A" are one key: the first row counts.
    let team = team.replace(&role("a", "new", &[]), "");
    stage.text_becomes("mapRoles", &team).await;

    stage.cluster(&["first", "team"]).await;
    let both = format!("{team}{}", role("First", "first", &[]));
    stage.text_becomes("mapRoles", &both).await;
    let message = stage.condition("AwsAuthSynced", "False", "ReferenceDisagrees").await;
    assert!(message.contains("AWSIamConfig team differs from the first reference in awsRegion"), "{message}");
    let changed = stage.config_spec("team", elsewhere("b")).await;
    looked_at(&stage, &changed).await;
    finding(&stage, "ConfigDisagrees").await;
    let counts = status(&stage).await.unwrap().entries.unwrap();
    assert_eq!((counts.owned, counts.frozen), (2, 1));
    operator.stop().await;
    assert_eq!(stage.text("mapRoles").await, both);
}

#[tokio::test]
async fn a_frozen_entry_keeps_its_key_from_other_configs() {
    let stage = Stage::set().await;
    stage.config("one", &[]).await;
    stage.config("two", &[("Dev", "from-two", &[])]).await;
    stage.cluster(&["one", "two"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &role("Dev", "from-two", &[])).await;
    // The owner no longer lists the key and is suspended: its entry is frozen.
    stage.config_spec("two", json!({"suspend": true})).await;
    let claiming = stage.config("one", &[("Dev", "from-one", &[])]).await;
    looked_at(&stage, &claiming).await;
    finding(&stage, "HeldByFrozen").await;
    assert_eq!(stage.text("mapRoles").await, role("Dev", "from-two", &[]));
    stage.config_spec("two", json!({})).await;
    stage.text_becomes("mapRoles", &role("Dev", "from-one", &[])).await;
    operator.stop().await;
}

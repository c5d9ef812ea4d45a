//! Promise 5: equality is of meaning.

use awsiam_tests::stage::{Stage, role_arn};
use serde_json::json;

use crate::{foreign, looked_at, recorded, resource_version, role, set_roles};

#[tokio::test]
async fn an_entry_of_ours_that_somebody_reformatted_is_not_rewritten() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &["viewers"]), ("Ops", "ops", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Ops").await;
    let reformatted = format!(
        "[{{groups: [viewers], username: 'dev', ROLEARN: \"{}\"}}, # tidy\n {{rolearn: {}, username: ops, groups: []}}]",
        role_arn("Dev").to_uppercase().replace("ARN:AWS:IAM", "arn:aws:iam"),
        role_arn("Ops"),
    );
    set_roles(&stage, &reformatted).await;
    let edited = resource_version(&stage).await;
    recorded(&stage).await;
    operator.stop().await;
    assert_eq!(resource_version(&stage).await, edited);
    assert_eq!(stage.text("mapRoles").await, reformatted);

    // It is still ours.
    let operator = stage.operator().await;
    stage.config("team", &[("Ops", "ops", &[])]).await;
    let text = stage.text_loses("mapRoles", "viewers").await;
    assert_eq!(text, format!("[ # tidy\n {{rolearn: {}, username: ops, groups: []}}]", role_arn("Ops")));
    operator.stop().await;
}

#[tokio::test]
async fn another_generation_that_asks_for_the_same_writes_nothing() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    let before = resource_version(&stage).await;
    let rows =
        json!([{"roleARN": "arn:aws:iam::111122223333:role/path/Dev", "username": "dev", "groups": []}]);
    let changed = stage.config_spec("team", json!({"mapRoles": rows})).await;
    assert_eq!(changed.metadata.generation, Some(2));
    looked_at(&stage, &changed).await;
    operator.stop().await;
    assert_eq!(resource_version(&stage).await, before);
}

#[tokio::test]
async fn the_order_of_groups_is_part_of_the_meaning() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &["a", "b"])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &role("Dev", "dev", &["a", "b"])).await;
    stage.config("team", &[("Dev", "dev", &["b", "a"])]).await;
    stage.text_becomes("mapRoles", &role("Dev", "dev", &["b", "a"])).await;
    operator.stop().await;
}

#[tokio::test]
async fn of_several_entries_with_our_key_ours_is_the_one_that_we_wrote() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    // Somebody puts another entry with this ARN in front: ours still wins.
    let theirs = foreign("Dev", "somebody");
    set_roles(&stage, &format!("{theirs}{}", role("Dev", "dev", &[]))).await;
    recorded(&stage).await;
    stage.config("team", &[("Dev", "renamed", &[])]).await;
    stage.text_becomes("mapRoles", &format!("{theirs}{}", role("Dev", "renamed", &[]))).await;
    stage.config("team", &[]).await;
    stage.text_becomes("mapRoles", &theirs).await;
    operator.stop().await;
}

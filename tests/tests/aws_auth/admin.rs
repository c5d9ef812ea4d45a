//! Promise 12: the last administrator stays.

use awsiam_tests::stage::{CLUSTER, Stage, role_arn};
use kube::api::DeleteParams;
use serde_json::json;

use crate::{annotate, foreign, looked_at, role};

const MASTERS: &[&str] = &["system:masters"];
const ALLOW: &str = "awsiam-operator.dev/allow-last-admin-removal";

#[tokio::test]
async fn the_removal_of_the_last_administrator_is_held_until_the_annotation_allows_it() {
    let stage = Stage::set().await;
    stage.config("team", &[("Admin", "admin", MASTERS), ("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    // An allowance for another generation is none.
    annotate(&stage, ALLOW, "team/1").await;
    let emptied = stage.config("team", &[("Ops", "ops", &[])]).await;
    let admin = role("Admin", "admin", MASTERS);
    stage.text_becomes("mapRoles", &format!("{admin}{}", role("Ops", "ops", &[]))).await;
    let message = stage.condition("AwsAuthSynced", "False", "LastAdministrator").await;
    let allowance = format!("team/{}", emptied.metadata.generation.unwrap());
    assert!(message.contains(&format!("{ALLOW}={allowance}")), "{message}");

    annotate(&stage, ALLOW, &allowance).await;
    stage.text_becomes("mapRoles", &role("Ops", "ops", &[])).await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    operator.stop().await;
}

#[tokio::test]
async fn the_demotion_of_the_last_administrator_is_held() {
    let stage = Stage::set().await;
    stage.config("team", &[("Admin", "admin", MASTERS)]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let admin = role("Admin", "admin", MASTERS);
    stage.text_becomes("mapRoles", &admin).await;
    let demoted = stage.config("team", &[("Admin", "admin", &["viewers"])]).await;
    looked_at(&stage, &demoted).await;
    stage.condition("AwsAuthSynced", "False", "LastAdministrator").await;
    assert_eq!(stage.text("mapRoles").await, admin);
    // Another administrator is what it waited for.
    stage.config("team", &[("Admin", "admin", &["viewers"]), ("Boss", "boss", MASTERS)]).await;
    let text = format!("{}{}", role("Admin", "admin", &["viewers"]), role("Boss", "boss", MASTERS));
    stage.text_becomes("mapRoles", &text).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_foreign_administrator_is_one_too() {
    let stage = Stage::set().await;
    let boss = format!("- {{rolearn: '{}', username: boss, groups: ['system:masters']}}\n", role_arn("Boss"));
    stage.make_aws_auth(&[("mapRoles", &boss)]).await;
    stage.config("team", &[("Admin", "admin", MASTERS)]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Admin").await;
    stage.config("team", &[]).await;
    stage.text_becomes("mapRoles", &boss).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_ref_that_leaves_takes_the_last_administrator_only_with_the_clusters_allowance() {
    let stage = Stage::set().await;
    stage.config("admins", &[("Admin", "admin", MASTERS)]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["admins", "team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    let left = stage.cluster(&["team"]).await;
    let message = stage.condition("AwsAuthSynced", "False", "LastAdministrator").await;
    let allowance = format!("cluster/{}", left.metadata.generation.unwrap());
    assert!(message.contains(&format!("{ALLOW}={allowance}")), "{message}");
    assert!(stage.text("mapRoles").await.contains("role/Admin"));
    annotate(&stage, ALLOW, &allowance).await;
    stage.text_becomes("mapRoles", &role("Dev", "dev", &[])).await;
    operator.stop().await;
}

#[tokio::test]
async fn an_explicitly_empty_list_of_refs_takes_the_last_administrator() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[("Admin", "admin", MASTERS)]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Admin").await;
    stage.cluster(&[]).await;
    stage.text_becomes("mapRoles", &foreign("Other", "other")).await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    operator.stop().await;
}

#[tokio::test]
async fn deletion_with_delete_takes_the_last_administrator() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[("Admin", "admin", MASTERS)]).await;
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    let block = json!({"deletionPolicy": "Delete"});
    stage.cluster_spec(json!({"identityProviderRefs": refs, "iamAuthenticator": block})).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Admin").await;
    stage.clusters().delete(CLUSTER, &DeleteParams::default()).await.unwrap();
    stage.text_becomes("mapRoles", &foreign("Other", "other")).await;
    stage
        .eventually("the Cluster to be gone", async || {
            let found = stage.clusters().get_opt(CLUSTER).await.map_err(|e| e.to_string())?;
            found.map_or(Ok(()), |cluster| Err(format!("{:?}", cluster.metadata)))
        })
        .await;
    operator.stop().await;
}

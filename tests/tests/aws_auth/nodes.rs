//! Promise 3: node entries are nobody's to change.

use awsiam_tests::stage::{Stage, role_arn};
use serde_json::json;

use crate::{finding, foreign, looked_at, node_entry, recorded, role, set_roles};

#[tokio::test]
async fn a_mapping_with_the_arn_of_a_node_entry_is_refused_and_the_others_go_on() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &node_entry())]).await;
    let rows = json!({"mapRoles": [
        {"roleARN": role_arn("nodes"), "username": "people", "groups": ["viewers"]},
        {"roleARN": role_arn("Dev"), "username": "dev"},
    ]});
    stage.config_spec("team", rows).await;
    let adopting = json!({
        "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
        "iamAuthenticator": {"conflictPolicy": "Adopt"},
    });
    stage.cluster_spec(adopting).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &format!("{}{}", node_entry(), role("Dev", "dev", &[]))).await;
    let message = stage.condition("AwsAuthSynced", "False", "NodeEntry").await;
    assert!(message.starts_with("AWSIamConfig team spec.mapRoles[0], "), "{message}");
    assert_eq!(finding(&stage, "NodeEntry").await.config, "team");
    operator.stop().await;
}

#[tokio::test]
async fn a_node_entry_in_the_other_list_counts_as_well() {
    let stage = Stage::set().await;
    let users = format!("- userarn: {}\n  username: x\n  groups: [\"system:nodes\"]\n", role_arn("nodes"));
    stage.make_aws_auth(&[("mapUsers", &users)]).await;
    stage.config("team", &[("nodes", "people", &[]), ("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &role("Dev", "dev", &[])).await;
    stage.condition("AwsAuthSynced", "False", "NodeEntry").await;
    assert_eq!(stage.text("mapUsers").await, users);
    operator.stop().await;
}

#[tokio::test]
async fn an_entry_of_ours_that_somebody_made_a_node_entry_is_neither_repaired_nor_removed() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &role("Dev", "dev", &[])).await;
    let joined = role("Dev", "dev", &["system:nodes"]);
    set_roles(&stage, &joined).await;
    recorded(&stage).await;
    stage.condition("AwsAuthSynced", "False", "NodeEntry").await;
    let emptied = stage.config("team", &[]).await;
    looked_at(&stage, &emptied).await;
    assert_eq!(stage.text("mapRoles").await, joined);
    operator.stop().await;
}

#[tokio::test]
async fn nobody_becomes_a_node_by_an_awsiamconfig() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    let rows: [(&str, &str, &[&str]); 4] = [
        ("A", "system:node:x", &[]),
        ("B", "b", &["system:nodes"]),
        ("C", "c", &["system:bootstrappers"]),
        ("Dev", "dev", &[]),
    ];
    stage.config("team", &rows).await;
    stage.cluster(&["team"]).await;
    let mut options = stage.options();
    options.policy.allow_system_identities = true;
    let operator = stage.operator_with(options).await;
    stage
        .text_becomes("mapRoles", &format!("{}{}", foreign("Other", "other"), role("Dev", "dev", &[])))
        .await;
    stage.condition("AwsAuthSynced", "False", "PrivilegeRefused").await;
    operator.stop().await;
}

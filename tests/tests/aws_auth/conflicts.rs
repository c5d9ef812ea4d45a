//! Promise 6: what happens where a foreign entry has the key of a mapping.

use awsiam_tests::stage::{Stage, role_arn};
use serde_json::json;

use crate::{finding, foreign, looked_at, node_entry, recorded, records, resource_version, role, set_roles};

/// The Cluster with one config, `team`.
async fn cluster(stage: &Stage, policy: &str) {
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    let block = json!({"conflictPolicy": policy});
    stage.cluster_spec(json!({"identityProviderRefs": refs, "iamAuthenticator": block})).await;
}

#[tokio::test]
async fn with_refuse_an_equal_foreign_entry_stays_foreign() {
    let stage = Stage::set().await;
    let theirs = foreign("Dev", "dev");
    stage.make_aws_auth(&[("mapRoles", &theirs)]).await;
    let before = resource_version(&stage).await;
    let config = stage.config("team", &[("Dev", "dev", &[])]).await;
    cluster(&stage, "Refuse").await;
    let operator = stage.operator().await;
    let counts = looked_at(&stage, &config).await.counts.unwrap();
    assert_eq!((counts.desired, counts.synced, counts.refused), (1, 1, 0));
    finding(&stage, "AlreadyPresent").await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    let emptied = stage.config("team", &[]).await;
    looked_at(&stage, &emptied).await;
    operator.stop().await;
    assert_eq!(resource_version(&stage).await, before);
}

#[tokio::test]
async fn with_refuse_a_different_foreign_entry_is_a_conflict_and_the_others_go_on() {
    let stage = Stage::set().await;
    let theirs = foreign("Dev", "somebody");
    stage.make_aws_auth(&[("mapRoles", &theirs)]).await;
    stage.config("team", &[("Dev", "dev", &[]), ("Ops", "ops", &[])]).await;
    cluster(&stage, "Refuse").await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &format!("{theirs}{}", role("Ops", "ops", &[]))).await;
    let message = stage.condition("AwsAuthSynced", "False", "Conflict").await;
    assert!(message.contains("conflictPolicy: Adopt"), "{message}");
    let note = stage.event("Conflict").await;
    assert!(note.contains("role/Dev"), "{note}");
    // Made equal by hand, it is in order and still theirs.
    let equal = foreign("Dev", "dev");
    set_roles(&stage, &format!("{equal}{}", role("Ops", "ops", &[]))).await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    stage.config("team", &[]).await;
    stage.text_becomes("mapRoles", &equal).await;
    operator.stop().await;
}

#[tokio::test]
async fn with_adopt_an_equal_foreign_entry_becomes_ours_by_the_ledger_alone() {
    let stage = Stage::set().await;
    let theirs = format!("{}{}", foreign("Dev", "dev"), foreign("Other", "other"));
    stage.make_aws_auth(&[("mapRoles", &theirs)]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    cluster(&stage, "Adopt").await;
    let operator = stage.operator().await;
    let note = stage.event("EntriesAdopted").await;
    assert!(note.contains("role/Dev"), "{note}");
    assert_eq!(stage.text("mapRoles").await, theirs);
    stage.config("team", &[]).await;
    stage.text_becomes("mapRoles", &foreign("Other", "other")).await;
    operator.stop().await;
}

#[tokio::test]
async fn with_adopt_a_different_foreign_entry_is_replaced_in_place_and_its_text_is_on_record() {
    let stage = Stage::set().await;
    let theirs = format!("{}{}{}", node_entry(), foreign("Dev", "somebody"), foreign("Other", "other"));
    stage.make_aws_auth(&[("mapRoles", &theirs)]).await;
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    cluster(&stage, "Adopt").await;
    let operator = stage.operator().await;
    let replaced =
        format!("{}{}{}", node_entry(), role("Dev", "dev", &["viewers"]), foreign("Other", "other"));
    stage.text_becomes("mapRoles", &replaced).await;
    let records = records(&stage).await;
    let first = records.values().next().unwrap();
    assert_eq!(first.data.as_ref().unwrap()["mapRoles"], theirs);
    operator.stop().await;
}

#[tokio::test]
async fn the_same_arn_in_the_other_list_is_a_conflict_whatever_the_policy() {
    for policy in ["Refuse", "Adopt"] {
        let stage = Stage::set().await;
        let users = format!("- userarn: {}\n  username: odd\n", role_arn("Dev"));
        stage.make_aws_auth(&[("mapUsers", &users)]).await;
        stage.config("team", &[("Dev", "dev", &[]), ("Ops", "ops", &[])]).await;
        cluster(&stage, policy).await;
        let operator = stage.operator().await;
        stage.text_becomes("mapRoles", &role("Ops", "ops", &[])).await;
        let message = stage.condition("AwsAuthSynced", "False", "Conflict").await;
        assert!(message.contains("mapUsers"), "{message}");
        assert_eq!(stage.text("mapUsers").await, users);
        operator.stop().await;
    }
}

#[tokio::test]
async fn a_foreign_duplicate_that_wins_over_ours_is_a_conflict_until_it_goes() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    cluster(&stage, "Refuse").await;
    let operator = stage.operator().await;
    let ours = role("Dev", "dev", &[]);
    stage.text_becomes("mapRoles", &ours).await;
    let both = format!("{ours}{}", foreign("Dev", "somebody"));
    set_roles(&stage, &both).await;
    recorded(&stage).await;
    stage.condition("AwsAuthSynced", "False", "Conflict").await;
    assert_eq!(stage.text("mapRoles").await, both);
    // Ours goes with its row all the same.
    stage.config("team", &[]).await;
    stage.text_becomes("mapRoles", &foreign("Dev", "somebody")).await;
    operator.stop().await;
}

#[tokio::test]
async fn with_adopt_a_foreign_duplicate_that_wins_becomes_ours_in_its_place() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    cluster(&stage, "Adopt").await;
    let operator = stage.operator().await;
    let ours = role("Dev", "dev", &[]);
    stage.text_becomes("mapRoles", &ours).await;
    let other = foreign("Other", "other");
    set_roles(&stage, &format!("{ours}{other}{}", foreign("Dev", "somebody"))).await;
    stage.text_becomes("mapRoles", &format!("{other}{ours}")).await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    operator.stop().await;
}

//! What others do to our entries, and to `aws-auth` as a whole.

use std::time::{Duration, Instant};

use awsiam_tests::stage::{Stage, role_arn};
use kube::api::DeleteParams;

use crate::{DEV, NODES, OURS, THEIRS, in_effect, notes, recorded, set_roles};

fn all() -> String {
    format!("{NODES}{THEIRS}{OURS}")
}

#[tokio::test]
async fn an_entry_that_was_edited_is_put_back_within_seconds_and_the_event_says_who_did_it() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    let start = Instant::now();
    let edited = all().replace("- viewers", "- system:masters");
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &edited)).await;
    stage.text_becomes("mapRoles", &all()).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let note = stage.event("DriftRepaired").await;
    assert_eq!(
        note,
        format!("put back what field manager kubectl-edit changed: mapRoles {}", role_arn("Dev"))
    );
    operator.stop().await;
}

#[tokio::test]
async fn an_entry_that_was_removed_comes_back_whoever_wrote_last_before() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    // An annotation by somebody else, in the same second: the one who has the data key is named.
    stage
        .edit_aws_auth("zealous-labeller", |config_map| {
            config_map.metadata.annotations.get_or_insert_default().insert("owner".into(), "ann".into());
        })
        .await;
    stage.edit_aws_auth("argocd", |config_map| set_roles(config_map, &format!("{NODES}{THEIRS}"))).await;
    let note = stage.event("DriftRepaired").await;
    assert_eq!(note, format!("put back what field manager argocd changed: mapRoles {}", role_arn("Dev")));
    stage.text_becomes("mapRoles", &all()).await;
    operator.stop().await;
}

#[tokio::test]
async fn after_three_repairs_a_fight_is_left_for_a_while_but_wanted_changes_go_on() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    let undone = format!("{NODES}{THEIRS}");
    for _ in 0..3 {
        stage.edit_aws_auth("flux", |config_map| set_roles(config_map, &undone)).await;
        stage.text_becomes("mapRoles", &all()).await;
    }
    stage.edit_aws_auth("flux", |config_map| set_roles(config_map, &undone)).await;
    let message = stage.condition("AwsAuthSynced", "False", "FightingWriter").await;
    assert!(
        message.starts_with("field manager flux undid our entries three times in ten minutes"),
        "{message}"
    );
    assert_eq!(stage.event("FightingWriter").await, message);
    assert_eq!(stage.text("mapRoles").await, undone);
    recorded(&stage, &undone).await;
    stage.config("team", &[DEV, ("Ops", "ops", &[])]).await;
    let text = stage.text_gets("mapRoles", &role_arn("Ops")).await;
    assert!(text.starts_with(&all()), "{text}");
    stage.condition("Ready", "True", "Ready").await;
    operator.stop().await;
}

#[tokio::test]
async fn an_aws_auth_that_was_deleted_comes_back_with_node_entries_and_ours_and_the_event_names_the_rest() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    recorded(&stage, &all()).await;
    stage.config_maps().delete("aws-auth", &DeleteParams::default()).await.unwrap();
    let note = stage.event("AwsAuthRecreated").await;
    stage.text_becomes("mapRoles", &format!("{NODES}{OURS}")).await;
    assert!(note.contains("Not restored: mapRoles arn:aws:iam::111122223333:role/theirs."), "{note}");
    stage.condition("Ready", "True", "Ready").await;
    // Ours by the ledger as before: it goes when it is no longer wanted.
    stage.config("team", &[]).await;
    stage.text_becomes("mapRoles", NODES).await;
    operator.stop().await;
}

#[tokio::test]
async fn an_aws_auth_that_never_was_is_made_without_a_word_of_alarm() {
    let stage = Stage::set().await;
    stage.config("team", &[DEV]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", OURS).await;
    stage.condition("Ready", "True", "Ready").await;
    assert_eq!(stage.event("AwsAuthCreated").await, "created aws-auth");
    assert_eq!(notes(&stage, "AwsAuthRecreated").await, Vec::<String>::new());
    operator.stop().await;
}

#[tokio::test]
async fn the_loss_of_all_node_entries_is_a_condition_until_they_are_back() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    stage.condition("NodeEntriesLost", "False", "NodeEntriesPresent").await;
    recorded(&stage, &all()).await;
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &format!("{THEIRS}{OURS}"))).await;
    let message = stage.condition("NodeEntriesLost", "True", "NoNodeEntries").await;
    assert!(message.contains("put their entries back"), "{message}");
    stage.condition("Ready", "False", "NoNodeEntries").await;
    assert_eq!(stage.event("NoNodeEntries").await, message);
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &all())).await;
    stage.condition("NodeEntriesLost", "False", "NodeEntriesPresent").await;
    stage.condition("Ready", "True", "Ready").await;
    operator.stop().await;
}

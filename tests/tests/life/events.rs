//! What is told, on which object, and how often.

use awsiam_tests::stage::Stage;
use kube::ResourceExt;
use serde_json::json;

use crate::{DEV, NODES, events, in_effect, notes, set_roles};

#[tokio::test]
async fn each_kind_of_change_of_a_pass_is_one_event_that_names_up_to_ten_entries() {
    let stage = Stage::set().await;
    let names: Vec<String> = (10..22).map(|number| format!("Role{number}")).collect();
    let rows = |names: &[String], username: &str| {
        let row =
            |name: &String| json!({"roleARN": awsiam_tests::stage::role_arn(name), "username": username});
        json!({"mapRoles": names.iter().map(row).collect::<Vec<_>>()})
    };
    stage.config_spec("team", rows(&names, "dev")).await;
    let cluster = stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let note = stage.event("MappingsAdded").await;
    assert_eq!(note.matches("arn:aws:iam").count(), 10, "{note}");
    assert!(
        note.starts_with("added to aws-auth: mapRoles arn:aws:iam::111122223333:role/Role10, "),
        "{note}"
    );
    assert!(note.ends_with(" and 2 more"), "{note}");
    let added = events(&stage, "MappingsAdded").await;
    let [event] = added.as_slice() else { panic!("{added:#?}") };
    let (regarding, related) = (event.regarding.clone().unwrap(), event.related.clone().unwrap());
    assert_eq!((regarding.kind.as_deref(), regarding.uid), (Some("Cluster"), cluster.uid()));
    assert_eq!((related.kind.as_deref(), related.name.as_deref()), (Some("AWSIamConfig"), Some("team")));
    assert_eq!(event.type_.as_deref(), Some("Normal"));

    let mut fewer = rows(&names[2..], "dev");
    fewer["mapRoles"][0]["username"] = json!("ops");
    stage.config_spec("team", fewer).await;
    let changed = stage.event("MappingsChanged").await;
    assert_eq!(changed, "changed in aws-auth: mapRoles arn:aws:iam::111122223333:role/Role12");
    let removed = stage.event("MappingsRemoved").await;
    assert_eq!(
        removed,
        "removed from aws-auth: mapRoles arn:aws:iam::111122223333:role/Role10, mapRoles arn:aws:iam::111122223333:role/Role11"
    );
    assert_eq!(notes(&stage, "MappingsAdded").await.len(), 1);
    operator.stop().await;
}

#[tokio::test]
async fn a_finding_is_told_when_it_appears_and_not_again_at_the_next_pass() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    stage.config("team", &[DEV, ("Theirs", "mine", &[])]).await;
    let told = stage.event("Conflict").await;
    assert!(told.contains("role/Theirs"), "{told}");
    let related = events(&stage, "Conflict").await.remove(0).related.unwrap();
    assert_eq!((related.kind.as_deref(), related.name.as_deref()), (Some("AWSIamConfig"), Some("team")));

    // Passes that find the same again, one of them after a restart, and a text whose lines have moved.
    stage.config("team", &[DEV, ("Theirs", "mine", &[]), ("Ops", "ops", &[])]).await;
    let text = stage.text_gets("mapRoles", "role/Ops").await;
    stage.condition("AwsAuthSynced", "False", "Conflict").await;
    operator.stop().await;
    let operator = stage.operator().await;
    stage
        .edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &format!("# moved\n{text}")))
        .await;
    crate::recorded(&stage, &format!("# moved\n{text}")).await;

    // Another entry in the way is news; the Events come in order, so all before it were told.
    let mut text = format!("# moved\n{text}");
    text.push_str("- rolearn: arn:aws:iam::111122223333:role/Second\n  username: second\n");
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &text)).await;
    stage.config("team", &[DEV, ("Theirs", "mine", &[]), ("Ops", "ops", &[]), ("Second", "mine", &[])]).await;
    stage
        .eventually("a second Event", async || {
            let notes = notes(&stage, "Conflict").await;
            if notes.iter().any(|note| note.contains("role/Second")) {
                Ok(())
            } else {
                Err(format!("{notes:#?}"))
            }
        })
        .await;
    let notes = notes(&stage, "Conflict").await;
    assert_eq!(notes.len(), 2, "{notes:#?}");
    operator.stop().await;
}

#[tokio::test]
async fn a_data_key_that_cannot_be_read_is_told_once_and_named_in_the_condition() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", NODES), ("mapUsers", "- userarn: [\n")]).await;
    stage.config("team", &[DEV]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let message = stage.condition("AwsAuthSynced", "False", "Unreadable").await;
    assert!(message.contains("mapUsers") && message.contains("line"), "{message}");
    stage.text_gets("mapRoles", "role/Dev").await;
    stage.config("team", &[DEV, ("Ops", "ops", &[])]).await;
    stage.condition("AwsAuthSynced", "False", "Unreadable").await;
    assert_eq!(notes(&stage, "Unreadable").await.len(), 1);
    operator.stop().await;
}

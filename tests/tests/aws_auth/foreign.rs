//! Promise 2: foreign entries survive untouched, and so does everything else that is not ours.

use awsiam_core::mapping::List;
use awsiam_core::reader;
use awsiam_tests::stage::{Stage, role_arn};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use crate::{LEDGER, foreign, looked_at, make, patch, recorded, resource_version, role, set_roles};

/// What must not change when entries of ours come.
fn untouched(mut config_map: ConfigMap) -> ConfigMap {
    let metadata = &mut config_map.metadata;
    metadata.managed_fields = None;
    metadata.resource_version = None;
    metadata.annotations.iter_mut().for_each(|annotations| drop(annotations.remove(LEDGER)));
    config_map.data.iter_mut().for_each(|data| drop(data.remove("mapRoles")));
    config_map
}

#[tokio::test]
async fn labels_annotations_binary_data_and_unknown_keys_are_kept() {
    let stage = Stage::set().await;
    let text = "\
# who: platform team
- roleARN: arn:aws:iam::111122223333:role/Old   # spelt as people do
  Username: old
  userid: AROAEXAMPLE
  sso: {permissionSet: x}
  groups: []
  # inside

# at the end
";
    let before = make(
        &stage,
        json!({
            "metadata": {
                "labels": {"app": "eks", "argocd.argoproj.io/instance": "x"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}\n", "empty": ""},
                "finalizers": ["example.com/kept"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}],
            },
            "data": {
                "mapRoles": text, "mapUsers": "", "maproles": "- not read\n", "notes": " \t\r\n", "mapAccounts": "[]",
            },
            "binaryData": {"logo": "AAECAw=="},
        }),
    )
    .await;
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let ours = role("Dev", "dev", &["viewers"]);
    let added = stage.text_gets("mapRoles", "role/Dev").await;
    let after = stage.aws_auth().await.unwrap();
    stage.config("team", &[]).await;
    stage.text_becomes("mapRoles", text).await;
    let emptied = stage.aws_auth().await.unwrap();
    operator.stop().await;
    patch(&stage, json!({"metadata": {"finalizers": null}})).await;

    assert_eq!(added, format!("{text}{ours}"));
    assert_eq!(untouched(after), untouched(before.clone()));
    assert_eq!(untouched(emptied), untouched(before));
}

#[tokio::test]
async fn every_way_to_write_a_list_takes_our_entry_and_gives_it_back() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", "")]).await;
    stage.config("team", &[]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let other = role_arn("Other");
    let texts = [
        format!("- rolearn: {other}\r\n  username: other\r\n"),
        format!("    - rolearn: {other}\n      username: other\n"),
        format!("- rolearn: {other}\n  username: other"),
        format!("[{{rolearn: '{other}', username: other}}]\n"),
        format!("[\n  {{\"rolearn\": \"{other}\", \"username\": \"other\"}} ,\n]"),
        format!("\u{FEFF}- rolearn: {other}\n  username: other\n"),
        format!("# first\n---\n- rolearn: {other}\n  username: other\n---\n- second: document\n"),
        format!("%YAML 1.1\n---\n- rolearn: {other}\n  username: other\n...\n"),
        format!("- &a\n  rolearn: {other}\n  username: other\n- *a\n"),
        format!("- rolearn: >-\n    {other}\n  username: |-\n    other\n\n\n"),
        format!("- \"rolearn\": \"{other}\"\n  \"username\": \"other\"\n  \"username \": x\n# end"),
        "# comments alone\n".to_owned(),
        "---\n".to_owned(),
        "''".to_owned(),
        "\"\"".to_owned(),
        "``".to_owned(),
        "[]".to_owned(),
        "[ ]\n".to_owned(),
        "null".to_owned(),
        "~".to_owned(),
        "  \n\n".to_owned(),
        String::new(),
    ];
    for text in texts {
        set_roles(&stage, &text).await;
        recorded(&stage).await;
        stage.config("team", &[("Dev", "dev", &[])]).await;
        let with_ours = stage.text_gets("mapRoles", "role/Dev").await;
        let block = reader::read(List::Roles, &with_ours).unwrap_or_else(|e| panic!("{e}\n{with_ours}"));
        let last = &block.entries.last().unwrap().entry;
        assert_eq!(
            (last.arn.as_str(), last.username.as_str()),
            (role_arn("Dev").as_str(), "dev"),
            "{with_ours}"
        );
        stage.config("team", &[]).await;
        stage.text_becomes("mapRoles", &text).await;
    }
    operator.stop().await;
}

#[tokio::test]
async fn where_data_is_absent_it_is_made_and_taken_back() {
    let stage = Stage::set().await;
    let before = make(&stage, json!({})).await;
    assert_eq!(before.data, None);
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &role("Dev", "dev", &[])).await;
    let emptied = stage.config("team", &[]).await;
    looked_at(&stage, &emptied).await;
    let after = stage.aws_auth().await.unwrap();
    assert_eq!(after.data, None);
    assert_eq!(after.metadata.uid, before.metadata.uid);
    operator.stop().await;
}

#[tokio::test]
async fn where_nothing_is_asked_for_no_trace_is_left() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    let before = resource_version(&stage).await;
    let config = stage.config("team", &[]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    looked_at(&stage, &config).await;
    recorded(&stage).await;
    operator.stop().await;
    assert_eq!(resource_version(&stage).await, before);
}

#[tokio::test]
async fn an_entry_whose_anchor_another_one_uses_is_held() {
    let stage = Stage::set().await;
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    let anchored = format!(
        "- rolearn: {}\n  username: dev\n  groups: &g\n  - viewers\n- rolearn: {}\n  username: other\n  groups: *g\n",
        role_arn("Dev"),
        role_arn("Other"),
    );
    set_roles(&stage, &anchored).await;
    recorded(&stage).await;
    let emptied = stage.config("team", &[]).await;
    looked_at(&stage, &emptied).await;
    let message = stage.condition("AwsAuthSynced", "False", "Anchored").await;
    assert!(message.contains("anchor"), "{message}");
    assert_eq!(stage.text("mapRoles").await, anchored);
    let other = foreign("Other", "other");
    set_roles(&stage, &anchored.replace("groups: *g", "groups: [viewers]")).await;
    let text = stage.text_loses("mapRoles", "role/Dev").await;
    assert!(text.contains("role/Other"), "{text}{other}");
    operator.stop().await;
}

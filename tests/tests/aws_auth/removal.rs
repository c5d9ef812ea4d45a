//! Promise 4: an owned entry is removed only when it is certain that nobody wants it any more.

use awsiam_controller::Options;
use awsiam_core::privilege::MastersRule;
use awsiam_tests::stage::{CLUSTER, Stage, role_arn};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::{finding, foreign, looked_at, resource_version, role, status};

#[tokio::test]
async fn a_mapping_that_its_config_no_longer_lists_goes_and_only_that_one() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[("A", "a", &[]), ("B", "b", &[]), ("C", "c", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/C").await;
    stage.config("team", &[("A", "a", &[]), ("C", "c", &[])]).await;
    let rest = format!("{}{}{}", foreign("Other", "other"), role("A", "a", &[]), role("C", "c", &[]));
    stage.text_becomes("mapRoles", &rest).await;
    operator.stop().await;
}

#[tokio::test]
async fn the_entries_of_a_ref_that_left_the_cluster_go() {
    let stage = Stage::set().await;
    stage.config("one", &[("A", "a", &[])]).await;
    stage.config("two", &[("B", "b", &[])]).await;
    stage.cluster(&["one", "two"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &format!("{}{}", role("A", "a", &[]), role("B", "b", &[]))).await;
    stage.cluster(&["two"]).await;
    stage.text_becomes("mapRoles", &role("B", "b", &[])).await;
    operator.stop().await;
}

#[tokio::test]
async fn nothing_is_removed_while_a_ref_does_not_resolve() {
    let stage = Stage::set().await;
    stage.config("team", &[("A", "a", &[]), ("B", "b", &[])]).await;
    stage.cluster(&["team", "missing"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &format!("{}{}", role("A", "a", &[]), role("B", "b", &[]))).await;
    let message = stage.condition("AwsAuthSynced", "False", "ReferenceNotResolved").await;
    assert!(message.contains("AWSIamConfig missing was not found"), "{message}");

    // What is added and changed goes on.
    stage.config("team", &[("B", "b2", &[]), ("C", "c", &[])]).await;
    let kept = format!("{}{}{}", role("A", "a", &[]), role("B", "b2", &[]), role("C", "c", &[]));
    stage.text_becomes("mapRoles", &kept).await;
    let finding = finding(&stage, "RefUnresolved").await;
    assert_eq!((finding.config.as_str(), finding.list.as_str()), ("team", "mapRoles"));

    stage.config("missing", &[]).await;
    stage.text_becomes("mapRoles", &format!("{}{}", role("B", "b2", &[]), role("C", "c", &[]))).await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    operator.stop().await;
}

#[tokio::test]
async fn while_the_first_ref_does_not_resolve_nothing_is_added_changed_or_removed() {
    let stage = Stage::set().await;
    stage.config("team", &[("A", "a", &[]), ("B", "b", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/B").await;
    let before = resource_version(&stage).await;
    stage.cluster(&["missing", "team"]).await;
    let message = stage.condition("AwsAuthSynced", "False", "ReferenceNotResolved").await;
    assert!(message.contains("missing"), "{message}");
    let changed = stage.config("team", &[("B", "b2", &[]), ("C", "c", &[])]).await;
    looked_at(&stage, &changed).await;
    assert_eq!(resource_version(&stage).await, before);

    stage.config("missing", &[]).await;
    stage.text_becomes("mapRoles", &format!("{}{}", role("B", "b2", &[]), role("C", "c", &[]))).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_config_that_was_deleted_under_its_cluster_leaves_its_entries() {
    let stage = Stage::set().await;
    stage.config("first", &[]).await;
    stage.config("team", &[("A", "a", &[])]).await;
    stage.cluster(&["first", "team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/A").await;
    stage.configs().delete("team", &DeleteParams::default()).await.unwrap();
    let unheld = json!({"metadata": {"finalizers": null}});
    stage
        .eventually("the config to be gone", async || {
            // The operator may set its finalizer after ours is taken, as long as it has not seen the deletion.
            let patched =
                stage.configs().patch("team", &PatchParams::default(), &Patch::Merge(&unheld)).await;
            patched.is_err().then_some(()).ok_or_else(|| format!("{patched:?}"))
        })
        .await;
    stage.condition("AwsAuthSynced", "False", "ReferenceNotResolved").await;
    let counts = status(&stage).await.unwrap().entries.unwrap();
    assert_eq!((counts.owned, counts.frozen), (1, 1));
    assert_eq!(stage.text("mapRoles").await, role("A", "a", &[]));
    operator.stop().await;
}

#[tokio::test]
async fn an_absent_list_of_refs_freezes_and_an_empty_one_removes() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[("A", "a", &[]), ("B", "b", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/B").await;
    let before = resource_version(&stage).await;
    stage.cluster_spec(json!({"kubernetesVersion": "1.33"})).await;
    finding(&stage, "NoIdentityProviderRefs").await;
    stage
        .eventually("the freeze to be counted", async || {
            let counts = status(&stage).await?.entries.unwrap_or_default();
            if counts.frozen == 2 { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
    assert_eq!(resource_version(&stage).await, before);

    stage.cluster_spec(json!({"identityProviderRefs": []})).await;
    stage.text_becomes("mapRoles", &foreign("Other", "other")).await;
    operator.stop().await;
}

#[tokio::test]
async fn refs_of_other_kinds_are_left_alone() {
    let stage = Stage::set().await;
    stage.config("team", &[("A", "a", &[])]).await;
    let refs = json!([{"kind": "OIDCConfig", "name": "gone"}, {"kind": "AWSIamConfig", "name": "team"}]);
    stage.cluster_spec(json!({"identityProviderRefs": refs})).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &role("A", "a", &[])).await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    operator.stop().await;
}

#[tokio::test]
async fn a_mapping_that_a_flag_refuses_freezes_its_entry() {
    let stage = Stage::set().await;
    stage.config("team", &[("Admin", "admin", &["system:masters"]), ("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let written = format!("{}{}", role("Admin", "admin", &["system:masters"]), role("Dev", "dev", &[]));
    stage.text_becomes("mapRoles", &written).await;
    operator.stop().await;

    let mut options: Options = stage.options();
    options.policy.system_masters = MastersRule::Deny;
    let operator = stage.operator_with(options).await;
    let message = stage.condition("AwsAuthSynced", "False", "PrivilegeRefused").await;
    assert!(message.contains("--system-masters=allow"), "{message}");
    let counts = status(&stage).await.unwrap().entries.unwrap();
    assert_eq!((counts.owned, counts.frozen), (2, 1));
    // It is not changed either, and a new one of its kind is refused; the others go on.
    let rows: [(&str, &str, &[&str]); 3] =
        [("Admin", "root", &["system:masters"]), ("Root", "root", &["system:masters"]), ("Dev", "dev2", &[])];
    stage.config("team", &rows).await;
    let after = format!("{}{}", role("Admin", "admin", &["system:masters"]), role("Dev", "dev2", &[]));
    stage.text_becomes("mapRoles", &after).await;
    operator.stop().await;
    assert_eq!(stage.text("mapRoles").await, after);
}

#[tokio::test]
async fn the_entries_of_a_suspended_config_are_frozen_and_the_others_go_on() {
    let stage = Stage::set().await;
    stage.config("one", &[("A", "a", &[]), ("B", "b", &[])]).await;
    stage.config("two", &[("C", "c", &[])]).await;
    stage.cluster(&["one", "two"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/C").await;
    let rows =
        json!([{"roleARN": role_arn("A"), "username": "a2"}, {"roleARN": role_arn("D"), "username": "d"}]);
    stage.config_spec("one", json!({"suspend": true, "mapRoles": rows})).await;
    stage.config("two", &[("C", "c2", &[])]).await;
    let frozen = format!("{}{}{}", role("A", "a", &[]), role("B", "b", &[]), role("C", "c2", &[]));
    stage.text_becomes("mapRoles", &frozen).await;
    stage
        .eventually("the suspension to be reported", async || {
            let configs = status(&stage).await?.configs;
            let states = configs.iter().map(|c| format!("{:?}", c.state)).collect::<Vec<_>>();
            if states == ["Suspended", "Usable"] { Ok(()) } else { Err(format!("{configs:#?}")) }
        })
        .await;
    assert_eq!(stage.text("mapRoles").await, frozen);

    stage.config_spec("one", json!({"mapRoles": rows})).await;
    let thawed = format!("{}{}{}", role("A", "a2", &[]), role("C", "c2", &[]), role("D", "d", &[]));
    stage.text_becomes("mapRoles", &thawed).await;
    operator.stop().await;
}

#[tokio::test]
async fn on_a_suspended_cluster_the_plan_is_reported_and_nothing_is_written() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    let before = resource_version(&stage).await;
    let config = stage.config("team", &[("Dev", "dev", &[])]).await;
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    stage.cluster_spec(json!({"identityProviderRefs": refs, "iamAuthenticator": {"suspend": true}})).await;
    let operator = stage.operator().await;
    let message = stage.condition("AwsAuthSynced", "False", "Suspended").await;
    assert!(message.contains("Pending: 1 "), "{message}");
    looked_at(&stage, &config).await;
    operator.stop().await;
    assert_eq!(resource_version(&stage).await, before);
    assert_eq!(stage.clusters().get(CLUSTER).await.unwrap().metadata.finalizers, None);
}

//! Promise 8: the ledger says what is ours, and what happens when it does not.

use awsiam_core::ledger::{KeyHash, Ledger, MeaningHash, Owned, Writer};
use awsiam_core::mapping::{Entry, List};
use awsiam_tests::stage::{CLUSTER, OPERATOR, Running, Stage, role_arn};
use futures::FutureExt;
use http::StatusCode;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::intercept::{self, Barrier, Counter};
use crate::{
    LEDGER, annotate, finding, foreign, ledger_of, looked_at, patch, recorded, records, resource_version,
    role, set_roles, status,
};

/// A ledger that owns the role `Dev` with username `dev`, of config `team`.
fn owning_dev(writer: Writer) -> String {
    let mut ledger = Ledger::new(writer, 1);
    let entry = Entry { arn: role_arn("Dev"), username: "dev".to_owned(), ..Entry::default() };
    let owned = Owned { config: "team".into(), meaning: MeaningHash::of(List::Roles, &entry) };
    ledger.owned.insert(KeyHash::of(&entry.key(List::Roles)), owned);
    ledger.render()
}

/// Writes the ledger annotation as somebody else; null takes it away.
async fn set_ledger(stage: &Stage, value: Value) {
    patch(stage, json!({"metadata": {"annotations": {LEDGER: value}}})).await;
}

async fn ledger(stage: &Stage) -> Ledger {
    Ledger::parse(&ledger_of(&stage.aws_auth().await.unwrap()).unwrap()).unwrap()
}

/// The entries that the status lists as possibly orphaned.
async fn orphans(stage: &Stage) -> Vec<String> {
    finding(stage, "PossiblyOrphaned").await;
    let findings = status(stage).await.unwrap().findings;
    findings.into_iter().filter(|f| f.reason == "PossiblyOrphaned").map(|f| f.arn).collect()
}

/// `aws-auth` with entry `Dev` that we wrote, and a foreign one.
async fn written(stage: &Stage) {
    stage.make_aws_auth(&[("mapRoles", &foreign("Other", "other"))]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
}

#[tokio::test]
async fn the_ledger_names_its_writer_and_the_generations_it_was_made_from() {
    let stage = Stage::set().await;
    written(&stage).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    let ledger = ledger(&stage).await;
    let cluster = stage.clusters().get(CLUSTER).await.unwrap();
    let config = stage.configs().get("team").await.unwrap();
    assert_eq!(ledger.writer.namespace, stage.namespace);
    assert_eq!(ledger.writer.uid, cluster.uid());
    assert!(ledger.writer.management.is_some());
    assert_eq!(Some(ledger.cluster_generation), cluster.metadata.generation);
    assert_eq!(ledger.configs["team"].uid, config.uid().unwrap());
    assert_eq!(ledger.owned.len(), 1);
    operator.stop().await;
}

#[tokio::test]
async fn a_ledger_that_was_deleted_or_spoilt_is_rebuilt_from_history() {
    let stage = Stage::set().await;
    written(&stage).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    recorded(&stage).await;
    let rebuilt = ledger(&stage).await;
    for spoilt in [Value::Null, json!("garbage"), json!("{}"), json!(""), json!("{\"v\":1}")] {
        set_ledger(&stage, spoilt.clone()).await;
        stage
            .eventually(&format!("the ledger in place of {spoilt}"), async || {
                let found = ledger_of(&stage.aws_auth().await.unwrap()).unwrap_or_default();
                if Ledger::parse(&found).as_ref() == Ok(&rebuilt) { Ok(()) } else { Err(found) }
            })
            .await;
    }
    let note = stage.event("LedgerRebuilt").await;
    assert!(note.contains("from history revision"), "{note}");
    stage.config("team", &[]).await;
    stage.text_becomes("mapRoles", &foreign("Other", "other")).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_ledger_lost_with_the_history_is_rebuilt_from_what_is_equal() {
    let stage = Stage::set().await;
    written(&stage).await;
    stage.config("team", &[("Dev", "dev", &[]), ("Gone", "gone", &[])]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Gone").await;
    stage
        .eventually("the status to count what is ours", async || {
            let counts = status(&stage).await?.entries.unwrap_or_default();
            if counts.owned == 2 { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
    operator.stop().await;
    for record in records(&stage).await.values() {
        stage.config_maps().delete(&record.name_any(), &DeleteParams::default()).await.unwrap();
    }
    set_ledger(&stage, Value::Null).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;

    let operator = stage.operator().await;
    let note = stage.event("LedgerRebuilt").await;
    assert!(note.contains("by comparing entries"), "{note}");
    assert_eq!(orphans(&stage).await, [role_arn("Gone"), role_arn("Other")]);
    // What is unclear stays, what equals a mapping is ours.
    stage.config("team", &[]).await;
    let rest = format!("{}{}", foreign("Other", "other"), role("Gone", "gone", &[]));
    stage.text_becomes("mapRoles", &rest).await;
    operator.stop().await;
    // It is listed until it is dealt with, past a restart.
    let operator = stage.operator().await;
    set_roles(&stage, &foreign("Other", "other")).await;
    stage
        .eventually("the orphan that is gone to leave the status", async || {
            let orphans = orphans(&stage).await;
            if orphans == [role_arn("Other")] { Ok(()) } else { Err(format!("{orphans:?}")) }
        })
        .await;
    operator.stop().await;
}

/// Only the pass that writes a new ledger finds them: that must not be lost when a later pass overtakes its report, nor
/// when a status can't be written.
#[tokio::test]
async fn what_may_be_orphaned_is_told_even_when_the_status_comes_late() {
    let stage = Stage::set().await;
    let text = format!("{}{}", foreign("Other", "other"), role("Dev", "dev", &[]));
    stage.make_aws_auth(&[("mapRoles", &text)]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    // While the status of this one hangs, all others wait.
    stage.cluster_object("other", json!({}), json!({"identityProviderRefs": []})).await;
    let (barrier, refused) = (Barrier::new(), Counter::default());
    let client = intercept::client(&stage, {
        let (barrier, refused) = (barrier.clone(), refused.clone());
        move |asked| {
            let (barrier, refused) = (barrier.clone(), refused.clone());
            async move {
                if asked.is_status_of("other") {
                    barrier.hold().await;
                }
                let is_first = asked.is_status_of(CLUSTER) && refused.up() == 0;
                is_first.then_some(StatusCode::INTERNAL_SERVER_ERROR)
            }
            .boxed()
        }
    })
    .await;
    let operator = Running::start_with(client, stage.options());
    barrier.holds(&stage).await;

    // A Cluster that had entries here, as its status says; and neither ledger nor history.
    let spec = |suspend: bool| {
        json!({"identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
            "iamAuthenticator": {"suspend": suspend}})
    };
    stage.cluster_spec(spec(true)).await;
    let owned = json!({"status": {"entries": {"owned": 2}}});
    stage.clusters().patch_status(CLUSTER, &PatchParams::default(), &Patch::Merge(&owned)).await.unwrap();
    stage.cluster_spec(spec(false)).await;
    stage
        .eventually("a new ledger", async || {
            ledger_of(&stage.aws_auth().await.unwrap()).map(drop).ok_or_else(|| "none".to_owned())
        })
        .await;
    // Passes more, the first of whose reports overtakes the one of the pass before; it is sent before the next one begins.
    for new in ["New", "Newer"] {
        stage.config("team", &[("Dev", "dev", &[]), (new, "new", &[])]).await;
        stage.text_gets("mapRoles", &format!("role/{new}")).await;
    }
    assert!(status(&stage).await.unwrap().findings.is_empty());
    barrier.lift();
    assert_eq!(orphans(&stage).await, [role_arn("Other")]);
    assert!(refused.get() > 1, "the first status was refused");
    operator.stop().await;
}

#[tokio::test]
async fn with_another_writers_ledger_nothing_is_written_until_an_annotation_takes_over() {
    let stage = Stage::set().await;
    let writer = Writer {
        management: Some("other-management".to_owned()),
        namespace: "fleet".to_owned(),
        name: "prod".to_owned(),
        uid: Some("u".to_owned()),
    };
    let text = role("Dev", "dev", &[]);
    stage.make_aws_auth(&[("mapRoles", &text)]).await;
    set_ledger(&stage, json!(owning_dev(writer))).await;
    let before = resource_version(&stage).await;
    stage.config("team", &[("Dev", "dev2", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let message = stage.condition("AwsAuthSynced", "False", "TargetClaimed").await;
    assert!(message.contains("Cluster fleet/prod of the management cluster"), "{message}");
    assert!(message.contains("awsiam-operator.dev/take-over=true"), "{message}");
    let changed = stage.config("team", &[("Dev", "dev3", &[])]).await;
    stage
        .eventually("a pass with the new generation", async || {
            let now =
                stage.configs().get("team").await.map_err(|e| e.to_string())?.status.unwrap_or_default();
            if now.observed_generation == changed.metadata.generation {
                Ok(())
            } else {
                Err(format!("{now:?}"))
            }
        })
        .await;
    assert_eq!(resource_version(&stage).await, before);

    annotate(&stage, "awsiam-operator.dev/take-over", "true").await;
    stage.text_becomes("mapRoles", &role("Dev", "dev3", &[])).await;
    assert_eq!(ledger(&stage).await.writer.namespace, stage.namespace);
    let note = stage.event("LedgerTakenOver").await;
    assert!(note.contains("fleet/prod"), "{note}");
    operator.stop().await;
}

#[tokio::test]
async fn the_ledger_of_an_earlier_cluster_of_this_name_is_taken_over_with_an_event() {
    let stage = Stage::set().await;
    written(&stage).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    let before = stage.clusters().get(CLUSTER).await.unwrap();
    stage.clusters().delete(CLUSTER, &DeleteParams::default()).await.unwrap();
    stage.config("team", &[]).await;
    let made_again = stage.cluster(&["team"]).await;
    assert_ne!(made_again.uid(), before.uid());
    stage.text_becomes("mapRoles", &foreign("Other", "other")).await;
    stage.event("LedgerTakenOver").await;
    assert_eq!(ledger(&stage).await.writer.uid, made_again.uid());
    operator.stop().await;
}

#[tokio::test]
async fn a_ledger_that_was_rendered_offline_is_taken_over() {
    let stage = Stage::set().await;
    let writer =
        Writer { management: None, namespace: stage.namespace.clone(), name: CLUSTER.to_owned(), uid: None };
    stage.make_aws_auth(&[("mapRoles", &role("Dev", "dev", &[]))]).await;
    set_ledger(&stage, json!(owning_dev(writer))).await;
    stage.config("team", &[("Ops", "ops", &[])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_becomes("mapRoles", &role("Ops", "ops", &[])).await;
    stage.event("LedgerTakenOver").await;
    operator.stop().await;
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_means_no_write() {
    let stage = Stage::set().await;
    written(&stage).await;
    set_ledger(&stage, json!("{\"v\":2,\"what\":\"ever\"}")).await;
    let before = resource_version(&stage).await;
    let operator = stage.operator().await;
    let message = stage.condition("AwsAuthSynced", "False", "LedgerTooNew").await;
    assert!(message.contains("upgrade awsiam"), "{message}");
    operator.stop().await;
    assert_eq!(resource_version(&stage).await, before);
}

#[tokio::test]
async fn a_config_that_was_made_again_counts_although_its_generation_is_lower() {
    let stage = Stage::set().await;
    written(&stage).await;
    stage.config("team", &[("Dev", "dev", &[]), ("Ops", "ops", &[])]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Ops").await;
    stage.configs().delete("team", &DeleteParams::default()).await.unwrap();
    let unheld = json!({"metadata": {"finalizers": null}});
    stage
        .eventually("the config to be gone", async || {
            let patched =
                stage.configs().patch("team", &PatchParams::default(), &Patch::Merge(&unheld)).await;
            patched.is_err().then_some(()).ok_or_else(|| format!("{patched:?}"))
        })
        .await;
    let made_again = stage.config("team", &[("Dev", "dev2", &[])]).await;
    assert_eq!(made_again.metadata.generation, Some(1));
    stage
        .text_becomes("mapRoles", &format!("{}{}", foreign("Other", "other"), role("Dev", "dev2", &[])))
        .await;
    looked_at(&stage, &made_again).await;
    let findings = status(&stage).await.unwrap().findings;
    assert!(findings.iter().all(|f| f.reason != "OlderGeneration"), "{findings:#?}");
    operator.stop().await;
}

#[tokio::test]
async fn a_generation_older_than_recorded_is_read_directly_and_then_believed() {
    let stage = Stage::set().await;
    written(&stage).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    let mark = stage.plane.audit_mark().unwrap();
    let mut raised = ledger(&stage).await;
    raised.configs.values_mut().for_each(|version| version.generation += 10);
    set_ledger(&stage, json!(raised.render())).await;
    let message = finding(&stage, "OlderGeneration").await.message;
    assert!(message.contains("team has generation 1 and was planned with at generation 11"), "{message}");
    let asked = stage.plane.audit_events_since(mark).unwrap();
    let direct = |e: &&awsiam_tests::control_plane::AuditEvent| {
        e.user == OPERATOR && e.verb == "get" && e.resource == "awsiamconfigs" && e.name == "team"
    };
    assert!(asked.iter().any(|e| direct(&e)), "{asked:#?}");
    stage.config("team", &[("Dev", "dev2", &[])]).await;
    stage.text_gets("mapRoles", "dev2").await;
    assert_eq!(ledger(&stage).await.configs["team"].generation, 2);
    operator.stop().await;
}

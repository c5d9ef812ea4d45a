//! Statuses, as people and programs read them.

use std::time::{Duration, Instant};

use awsiam_tests::stage::{CLUSTER, Stage, role_arn};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    DEV, NODES, OURS, THEIRS, config_condition, in_effect, kubectl, recorded, set_roles, settled,
    writes_since,
};

#[tokio::test]
async fn kubectl_wait_and_observed_generation_work_on_both_kinds() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    let cluster = format!("clusters.anywhere.eks.amazonaws.com/{CLUSTER}");
    let printed =
        kubectl(&stage, &["wait", "--for=condition=Ready", "--timeout=20s", &cluster, "awsiamconfig/team"])
            .await;
    assert_eq!(printed.matches("condition met").count(), 2, "{printed}");
    let cluster = stage.clusters().get(CLUSTER).await.unwrap();
    let status = cluster.status.unwrap();
    assert_eq!(status.observed_generation, cluster.metadata.generation);
    assert_eq!(status.conditions[0].type_, "Ready");
    let config = stage.configs().get("team").await.unwrap();
    let status = config.status.unwrap();
    assert_eq!(status.observed_generation, config.metadata.generation);
    assert_eq!(status.conditions[0].type_, "Ready");
    operator.stop().await;
}

#[tokio::test]
async fn kubectl_get_shows_what_matters_in_one_line() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    stage
        .config(
            "ops",
            &[("Ops", "ops", &["system:masters"]), ("Kubelet", "kubelet", &["system:kubelet-api-admin"])],
        )
        .await;
    stage.config("spare", &[("Spare", "spare", &[])]).await;
    stage.cluster(&["team", "ops", "absent"]).await;
    stage.cluster_object("elsewhere", json!({}), json!({"identityProviderRefs": []})).await;
    stage.condition("Ready", "False", "ReferenceNotResolved").await;
    config_condition(&stage, "ops", "Ready", "False", "MappingsRejected").await;
    config_condition(&stage, "spare", "Ready", "True", "Ready").await;
    let both = "clusters.anywhere.eks.amazonaws.com,awsiamconfigs";
    let wanted = include_str!("texts/get.txt");
    stage
        .eventually("the stored text of kubectl get", async || {
            let printed = without_ages(&kubectl(&stage, &["get", both, "-o", "wide"]).await);
            if printed == wanted { Ok(()) } else { Err(printed) }
        })
        .await;
    operator.stop().await;
}

/// The text with `AGE` in place of each age, which ends a line.
fn without_ages(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((front, age)) if age.ends_with('s') => format!("{front} AGE\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn a_config_counts_its_rows_and_names_those_that_are_rejected() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", NODES)]).await;
    let rows = json!([
        {"roleARN": role_arn("Dev"), "username": "dev", "groups": ["viewers"]},
        {"roleARN": role_arn("Kubelet"), "username": "kubelet", "groups": ["system:kubelet-api-admin"]},
        {"roleARN": role_arn("path/Dev"), "username": "again"},
    ]);
    let users = json!([{"userARN": "arn:aws:iam::111122223333:user/ann", "username": "ann"}]);
    let spec = json!({"mapRoles": rows, "mapUsers": users, "mapAccounts": ["444455556666"]});
    stage.config_spec("team", spec).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    let message = config_condition(&stage, "team", "Valid", "False", "MappingsRejected").await;
    assert!(message.ends_with("(1 more under status.rejected)"), "{message}");
    config_condition(&stage, "team", "Ready", "False", "MappingsRejected").await;
    // What is left out is said under Valid; the Cluster has all the rest.
    config_condition(&stage, "team", "Synced", "True", "Synced").await;
    let status = stage.configs().get("team").await.unwrap().status.unwrap();
    let counts = status.counts.unwrap();
    assert_eq!(
        (counts.roles, counts.users, counts.accounts, counts.accepted, counts.rejected),
        (3, 1, 1, 3, 2)
    );
    let rejected: Vec<_> =
        status.rejected.iter().map(|r| (r.field.as_str(), r.arn.clone(), r.reason.as_str())).collect();
    assert_eq!(
        rejected,
        [
            ("spec.mapRoles[2].roleARN", role_arn("path/Dev"), "DuplicateArn"),
            ("spec.mapRoles[1]", role_arn("Kubelet"), "PrivilegeRefused"),
        ]
    );
    let totals = status.clusters.unwrap();
    assert_eq!((totals.total, totals.synced, totals.unsynced), (1, 1, 0));
    operator.stop().await;
}

#[tokio::test]
async fn a_config_names_the_clusters_that_do_not_have_it() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    stage
        .cluster_object(
            "elsewhere",
            json!({}),
            json!({"identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}]}),
        )
        .await;
    stage.config("team", &[DEV, ("Theirs", "mine", &[])]).await;
    let wanted = [("elsewhere", "TargetNotSupported"), (CLUSTER, "Conflict")];
    let status = stage
        .eventually("both Clusters under status.unsynced", async || {
            let status =
                stage.configs().get("team").await.map_err(|e| e.to_string())?.status.unwrap_or_default();
            let mut unsynced: Vec<_> =
                status.unsynced.iter().map(|c| (c.name.as_str(), c.reason.as_str())).collect();
            unsynced.sort_unstable();
            if unsynced == wanted { Ok(status) } else { Err(format!("{status:#?}")) }
        })
        .await;
    let totals = status.clusters.unwrap();
    assert_eq!((totals.total, totals.synced, totals.unsynced), (2, 0, 2));
    config_condition(&stage, "team", "Synced", "False", "ClustersNotSynced").await;
    operator.stop().await;
}

#[tokio::test]
async fn a_status_that_says_the_same_is_not_written() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    config_condition(&stage, "team", "Ready", "True", "Ready").await;
    settled(&stage).await;
    let mark = stage.plane.audit_mark().unwrap();
    let all = format!("{NODES}{THEIRS}{OURS}");
    for number in 0..4 {
        let edited = format!("# {number}\n{all}");
        stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &edited)).await;
        recorded(&stage, &edited).await;
    }
    // One more entry is news. Reports are worked off in order: those of the passes before have been.
    let more = format!("{all}- rolearn: {}\n  username: more\n", role_arn("More"));
    stage.edit_aws_auth("kubectl-edit", |config_map| set_roles(config_map, &more)).await;
    stage
        .eventually("the entry to be counted", async || {
            let entries = stage.clusters().get(CLUSTER).await.unwrap().status.unwrap().entries.unwrap();
            if entries.foreign == 3 { Ok(()) } else { Err(format!("{entries:?}")) }
        })
        .await;
    let writes = stage
        .eventually("that write in the audit log", async || {
            let writes = writes_since(&stage, mark);
            let writes: Vec<_> = writes.into_iter().filter(|w| w.subresource == "status").collect();
            if writes.is_empty() { Err(String::new()) } else { Ok(writes) }
        })
        .await;
    assert_eq!(writes.len(), 1, "{writes:#?}");
    operator.stop().await;
}

#[tokio::test]
async fn the_status_of_a_config_is_written_at_most_once_a_second() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    config_condition(&stage, "team", "Ready", "True", "Ready").await;
    settled(&stage).await;
    let mark = stage.plane.audit_mark().unwrap();
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < Duration::from_millis(2500) {
        number += 1;
        stage.config("team", &[("Dev", &format!("dev-{number}"), &[])]).await;
    }
    stage.text_gets("mapRoles", &format!("dev-{number}\n")).await;
    config_condition(&stage, "team", "Ready", "True", "Ready").await;
    let elapsed = start.elapsed();
    let writes = writes_since(&stage, mark);
    let statuses =
        writes.iter().filter(|w| w.resource == "awsiamconfigs" && w.subresource == "status").count();
    assert!(number > 10, "{number} changes are too few to tell");
    let most = usize::try_from(elapsed.as_secs()).unwrap() + 1;
    assert!((2..=most).contains(&statuses), "{statuses} writes of the status in {elapsed:?}");
    operator.stop().await;
}

#[tokio::test]
async fn the_finalizer_of_a_config_and_its_status_are_all_that_is_written_to_it() {
    let stage = Stage::set().await;
    let before = stage.config("team", &[DEV]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    config_condition(&stage, "team", "Ready", "True", "Ready").await;
    let after = stage.configs().get("team").await.unwrap();
    assert_eq!((after.spec, after.metadata.generation), (before.spec, before.metadata.generation));
    assert_eq!(after.metadata.finalizers, Some(vec!["awsiam-operator.dev/referenced".to_owned()]));
    assert_eq!((after.metadata.labels, after.metadata.annotations), (None, None));
    assert_eq!(stage.clusters().get(CLUSTER).await.unwrap().finalizers(), &[] as &[String]);
    operator.stop().await;
}

//! Clusters that claim to be what they are not.

use awsiam_controller::LocalCluster;
use awsiam_tests::control_plane::AuditMark;
use awsiam_tests::stage::{CLUSTER, OPERATOR};

use super::*;

/// The names of Secrets in a namespace that the operator has asked for since `mark`.
fn secrets_asked_for(stage: &Stage, mark: AuditMark) -> Vec<String> {
    let events = stage.plane.audit_events_since(mark).unwrap();
    let asked = events.into_iter().filter(|event| {
        event.user == OPERATOR && event.resource == "secrets" && event.namespace == stage.namespace
    });
    asked.map(|event| format!("{} {}", event.verb, event.name)).collect()
}

#[tokio::test]
async fn a_cluster_with_the_name_of_another_reaches_neither_its_secret_nor_the_local_target() {
    let (owner, tenant) = (fleet::namespace().await, fleet::namespace().await);
    let workload = Workload::shared().await;
    let mark = owner.plane.audit_mark().unwrap();
    // The owner's cluster has a Secret; the tenant makes Clusters of that name, and of the local one's.
    put_kubeconfig(&owner, "prod", &workload.kubeconfig()).await;
    tenant.config("team", &[("Intruder", "intruder", &["system:masters"])]).await;
    cluster(&tenant, "prod", &["team"], json!({})).await;
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    let spec = json!({"identityProviderRefs": refs, "managementCluster": {"name": CLUSTER}});
    tenant.cluster_object(CLUSTER, json!({}), spec).await;
    let local = LocalCluster { namespace: owner.namespace.clone(), name: CLUSTER.to_owned() };
    let options = Options { local_cluster: Some(local), ..fleet::options(&[&owner, &tenant]) };
    let operator = operator(&tenant, options).await;
    for name in ["prod", CLUSTER] {
        let message = tenant.condition_of(name, "TargetReachable", "False", "KubeconfigSecretMissing").await;
        assert!(message.contains(&format!("Secret {}/{name}-kubeconfig", tenant.namespace)), "{message}");
    }
    assert!(!workload.roles().await.contains("Intruder"));
    assert_eq!(tenant.text("mapRoles").await, "", "the management cluster's aws-auth");
    assert_eq!(secrets_asked_for(&owner, mark), Vec::<String>::new());
    // In the tenant's namespace it is read by its name alone.
    let asked = secrets_asked_for(&tenant, mark);
    assert!(
        !asked.is_empty()
            && asked.iter().all(|asked| asked.starts_with("get ") && asked.ends_with("-kubeconfig")),
        "{asked:?}"
    );
    operator.stop().await;
}

#[tokio::test]
async fn a_secret_that_leads_to_the_management_cluster_is_refused_even_where_nobody_has_claimed_it() {
    let stage = fleet::namespace().await;
    team(&stage).await;
    put_kubeconfig(&stage, "sneaky", &std::fs::read_to_string(stage.plane.kubeconfig_path()).unwrap()).await;
    cluster(&stage, "sneaky", &["team"], json!({"deletionPolicy": "Delete"})).await;
    // The local Cluster's object is not even there.
    let local = LocalCluster { namespace: stage.namespace.clone(), name: CLUSTER.to_owned() };
    let options = Options { local_cluster: Some(local), ..fleet::options(&[&stage]) };
    let operator = operator(&stage, options).await;
    let message = stage.condition_of("sneaky", "TargetReachable", "False", "TargetIsManagementCluster").await;
    assert!(message.contains("leads to the cluster that the operator runs in"), "{message}");
    assert!(stage.aws_auth().await.is_none());
    operator.stop().await;
}

#[tokio::test]
async fn of_two_clusters_with_one_target_the_ledger_knows_the_first_and_the_second_is_refused() {
    let (stage, other) = (fleet::namespace().await, fleet::namespace().await);
    let workload = Workload::shared().await;
    for stage in [&stage, &other] {
        put_kubeconfig(stage, "prod", &workload.kubeconfig()).await;
    }
    team(&stage).await;
    cluster(&stage, "prod", &["team"], json!({})).await;
    let operator = operator(&stage, fleet::options(&[&stage, &other])).await;
    gets(&stage, &workload, OURS).await;
    other.config("team", &[("Intruder", "intruder", &["system:masters"])]).await;
    cluster(&other, "prod", &["team"], json!({})).await;
    let message = other.condition_of("prod", "AwsAuthSynced", "False", "TargetClaimed").await;
    assert!(message.contains(&format!("{}/prod", stage.namespace)), "{message}");
    assert_eq!(workload.roles().await, OURS);
    stage.condition_of("prod", "Ready", "True", "Ready").await;
    operator.stop().await;
}

#[tokio::test]
async fn two_clusters_that_come_at_once_do_not_share_an_unclaimed_target() {
    let stage = fleet::namespace().await;
    let workload = Workload::shared().await;
    team(&stage).await;
    for name in ["one", "two"] {
        put_kubeconfig(&stage, name, &workload.kubeconfig()).await;
        cluster(&stage, name, &["team"], json!({})).await;
    }
    let operator = operator(&stage, fleet::options(&[&stage])).await;
    let claimed = stage
        .eventually("one of the two to be refused", async || {
            let mut reasons = Vec::new();
            for name in ["one", "two"] {
                let status = stage.clusters().get(name).await.unwrap().status.unwrap_or_default();
                let synced = status.conditions.into_iter().find(|c| c.type_ == "AwsAuthSynced");
                reasons.push(synced.map(|c| c.reason).unwrap_or_default());
            }
            reasons.sort();
            if reasons == ["Synced", "TargetClaimed"] { Ok(reasons) } else { Err(format!("{reasons:?}")) }
        })
        .await;
    assert_eq!(claimed.len(), 2);
    assert_eq!(workload.roles().await, OURS);
    operator.stop().await;
}

#[tokio::test]
async fn another_namespace_for_cluster_api_is_looked_at_for_the_named_namespace_alone() {
    let (stage, capi, tenant) =
        (fleet::namespace().await, fleet::namespace().await, fleet::namespace().await);
    let workload = Workload::shared().await;
    put_kubeconfig(&capi, "prod", &workload.kubeconfig()).await;
    team(&stage).await;
    tenant.config("team", &[("Intruder", "intruder", &["system:masters"])]).await;
    for stage in [&stage, &tenant] {
        cluster(stage, "prod", &["team"], json!({})).await;
    }
    let namespaces = [(stage.namespace.clone(), capi.namespace.clone())].into();
    let options = Options { cluster_api_namespaces: namespaces, ..fleet::options(&[&stage, &tenant]) };
    let operator = operator(&stage, options).await;
    gets(&stage, &workload, OURS).await;
    tenant.condition_of("prod", "TargetReachable", "False", "KubeconfigSecretMissing").await;
    assert_eq!(workload.roles().await, OURS);
    operator.stop().await;
}

#[tokio::test]
async fn an_operator_looks_at_its_own_namespaces_alone() {
    let (mine, theirs) = (fleet::namespace().await, fleet::namespace().await);
    for stage in [&mine, &theirs] {
        team(stage).await;
        cluster(stage, "prod", &["team"], json!({})).await;
    }
    let mark = mine.plane.audit_mark().unwrap();
    let operator = operator(&mine, fleet::options(&[&mine])).await;
    mine.condition_of("prod", "TargetReachable", "False", "KubeconfigSecretMissing").await;
    assert_eq!(theirs.clusters().get("prod").await.unwrap().status, None);
    assert_eq!(theirs.configs().get("team").await.unwrap().status, None);
    assert_eq!(secrets_asked_for(&theirs, mark), Vec::<String>::new());
    operator.stop().await;
}

#[tokio::test]
async fn without_remote_targets_no_secret_is_read() {
    let stage = fleet::namespace().await;
    cluster(&stage, "prod", &[], json!({})).await;
    let mark = stage.plane.audit_mark().unwrap();
    let operator = operator(&stage, Options { remote_targets: false, ..fleet::options(&[&stage]) }).await;
    let message = stage.condition_of("prod", "TargetReachable", "False", "TargetNotSupported").await;
    assert!(message.contains("--remote-targets"), "{message}");
    assert_eq!(secrets_asked_for(&stage, mark), Vec::<String>::new());
    operator.stop().await;
}

#[tokio::test]
async fn where_the_rights_are_missing_the_message_names_the_value_that_grants_them() {
    let known = fleet::namespace().await;
    let stage = Stage::beside(known.plane, "not-listed").await;
    cluster(&stage, "prod", &[], json!({})).await;
    put_kubeconfig(&stage, "prod", "SECRET").await;
    let operator = operator(&stage, fleet::options(&[&stage])).await;
    let message = stage.condition_of("prod", "TargetReachable", "False", "KubeconfigSecretForbidden").await;
    assert!(
        message.contains("rights.remote.namespaces") && message.contains("rights.remote.clusters"),
        "{message}"
    );
    operator.stop().await;
}

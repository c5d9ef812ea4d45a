//! Clusters behind kubeconfig Secrets, on real API servers under the chart's rights: mappings flow, a dead target delays
//! nobody, a Secret is rotated under way, and no Cluster reaches what is not its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

mod attacks;
mod authenticator;
mod day_two;
mod moved;
mod removal;
mod term;

use std::time::Duration;

use awsiam_api::TargetKind;
use awsiam_controller::Options;
use awsiam_tests::control_plane::AuditEvent;
use awsiam_tests::fleet::{self, Workload, cluster, put_kubeconfig};
use awsiam_tests::stage::{Running, Stage, apply};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::json;
use tokio::time::Instant;

/// An entry by which nodes join.
const NODES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups:
  - system:bootstrappers
  - system:nodes
";

/// What `Dev` becomes.
const OURS: &str = "\
- rolearn: arn:aws:iam::111122223333:role/Dev
  username: dev
  groups:
  - viewers
";

async fn operator(stage: &Stage, options: Options) -> Running {
    fleet::operator(stage.plane, options).await
}

/// Makes the AWSIamConfig `team` with `Dev`.
async fn team(stage: &Stage) {
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
}

/// Makes Cluster `prod`, which refers to `team`, and its target, which has an entry by which nodes join.
async fn prod(stage: &Stage) -> Workload {
    let workload = Workload::shared().await;
    workload.make_aws_auth(NODES).await;
    team(stage).await;
    put_kubeconfig(stage, "prod", &workload.kubeconfig()).await;
    cluster(stage, "prod", &["team"], json!({})).await;
    workload
}

/// Waits until `mapRoles` of a workload cluster contains this.
async fn gets(stage: &Stage, workload: &Workload, part: &str) {
    stage
        .eventually(part, async || {
            let roles = workload.roles().await;
            if roles.contains(part) { Ok(()) } else { Err(roles) }
        })
        .await;
}

/// The condition `TargetReachable` of a Cluster.
async fn reachable(stage: &Stage, cluster: &str) -> Option<Condition> {
    let status = stage.clusters().get(cluster).await.unwrap().status?;
    status.conditions.into_iter().find(|condition| condition.type_ == "TargetReachable")
}

/// How long each of a few changes takes until it is in `aws-auth` of a workload cluster.
async fn latencies(stage: &Stage, workload: &Workload, prefix: &str) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in 0..7 {
        let (role, start) = (format!("{prefix}{number}"), Instant::now());
        stage.config("team", &[("Dev", "dev", &["viewers"]), (&role, "dev", &[])]).await;
        gets(stage, workload, &role).await;
        times.push(start.elapsed());
    }
    times.sort();
    times
}

#[tokio::test]
async fn mappings_flow_to_two_clusters_and_a_dead_one_delays_nobody() {
    let (stage, alpha, mut beta) = tokio::join!(fleet::namespace(), Workload::start(), Workload::start());
    alpha.make_aws_auth(NODES).await;
    beta.make_aws_auth(NODES).await;
    team(&stage).await;
    for (name, workload) in [("alpha", &alpha), ("beta", &beta)] {
        put_kubeconfig(&stage, name, &workload.kubeconfig()).await;
        cluster(&stage, name, &["team"], json!({})).await;
    }
    let options = Options { resync: Duration::from_mins(10), ..fleet::options(&[&stage]) };
    let operator = operator(&stage, options).await;
    for (name, workload) in [("alpha", &alpha), ("beta", &beta)] {
        gets(&stage, workload, &format!("{NODES}{OURS}")).await;
        stage.condition_of(name, "Ready", "True", "Ready").await;
        let status = stage.clusters().get(name).await.unwrap().status.unwrap();
        assert_eq!(status.target, Some(TargetKind::Remote));
    }
    let before = latencies(&stage, &alpha, "Before").await;

    beta.own().stop_api_server();
    let message = stage.condition_of("beta", "TargetReachable", "False", "Unreachable").await;
    // The request that was under way is cut off; one that comes later is refused.
    let why = message.to_lowercase();
    assert!(why.contains("can't be used since 20") && why.contains("connection"), "{message}");
    let since = reachable(&stage, "beta").await.unwrap().last_transition_time;
    let during = latencies(&stage, &alpha, "During").await;
    println!("changes to alpha while beta lives:   {before:?}");
    println!("changes to alpha while beta is dead: {during:?}");
    let (median, most) = (during[3], before[6] * 3 + Duration::from_millis(300));
    assert!(median < most, "{during:?} against {before:?}");
    stage.condition_of("alpha", "Ready", "True", "Ready").await;
    let still = reachable(&stage, "beta").await.unwrap();
    assert_eq!(
        (still.status.as_str(), still.last_transition_time),
        ("False", since),
        "since when does not move"
    );

    // A drift while nobody was there is caught up with, too.
    beta.own().start_api_server().await.unwrap();
    let back = Instant::now();
    gets(&stage, &beta, "role/During6").await;
    println!("beta has caught up {:?} after it was back", back.elapsed());
    stage.condition_of("beta", "TargetReachable", "True", "Reachable").await;
    operator.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_rotated_gives_a_new_client_and_one_that_goes_takes_it_away() {
    let stage = fleet::namespace().await;
    let workload = Workload::shared().await;
    team(&stage).await;
    cluster(&stage, "prod", &["team"], json!({})).await;
    let operator = operator(&stage, fleet::options(&[&stage])).await;
    let message = stage.condition_of("prod", "TargetReachable", "False", "KubeconfigSecretMissing").await;
    assert!(message.contains(&format!("Secret {}/prod-kubeconfig", stage.namespace)), "{message}");

    put_kubeconfig(&stage, "prod", &workload.kubeconfig()).await;
    gets(&stage, &workload, OURS).await;
    stage.condition_of("prod", "Ready", "True", "Ready").await;

    // Rotated: from a certificate to the token of somebody else.
    let account = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "awsiam", "namespace": "kube-system"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "awsiam"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
         "subjects": [{"kind": "ServiceAccount", "name": "awsiam", "namespace": "kube-system"}]},
    ]});
    apply(workload.plane(), &account.to_string()).unwrap();
    let path = workload.plane().service_account_kubeconfig("kube-system", "awsiam").await.unwrap();
    let mark = workload.plane().audit_mark().unwrap();
    put_kubeconfig(&stage, "prod", &std::fs::read_to_string(path).unwrap()).await;
    let rotated = "system:serviceaccount:kube-system:awsiam";
    stage
        .eventually("requests by the new identity", async || {
            let events = workload.plane().audit_events_since(mark).unwrap();
            if events.iter().any(|event| event.user == rotated) {
                Ok(())
            } else {
                Err(format!("{}", events.len()))
            }
        })
        .await;
    let mark = workload.plane().audit_mark().unwrap();
    stage.config("team", &[("Dev", "dev", &["viewers"]), ("Ops", "ops", &[])]).await;
    gets(&stage, &workload, "role/Ops").await;
    stage
        .eventually("the write in the audit log", async || {
            let events = workload.plane().audit_events_since(mark).unwrap();
            let writes: Vec<_> =
                events.iter().filter(|event| event.is_write() && event.name == "aws-auth").collect();
            assert!(writes.iter().all(|write| write.user == rotated), "{writes:?}");
            if writes.is_empty() { Err("none yet".to_owned()) } else { Ok(()) }
        })
        .await;

    let secrets = fleet::secrets(&stage);
    secrets.delete("prod-kubeconfig", &kube::api::DeleteParams::default()).await.unwrap();
    stage.condition_of("prod", "TargetReachable", "False", "KubeconfigSecretMissing").await;
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    stage.condition_of("prod", "Ready", "False", "KubeconfigSecretMissing").await;
    assert!(workload.roles().await.contains("role/Ops"), "nothing is removed without a way to the target");
    operator.stop().await;
}

#[tokio::test]
async fn at_rest_a_remote_target_has_one_watch_and_no_write() {
    let stage = fleet::namespace().await;
    let workload = Workload::shared().await;
    let start = workload.plane().audit_mark().unwrap();
    team(&stage).await;
    put_kubeconfig(&stage, "prod", &workload.kubeconfig()).await;
    cluster(&stage, "prod", &["team"], json!({})).await;
    let operator = operator(&stage, fleet::options(&[&stage])).await;
    gets(&stage, &workload, OURS).await;
    stage.condition_of("prod", "Ready", "True", "Ready").await;
    let ours = |mark| {
        let events = workload.plane().audit_events_since(mark).unwrap();
        events.into_iter().filter(|event| event.user_agent.starts_with("awsiam/")).collect::<Vec<_>>()
    };
    let all = ours(start);
    let watches: Vec<_> =
        all.iter().filter(|event| event.verb == "watch").map(|event| event.uri.clone()).collect();
    assert_eq!(watches.len(), 1, "{watches:?}");
    // The last thing that is written is the record of what is there.
    stage
        .eventually("the content on record", async || {
            let is_record =
                |event: &AuditEvent| event.is_write() && event.name.starts_with("aws-auth-history-");
            if ours(start).iter().any(is_record) { Ok(()) } else { Err("none yet".to_owned()) }
        })
        .await;
    // Several times around: it reads, if at all.
    let mark = workload.plane().audit_mark().unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let writes: Vec<_> = ours(mark).into_iter().filter(AuditEvent::is_write).collect();
    assert!(writes.is_empty(), "{writes:?}");
    operator.stop().await;
}

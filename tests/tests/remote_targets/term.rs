//! A leader that slept through its term: it hears of a change on a remote target as soon as it wakes, and writes nothing
//! there any more.

use std::path::Path;

use awsiam_tests::process::Process;
use awsiam_tests::stage::OPERATOR_NAMESPACE;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};

use super::*;

/// In hundredths of a second, with a little for the kernel's clock.
const QUIET: u64 = 1_550;
/// Long enough for a computer that does other things as well.
const RENEW_DEADLINE: Duration = Duration::from_secs(6);
const TIMES: [&str; 3] = ["--lease-duration=8s", "--lease-renew-deadline=6s", "--lease-retry-period=1s"];

#[tokio::test]
async fn a_leader_whose_term_is_over_writes_nothing_to_a_remote_target_either() {
    let stage = fleet::namespace().await;
    let workload = prod(&stage).await;
    let kubeconfig = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam").await.unwrap();
    let mut leader = start(&stage, &kubeconfig);
    gets(&stage, &workload, &format!("{NODES}{OURS}")).await;
    stage.condition_of("prod", "Ready", "True", "Ready").await;

    // To both API servers there is a watch at least, and a peer that goes without a word is noticed.
    stage
        .eventually("connections that are watched over", async || match leader.connections().unwrap() {
            open if open.len() > 2 && open.iter().all(|next| next.is_some_and(|next| next <= QUIET)) => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        })
        .await;

    leader.sleep().unwrap();
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), OPERATOR_NAMESPACE);
    let renewed = leases.get("awsiam").await.unwrap().spec.unwrap().renew_time.unwrap().0;
    let without_ours = json!({"data": {"mapRoles": NODES}});
    let drift = Patch::Merge(&without_ours);
    let drifted = workload.config_maps().patch("aws-auth", &PatchParams::default(), &drift).await.unwrap();
    stage
        .eventually("the end of its term", async || {
            let since = Timestamp::now().duration_since(renewed);
            if since.unsigned_abs() > RENEW_DEADLINE { Ok(()) } else { Err(format!("{since:#}")) }
        })
        .await;
    leader.wake().unwrap();
    stage
        .eventually("the leader to end", async || match leader.ended().unwrap() {
            Some(status) if status.code() == Some(1) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    let after = workload.config_maps().get("aws-auth").await.unwrap();
    assert_eq!(after.metadata.resource_version, drifted.metadata.resource_version, "it wrote once more");

    // Whoever leads next puts it right.
    let next = start(&stage, &kubeconfig);
    gets(&stage, &workload, &format!("{NODES}{OURS}")).await;
    next.kill();
}

fn start(stage: &Stage, kubeconfig: &Path) -> Process {
    let lease = format!("--lease={OPERATOR_NAMESPACE}/awsiam");
    let namespaces = format!("--watch-namespaces={}", stage.namespace);
    let own = ["controller", "--log-format=text", "--resync=2s", "--remote-targets", &namespaces, &lease];
    let log = stage.plane.folder().join("term.log");
    Process::run(kubeconfig, &[&own[..], &TIMES[..]].concat(), &log).unwrap()
}

//! A restored backup of etcd under a running operator: resourceVersions and generations go back, and what stands there
//! now counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::time::{Duration, Instant};

use awsiam_controller::{LocalCluster, Options};
use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::stage::{self, DEADLINE, Running, role_arn};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

const FOREIGN: &str = "# by hand\n- rolearn: arn:aws:iam::111122223333:role/nodes\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n  - system:bootstrappers\n  - system:nodes\n";

/// An AWSIamConfig `team` with these roles.
async fn apply_config(plane: &ControlPlane, roles: &[&str]) {
    let rows: Vec<_> =
        roles.iter().map(|role| json!({"roleARN": role_arn(role), "username": role})).collect();
    let config = json!({
        "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "AWSIamConfig", "metadata": {"name": "team"},
        "spec": {"awsRegion": "eu-west-1", "backendMode": ["EKSConfigMap"], "mapRoles": rows},
    });
    let api: Api<awsiam_api::AWSIamConfig> = Api::namespaced(plane.client(), "default");
    api.patch("team", &PatchParams::apply("kubectl").force(), &Patch::Apply(&config)).await.unwrap();
}

fn config_maps(plane: &ControlPlane) -> Api<ConfigMap> {
    Api::namespaced(plane.client(), "kube-system")
}

async fn roles_become(plane: &ControlPlane, wanted: &str) {
    let end = Instant::now() + DEADLINE;
    loop {
        let data = config_maps(plane).get("aws-auth").await.unwrap().data.unwrap_or_default();
        let text = data.get("mapRoles").cloned().unwrap_or_default();
        if text == wanted {
            return;
        }
        assert!(Instant::now() < end, "mapRoles stays\n{text}instead of\n{wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn ours(role: &str) -> String {
    format!("- rolearn: {}\n  username: {role}\n", role_arn(role))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restored_backup_what_it_says_counts_and_the_operator_goes_on() {
    let mut plane = ControlPlane::start().await.unwrap();
    stage::install_for(&plane, "default", "here").await.unwrap();
    let aws_auth = json!({"metadata": {"name": "aws-auth"}, "data": {"mapRoles": FOREIGN}});
    let aws_auth: ConfigMap = serde_json::from_value(aws_auth).unwrap();
    config_maps(&plane).create(&PostParams::default(), &aws_auth).await.unwrap();
    apply_config(&plane, &["Dev"]).await;
    let cluster = json!({"apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "here", "namespace": "default"},
        "spec": {"identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
            "iamAuthenticator": {"mode": "External"}}});
    stage::apply(&plane, &cluster.to_string()).unwrap();
    let options = Options {
        local_cluster: Some(LocalCluster { namespace: "default".to_owned(), name: "here".to_owned() }),
        resync: Duration::from_secs(2),
        ..Options::default()
    };
    let operator = Running::start(stage::operator_config(&plane).await, options);
    roles_become(&plane, &format!("{FOREIGN}{}", ours("Dev"))).await;
    plane.back_up().await.unwrap();

    // Much happens after the backup.
    for number in 0..20 {
        let last = format!("Late-{number}");
        apply_config(&plane, &["Dev", &last]).await;
        roles_become(&plane, &format!("{FOREIGN}{}{}", ours("Dev"), ours(&last))).await;
    }
    plane.restore().await.unwrap();
    roles_become(&plane, &format!("{FOREIGN}{}", ours("Dev"))).await;

    // An entry that somebody takes out comes back: the operator sees what is there now.
    let take_out = json!({"data": {"mapRoles": FOREIGN}});
    config_maps(&plane).patch("aws-auth", &PatchParams::default(), &Patch::Merge(&take_out)).await.unwrap();
    roles_become(&plane, &format!("{FOREIGN}{}", ours("Dev"))).await;
    apply_config(&plane, &["Dev", "Ops"]).await;
    roles_become(&plane, &format!("{FOREIGN}{}{}", ours("Dev"), ours("Ops"))).await;
    operator.stop().await;
}

//! `check`: what a real cluster shows of it. Each fault by itself is in the unit tests of `verb/check/judged.rs`.

use awsiam_tests::stage::{CLUSTER, OPERATOR_NAMESPACE, Stage, role_arn};
use serde_json::{Value, json};

use crate::{Run, awsiam, awsiam_with};

/// The levels and messages of one check.
fn of<'v>(report: &'v Value, check: &str) -> Vec<(&'v str, &'v str)> {
    let all = report["checks"].as_array().unwrap().iter();
    let these = all.filter(|found| found["check"] == check);
    these.map(|found| (found["level"].as_str().unwrap(), found["message"].as_str().unwrap())).collect()
}

async fn checked(stage: &Stage, words: &[&str]) -> Run {
    awsiam(stage, &[&["check"], words].concat()).await
}

#[tokio::test]
async fn a_cluster_in_order_has_nothing_to_be_told() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", "[]")]).await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.condition("Ready", "True", "Ready").await;
    let account = format!("{OPERATOR_NAMESPACE}/awsiam");
    let run = checked(&stage, &[CLUSTER, "--service-account", &account, "-o", "json"]).await.done();
    let report = run.json_of("check");
    assert_eq!((&report["errors"], &report["warnings"]), (&json!(0), &json!(0)), "{report:#}");
    assert_eq!(of(&report, "Permissions").len(), 1, "an External one needs the mappings' rights alone");
    let short = checked(&stage, &[CLUSTER, "--service-account", &account, "-o", "short"]).await.done();
    assert!(short.stdout.starts_with("all is well"), "{}", short.stdout);
    operator.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_to_do() {
    let stage = Stage::set().await;
    let odd = format!("- rolearn: {}\n  username: x\n", role_arn("team/with-path"));
    stage.make_aws_auth(&[("mapRoles", &odd), ("mapUsers", "- {")]).await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage
        .cluster_spec(json!({
            "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
            "iamAuthenticator": {"mode": "DaemonSet"},
        }))
        .await;
    let run = checked(&stage, &[CLUSTER, "--local", "-o", "json"]).await;
    let report = run.json_of("check");
    assert_eq!(run.code, Some(1));
    let expected = [
        ("Operator", "Error", "no operator has looked at this Cluster"),
        ("AwsAuth", "Error", "mapUsers, line 2, column 1"),
        ("AwsAuth", "Warning", "role with a path"),
        ("Mappings", "Warning", "not everything that is asked for is written"),
        ("Authenticator", "Error", "DaemonSet is not there"),
        ("ApiServer", "Error", "it asks no webhook"),
        ("Certificate", "Error", "is not there or cannot be read"),
        ("Kubeconfig", "Error", "its Secret is not there"),
    ];
    for (check, level, message) in expected {
        let found = of(&report, check);
        assert!(found.iter().any(|(l, m)| *l == level && m.contains(message)), "{check}: {found:#?}");
    }
    assert_eq!(of(&report, "Server")[0].0, "Ok");
    assert!(of(&report, "Pods")[0].1.contains("the chart is not installed in this cluster"), "{report:#}");
    assert_eq!(of(&report, "Clock")[0].0, "Ok");
    assert_eq!(of(&report, "CRD").len(), 2);

    let nobody = stage.plane.kubeconfig_for("nobody", &[]).unwrap();
    let run = awsiam_with(&nobody, &stage.namespace, &["check", "--pre", "-o", "json"], "").await;
    let report = run.json_of("check");
    assert_eq!(run.code, Some(1));
    let (level, message) = of(&report, "Permissions")[0];
    assert!(
        level == "Error" && message.contains("create clusterroles.rbac.authorization.k8s.io"),
        "{message}"
    );
    assert_eq!(of(&report, "AwsAuth")[0].0, "Error");
    let run = checked(&stage, &["--pre", "-o", "json"]).await;
    assert_eq!(of(&run.json_of("check"), "Permissions")[0].0, "Ok");
    // The chart value that grants what is missing.
    let run =
        checked(&stage, &[CLUSTER, "--local", "--service-account", "default/default", "-o", "json"]).await;
    assert!(run.stdout.contains("rights.authenticator"), "{}", run.stdout);
}

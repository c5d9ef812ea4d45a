//! Sections of the runbook for the day on which something is gone: their commands, as they stand there.

use awsiam_api::names::{EKS_ANYWHERE_FINALIZER, EKS_ANYWHERE_MANAGER};
use awsiam_core::ledger::{self, Ledger};
use awsiam_tests::documents::{RUNBOOK, run};
use awsiam_tests::site::printed;
use awsiam_tests::stage::{CLUSTER, Stage, apply, data};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::THEIRS;
use crate::history::{listed, served};
use crate::release::{finalizers, in_effect};

#[tokio::test]
async fn a_lock_out_is_undone_with_a_certificate_and_a_rollback() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", THEIRS)]).await;
    let (operator, with_ours) = served(&stage).await;
    // A pipeline that thinks the ConfigMap is its own.
    let (nodes, _) = THEIRS.split_once("# people").unwrap();
    stage
        .edit_aws_auth("pipeline", |config_map| {
            config_map.data.get_or_insert_default().insert("mapRoles".to_owned(), nodes.to_owned());
        })
        .await;
    let locked_out = stage.text_gets("mapRoles", "role/Dev").await;
    assert!(!locked_out.contains("system:masters"), "{locked_out}");
    stage.condition("AwsAuthSynced", "True", "Synced").await;

    let steps = RUNBOOK.blocks("Locked out");
    let [hold, put_back, go_on] = steps.as_slice() else { panic!("{steps:#?}") };
    let changes = run(&stage, hold, CLUSTER, "").await;
    assert!(changes.contains("-- rolearn: arn:aws:iam::111122223333:role/Admin"), "{changes}");
    // Of this generation, whatever it says.
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    let found = listed(&stage).await;
    let revisions = found["revisions"].as_array().unwrap();
    let taken = revisions.iter().position(|revision| revision["writer"] == "pipeline").unwrap();
    let before: &Value = &revisions[taken - 1]["revision"];
    run(&stage, put_back, CLUSTER, &before.to_string()).await;
    assert_eq!(stage.text("mapRoles").await, with_ours);

    run(&stage, go_on, CLUSTER, "").await;
    stage.condition("Ready", "True", "Ready").await;
    assert_eq!(stage.text("mapRoles").await, with_ours);
    let ledger = stage.aws_auth().await.unwrap().annotations().get(ledger::ANNOTATION).cloned();
    assert!(ledger.is_some(), "our entry is ours as before");
    operator.stop().await;
}

/// The authenticator's Secret, whose certificate is any: here the administrator's own.
fn serving_certificate(stage: &Stage) {
    let kubeconfig = std::fs::read_to_string(stage.plane.kubeconfig_path()).unwrap();
    let kubeconfig: Value = serde_saphyr::from_str(&kubeconfig).unwrap();
    let certificate = kubeconfig.pointer("/users/0/user/client-certificate-data").unwrap();
    let key = kubeconfig.pointer("/users/0/user/client-key-data").unwrap();
    let name = json!({"name": "aws-iam-authenticator-serving", "namespace": "kube-system"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": name, "type": "kubernetes.io/tls",
        "data": {"tls.crt": certificate, "tls.key": key}});
    apply(stage.plane, &secret.to_string()).unwrap();
}

#[tokio::test]
async fn what_an_operator_that_is_gone_for_good_left_is_taken_off_with_awsiam_or_with_kubectl_alone() {
    let ways = RUNBOOK.blocks("The operator is gone for good");
    let [with_awsiam, with_kubectl, certificate] = ways.as_slice() else { panic!("{ways:#?}") };
    for way in [with_awsiam, with_kubectl] {
        let stage = Stage::set().await;
        in_effect(&stage).await.stop().await;
        assert_eq!(finalizers(&stage).await, (true, true));
        let before = stage.aws_auth().await.unwrap();
        run(&stage, way, CLUSTER, "").await;
        let after = stage.aws_auth().await.unwrap();
        assert_eq!(data(&after), data(&before), "logins go on");
        assert_eq!(after.annotations().get(ledger::ANNOTATION), None);
        assert_eq!(stage.clusters().get_opt(CLUSTER).await.unwrap(), None);
        assert_eq!(stage.configs().get_opt("team").await.unwrap(), None);
    }
    // Each stage waits for the one before to be gone.
    let stage = Stage::set().await;
    serving_certificate(&stage);
    let ends = run(&stage, certificate, CLUSTER, "").await;
    assert!(ends.starts_with("notAfter="), "{ends}");
}

/// Its controller, of which only the number of replicas counts here.
fn eks_anywhere() -> Value {
    let labels = json!({"app": "eksa"});
    let pod = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "manager", "image": "eksa"}]}});
    let name = json!({"name": "eksa-controller-manager", "namespace": "eksa-system"});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "eksa-system"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": name,
         "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}},
    ]})
}

#[tokio::test]
async fn a_cluster_of_eks_anywhere_is_taken_over_and_given_back_without_a_byte_that_changes() {
    let stage = Stage::set().await;
    apply(stage.plane, &eks_anywhere().to_string()).unwrap();
    let theirs =
        format!("{THEIRS}- groups: [dev]\n  rolearn: arn:aws:iam::111122223333:role/Dev\n  username: dev\n");
    stage.make_aws_auth(&[("mapRoles", "")]).await;
    stage
        .edit_aws_auth(EKS_ANYWHERE_MANAGER, |config_map| {
            config_map.data.get_or_insert_default().insert("mapRoles".to_owned(), theirs.clone());
        })
        .await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    let refs = json!([{"kind": "AWSIamConfig", "name": "team"}]);
    let finalizers = json!({"finalizers": [EKS_ANYWHERE_FINALIZER]});
    stage.cluster_object(CLUSTER, finalizers, json!({"identityProviderRefs": refs})).await;
    let operator = stage.operator().await;
    stage.event("ManagedByEKSAnywhere").await;
    let owns = async || {
        let aws_auth = stage.aws_auth().await.unwrap();
        assert_eq!(data(&aws_auth)["mapRoles"], theirs, "not a byte");
        aws_auth
            .annotations()
            .get(ledger::ANNOTATION)
            .map_or(0, |text| Ledger::parse(text).unwrap().owned.len())
    };
    assert_eq!(owns().await, 0);

    let steps = RUNBOOK.blocks("Handing over from EKS Anywhere, and back");
    let [stop, adopt, back] = steps.as_slice() else { panic!("{steps:#?}") };
    run(&stage, stop, CLUSTER, "").await;
    let said = stage.condition("AwsAuthSynced", "True", "Synced").await;
    assert_eq!(owns().await, 0, "{said}");
    run(&stage, adopt, CLUSTER, "").await;
    stage
        .eventually("the entry to be ours", async || match owns().await {
            1 => Ok(()),
            count => Err(format!("{count} are")),
        })
        .await;
    stage.condition("Ready", "True", "Ready").await;

    run(&stage, back, CLUSTER, "").await;
    let words = [
        "-n",
        "eksa-system",
        "get",
        "deployment",
        "eksa-controller-manager",
        "-o",
        "jsonpath={.spec.replicas}",
    ];
    assert_eq!(printed(stage.plane.kubectl().unwrap().args(words)).as_deref(), Ok("1"));
    assert_eq!(owns().await, 0);
    operator.stop().await;
}

//! A backup that was restored without Secrets: the runbook's section, with its commands as they stand there.

use awsiam_core::ledger;
use awsiam_tests::documents::{RUNBOOK, run};
use awsiam_tests::stage::{CLUSTER, Stage, apply, data};
use base64::Engine as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use serde_json::Value;

use super::{
    NAME, SERVING, begin, clear, options, rolled_out, say_rolled_out, secret, secrets, set, text, there,
};

const CA: &str = "here-aws-iam-authenticator-ca";
const USERS: &str = "here-aws-iam-kubeconfig";
const NODES: &str = "\
# nodes
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

/// kubectl's output.
fn kubectl(stage: &Stage, words: &[&str]) -> String {
    awsiam_tests::site::printed(stage.plane.kubectl().unwrap().args(words)).unwrap()
}

/// What a backup tool takes down of these objects: neither what the API server gives them nor their status.
pub(super) fn backed_up(stage: &Stage, namespace: &str, names: &[&str]) -> Vec<Value> {
    let words = [&["-n", namespace, "get", "-o", "json", "--show-managed-fields=false"], names].concat();
    let list: Value = serde_json::from_str(&kubectl(stage, &words)).unwrap();
    let mut items = list["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), names.len());
    for item in &mut items {
        item.as_object_mut().unwrap().remove("status");
        let metadata = item["metadata"].as_object_mut().unwrap();
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            metadata.remove(field);
        }
    }
    items
}

/// Everything of the stage's Cluster, its Secrets aside.
fn backup(stage: &Stage) -> Vec<Value> {
    let ours = ["clusters.anywhere.eks.amazonaws.com/here", "awsiamconfigs.anywhere.eks.amazonaws.com/team"];
    let theirs = [
        "configmap/aws-auth",
        "configmap/aws-iam-authenticator",
        "daemonset/aws-iam-authenticator",
        "role/aws-iam-authenticator",
        "rolebinding/aws-iam-authenticator",
        "serviceaccount/aws-iam-authenticator",
    ];
    let mut all = backed_up(stage, &stage.namespace, &ours);
    all.extend(backed_up(stage, "kube-system", &theirs));
    all
}

/// Takes all of it away, and the Secrets.
async fn lose(stage: &Stage) {
    for object in
        ["clusters.anywhere.eks.amazonaws.com/here", "awsiamconfigs.anywhere.eks.amazonaws.com/team"]
    {
        let free = [
            "-n",
            &stage.namespace,
            "patch",
            object,
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ];
        kubectl(stage, &free);
        kubectl(stage, &["-n", &stage.namespace, "delete", object]);
    }
    clear(stage).await;
    assert_eq!(secrets(stage).get_opt(CA).await.unwrap(), None);
    assert_eq!(stage.aws_auth().await, None);
}

#[tokio::test]
async fn what_was_restored_without_secrets_serves_again_with_another_ca() {
    let stage = set().await;
    stage.make_aws_auth(&[("mapRoles", NODES)]).await;
    let operator = begin(&stage).await;
    rolled_out(&stage).await;
    stage.condition("AuthenticatorReady", "True", "RolledOut").await;
    stage.condition("KubeconfigReady", "True", "Written").await;
    let users = text(&secret(&stage, USERS).await, "value");
    let old = text(&secret(&stage, CA).await, "cert.pem");
    let aws_auth = stage.aws_auth().await.unwrap();
    let uid = stage.clusters().get(CLUSTER).await.unwrap().uid();
    operator.stop().await;
    let backup = backup(&stage);
    lose(&stage).await;

    // The operator is at work while one object after the other comes back.
    let operator = stage.operator_with(options(&stage)).await;
    for object in &backup {
        apply(stage.plane, &object.to_string()).unwrap();
    }
    let message = stage.condition("AuthenticatorReady", "False", "CALost").await;
    assert!(message.contains("The serving certificate is gone too"), "{message}");
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    let restored = stage.aws_auth().await.unwrap();
    assert_eq!(data(&restored), data(&aws_auth), "not a byte");
    assert!(restored.annotations().contains_key(ledger::ANNOTATION), "our entry is ours");
    assert_ne!(stage.clusters().get(CLUSTER).await.unwrap().uid(), uid);
    assert_eq!(text(&secret(&stage, USERS).await, "value"), users, "users' kubeconfigs stay good");
    assert_eq!(secrets(&stage).get_opt(CA).await.unwrap(), None, "no CA that API servers don't know");

    let steps = RUNBOOK.blocks("Restored from a backup");
    let [another, file] = steps.as_slice() else { panic!("{steps:#?}") };
    run(&stage, another, CLUSTER, "").await;
    let new = text(&secret(&stage, CA).await, "cert.pem");
    assert_ne!(new, old);
    let serving: Secret = there(&stage, SERVING).await;
    assert_eq!(text(&serving, "ca.crt"), new);
    let file = run(&stage, file, CLUSTER, "").await;
    assert!(file.contains(&base64::engine::general_purpose::STANDARD.encode(&new)), "{file}");
    stage
        .eventually("the authenticator to be ready", async || {
            // The pods of the new certificate.
            say_rolled_out(&stage).await;
            let cluster = stage.clusters().get(CLUSTER).await.map_err(|e| e.to_string())?;
            let conditions = cluster.status.map(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().any(|c| c.type_ == "AuthenticatorReady" && c.status == "True");
            if ready { Ok(()) } else { Err(format!("{conditions:#?}")) }
        })
        .await;
    let id = |config_map: &ConfigMap| config_map.annotations()["awsiam-operator.dev/cluster-id"].clone();
    let recorded: ConfigMap = there(&stage, NAME).await;
    assert!(users.contains(&id(&recorded)));
    assert_eq!(text(&secret(&stage, USERS).await, "value"), users);
    operator.stop().await;
}

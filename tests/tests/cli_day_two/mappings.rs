//! `get mappings`, `explain`, `import` and `export`.

use awsiam_tests::fleet::{Workload, put_kubeconfig};
use awsiam_tests::stage::{CLUSTER, Stage, apply, data};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{THEIRS, awsiam};

/// A Cluster with a mapping in effect, one that conflicts, one that is refused and one that is shadowed.
async fn in_effect(stage: &Stage) -> awsiam_tests::stage::Running {
    stage.make_aws_auth(&[("mapRoles", THEIRS)]).await;
    stage.config("team", &[("Dev", "dev", &["dev"]), ("Ops", "other", &[]), ("Sys", "system:x", &[])]).await;
    stage.config("later", &[("Dev", "shadowed", &[])]).await;
    stage.cluster(&["team", "later"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Dev").await;
    stage.condition("AwsAuthSynced", "False", "Conflict").await;
    operator
}

#[tokio::test]
async fn who_has_access_is_listed_with_owner_and_state() {
    let stage = Stage::set().await;
    in_effect(&stage).await.stop().await;
    let run = awsiam(&stage, &["get", "mappings", CLUSTER]).await.done();
    let table = "\
ARN                                       USERNAME                            GROUPS                             OWNER     STATE
arn:aws:iam::111122223333:role/Admin      admin:{{SessionName}}               system:masters                     foreign   in effect
arn:aws:iam::111122223333:role/Dev        dev                                 dev                                team      in effect
arn:aws:iam::111122223333:role/Dev        shadowed                                                               later     shadowed
arn:aws:iam::111122223333:role/nodes      system:node:{{EC2PrivateDNSName}}   system:bootstrappers,system:nodes   node      in effect
arn:aws:iam::111122223333:role/Ops        ops                                 ops                                foreign   in effect
arn:aws:iam::111122223333:role/Ops        other                                                                  team      conflict
arn:aws:iam::111122223333:role/Sys        system:x                                                               team      refused
";
    let words = |text: &str| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(words(&run.stdout), words(table), "{}", run.stderr);

    let run = awsiam(&stage, &["get", "mappings", "-A", "-o", "json"]).await.done();
    let found = run.json_of("get-mappings");
    assert_eq!(found["clusters"][0]["cluster"], format!("{}/{CLUSTER}", stage.namespace));
    assert_eq!(found["clusters"][0]["mappings"].as_array().unwrap().len(), 7);
    let yaml = awsiam(&stage, &["get", "mappings", "-o", "yaml"]).await.done().stdout;
    assert!(yaml.contains("state: InEffect"), "{yaml}");
    let csv = awsiam(&stage, &["get", "mappings", "-o", "csv"]).await.done().stdout;
    assert!(csv.starts_with("cluster,arn,username,groups,owner,state,place,message\n"), "{csv}");
    assert_eq!(awsiam(&stage, &["get", "mappings", "nowhere"]).await.code, Some(2));
}

#[tokio::test]
async fn a_cluster_that_cannot_be_read_stops_none_of_the_others() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", THEIRS)]).await;
    stage.cluster(&[]).await;
    stage.operator().await.stop().await;
    let operator = stage.operator().await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    operator.stop().await;
    stage.cluster_object("elsewhere", json!({}), json!({})).await;
    let run = awsiam(&stage, &["get", "mappings", "-o", "json"]).await;
    let found = run.json_of("get-mappings");
    assert_eq!(run.code, Some(1));
    assert!(found["clusters"][0]["error"].as_str().unwrap().contains("--local"), "{found:#}");
    assert_eq!(found["clusters"][1]["mappings"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_identity_of_a_live_cluster_is_explained() {
    let stage = Stage::set().await;
    in_effect(&stage).await.stop().await;
    let session = "arn:aws:sts::111122223333:assumed-role/Admin/ann@x";
    let run = awsiam(&stage, &["explain", session, CLUSTER, "-o", "json"]).await.done();
    let found = run.json_of("explain");
    assert_eq!(found["entries"][0]["username"], "admin:ann-x");
    let run = awsiam(&stage, &["explain", "arn:aws:iam::111122223333:user/nobody", CLUSTER]).await;
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("refused: no entry of Cluster"), "{}", run.stdout);
}

#[tokio::test]
async fn applying_an_import_changes_no_byte_and_with_adopt_ownership_alone() {
    let stage = Stage::set().await;
    let users = "- userarn: arn:aws:iam::111122223333:user/team/Ann   # left\n  username: ann\n";
    let accounts = "# whole accounts\n- \"012345678901\"\n";
    let all = [("mapRoles", THEIRS), ("mapUsers", users), ("mapAccounts", accounts)];
    let before = stage.make_aws_auth(&all).await;
    stage.cluster(&[]).await;
    let run = awsiam(&stage, &["import", CLUSTER, "--local", "--region", "eu-west-1"]).await.done();
    assert!(
        run.stdout.contains("#   mapRoles line 2 arn:aws:iam::111122223333:role/nodes: nodes join"),
        "{}",
        run.stdout
    );
    apply(stage.plane, &run.stdout).unwrap();
    let json = awsiam(&stage, &["import", CLUSTER, "--local", "--region", "eu-west-1", "-o", "json"]).await;
    json.json_of("import");

    stage.cluster(&["imported"]).await;
    let operator = stage.operator().await;
    stage
        .eventually("the operator to have looked", async || {
            let cluster = stage.clusters().get(CLUSTER).await.map_err(|e| e.to_string())?;
            let config = cluster.status.and_then(|s| s.configs.first().cloned()).and_then(|c| c.counts);
            match config {
                Some(counts) if counts.desired == 4 && counts.synced == 4 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    let refused = stage.aws_auth().await.unwrap();
    assert_eq!(refused.metadata.resource_version, before.metadata.resource_version, "nothing was written");

    stage
        .cluster_spec(json!({
            "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "imported"}],
            "iamAuthenticator": {"conflictPolicy": "Adopt"},
        }))
        .await;
    let owned = stage
        .eventually("the entries to be ours", async || {
            let cluster = stage.clusters().get(CLUSTER).await.map_err(|e| e.to_string())?;
            match cluster.status.and_then(|s| s.entries) {
                Some(entries) if entries.owned > 0 => Ok(entries.owned),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    assert_eq!(owned, 4);
    let adopted = stage.aws_auth().await.unwrap();
    assert_eq!(data(&adopted), data(&before), "no byte of the lists changes");
    operator.stop().await;
    // What is declared is not imported again.
    let again = awsiam(&stage, &["import", CLUSTER]).await;
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("AWSIamConfig imported declares it already"), "{}", again.stderr);
}

#[tokio::test]
async fn grants_are_exported_from_a_live_cluster() {
    let stage = Stage::set().await;
    in_effect(&stage).await.stop().await;
    let run = awsiam(&stage, &["export", "access-entries", CLUSTER, "-o", "json"]).await.done();
    let found = run.json_of("export-access-entries");
    let types: Vec<&str> =
        found["accessEntries"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(
        (types, &found["clusterName"]),
        (vec!["EC2_LINUX", "STANDARD", "STANDARD", "STANDARD"], &json!(CLUSTER))
    );
    let plan = awsiam(&stage, &["diff", CLUSTER, "-o", "json"]).await;
    plan.json_of("diff");
}

#[tokio::test]
async fn a_remote_cluster_is_looked_into_through_its_secret() {
    let stage = Stage::set().await;
    let workload = Workload::shared().await;
    workload.make_aws_auth(THEIRS).await;
    stage.cluster_object("prod", json!({}), json!({})).await;
    let status = json!({"status": {"target": "Remote"}});
    stage.clusters().patch_status("prod", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let words = ["get", "mappings", "prod", "-o", "json"];
    let refused = awsiam(&stage, &words).await;
    let says = format!("there is no Secret {}/prod-kubeconfig", stage.namespace);
    assert!(refused.code == Some(2) && refused.stderr.contains(&says), "{}", refused.stderr);
    put_kubeconfig(&stage, "prod", &std::fs::read_to_string(stage.plane.kubeconfig_path()).unwrap()).await;
    let refused = awsiam(&stage, &words).await;
    assert!(
        refused.code == Some(2) && refused.stderr.contains("leads to the cluster of this context"),
        "{}",
        refused.stderr
    );
    put_kubeconfig(&stage, "prod", &workload.kubeconfig()).await;
    let found = awsiam(&stage, &words).await.done().json_of("get-mappings");
    assert_eq!(found["clusters"][0]["mappings"].as_array().unwrap().len(), 3);
    awsiam(&stage, &["history", "prod", "-o", "json"]).await.done().json_of("history");
}

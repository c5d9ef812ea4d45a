//! The command line's verbs of the second day for a Cluster whose target is another cluster: what is read and written is
//! the target's.

use awsiam_core::ledger;
use kube::ResourceExt;
use serde_json::Value;

use super::*;

/// The revisions of the target's `aws-auth` that are on record.
async fn revisions(stage: &Stage) -> usize {
    let said = stage.awsiam(&["history", "prod", "-o", "json"]).await;
    let found: Value = serde_json::from_str(&said).unwrap();
    found["revisions"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_rollback_and_a_release_reach_the_target_and_nothing_here() {
    let stage = fleet::namespace().await;
    let workload = prod(&stage).await;
    let operator = operator(&stage, fleet::options(&[&stage])).await;
    let with_ours = format!("{NODES}{OURS}");
    gets(&stage, &workload, &with_ours).await;
    stage.condition_of("prod", "Ready", "True", "Ready").await;
    stage
        .eventually("both contents on record", async || match revisions(&stage).await {
            2 => Ok(()),
            other => Err(format!("{other} are")),
        })
        .await;

    cluster(&stage, "prod", &["team"], json!({"suspend": true})).await;
    stage
        .eventually("the operator to know that it is suspended", async || {
            let cluster = stage.clusters().get("prod").await.map_err(|e| e.to_string())?;
            let seen = cluster.status.as_ref().and_then(|status| status.observed_generation);
            if seen == cluster.metadata.generation { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    stage.awsiam(&["rollback", "prod", "--to-revision", "1", "--yes"]).await;
    assert_eq!(workload.roles().await, NODES);
    cluster(&stage, "prod", &["team"], json!({"suspend": false})).await;
    gets(&stage, &workload, &with_ours).await;
    stage.condition_of("prod", "Ready", "True", "Ready").await;

    stage.awsiam(&["release", "prod", "--yes"]).await;
    assert_eq!(workload.roles().await, with_ours, "logins go on");
    let aws_auth = workload.config_maps().get("aws-auth").await.unwrap();
    assert_eq!(aws_auth.annotations().get(ledger::ANNOTATION), None);
    stage.condition_of("prod", "AwsAuthSynced", "False", "Released").await;
    assert!(stage.aws_auth().await.is_none(), "the management cluster has none");
    operator.stop().await;
}

//! Every promise about `kube-system/aws-auth`, on a real API server and under the chart's rights.
//!
//! That something does not happen is asserted only after a sign that a pass could have done it: the
//! Cluster's status speaks of the generation that asked for it, or the content is on record.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod at_rest;
mod conflicts;
mod equality;
mod foreign;
mod intercept;
mod ledger;
mod nodes;
mod not_usable;
mod reading;
mod removal;
mod several_refs;
mod writes;

use std::collections::BTreeMap;

use awsiam_api::{AWSIamConfig, ClusterFinding, ClusterStatus, ConfigStatus};
use awsiam_controller::history;
use awsiam_tests::stage::{CLUSTER, Stage, role_arn};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const LEDGER: &str = awsiam_core::ledger::ANNOTATION;

/// An item of `mapRoles` as the operator writes it.
fn role(name: &str, username: &str, groups: &[&str]) -> String {
    let head = format!("- rolearn: {}\n  username: {username}\n", role_arn(name));
    let groups = groups.iter().map(|group| format!("  - {group}\n")).collect::<Vec<_>>().concat();
    if groups.is_empty() { head } else { format!("{head}  groups:\n{groups}") }
}

/// An item of somebody else, in their own style.
fn foreign(name: &str, username: &str) -> String {
    format!("- {{rolearn: '{}', username: {username}}}  # not yours\n", role_arn(name))
}

/// A node entry as EKS writes it.
fn node_entry() -> String {
    role("nodes", "system:node:{{EC2PrivateDNSName}}", &["system:bootstrappers", "system:nodes"])
}

fn user_arn(name: &str) -> String {
    format!("arn:aws:iam::111122223333:user/{name}")
}

/// Makes `aws-auth` from fields beside its name.
async fn make(stage: &Stage, fields: Value) -> ConfigMap {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth"}});
    merge(&mut object, fields);
    let config_map: ConfigMap = serde_json::from_value(object).unwrap();
    stage.config_maps().create(&PostParams::default(), &config_map).await.unwrap()
}

fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            more.into_iter().for_each(|(key, value)| merge(base.entry(key).or_insert(Value::Null), value));
        }
        (base, more) => *base = more,
    }
}

/// A merge patch on `aws-auth` by somebody else.
async fn patch(stage: &Stage, patch: Value) -> ConfigMap {
    stage.config_maps().patch("aws-auth", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap()
}

/// Writes `mapRoles` as somebody else.
async fn set_roles(stage: &Stage, text: &str) -> ConfigMap {
    patch(stage, json!({"data": {"mapRoles": text}})).await
}

/// Deletes `aws-auth` as an administrator does.
async fn delete_aws_auth(stage: &Stage) {
    stage.config_maps().delete("aws-auth", &DeleteParams::default()).await.unwrap();
}

/// Sets an annotation of the Cluster; its generation stays.
async fn annotate(stage: &Stage, key: &str, value: &str) {
    let patch = json!({"metadata": {"annotations": {key: value}}});
    stage.clusters().patch(CLUSTER, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

fn ledger_of(config_map: &ConfigMap) -> Option<String> {
    config_map.annotations().get(LEDGER).cloned()
}

async fn resource_version(stage: &Stage) -> Option<String> {
    stage.aws_auth().await.and_then(|config_map| config_map.resource_version())
}

async fn status(stage: &Stage) -> Result<ClusterStatus, String> {
    let cluster = stage.clusters().get(CLUSTER).await.map_err(|error| error.to_string())?;
    cluster.status.ok_or_else(|| "no status".to_owned())
}

/// Waits until a pass has planned with this generation of the AWSIamConfig, and written what it wanted.
async fn looked_at(stage: &Stage, config: &AWSIamConfig) -> ConfigStatus {
    let (name, generation) = (config.name_any(), config.metadata.generation);
    stage
        .eventually(&format!("a pass over {name} at generation {generation:?}"), async || {
            let configs = status(stage).await?.configs;
            let found = configs.iter().find(|c| c.name == name && c.generation == generation).cloned();
            found.ok_or_else(|| format!("{configs:#?}"))
        })
        .await
}

/// Waits until the Cluster's status lists a finding of this reason.
async fn finding(stage: &Stage, reason: &str) -> ClusterFinding {
    stage
        .eventually(&format!("a finding {reason}"), async || {
            let findings = status(stage).await?.findings;
            findings.iter().find(|f| f.reason == reason).cloned().ok_or_else(|| format!("{findings:#?}"))
        })
        .await
}

/// Waits until a pass has seen `aws-auth` as it is now: the newest history record holds it.
async fn recorded(stage: &Stage) {
    stage
        .eventually("aws-auth as it is now to be the newest record", async || {
            let now = stage.aws_auth().await.ok_or("there is no aws-auth")?;
            let records = records(stage).await;
            let Some((_, newest)) = records.last_key_value() else { return Err("no record".to_owned()) };
            let ledger = newest.annotations().get(history::LEDGER).cloned();
            let same = newest.data.clone().unwrap_or_default() == now.data.clone().unwrap_or_default();
            if same && ledger == ledger_of(&now) { Ok(()) } else { Err(format!("{newest:#?}")) }
        })
        .await;
}

/// The history records by revision.
async fn records(stage: &Stage) -> BTreeMap<u64, ConfigMap> {
    let all = stage.config_maps().list(&ListParams::default()).await.unwrap();
    let revision = |c: &ConfigMap| c.annotations().get(history::REVISION).and_then(|r| r.parse().ok());
    all.items.into_iter().filter_map(|c| Some((revision(&c)?, c))).collect()
}

//! Brings the objects on a target to what is wanted: made where absent, changed where ours, left alone where
//! somebody else's. Nothing is sent for an object that is as wanted.

use std::fmt::Debug;

use awsiam_authenticator::certificate::sha256;
use awsiam_authenticator::names::{APPLIED_SHA256, MANAGED_BY, MANAGER, NAMESPACE};
use awsiam_authenticator::objects::Objects;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::api::Api;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::seen::Seen;
use crate::error::Error;
use crate::hands_off::Pause;
use crate::operator::Operator;
use crate::target::Target;

/// What became of a set of objects.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// They are as wanted.
    Done,
    /// These would be written if writing were allowed.
    Pending(Vec<String>),
    /// These are somebody else's; nothing was written.
    Foreign(Vec<String>),
}

/// Whether an object is ours to change.
pub(super) fn is_ours(object: &impl ResourceExt) -> bool {
    object.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

/// What is to be done with one object.
struct Step<'a> {
    name: String,
    /// Unless it is as wanted.
    write: Option<BoxFuture<'a, Result<(), Error>>>,
    foreign: bool,
}

/// All objects of the target, in their order; the DaemonSet last, when what it needs is there. `first` is written before
/// them, unless nothing may be written.
pub(super) async fn all(
    operator: &Operator,
    target: &Target,
    wanted: &Objects,
    seen: &Seen,
    pause: Option<Pause>,
    first: Option<BoxFuture<'_, Result<(), Error>>>,
) -> Result<Applied, Error> {
    let client = &target.client;
    let mut steps = Vec::new();
    steps.extend(first.map(|write| Step {
        name: "the Cluster".to_owned(),
        write: Some(write),
        foreign: false,
    }));
    steps.extend([
        step(operator, client, &wanted.service_account, seen.service_account.as_deref())?,
        step(operator, client, &wanted.role, seen.role.as_deref())?,
        step(operator, client, &wanted.role_binding, seen.role_binding.as_deref())?,
    ]);
    if let Some(role) = &wanted.cluster_role {
        steps.push(cluster_step(operator, client, role, seen.cluster_role.as_deref())?);
    }
    if let Some(binding) = &wanted.cluster_role_binding {
        steps.push(cluster_step(operator, client, binding, seen.cluster_role_binding.as_deref())?);
    }
    steps.push(step(operator, client, &wanted.config_map, seen.config_map.as_deref())?);
    steps.push(step(operator, client, &wanted.serving, seen.serving.as_deref())?);
    steps.push(step(operator, client, &wanted.daemon_set, seen.daemon_set.as_deref())?);
    carry_out(target, steps, pause).await
}

/// A DaemonSet that has nothing to do with the other objects.
pub(super) async fn alone(
    operator: &Operator,
    target: &Target,
    wanted: &DaemonSet,
    live: Option<&DaemonSet>,
    pause: Option<Pause>,
) -> Result<Applied, Error> {
    carry_out(target, vec![step(operator, &target.client, wanted, live)?], pause).await
}

async fn carry_out(
    target: &Target,
    mut steps: Vec<Step<'_>>,
    pause: Option<Pause>,
) -> Result<Applied, Error> {
    let foreign: Vec<String> = steps.iter().filter(|s| s.foreign).map(|s| s.name.clone()).collect();
    if !foreign.is_empty() {
        return Ok(Applied::Foreign(foreign));
    }
    steps.retain(|step| step.write.is_some());
    if pause.is_some() && !steps.is_empty() {
        return Ok(Applied::Pending(steps.into_iter().map(|step| step.name).collect()));
    }
    for step in steps {
        if let Some(write) = step.write {
            target.reads.forget();
            write.await?;
            tracing::info!(object = step.name, "applied");
        }
    }
    Ok(Applied::Done)
}

fn step<'a, K>(
    operator: &'a Operator,
    client: &Client,
    wanted: &K,
    live: Option<&K>,
) -> Result<Step<'a>, Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let name = format!("{} {NAMESPACE}/{}", K::kind(&()), wanted.name_any());
    step_in(operator, Api::namespaced(client.clone(), NAMESPACE), name, wanted, live)
}

/// As [`step`], for an object without a namespace.
fn cluster_step<'a, K>(
    operator: &'a Operator,
    client: &Client,
    wanted: &K,
    live: Option<&K>,
) -> Result<Step<'a>, Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let name = format!("{} {}", K::kind(&()), wanted.name_any());
    step_in(operator, Api::all(client.clone()), name, wanted, live)
}

fn step_in<'a, K>(
    operator: &'a Operator,
    api: Api<K>,
    name: String,
    wanted: &K,
    live: Option<&K>,
) -> Result<Step<'a>, Error>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let object = wanted.name_any();
    let foreign = live.is_some_and(|live| !is_ours(live));
    let wanted = stamped(wanted)?;
    let write = match live {
        Some(live) if foreign || contains(&json(live)?, &wanted) => None,
        _ => Some(one(operator, api, object, wanted, live.is_none())),
    };
    Ok(Step { name, write, foreign })
}

/// Applies one object. One that is to be new is not forced: what somebody else has made a moment ago is theirs.
pub(super) fn one<K>(
    operator: &Operator,
    api: Api<K>,
    name: String,
    wanted: Value,
    new: bool,
) -> BoxFuture<'_, Result<(), Error>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    Box::pin(async move {
        if new {
            operator.gateway.apply_new(&api, &name, &wanted).await
        } else {
            operator.gateway.apply(&api, &name, &wanted).await
        }
    })
}

/// The object as JSON with the hash of what is applied, by which a field that is no longer wanted is noticed. A
/// Secret has none: what it holds is compared as it is.
pub(super) fn stamped<K: Resource<DynamicType = ()> + Serialize>(wanted: &K) -> Result<Value, Error> {
    let mut value = json(wanted)?;
    if K::kind(&()) != "Secret" {
        let hash = sha256(&value.to_string());
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            let annotations =
                metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.insert(APPLIED_SHA256.to_owned(), Value::String(hash));
            }
        }
    }
    Ok(value)
}

pub(super) fn json<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Result<Value, Error> {
    serde_json::to_value(object).map_err(|error| Error::Unwritable {
        what: format!("{} {}", K::kind(&()), object.meta().name.clone().unwrap_or_default()),
        why: error.to_string(),
    })
}

/// Whether `live` has everything that is `wanted`. What the server or others added counts as nothing; a list of
/// named things is compared by name, any other item by item.
pub(super) fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            live.get(key).map_or_else(|| is_nothing(wanted), |live| contains(live, wanted))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            let name = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
            if !wanted.is_empty() && wanted.iter().all(|value| name(value).is_some()) {
                wanted.iter().all(|w| live.iter().any(|l| name(l) == name(w) && contains(l, w)))
            } else {
                live.len() == wanted.len() && live.iter().zip(wanted).all(|(l, w)| contains(l, w))
            }
        }
        (live, wanted) => live == wanted,
    }
}

/// What a server leaves out.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_adds_is_no_difference() {
        let live =
            json!({"a": 1, "defaulted": true, "list": [{"name": "x", "v": 1, "more": 2}, {"name": "y"}]});
        assert!(contains(
            &live,
            &json!({"a": 1, "list": [{"name": "x", "v": 1}], "empty": "", "none": null})
        ));
        for other in [
            json!({"a": 2}),
            json!({"b": 1}),
            json!({"list": [{"name": "z"}]}),
            json!({"list": [{"name": "x", "v": 2}]}),
        ] {
            assert!(!contains(&live, &other), "{other}");
        }
        assert!(!contains(&json!([1, 2]), &json!([1])), "a list of plain values is compared whole");
    }
}

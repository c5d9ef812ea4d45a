//! What an administrator does to a target from the command line, by the rules of the operator: what is overwritten is
//! on record first, every write is conditional on what was read, and all of it goes through the gateway. Needs a
//! client; what to write is decided by the caller.

use std::fmt::Debug;

use awsiam_api::identity_mapping::api_resource;
use awsiam_api::names::{COMMAND_LINE_MANAGER, IDENTITY_MAPPING_CLUSTER, IDENTITY_MAPPING_MARK, RELEASED};
use awsiam_api::{AWSIamConfig, Cluster};
use awsiam_authenticator::names::{self, MANAGED_BY};
use awsiam_core::history::SLOTS;
use awsiam_core::identity_mappings::Deletion;
use awsiam_core::plan::Content;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DynamicObject, ObjectMeta};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::content;
use crate::error::Error;
use crate::gateway::{self, Gateway};
use crate::history::{History, record_name};
use crate::observe;

/// Gives `aws-auth` this content, if it is still as it was read; `seen`: none, and it is made if there is still none.
/// The content that was read is on record before, the new one afterwards: by that the operator knows that a ledger
/// was taken out on purpose.
///
/// # Errors
/// [`Error::Write`], a 409 among them where somebody was faster ([`is_race`]), or [`Error::Read`] of the history.
pub async fn put(client: &Client, seen: Option<&ConfigMap>, content: &Content) -> Result<ConfigMap, Error> {
    let history = History::new(client.clone());
    // Records are the operator's, whoever writes them: a second field manager would leave its keys in them.
    let recorder = Gateway::unbound();
    if let Some(seen) = seen {
        let writer = observe::last_writer(seen).unwrap_or_default();
        history.record(&recorder, seen, writer, None).await?;
    }
    let (wanted, gateway) = (content::wanted(seen, content), Gateway::by_hand());
    let written = if seen.is_some() {
        gateway.replace(client.clone(), &wanted).await?
    } else {
        gateway.create(client.clone(), &wanted).await?
    };
    history.record(&recorder, &written, COMMAND_LINE_MANAGER.to_owned(), None).await?;
    Ok(written)
}

/// Marks a Cluster as released, if it is still as it was read.
///
/// # Errors
/// [`Error::Write`].
pub async fn mark_released(client: &Client, cluster: &Cluster) -> Result<(), Error> {
    let api: Api<Cluster> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let version = cluster.resource_version();
    Gateway::by_hand().annotate_version(&api, &cluster.name_any(), version.as_deref(), RELEASED, "true").await
}

/// Takes one finalizer from a Cluster, if it is still as it was read.
///
/// # Errors
/// [`Error::Write`].
pub async fn unhold_cluster(client: &Client, cluster: &Cluster, finalizer: &str) -> Result<(), Error> {
    let api: Api<Cluster> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let kept = without(&cluster.metadata, finalizer);
    let version = cluster.resource_version();
    Gateway::by_hand().set_finalizers(&api, &cluster.name_any(), version.as_deref(), &kept).await
}

/// Takes one finalizer from an AWSIamConfig, if it is still as it was read.
///
/// # Errors
/// [`Error::Write`].
pub async fn unhold_config(client: &Client, config: &ObjectMeta, finalizer: &str) -> Result<(), Error> {
    let namespace = config.namespace.as_deref().unwrap_or_default();
    let api: Api<AWSIamConfig> = Api::namespaced(client.clone(), namespace);
    let kept = without(config, finalizer);
    let (name, version) = (config.name.as_deref().unwrap_or_default(), config.resource_version.as_deref());
    Gateway::by_hand().set_finalizers(&api, name, version, &kept).await
}

fn without(metadata: &ObjectMeta, finalizer: &str) -> Vec<String> {
    metadata.finalizers.iter().flatten().filter(|name| *name != finalizer).cloned().collect()
}

/// Deletes an IAMIdentityMapping of ours in the version that was read.
///
/// # Errors
/// [`Error::Write`].
pub async fn delete_mapping(client: &Client, deletion: &Deletion) -> Result<(), Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &api_resource());
    Gateway::by_hand().delete_mapping(&api, deletion).await.map(drop)
}

/// Takes our mark from an IAMIdentityMapping, so that it stays and is nobody's, if it is still as it was read.
///
/// # Errors
/// [`Error::Write`].
pub async fn unmark_mapping(client: &Client, object: &DynamicObject) -> Result<(), Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &api_resource());
    let mut object = object.clone();
    object.metadata.managed_fields = None;
    object.annotations_mut().remove(IDENTITY_MAPPING_MARK);
    object.labels_mut().remove(IDENTITY_MAPPING_CLUSTER);
    object.labels_mut().remove(MANAGED_BY);
    Gateway::by_hand().replace_mapping(&api, &object).await.map(drop)
}

/// Deletes a Cluster, the very object that was read.
///
/// # Errors
/// [`Error::Write`].
pub async fn delete_cluster(client: &Client, cluster: &Cluster) -> Result<(), Error> {
    let api: Api<Cluster> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    Gateway::by_hand().delete(&api, &cluster.name_any(), &cluster.metadata).await
}

/// Deletes an AWSIamConfig, the very object that was read.
///
/// # Errors
/// [`Error::Write`].
pub async fn delete_config(client: &Client, config: &ObjectMeta) -> Result<(), Error> {
    let namespace = config.namespace.as_deref().unwrap_or_default();
    let api: Api<AWSIamConfig> = Api::namespaced(client.clone(), namespace);
    Gateway::by_hand().delete(&api, config.name.as_deref().unwrap_or_default(), config).await
}

/// Deletes what awsiam keeps beside a Cluster: the Secrets of the authenticator's CA and of the users' kubeconfig. Secrets
/// of these names that awsiam did not make stay.
///
/// # Errors
/// [`Error::Read`], [`Error::Write`].
pub async fn delete_secrets(client: &Client, cluster: &Cluster) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let name = cluster.name_any();
    for name in [names::ca_secret(&name), names::kubeconfig_secret(&name)] {
        delete_if_ours(&api, &name).await?;
    }
    Ok(())
}

/// Deletes the records of earlier contents of a target's `aws-auth`: nothing can be rolled back to them any more.
///
/// # Errors
/// [`Error::Read`], [`Error::Write`].
pub async fn delete_history(client: &Client) -> Result<(), Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), names::NAMESPACE);
    for slot in 0..SLOTS {
        delete_if_ours(&api, &record_name(slot)).await?;
    }
    Ok(())
}

async fn delete_if_ours<K>(api: &Api<K>, name: &str) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let what = format!("{} {name}", K::kind(&()));
    // Its labels are all that is needed: no Secret's content comes here.
    let found = match api.get_metadata_opt(name).await.map_err(Error::read(what))? {
        Some(found) if found.labels().get(MANAGED_BY).is_some_and(|by| by == names::MANAGER) => found,
        _ => return Ok(()),
    };
    Gateway::by_hand().delete(api, name, &found.metadata).await
}

/// Whether a write was refused because somebody else was faster.
#[must_use]
pub fn is_race(error: &Error) -> bool {
    gateway::is_race(error)
}

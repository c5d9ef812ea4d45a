//! Takes the authenticator away again, in the order in which nobody is locked out: our entries first, then, once
//! the API server asks no more, the authenticator, then the Secrets.

use awsiam_api::{Cluster, Rollout};
use awsiam_authenticator::names::{NAMESPACE, ca_secret, kubeconfig_secret};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::api_server;
use super::apply::is_ours;
use super::conditions::{self, Said};
use super::control_plane;
use super::seen::Seen;
use super::webhook_file;
use crate::error::Error;
use crate::operator::Operator;
use crate::reporter::Planned;
use crate::target::Target;

/// Removes what may go, and says what stays and why.
pub(super) async fn remove(
    operator: &Operator,
    target: &Target,
    cluster: &Cluster,
    seen: &Seen,
    planned: &Planned,
) -> Result<Vec<Said>, Error> {
    let waits = planned.pause.is_some() || planned.pending || planned.plan.blocked.is_some();
    let way = api_server::settled(cluster);
    match (anything_left(seen), waits) {
        (true, false) => {}
        (true, true) => return Ok(vec![conditions::removal_waits("our entries in aws-auth go first")]),
        // What was put into a control plane is not seen here, and goes even where nothing else is left.
        (false, false) if way == Some(Rollout::KubeadmControlPlane) => {}
        (false, _) => return Ok(Vec::new()),
    }
    if matches!(way, Some(Rollout::KubeadmControlPlane) | None)
        && let Some(said) = control_plane::take_out(operator, cluster).await
    {
        return Ok(said);
    }
    if !anything_left(seen) {
        return Ok(Vec::new());
    }
    match api_server::is_unset(target, seen).await? {
        Some(true) => {}
        Some(false) => {
            let mut said = vec![conditions::removal_waits_for_administrator(cluster)];
            said.extend(api_server::left_behind(operator, cluster).await);
            return Ok(said);
        }
        None => {
            return Ok(vec![conditions::removal_waits(
                "it can't be told whether the API server still asks it",
            )]);
        }
    }
    target.reads.forget();
    let client = &target.client;
    webhook_file::remove(operator, client, seen).await?;
    delete(operator, client, seen.daemon_set.as_deref()).await?;
    delete(operator, client, seen.config_map.as_deref()).await?;
    delete(operator, client, seen.serving.as_deref()).await?;
    delete(operator, client, seen.role_binding.as_deref()).await?;
    delete(operator, client, seen.role.as_deref()).await?;
    crd_rights(operator, client, seen).await?;
    delete(operator, client, seen.service_account.as_deref()).await?;
    let namespace = cluster.namespace().unwrap_or_default();
    let own: Api<Secret> = Api::namespaced(operator.client.clone(), &namespace);
    for (name, secret) in [
        (kubeconfig_secret(&cluster.name_any()), seen.kubeconfig.as_deref()),
        (ca_secret(&cluster.name_any()), seen.authority.as_deref()),
    ] {
        if let Some(secret) = secret.filter(|secret| is_ours(*secret)) {
            operator.gateway.delete(&own, &name, secret.meta()).await?;
        }
    }
    Ok(Vec::new())
}

/// Takes away what only backend `CRD` needs.
pub(super) async fn crd_rights(operator: &Operator, client: &Client, seen: &Seen) -> Result<(), Error> {
    delete_in(operator, Api::all(client.clone()), seen.cluster_role_binding.as_deref()).await?;
    delete_in(operator, Api::all(client.clone()), seen.cluster_role.as_deref()).await
}

/// Whether anything of ours is still there.
pub(super) fn anything_left(seen: &Seen) -> bool {
    fn ours<K: ResourceExt>(object: Option<&K>) -> bool {
        object.is_some_and(|object| is_ours(object))
    }
    ours(seen.daemon_set.as_deref())
        || webhook_file::is_left(seen)
        || ours(seen.config_map.as_deref())
        || ours(seen.serving.as_deref())
        || ours(seen.role.as_deref())
        || ours(seen.role_binding.as_deref())
        || ours(seen.cluster_role.as_deref())
        || ours(seen.cluster_role_binding.as_deref())
        || ours(seen.service_account.as_deref())
        || ours(seen.authority.as_deref())
        || ours(seen.kubeconfig.as_deref())
}

pub(super) async fn delete<K>(operator: &Operator, client: &Client, object: Option<&K>) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    delete_in(operator, Api::namespaced(client.clone(), NAMESPACE), object).await
}

async fn delete_in<K>(operator: &Operator, api: Api<K>, object: Option<&K>) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let Some(object) = object.filter(|object| is_ours(*object)) else { return Ok(()) };
    if object.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    operator.gateway.delete(&api, &object.name_any(), object.meta()).await?;
    tracing::info!(kind = %K::kind(&()), name = object.name_any(), "deleted");
    Ok(())
}

//! The Secret with the kubeconfig that users log in with: rebuilt when the endpoint, the CA or the cluster id
//! changes, left alone where it is somebody else's.

use std::collections::BTreeMap;
use std::sync::Arc;

use awsiam_api::Cluster;
use awsiam_api::names::CLUSTER_UID;
use awsiam_authenticator::kubeconfig::{Exec, UserKubeconfig, endpoint, user};
use awsiam_authenticator::names::{MANAGED_BY, MANAGER, kubeconfig_secret};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, ObjectMeta};

use super::apply::{contains, is_ours, json, one};
use super::conditions::{self, Said};
use crate::error::Error;
use crate::hands_off::Pause;
use crate::operator::Operator;
use crate::target::Target;

/// Key of the Secret, as Cluster API's kubeconfig Secrets have it.
const VALUE: &str = "value";

/// Keeps the Secret and says how it stands.
pub(super) async fn keep(
    operator: &Operator,
    target: &Target,
    cluster: &Cluster,
    cluster_id: &str,
    region: &str,
    live: Option<&Secret>,
    pause: Option<Pause>,
) -> Result<Said, Error> {
    let name = kubeconfig_secret(&cluster.name_any());
    let namespace = cluster.namespace().unwrap_or_default();
    let server = match server(operator, target, cluster) {
        Ok(server) => server,
        Err(why) => return Ok(conditions::no_endpoint(&why)),
    };
    if live.is_some_and(|secret| !is_ours(secret)) {
        return Ok(conditions::kubeconfig_foreign(&format!("{namespace}/{name}")));
    }
    let text = user(&UserKubeconfig {
        cluster: &cluster.name_any(),
        server: &server,
        ca_pem: authority(operator, target),
        cluster_id,
        region,
        exec: Exec::Authenticator,
    })
    .map_err(|error| Error::Unwritable { what: format!("Secret {name}"), why: error.to_string() })?;
    let wanted = json(&secret(cluster, &name, &text))?;
    let as_wanted = match live {
        Some(live) => contains(&json(live)?, &wanted),
        None => false,
    };
    if !as_wanted {
        if pause.is_some() {
            return Ok(conditions::kubeconfig_pending(pause));
        }
        let api: Api<Secret> = Api::namespaced(operator.client.clone(), &namespace);
        one(operator, api, name.clone(), wanted, live.is_none()).await?;
        target.reads.forget();
        tracing::info!(secret = format!("{namespace}/{name}"), "wrote the user kubeconfig");
    }
    Ok(conditions::kubeconfig_ready(&format!("{namespace}/{name}"), &server))
}

/// Reads the Secret directly, where it is not watched.
///
/// # Errors
/// [`Error::Read`].
pub(super) async fn read(operator: &Operator, cluster: &Cluster) -> Result<Option<Arc<Secret>>, Error> {
    let name = kubeconfig_secret(&cluster.name_any());
    let api: Api<Secret> = Api::namespaced(operator.client.clone(), &cluster.namespace().unwrap_or_default());
    let read = api.get_opt(&name).await.map_err(Error::read(format!("Secret {name}")))?;
    Ok(read.map(Arc::new))
}

/// The certificates by which users trust the API server, PEM.
fn authority<'a>(operator: &'a Operator, target: &'a Target) -> &'a str {
    target.access.as_ref().map_or(&operator.options.api_server_ca, |access| &access.authority_pem)
}

/// The address that users reach the API server at: the Cluster's endpoint; of a remote target without one, the address
/// that the operator reaches it at.
fn server(operator: &Operator, target: &Target, cluster: &Cluster) -> Result<String, String> {
    if let (Some(access), None) = (&target.access, cluster.spec.endpoint_host()) {
        return Ok(access.server.clone());
    }
    if authority(operator, target).is_empty() {
        return Err("the operator's own connection has no CA certificate to hand on".to_owned());
    }
    let host = cluster.spec.endpoint_host().ok_or(
        "set spec.controlPlaneConfiguration.endpoint.host to the address that users reach the API server at",
    )?;
    endpoint(host).map_err(|error| format!("spec.controlPlaneConfiguration.endpoint.host: {error}"))
}

fn secret(cluster: &Cluster, name: &str, text: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: cluster.namespace(),
            labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])),
            annotations: Some(BTreeMap::from([(
                CLUSTER_UID.to_owned(),
                cluster.metadata.uid.clone().unwrap_or_default(),
            )])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(VALUE.to_owned(), ByteString(text.as_bytes().to_vec()))])),
        ..Secret::default()
    }
}

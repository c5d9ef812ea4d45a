//! The objects that run the authenticator on a target. Only their making; whether they are there is told by
//! [`crate::rollout`].

mod daemon_set;
mod rights;
mod webhook_file;

use std::collections::BTreeMap;

use awsiam_core::desired::Backend;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use serde::Serialize;
use serde_json::Value;

pub use self::daemon_set::{PROBE, backend_mode, backends_of, default_resources, parse_backends};
pub use self::webhook_file::{WEBHOOK_KUBECONFIG, webhook_file};
use crate::certificate::{Leaf, sha256};
use crate::facts::Facts;
use crate::names::{CA_SHA256, MANAGED_BY, MANAGER, NAME, NAMESPACE, POD_LABEL, SERVING_SECRET};

/// Keys of the serving Secret; the Kubernetes type `kubernetes.io/tls` asks for the first two.
pub const CERTIFICATE_KEY: &str = "tls.crt";
/// See [`CERTIFICATE_KEY`].
pub const PRIVATE_KEY: &str = "tls.key";
/// The certificate of the CA that issued it, for the probe.
pub const AUTHORITY_KEY: &str = "ca.crt";
/// Before a hash, in the name of a key: see [`serving_mark`].
const MARK: &str = "sha256-";
/// Key of the ConfigMap that the authenticator reads.
pub const CONFIG_KEY: &str = "config.yaml";

/// Everything that a target gets, in the order in which it is to be made.
#[derive(Clone, PartialEq)]
pub struct Objects {
    /// Who the authenticator is to its API server.
    pub service_account: ServiceAccount,
    /// What it may read.
    pub role: Role,
    /// See `role`.
    pub role_binding: RoleBinding,
    /// More of that, with backend CRD.
    pub cluster_role: Option<ClusterRole>,
    /// See `cluster_role`.
    pub cluster_role_binding: Option<ClusterRoleBinding>,
    /// Its configuration.
    pub config_map: ConfigMap,
    /// Its serving certificate and key.
    pub serving: Secret,
    /// Itself.
    pub daemon_set: DaemonSet,
}

/// The objects for a target. `leaf` serves, `ca_pem` is the certificate of its issuer: by that the probe trusts it.
#[must_use]
pub fn objects(facts: &Facts, leaf: &Leaf, ca_pem: &str) -> Objects {
    let with_crd = facts.backends.contains(&Backend::Crd);
    let config = config(facts);
    let serving_hash = serving_hash(leaf, ca_pem);
    Objects {
        service_account: ServiceAccount {
            metadata: namespaced(NAME),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
        role: rights::role(),
        role_binding: rights::role_binding(),
        cluster_role: with_crd.then(rights::cluster_role),
        cluster_role_binding: with_crd.then(rights::cluster_role_binding),
        config_map: ConfigMap {
            metadata: ObjectMeta {
                annotations: Some(BTreeMap::from([(CA_SHA256.to_owned(), sha256(ca_pem))])),
                ..namespaced(NAME)
            },
            data: Some(BTreeMap::from([(CONFIG_KEY.to_owned(), config.clone())])),
            ..ConfigMap::default()
        },
        serving: serving(leaf, ca_pem, &serving_hash),
        daemon_set: daemon_set::daemon_set(facts, &sha256(&config), &serving_hash),
    }
}

/// The authenticator's configuration file; it is read once, at start
/// (<https://github.com/kubernetes-sigs/aws-iam-authenticator#full-configuration-format>).
fn config(facts: &Facts) -> String {
    // An id is letters, digits and a few signs; quoted, so that one of digits alone stays a string.
    format!("clusterID: {}\n", serde_json::Value::String(facts.cluster_id.clone()))
}

/// What the pods are restarted for when it changes: they read the files once. The key goes with its
/// certificate, so its hash stands nowhere.
fn serving_hash(leaf: &Leaf, ca_pem: &str) -> String {
    sha256(&format!("{}{ca_pem}", leaf.certificate_pem))
}

/// A key of the serving Secret that pods mount for its name alone: it is there only where the certificate is. A kubelet
/// whose view of the Secret is old, as after a restart of its API server, finds no such key and waits; without it the
/// authenticator would read the certificate of before, once and for good.
fn serving_mark(serving_hash: &str) -> String {
    format!("{MARK}{serving_hash}")
}

/// The content of such a key: what is empty would count as absent.
fn present() -> ByteString {
    ByteString(b"true".to_vec())
}

fn serving(leaf: &Leaf, ca_pem: &str, hash: &str) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        metadata: namespaced(SERVING_SECRET),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from([
            (CERTIFICATE_KEY.to_owned(), bytes(&leaf.certificate_pem)),
            (PRIVATE_KEY.to_owned(), bytes(&leaf.key_pem)),
            (AUTHORITY_KEY.to_owned(), bytes(ca_pem)),
            (serving_mark(hash), present()),
        ])),
        ..Secret::default()
    }
}

/// Metadata of an object of ours in `kube-system`.
fn namespaced(name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(NAMESPACE.to_owned()), ..cluster_wide(name) }
}

/// Metadata of an object of ours without a namespace.
fn cluster_wide(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), labels: Some(labels(NAME)), ..ObjectMeta::default() }
}

/// Labels of everything of ours: what it belongs to, and that it is ours.
fn labels(of: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned()), (POD_LABEL.to_owned(), of.to_owned())])
}

impl Objects {
    /// Lets pods of earlier certificates start again, as after a reboot of their node: the newest certificate is as good for
    /// them. `hashes` are those of annotation [`SERVING_SHA256`](crate::names::SERVING_SHA256) of all pods and of the DaemonSet.
    pub fn serve<'a>(&mut self, hashes: impl Iterator<Item = &'a str>) {
        // Whoever may make pods there may write what they like.
        let is_hash = |hash: &&str| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        let marks = hashes.filter(is_hash).map(|hash| (serving_mark(hash), present()));
        self.serving.data.get_or_insert_default().extend(marks);
    }

    /// All of them as JSON with kind and version, in the order in which they are to be made.
    ///
    /// # Errors
    /// Never: these types have no map with keys other than strings.
    pub fn documents(&self) -> Result<Vec<Value>, serde_json::Error> {
        let mut documents = vec![document(&self.service_account)?, document(&self.role)?];
        documents.push(document(&self.role_binding)?);
        documents.extend(self.cluster_role.as_ref().map(document).transpose()?);
        documents.extend(self.cluster_role_binding.as_ref().map(document).transpose()?);
        documents.push(document(&self.config_map)?);
        documents.push(document(&self.serving)?);
        documents.push(document(&self.daemon_set)?);
        Ok(documents)
    }
}

fn document<K: Serialize>(object: &K) -> Result<Value, serde_json::Error> {
    // k8s-openapi writes apiVersion and kind itself.
    serde_json::to_value(object)
}

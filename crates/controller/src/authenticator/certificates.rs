//! The CA and the serving certificate of a target: which are used, when new ones are made, and when not. Keys are
//! made here and go into their Secrets, nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use awsiam_api::Cluster;
use awsiam_api::names::{CLUSTER_UID, USE_AUTHORITY};
use awsiam_authenticator::certificate::{
    Authority, CertificateError, Leaf, LeafState, leaf_state, not_after, sha256,
};
use awsiam_authenticator::names::{
    CA_SHA256, MANAGED_BY, MANAGER, NAME, NAMESPACE, SERVING_SECRET, ca_secret,
};
use awsiam_authenticator::objects::{AUTHORITY_KEY, CERTIFICATE_KEY, PRIVATE_KEY};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ObjectMeta};
use kube::{Resource, ResourceExt};
use rcgen::KeyPair;
use serde::de::DeserializeOwned;

use super::apply::{is_ours, json, one};
use super::seen::Seen;
use crate::error::Error;
use crate::hands_off::Pause;
use crate::metrics::Until;
use crate::operator::Operator;
use crate::target::Target;

/// Keys of the CA's Secret, as EKS Anywhere names them.
const CERT_PEM: &str = "cert.pem";
const KEY_PEM: &str = "key.pem";
/// Further certificates that the API server is to trust, while one CA takes the place of another.
const TRUSTED_PEM: &str = "trusted.pem";

/// Certificates to serve with.
pub(super) struct Certificates {
    /// What the authenticator serves with.
    pub(super) leaf: Leaf,
    /// The certificate of the CA that issued it; an earlier one, while one CA takes the place of another.
    pub(super) issuer_pem: String,
    /// The CA's own certificate.
    pub(super) signing_pem: String,
    /// What the API server is to trust: the CA, and others while one takes the place of another.
    pub(super) pinned_pem: String,
    /// Last second of the leaf, Unix time.
    pub(super) leaf_until: i64,
    /// Last second of the CA, Unix time.
    pub(super) authority_until: i64,
}

/// What there is to serve with.
pub(super) enum Kept {
    /// These.
    Good(Box<Certificates>),
    /// The CA's key is gone while the target trusts that CA, by the hash `pin`: what is there serves on, the leaf with
    /// the certificate of its issuer, if it is there.
    Lost { pin: String, served: Option<(Leaf, String)> },
    /// The Secret can't be used; the text says why.
    Unusable(String),
    /// A CA would be made if writing were allowed.
    Pending,
}

impl Kept {
    /// When they end, where something serves.
    pub(super) fn until(&self) -> Option<Until> {
        match self {
            Kept::Good(certificates) => {
                Some(Until { serving: certificates.leaf_until, authority: certificates.authority_until })
            }
            Kept::Lost { served: Some((leaf, issuer_pem)), .. } => Some(Until {
                serving: not_after(&leaf.certificate_pem).ok()?,
                authority: not_after(issuer_pem).ok()?,
            }),
            Kept::Lost { served: None, .. } | Kept::Unusable(_) | Kept::Pending => None,
        }
    }
}

/// Finds or makes the CA, and a leaf that it signed.
pub(super) async fn keep(
    operator: &Operator,
    target: &Target,
    cluster: &Cluster,
    seen: &Seen,
    now: i64,
    pause: Option<Pause>,
) -> Result<Kept, Error> {
    let authority = authority(operator, cluster, seen).await?;
    let config_map = match (&authority, &seen.config_map) {
        // A CA is about to be made, or missed: what a cache does not show may have come a moment ago.
        (None, None) => directly(Api::namespaced(target.client.clone(), NAMESPACE), NAME).await?,
        (_, known) => known.clone(),
    };
    let pinned = config_map.as_deref().filter(|c| is_ours(*c)).and_then(pin);
    let (authority, trusted) = match (authority.as_deref(), pinned) {
        (Some(secret), pinned) => match existing(cluster, secret, pinned.as_deref(), now) {
            Ok(found) => found,
            Err(why) => return Ok(Kept::Unusable(why)),
        },
        (None, Some(pin)) => return Ok(Kept::Lost { pin, served: served(seen.serving.as_deref()) }),
        (None, None) if pause.is_some() => return Ok(Kept::Pending),
        (None, None) => {
            target.reads.forget();
            (make(operator, cluster, now).await?, String::new())
        }
    };
    let (leaf, issuer_pem) = match present(&authority, &trusted, seen.serving.as_deref(), now) {
        Some(present) => present,
        None => anew(target, &authority, &trusted, now).await?,
    };
    let until = |pem: &str| not_after(pem).map_err(Error::certificate);
    Ok(Kept::Good(Box::new(Certificates {
        leaf_until: until(&leaf.certificate_pem)?,
        authority_until: until(authority.certificate_pem())?,
        signing_pem: authority.certificate_pem().to_owned(),
        pinned_pem: format!("{}{trusted}", authority.certificate_pem()),
        leaf,
        issuer_pem,
    })))
}

/// The CA's Secret; where the cache has none it is looked for once more, directly, for to make a CA where there is one
/// would turn every API server away from what serves.
async fn authority(
    operator: &Operator,
    cluster: &Cluster,
    seen: &Seen,
) -> Result<Option<Arc<Secret>>, Error> {
    if let Some(known) = &seen.authority {
        return Ok(Some(known.clone()));
    }
    let namespace = cluster.namespace().unwrap_or_default();
    directly(Api::namespaced(operator.client.clone(), &namespace), &ca_secret(&cluster.name_any())).await
}

/// Reads an object past the cache.
async fn directly<K>(api: Api<K>, name: &str) -> Result<Option<Arc<K>>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let read = api.get_opt(name).await.map_err(Error::read(format!("{} {name}", K::kind(&()))))?;
    Ok(read.map(Arc::new))
}

/// The hash of the CA that the target trusts.
fn pin(config_map: &ConfigMap) -> Option<String> {
    config_map.annotations().get(CA_SHA256).cloned()
}

/// The CA of a Secret that is there, if it may be used: it carries this Cluster's uid, the target trusts it
/// already, or an administrator said so.
fn existing(
    cluster: &Cluster,
    secret: &Secret,
    pinned: Option<&str>,
    now: i64,
) -> Result<(Authority, String), String> {
    let (certificate, key) = (text(secret, CERT_PEM), text(secret, KEY_PEM));
    let marked = |name: &str, value: Option<&str>| {
        value.is_some() && secret.annotations().get(name).map(String::as_str) == value
    };
    let usable = marked(CLUSTER_UID, cluster.metadata.uid.as_deref())
        || pinned == Some(sha256(&certificate).as_str())
        || marked(USE_AUTHORITY, Some("true"));
    if !usable {
        return Err(format!(
            "it is of another Cluster, or nobody knows of which; if it is to be used, annotate it with {USE_AUTHORITY}=true, else delete it"
        ));
    }
    let authority = Authority::existing(&certificate, &key, now).map_err(|error| match error {
        CertificateError::NotNow { .. } => {
            format!("{error}; see the runbook on how to put another CA in its place")
        }
        error => format!("{error}; put it right, or see the runbook on how to put another CA in its place"),
    })?;
    Ok((authority, text(secret, TRUSTED_PEM)))
}

/// Makes a CA and its Secret. It has no owner: a target that is left as it is still needs it.
async fn make(operator: &Operator, cluster: &Cluster, now: i64) -> Result<Authority, Error> {
    let authority = Authority::new(new_key()?, now).map_err(Error::certificate)?;
    let (name, namespace) = (ca_secret(&cluster.name_any()), cluster.namespace().unwrap_or_default());
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            labels: Some(BTreeMap::from([
                (MANAGED_BY.to_owned(), MANAGER.to_owned()),
                ("clusterctl.cluster.x-k8s.io/move".to_owned(), "true".to_owned()),
            ])),
            annotations: Some(BTreeMap::from([(
                CLUSTER_UID.to_owned(),
                cluster.metadata.uid.clone().unwrap_or_default(),
            )])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([
            (CERT_PEM.to_owned(), bytes(authority.certificate_pem())),
            (KEY_PEM.to_owned(), bytes(&authority.key_pem())),
        ])),
        ..Secret::default()
    };
    let api: Api<Secret> = Api::namespaced(operator.client.clone(), &namespace);
    one(operator, api, name.clone(), json(&secret)?, true).await?;
    tracing::info!(secret = format!("{namespace}/{name}"), "made the authenticator's CA");
    Ok(authority)
}

/// The leaf that is there, while it is good for any CA that the API server trusts; with the certificate of its issuer.
fn present(
    authority: &Authority,
    trusted: &str,
    serving: Option<&Secret>,
    now: i64,
) -> Option<(Leaf, String)> {
    let secret = serving.filter(|secret| is_ours(*secret))?;
    let leaf = leaf_in(secret);
    let mut issuers = certificates_in(authority.certificate_pem()).chain(certificates_in(trusted));
    let issuer = issuers.find(|ca| matches!(leaf_state(&leaf, ca, now), LeafState::Good { .. }))?;
    Some((leaf, issuer))
}

/// Another leaf, which restarts the pods; unless a last look, directly, shows one that has come a moment ago.
async fn anew(
    target: &Target,
    authority: &Authority,
    trusted: &str,
    now: i64,
) -> Result<(Leaf, String), Error> {
    let read = directly(Api::namespaced(target.client.clone(), NAMESPACE), SERVING_SECRET).await?;
    if let Some(present) = present(authority, trusted, read.as_deref(), now) {
        return Ok(present);
    }
    let leaf = authority.issue(&new_key()?, now).map_err(Error::certificate)?;
    Ok((leaf, certificates_in(authority.certificate_pem()).next().unwrap_or_default()))
}

/// The certificates of a PEM text, each by itself and as it is usually written: a line feed after each line, and no other
/// space. A certificate that comes back in other bytes would restart the authenticator's pods.
fn certificates_in(pem: &str) -> impl Iterator<Item = String> {
    const END: &str = "-----END CERTIFICATE-----";
    let parts = pem.split_inclusive(END).filter(|part| part.contains(END));
    parts.map(|part| part.trim().lines().flat_map(|line| [line.trim_end(), "\n"]).collect())
}

fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate().map_err(|error| Error::certificate(CertificateError::Make(error.to_string())))
}

fn text(secret: &Secret, key: &str) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()).unwrap_or_default()
}

fn leaf_in(secret: &Secret) -> Leaf {
    Leaf { certificate_pem: text(secret, CERTIFICATE_KEY), key_pem: text(secret, PRIVATE_KEY) }
}

/// What serves, with the certificate of its issuer, which lies beside it.
fn served(serving: Option<&Secret>) -> Option<(Leaf, String)> {
    let secret = serving.filter(|secret| is_ours(*secret))?;
    let leaf = leaf_in(secret);
    let issuer_pem = text(secret, AUTHORITY_KEY);
    (!issuer_pem.is_empty() && !leaf.key_pem.is_empty()).then_some((leaf, issuer_pem))
}

//! The KubeadmControlPlane of a Cluster: that of Cluster API's Cluster of the same name and namespace. Read directly,
//! each time, in the newest version that is served and known. Needs a client; writes nothing.

use awsiam_api::Cluster;
use awsiam_api::names::ROLLOUT;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use serde_json::Value;

use crate::error::Error;
use crate::operator::Operator;

const CLUSTER_GROUP: &str = "cluster.x-k8s.io";
const CLUSTER_KIND: &str = "Cluster";
const GROUP: &str = "controlplane.cluster.x-k8s.io";
const KIND: &str = "KubeadmControlPlane";
/// Newest first.
const VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];
/// Cluster API leaves an object with this annotation alone.
const PAUSED: &str = "cluster.x-k8s.io/paused";

/// What there is.
pub(in crate::authenticator) enum Found {
    /// This one.
    Here(Box<ControlPlane>),
    /// None, and none that could be ours to set up; the text says what is missing.
    Nothing(String),
    /// Cluster API has still to make it.
    NotYet(String),
}

/// A KubeadmControlPlane as it was read.
pub(in crate::authenticator) struct ControlPlane {
    /// `NAMESPACE/NAME`.
    pub(super) title: String,
    /// The whole object, `managedFields` included: they tell who else writes it.
    pub(super) object: Value,
    /// Where it is written to.
    pub(super) api: Api<DynamicObject>,
    /// Why Cluster API does nothing with it for now.
    pub(super) paused: Option<String>,
    /// Whether Cluster API's Cluster is being deleted, or it is itself.
    pub(super) is_going: bool,
}

/// Looks for it.
///
/// # Errors
/// [`Error::Read`].
pub(in crate::authenticator) async fn find(operator: &Operator, cluster: &Cluster) -> Result<Found, Error> {
    let (name, namespace) = place(operator, cluster);
    let title = format!("Cluster.{CLUSTER_GROUP} {namespace}/{name}");
    let Some((_, owner)) = read(&operator.client, CLUSTER_GROUP, CLUSTER_KIND, &namespace, &name).await?
    else {
        return Ok(Found::Nothing(format!("there is no {title}")));
    };
    let text = |path: &str| owner.data.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let referred = text("/spec/controlPlaneRef/name");
    if referred.is_empty() && owner.data.pointer("/spec/topology").is_some() {
        return Ok(Found::NotYet(format!("{title} has no spec.controlPlaneRef yet")));
    }
    let kind = text("/spec/controlPlaneRef/kind");
    if kind != KIND {
        let kind = if kind.is_empty() { "nothing".to_owned() } else { kind };
        return Ok(Found::Nothing(format!(
            "spec.controlPlaneRef of {title} refers to {kind} and not to a {KIND}"
        )));
    }
    let Some((api, object)) = read(&operator.client, GROUP, KIND, &namespace, &referred).await? else {
        return Ok(Found::NotYet(format!("{title} refers to {KIND} {referred}, which is not there")));
    };
    let is_going =
        owner.metadata.deletion_timestamp.is_some() || object.metadata.deletion_timestamp.is_some();
    let paused = if owner.data.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        Some(format!("{title} has spec.paused: true"))
    } else if object.annotations().contains_key(PAUSED) {
        Some(format!("it has annotation {PAUSED}"))
    } else {
        None
    };
    let what = format!("{KIND} {namespace}/{referred}");
    let object =
        serde_json::to_value(object).map_err(|error| Error::Unwritable { what, why: error.to_string() })?;
    let title = format!("{namespace}/{referred}");
    Ok(Found::Here(Box::new(ControlPlane { title, object, api, paused, is_going })))
}

/// Name and namespace of Cluster API's Cluster.
fn place(operator: &Operator, cluster: &Cluster) -> (String, String) {
    let own = cluster.namespace().unwrap_or_default();
    (cluster.name_any(), operator.options.cluster_api_namespace(&own))
}

/// Whether Cluster API takes the cluster's machines away: its Cluster is being deleted, or is gone although the API servers
/// were set up through it.
///
/// # Errors
/// [`Error::Read`].
pub(crate) async fn is_going(operator: &Operator, cluster: &Cluster) -> Result<bool, Error> {
    let (name, namespace) = place(operator, cluster);
    let owner = read(&operator.client, CLUSTER_GROUP, CLUSTER_KIND, &namespace, &name).await?;
    Ok(match owner {
        Some((_, owner)) => owner.metadata.deletion_timestamp.is_some(),
        None => cluster.annotations().get(ROLLOUT).is_some_and(|chosen| chosen == "KubeadmControlPlane"),
    })
}

async fn read(
    client: &Client,
    group: &str,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<(Api<DynamicObject>, DynamicObject)>, Error> {
    let Some(resource) = served(client, group, kind).await? else { return Ok(None) };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let read = api.get_opt(name).await.map_err(Error::read(format!("{kind}.{group} {namespace}/{name}")))?;
    // A server leaves them out of some answers, and the edit tells versions apart by them.
    Ok(read.map(|mut object| {
        object.types.get_or_insert(kube::api::TypeMeta {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
        });
        (api, object)
    }))
}

/// The kind in the newest version that is served; `None` where Cluster API is not installed.
async fn served(client: &Client, group: &str, kind: &str) -> Result<Option<ApiResource>, Error> {
    for version in VERSIONS {
        let wanted = GroupVersionKind::gvk(group, version, kind);
        match kube::discovery::pinned_kind(client, &wanted).await {
            Ok((resource, _)) => return Ok(Some(resource)),
            // The code alone: an API server answers in plain words where it knows neither group nor version.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            // The group is there and the kind is not.
            Err(kube::Error::Discovery(_)) => {}
            Err(error) => {
                return Err(Error::read(format!("which versions of {kind}.{group} are served"))(error));
            }
        }
    }
    Ok(None)
}

//! Why a KubeadmControlPlane is left as it is: somebody else decides about it, or there is no room for ours.

use serde_json::Value;

use super::found::{self, items, says_nothing, text};
use super::wanted::{self, FLAG, MOUNT_PATH, VOLUME, WebhookFile};
use super::{CONTENT_LIMIT, FILE_LIMIT, LIST_LIMIT, RefusalReason};

/// Cluster API's mark on every object that it makes from a ClusterClass.
/// <https://cluster-api.sigs.k8s.io/reference/api/labels-and-annotations>
const TOPOLOGY_OWNED: &str = "topology.cluster.x-k8s.io/owned";

/// A reason, and the sentence that says what is wrong and what to do.
type Obstacle = (RefusalReason, String);

/// Somebody whose next write would undo ours, part of it at worst.
pub(super) fn foreign_owner(object: &Value) -> Option<Obstacle> {
    being_deleted(object).or_else(|| topology(object)).or_else(|| applier(object))
}

fn being_deleted(object: &Value) -> Option<Obstacle> {
    object.pointer("/metadata/deletionTimestamp")?;
    Some((RefusalReason::BeingDeleted, "it is being deleted; nothing is changed in it any more".to_owned()))
}

fn topology(object: &Value) -> Option<Obstacle> {
    object.pointer("/metadata/labels")?.get(TOPOLOGY_OWNED)?;
    let message = format!(
        "Cluster API makes it from a ClusterClass (label {TOPOLOGY_OWNED}) and would fight over every change. Add the \
         variable and the patch to the ClusterClass, and then the variable's value to the Cluster"
    );
    Some((RefusalReason::TopologyOwned, message))
}

/// A manager that applies one of the three lists: its next apply would take ours out of an atomic list, and leave the
/// flag, without its file, in one that isn't. Who applied is in managedFields alone.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
fn applier(object: &Value) -> Option<Obstacle> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    entries.iter().filter(|entry| text(entry, "operation") == "Apply").find_map(|entry| {
        let fields = applied(entry.get("fieldsV1")?);
        if fields.is_empty() {
            return None;
        }
        let message = format!(
            "field manager {:?} applies {} and would take a change of ours out again. Add the patch where that manager \
             gets its objects from",
            text(entry, "manager"),
            fields.join(", "),
        );
        Some((RefusalReason::ForeignManager, message))
    })
}

/// Which of our lists a set of fields (<https://pkg.go.dev/sigs.k8s.io/structured-merge-diff/v6/fieldpath>) names.
fn applied(fields: &Value) -> Vec<&'static str> {
    const API_SERVER: &str = "/f:spec/f:kubeadmConfigSpec/f:clusterConfiguration/f:apiServer";
    [
        ("/f:spec/f:kubeadmConfigSpec".to_owned(), "f:files", "files"),
        (API_SERVER.to_owned(), "f:extraArgs", "apiServer.extraArgs"),
        (API_SERVER.to_owned(), "f:extraVolumes", "apiServer.extraVolumes"),
    ]
    .into_iter()
    .filter(|(parent, member, _)| fields.pointer(parent).is_some_and(|parent| parent.get(member).is_some()))
    .map(|(.., name)| name)
    .collect()
}

/// Something at our places that isn't ours. With `edited` the file and the mount there are.
pub(super) fn taken(object: &Value, edited: bool, webhook: &WebhookFile) -> Option<Obstacle> {
    let (flag, value) = found::flag(object);
    if flag.is_other() {
        let message = format!(
            "the API server's flag {FLAG} points to {value:?} already, and it can ask one webhook only. Take that flag \
             out if the webhook behind it is no longer wanted, or leave the API server alone with apiServer.rollout: \
             Manual"
        );
        return Some((RefusalReason::FlagElsewhere, message));
    }
    if !edited && found::file(object, Some(webhook)).is_other() {
        let path = wanted::host_path(object);
        let message = format!(
            "spec.kubeadmConfigSpec.files has a {path} that isn't ours, with another content. Take it out, or give it \
             the content in the patch"
        );
        return Some((RefusalReason::FileNotOurs, message));
    }
    if !edited && found::volume(object).is_other() {
        let message = format!(
            "apiServer.extraVolumes has a volume {VOLUME} that isn't ours and is another. Take it out, or make it the \
             one in the patch"
        );
        return Some((RefusalReason::VolumeNotOurs, message));
    }
    found::hiding_volume(object).map(|volume| {
        let message = format!(
            "volume {:?} in apiServer.extraVolumes is mounted at {}, where the API server would not see \
             {MOUNT_PATH}. Mount it elsewhere or take it out",
            text(volume, "name"),
            text(volume, "mountPath"),
        );
        (RefusalReason::VolumeInTheWay, message)
    })
}

/// Cluster API's webhook never lets a `clusterConfiguration` go that was put in: what has none could never be again what
/// it is.
pub(super) fn no_way_back(object: &Value) -> Option<Obstacle> {
    object.pointer(wanted::CLUSTER).is_none_or(says_nothing).then(|| {
        let message = "spec.kubeadmConfigSpec has no clusterConfiguration, and Cluster API never lets go of one that was \
             put in, so that awsiam could not undo its change. Put in what holds anyway, kubeadm's default \
             clusterConfiguration.etcd.local.dataDir: /var/lib/etcd, and awsiam makes the change; or make it by hand";
        (RefusalReason::NoWayBack, message.to_owned())
    })
}

/// Limits of Cluster API's schema (v1.14, both versions but for the count of arguments, which is v1beta2's).
pub(super) fn no_room(object: &Value, webhook: &WebhookFile) -> Option<Obstacle> {
    let length = webhook.content.chars().count();
    let full = |list: &str, count: usize, limit: usize| {
        let message = format!("{list} has {count} items and Cluster API allows {limit}. Take one out");
        (RefusalReason::LimitReached, message)
    };
    let files = items(object, wanted::FILES).len();
    let arguments = found::argument_count(object);
    let volumes = items(object, wanted::VOLUMES).len();
    if length > CONTENT_LIMIT || length == 0 {
        let message = format!(
            "the webhook's kubeconfig has {length} characters and Cluster API allows 1 to {CONTENT_LIMIT} in a file. \
             A certificate authority of a single certificate fits"
        );
        Some((RefusalReason::LimitReached, message))
    } else if found::file(object, None).at().is_none() && files >= FILE_LIMIT {
        Some(full("spec.kubeadmConfigSpec.files", files, FILE_LIMIT))
    } else if found::flag(object).0.at().is_none() && arguments >= LIST_LIMIT {
        Some(full("apiServer.extraArgs", arguments, LIST_LIMIT))
    } else if found::volume(object).at().is_none() && volumes >= LIST_LIMIT {
        Some(full("apiServer.extraVolumes", volumes, LIST_LIMIT))
    } else {
        None
    }
}

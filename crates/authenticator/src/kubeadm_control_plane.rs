//! The edit of a Cluster API KubeadmControlPlane by which its API servers ask the authenticator: one file, one flag,
//! one read-only mount, put in and taken out again.
//!
//! Pure, over the object's JSON as it was read, in v1beta1 or v1beta2 (<https://cluster-api.sigs.k8s.io>): what is
//! in it that we don't know stays as it is, and in its order. Nothing is sent from here. The caller sends an edited
//! object as a whole, by a PUT that is conditional on the resourceVersion it carries.
//!
//! Every change of what we put in makes Cluster API replace all machines of the control plane, one by one. While a
//! machine is being made, the edit must wait (see [`Rollout::lets_edit`]): a machine from before that joins after would
//! get the flag, from the cluster's `kubeadm-config`, but not the file, and its API server would not start.

mod by_hand;
mod edit;
mod found;
mod obstacles;
mod patch;
mod record;
mod rollout;
mod wanted;

use serde_json::Value;

use self::found::Version;
use self::patch::Draft;
use self::record::Record;

pub use self::patch::Operation;
pub use self::record::ANNOTATION;
pub use self::rollout::{Progress, Rollout, RolloutState, rollout};
pub use self::wanted::{BOTTLEROCKET_PATH, FLAG, MOUNT_PATH, VOLUME, WebhookFile};

/// Most items of `files`.
const FILE_LIMIT: usize = 200;
/// Most items of `extraVolumes`, and of v1beta2's `extraArgs`.
const LIST_LIMIT: usize = 100;
/// Most characters of a file's content.
const CONTENT_LIMIT: usize = 10_240;

/// What to do with a KubeadmControlPlane.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing: it is exactly so already, whoever made it so.
    InPlace,
    /// Send the edited object.
    Edit(Box<Edit>),
    /// Nothing, because it may not or can't be done; tell the administrator.
    Refused(Box<Refusal>),
}

/// A change to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The whole object, with the resourceVersion that was read.
    pub object: Value,
    /// The same change as a JSON patch, for people.
    pub operations: Vec<Operation>,
    /// What changes and what it sets going.
    pub message: String,
    /// Whether Cluster API replaces machines because of it.
    pub replaces_machines: bool,
}

/// Why nothing is changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// For programs.
    pub reason: RefusalReason,
    /// What is wrong, where, and what to do.
    pub message: String,
    /// The change that we would have made, to be made by hand: a command with a JSON patch, or what to add to a
    /// ClusterClass and its Cluster. `None` where no patch would help.
    pub patch: Option<String>,
}

/// Why nothing is changed, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// Not a KubeadmControlPlane of a version we know, or not of its shape.
    NotUnderstood,
    /// It is on its way out.
    BeingDeleted,
    /// Made from a ClusterClass by Cluster API's topology controller.
    TopologyOwned,
    /// Another field manager applies the lists.
    ForeignManager,
    /// The flag points to another file.
    FlagElsewhere,
    /// There is a file at our path that isn't ours.
    FileNotOurs,
    /// There is a volume of our name that isn't ours.
    VolumeNotOurs,
    /// Another volume is mounted over the place of our file.
    VolumeInTheWay,
    /// A list is full, or the file too long.
    LimitReached,
    /// It has no clusterConfiguration, and Cluster API would not let one go again.
    NoWayBack,
    /// To be taken out, but it wasn't us who put it in.
    NotOurs,
}

/// What to do so that the API servers ask the authenticator by `webhook`.
///
/// `object` must have its `metadata.managedFields`: without them another field manager is not seen.
#[must_use]
pub fn plan(object: &Value, webhook: &WebhookFile) -> Decision {
    let Some(version) = found::readable(object) else { return not_understood(object) };
    let in_place = found::file(object, Some(webhook)).is_same()
        && found::flag(object).0.is_same()
        && found::volume(object).is_same()
        && found::hiding_volume(object).is_none();
    if in_place {
        return Decision::InPlace;
    }
    let record = Record::of(object);
    let mut draft = Draft::of(object);
    edit::put_in(&mut draft, version, webhook);
    if let Some(obstacle) = obstacles::no_room(object, webhook) {
        return refused(object, version, obstacle, None);
    }
    let is_edited = record.is_some();
    let obstacle = obstacles::foreign_owner(object)
        .or_else(|| obstacles::taken(object, is_edited, webhook))
        .or_else(|| obstacles::no_way_back(object).filter(|_| !is_edited));
    if let Some(obstacle) = obstacle {
        return refused(object, version, obstacle, Some(&draft.operations));
    }
    let message = message_of_plan(object, webhook, is_edited);
    edit::note(&mut draft, &record.unwrap_or_else(|| Record::before(object)));
    let Draft { object, operations } = draft;
    Decision::Edit(Box::new(Edit { object, operations, message, replaces_machines: true }))
}

/// What to do so that nothing of ours is left. The edited object is what it was before [`plan`]'s edit, but for what
/// others have changed since. Where they have taken everything else out of `clusterConfiguration`, kubeadm's default
/// `etcd.local.dataDir` is put in, because Cluster API refuses to let it go.
#[must_use]
pub fn undo(object: &Value) -> Decision {
    let Some(version) = found::readable(object) else { return not_understood(object) };
    let mut draft = Draft::of(object);
    let Some(record) = Record::of(object) else {
        if !found::flag(object).0.is_same() {
            return Decision::InPlace;
        }
        edit::take_out(&mut draft, &Record::before(object));
        let message = format!(
            "the API server's flag {FLAG} points to our file, but it wasn't the operator who put it in (annotation \
             {ANNOTATION} is missing). Take flag, mount and file out where they were put in"
        );
        return refused(object, version, (RefusalReason::NotOurs, message), Some(&draft.operations));
    };
    let stand_in = edit::take_out(&mut draft, &record);
    let replaces_machines = !draft.operations.is_empty();
    if let Some(obstacle) = obstacles::foreign_owner(object).filter(|_| replaces_machines) {
        return refused(object, version, obstacle, Some(&draft.operations));
    }
    edit::forget(&mut draft);
    let message = if replaces_machines {
        let instead = if stand_in {
            ". Cluster API wants something to stay in clusterConfiguration: what stays is kubeadm's default, \
             etcd.local.dataDir: /var/lib/etcd"
        } else {
            ""
        };
        format!("takes the token webhook's file, flag and mount out of {}{ROLLS}{instead}", named(object))
    } else {
        format!("takes our note off {}; nothing else of ours is in it any more", named(object))
    };
    let Draft { object, operations } = draft;
    Decision::Edit(Box::new(Edit { object, operations, message, replaces_machines }))
}

/// The change of [`undo`] as a command for an administrator; `None` where there is nothing to take out, or no command
/// would do.
#[must_use]
pub fn undo_by_hand(object: &Value) -> Option<String> {
    match undo(object) {
        Decision::InPlace => None,
        Decision::Edit(edit) => Some(by_hand::command(object, found::readable(object)?, &edit.operations)),
        Decision::Refused(refusal) => refusal.patch,
    }
}

/// Whether we have edited it and not undone that: it carries our annotation.
#[must_use]
pub fn is_ours(object: &Value) -> bool {
    Record::of(object).is_some()
}

/// The content of the file at our path, whoever put it there: it pins the certificate authority.
#[must_use]
pub fn webhook_file(object: &Value) -> Option<&str> {
    let index = found::file(object, None).at()?;
    found::items(object, wanted::FILES).get(index)?.get("content")?.as_str()
}

/// The flag's value; `None`: the flag isn't there. It is ours to use when it is [`MOUNT_PATH`].
#[must_use]
pub fn flag(object: &Value) -> Option<&str> {
    let (place, value) = found::flag(object);
    place.at().map(|_| value)
}

const ROLLS: &str = ". Cluster API replaces the machines of the control plane for it, one by one";

fn message_of_plan(object: &Value, webhook: &WebhookFile, edited: bool) -> String {
    let what = match (found::file(object, None).at(), found::file(object, Some(webhook)).is_same()) {
        (Some(_), false) => "changes the token webhook's file in",
        _ if edited => "puts back what is missing of the token webhook's file, flag and mount in",
        _ => "adds the token webhook's file, flag and mount to",
    };
    let again = if applied_from_a_file(object) {
        ". It was made by kubectl apply: add the same to that file, or the next apply takes it out again"
    } else {
        ""
    };
    format!("{what} {}{ROLLS}{again}", named(object))
}

/// Whether `kubectl apply` remembers to have set one of the lists: it replaces a list as a whole when it differs.
fn applied_from_a_file(object: &Value) -> bool {
    let remembered = object
        .pointer("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration")
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let lists = [wanted::FILES, wanted::ARGUMENTS, wanted::VOLUMES];
    remembered.is_some_and(|applied| lists.iter().any(|list| applied.pointer(list).is_some()))
}

fn named(object: &Value) -> String {
    let metadata = |member: &str| object.get("metadata").and_then(|metadata| metadata.get(member)?.as_str());
    let name = metadata("name").unwrap_or("without a name");
    metadata("namespace").map_or_else(
        || format!("KubeadmControlPlane {name}"),
        |namespace| format!("KubeadmControlPlane {namespace}/{name}"),
    )
}

fn refused(
    object: &Value,
    version: Version,
    (reason, message): (RefusalReason, String),
    operations: Option<&[Operation]>,
) -> Decision {
    let patch = operations.and_then(|operations| match reason {
        RefusalReason::BeingDeleted | RefusalReason::VolumeInTheWay => None,
        RefusalReason::TopologyOwned => by_hand::cluster_class(version, operations),
        _ => Some(by_hand::command(object, version, operations)),
    });
    let message = format!("{}: {message}", named(object));
    Decision::Refused(Box::new(Refusal { reason, message, patch }))
}

fn not_understood(object: &Value) -> Decision {
    let text = |member: &str| object.get(member).and_then(Value::as_str).unwrap_or("nothing");
    let message = format!(
        "{}: it has apiVersion {} and kind {}; known are KubeadmControlPlanes of controlplane.cluster.x-k8s.io/v1beta1 \
         and v1beta2 in the shape of their schemas. Use apiServer.rollout: Manual",
        named(object),
        text("apiVersion"),
        text("kind"),
    );
    Decision::Refused(Box::new(Refusal { reason: RefusalReason::NotUnderstood, message, patch: None }))
}

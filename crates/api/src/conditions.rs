//! Conditions: their types and reasons, and how a list of them is kept. The time is the caller's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The conjunction of all others.
pub const READY: &str = "Ready";
/// Cluster: the target's API server answers us.
pub const TARGET_REACHABLE: &str = "TargetReachable";
/// Cluster: aws-auth (or the IAMIdentityMappings) grants what is asked for.
pub const AWS_AUTH_SYNCED: &str = "AwsAuthSynced";
/// Cluster: the authenticator runs on every control-plane node and has read the mappings.
pub const AUTHENTICATOR_READY: &str = "AuthenticatorReady";
/// Cluster: the API server asks the authenticator.
pub const API_SERVER_CONFIGURED: &str = "ApiServerConfigured";
/// Cluster: the user kubeconfig is there and right.
pub const KUBECONFIG_READY: &str = "KubeconfigReady";
/// Cluster: aws-auth has lost the entries by which nodes join. Bad when `True`.
pub const NODE_ENTRIES_LOST: &str = "NodeEntriesLost";
/// AWSIamConfig: no row is rejected.
pub const VALID: &str = "Valid";
/// AWSIamConfig: every referring Cluster has this generation.
pub const SYNCED: &str = "Synced";

/// Types whose `True` is bad news.
const BAD_WHEN_TRUE: [&str; 1] = [NODE_ENTRIES_LOST];

/// Reasons: one word for programs, the same from release to release. The runbook has a paragraph on each.
pub mod reasons {
    /// The backends that are asked for would leave out nodes, which join by aws-auth.
    pub const UNASKED_NODES: &str = "UnaskedNodes";
    /// Mappings move between aws-auth and IAMIdentityMapping objects.
    pub const MOVING: &str = "Moving";
    /// Objects are written, and no authenticator has read them yet.
    pub const WAITING_FOR_AUTHENTICATOR: &str = "WaitingForAuthenticator";
    /// Entries of aws-auth that are not ours are no longer asked for.
    pub const ENTRIES_NOT_ASKED: &str = "EntriesNotAsked";
    /// The target could not be read.
    pub const READ_FAILED: &str = "ReadFailed";
    /// The target could not be written to.
    pub const WRITE_FAILED: &str = "WriteFailed";
    /// The object does not decode.
    pub const UNDECODABLE: &str = "Undecodable";
    /// Everything is as it is asked for.
    pub const SYNCED: &str = "Synced";
    /// All that applies is in order.
    pub const READY: &str = "Ready";
    /// Not looked at yet.
    pub const PENDING: &str = "Pending";
    /// The target answers.
    pub const REACHABLE: &str = "Reachable";
    /// The target does not answer.
    pub const UNREACHABLE: &str = "Unreachable";
    /// There is no Secret with a kubeconfig for the target.
    pub const KUBECONFIG_SECRET_MISSING: &str = "KubeconfigSecretMissing";
    /// The operator may not read that Secret.
    pub const KUBECONFIG_SECRET_FORBIDDEN: &str = "KubeconfigSecretForbidden";
    /// The kubeconfig leads to the cluster that the operator runs in.
    pub const TARGET_IS_MANAGEMENT_CLUSTER: &str = "TargetIsManagementCluster";
    /// The kubeconfig in the Secret holds what is not taken from a Secret.
    pub const KUBECONFIG_REFUSED: &str = "KubeconfigRefused";
    /// The target cannot be served by this operator.
    pub const TARGET_NOT_SUPPORTED: &str = "TargetNotSupported";
    /// EKS Anywhere controls the Cluster.
    pub const MANAGED_BY_EKS_ANYWHERE: &str = "ManagedByEKSAnywhere";
    /// The CRD in the cluster would drop our fields.
    pub const CRD_LACKS_FIELDS: &str = "CRDLacksFields";
    /// The Cluster, or an AWSIamConfig, says suspend: true.
    pub const SUSPENDED: &str = "Suspended";
    /// An administrator has ended our ownership of the target.
    pub const RELEASED: &str = "Released";
    /// The operator only observes.
    pub const OBSERVE_ONLY: &str = "ObserveOnly";
    /// `identityProviderRefs` is absent: what was granted stays as it is.
    pub const NO_IDENTITY_PROVIDER_REFS: &str = "NoIdentityProviderRefs";
    /// A reference names an AWSIamConfig that is not there or cannot be read.
    pub const REFERENCE_NOT_RESOLVED: &str = "ReferenceNotResolved";
    /// An AWSIamConfig differs from the first in region, partition or backends.
    pub const REFERENCE_DISAGREES: &str = "ReferenceDisagrees";
    /// Rows are left out.
    pub const MAPPINGS_REJECTED: &str = "MappingsRejected";
    /// A foreign entry has the key of a mapping and says something else.
    pub const CONFLICT: &str = "Conflict";
    /// A foreign entry already grants what a mapping asks for.
    pub const ALREADY_PRESENT: &str = "AlreadyPresent";
    /// A mapping has the ARN of an entry by which nodes join.
    pub const NODE_ENTRY: &str = "NodeEntry";
    /// A mapping asks for more than the operator's flags allow.
    pub const PRIVILEGE_REFUSED: &str = "PrivilegeRefused";
    /// The removal of the last administrator is held.
    pub const LAST_ADMINISTRATOR: &str = "LastAdministrator";
    /// Another installation or Cluster owns the entries of this target.
    pub const TARGET_CLAIMED: &str = "TargetClaimed";
    /// Somebody undoes our changes again and again.
    pub const FIGHTING_WRITER: &str = "FightingWriter";
    /// aws-auth, or one of its data keys, cannot be read.
    pub const UNREADABLE: &str = "Unreadable";
    /// aws-auth is immutable.
    pub const IMMUTABLE: &str = "Immutable";
    /// aws-auth is being deleted.
    pub const BEING_DELETED: &str = "BeingDeleted";
    /// The result would not fit into an object.
    pub const TOO_LARGE: &str = "TooLarge";
    /// The result would not read as intended; nothing was written.
    pub const VERIFICATION_FAILED: &str = "VerificationFailed";
    /// The ledger was written by a newer release.
    pub const LEDGER_TOO_NEW: &str = "LedgerTooNew";
    /// The ledger was lost and made anew; some entries may be nobody's.
    pub const POSSIBLY_ORPHANED: &str = "PossiblyOrphaned";
    /// No entry is left by which nodes join.
    pub const NO_NODE_ENTRIES: &str = "NoNodeEntries";
    /// There are entries by which nodes join.
    pub const NODE_ENTRIES_PRESENT: &str = "NodeEntriesPresent";
    /// The key of the authenticator's CA is gone while the API server trusts it.
    pub const CA_LOST: &str = "CALost";
    /// An object of that name is there and not ours.
    pub const FOREIGN_OBJECT: &str = "ForeignObject";
    /// No node is labelled as control plane.
    pub const NO_CONTROL_PLANE_NODES: &str = "NoControlPlaneNodes";
    /// A rollout is on its way.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// A rollout makes no progress.
    pub const ROLLOUT_STALLED: &str = "RolloutStalled";
    /// A rollout waits for its turn.
    pub const WAITING_FOR_TURN: &str = "WaitingForTurn";
    /// The image does not begin with an allowed prefix.
    pub const IMAGE_NOT_ALLOWED: &str = "ImageNotAllowed";
    /// An administrator has to set file and flag.
    pub const WAITING_FOR_ADMINISTRATOR: &str = "WaitingForAdministrator";
    /// The API server asks another webhook.
    pub const OTHER_WEBHOOK: &str = "OtherWebhook";
    /// The KubeadmControlPlane is somebody else's to change.
    pub const CONTROL_PLANE_MANAGED_ELSEWHERE: &str = "ControlPlaneManagedElsewhere";
    /// The API server was seen to ask.
    pub const CONFIGURED: &str = "Configured";
    /// It could not be seen.
    pub const NOT_OBSERVED: &str = "NotObserved";
    /// The Cluster names no endpoint.
    pub const NO_ENDPOINT: &str = "NoEndpoint";
    /// The cluster id is missing, or another one is asked for.
    pub const CLUSTER_ID: &str = "ClusterID";
    /// The catalogue has no image for the Kubernetes version.
    pub const UNKNOWN_KUBERNETES_VERSION: &str = "UnknownKubernetesVersion";
    /// A taint of the Cluster is none.
    pub const INVALID_TAINT: &str = "InvalidTaint";
    /// An environment variable of the Cluster is none that the authenticator may have.
    pub const UNKNOWN_VARIABLE: &str = "UnknownVariable";
    /// The authenticator runs everywhere, with the mappings.
    pub const ROLLED_OUT: &str = "RolledOut";
    /// The same, with an image that waits to be replaced by the catalogue's.
    pub const IMAGE_HELD_BACK: &str = "ImageHeldBack";
    /// The authenticator runs; whether it has the mappings is not looked at.
    pub const MAPPINGS_NOT_OBSERVED: &str = "MappingsNotObserved";
    /// The authenticator runs and can't load the mappings.
    pub const MAPPINGS_NOT_LOADED: &str = "MappingsNotLoaded";
    /// Another program has port 21362.
    pub const PORT_TAKEN: &str = "PortTaken";
    /// A container ends again and again.
    pub const CRASH_LOOPING: &str = "CrashLooping";
    /// An image can't be pulled.
    pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
    /// A pod has no node.
    pub const NOT_SCHEDULED: &str = "NotScheduled";
    /// A node's clock is off.
    pub const CLOCK_OFF: &str = "ClockOff";
    /// A certificate ends within 30 days.
    pub const CERTIFICATE_EXPIRING: &str = "CertificateExpiring";
    /// The CA's Secret can't be used.
    pub const CA_UNUSABLE: &str = "CAUnusable";
    /// The authenticator stays, because an API server still asks it.
    pub const FLAG_STILL_SET: &str = "FlagStillSet";
    /// The API server asks and nothing answers.
    pub const WEBHOOK_UNREACHABLE: &str = "WebhookUnreachable";
    /// The API server does not trust what answers.
    pub const WEBHOOK_NOT_TRUSTED: &str = "WebhookNotTrusted";
    /// The API server's file is not kept on every control-plane node.
    pub const WEBHOOK_FILE_NOT_WRITTEN: &str = "WebhookFileNotWritten";
    /// Another way is asked for, and our change is still in the KubeadmControlPlane.
    pub const CONTROL_PLANE_EDIT_LEFT: &str = "ControlPlaneEditLeft";
    /// The Secret is there and right.
    pub const WRITTEN: &str = "Written";
    /// The target is being cleaned because the Cluster goes.
    pub const REMOVING: &str = "Removing";
    /// AWSIamConfig: no Cluster refers to it.
    pub const NOT_REFERENCED: &str = "NotReferenced";
    /// AWSIamConfig: not every Cluster has this generation.
    pub const CLUSTERS_NOT_SYNCED: &str = "ClustersNotSynced";
    /// AWSIamConfig: every row counts.
    pub const ALL_ACCEPTED: &str = "AllAccepted";
}

/// What a condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can say yet.
    Unknown,
}

impl Status {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        }
    }
}

/// Reads conditions and leaves out those of another shape: another controller may have written the status,
/// and that is no reason not to read the spec.
pub(crate) fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Condition>, D::Error> {
    let items = Vec::<Value>::deserialize(deserializer)?;
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// Puts a condition into the list, sorted by type. `now` becomes its `lastTransitionTime` only when its
/// status is another than before.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    now: &Time,
    generation: Option<i64>,
    kind: &str,
    status: Status,
    reason: &str,
    message: impl Into<String>,
) {
    let before = conditions.iter().find(|condition| condition.type_ == kind);
    let since = before.filter(|condition| condition.status == status.as_str());
    let condition = Condition {
        type_: kind.to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: since.map_or_else(|| now.clone(), |before| before.last_transition_time.clone()),
    };
    remove_condition(conditions, kind);
    conditions.push(condition);
    // `Ready` first, for people; the rest in a fixed order, so that equal lists compare equal.
    conditions.sort_by(|a, b| (a.type_ != READY, &a.type_).cmp(&(b.type_ != READY, &b.type_)));
}

/// Takes a condition that does not apply out of the list.
pub fn remove_condition(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.type_ != kind);
}

/// The condition of a type, if it is there.
#[must_use]
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether two lists say the same; their times, and the order of their items, are not looked at.
#[must_use]
pub fn same_but_for_times(one: &[Condition], other: &[Condition]) -> bool {
    let without_time = |c: &Condition| {
        (c.type_.clone(), c.status.clone(), c.reason.clone(), c.message.clone(), c.observed_generation)
    };
    let sorted = |conditions: &[Condition]| {
        let mut list: Vec<_> = conditions.iter().map(without_time).collect();
        list.sort();
        list
    };
    sorted(one) == sorted(other)
}

/// What `Ready` is to say: the conjunction of the other conditions that are present. A condition that is
/// bad comes before one that is unknown; its reason and message are passed on.
#[must_use]
pub fn ready(conditions: &[Condition]) -> (Status, String, String) {
    let parts = || conditions.iter().filter(|condition| condition.type_ != READY);
    let is = |condition: &Condition, status: Status| condition.status == status.as_str();
    let bad = |condition: &&Condition| {
        let wrong =
            if BAD_WHEN_TRUE.contains(&condition.type_.as_str()) { Status::True } else { Status::False };
        is(condition, wrong)
    };
    let open = |condition: &&Condition| is(condition, Status::Unknown);
    let say = |status, condition: &Condition| {
        let message = format!("{}: {}", condition.type_, condition.message);
        (status, condition.reason.clone(), message)
    };
    if let Some(condition) = parts().find(bad) {
        return say(Status::False, condition);
    }
    if let Some(condition) = parts().find(open) {
        return say(Status::Unknown, condition);
    }
    if parts().next().is_none() {
        return (Status::Unknown, reasons::PENDING.to_owned(), "nothing has been looked at yet".to_owned());
    }
    (Status::True, reasons::READY.to_owned(), String::new())
}

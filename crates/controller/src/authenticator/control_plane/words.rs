//! What is said of a rollout through Cluster API. Words only.

use awsiam_api::Cluster;
use awsiam_api::conditions::{API_SERVER_CONFIGURED, AUTHENTICATOR_READY, Status, condition, reasons};
use awsiam_authenticator::kubeadm_control_plane::ANNOTATION;
use awsiam_authenticator::kubeadm_control_plane::{Edit, Refusal, RefusalReason, Rollout, RolloutState};

use super::super::conditions::{Said, no, yes};
use crate::error::Error;
use crate::hands_off::Pause;

const NAME: &str = "KubeadmControlPlane";

pub(super) fn failed(error: &Error) -> Said {
    no(API_SERVER_CONFIGURED, error.reason(), format!("the last attempt failed and is repeated: {error}"))
}

pub(in crate::authenticator) fn not_there(why: &str) -> Said {
    no(
        API_SERVER_CONFIGURED,
        reasons::WAITING_FOR_ADMINISTRATOR,
        format!(
            "spec.iamAuthenticator.apiServer.rollout is KubeadmControlPlane, chosen or recorded in annotation awsiam-operator.dev/rollout, and {why}. Make that so, or set the rollout to Manual"
        ),
    )
}

pub(in crate::authenticator) fn not_yet(why: &str) -> Said {
    no(API_SERVER_CONFIGURED, reasons::PENDING, format!("{why}: waiting for Cluster API"))
}

pub(super) fn waits_for_authenticator(title: &str) -> Said {
    no(
        API_SERVER_CONFIGURED,
        reasons::PENDING,
        format!(
            "{NAME} {title} is changed once condition AuthenticatorReady is True: an API server must not ask before somebody answers"
        ),
    )
}

pub(super) fn without_authority(title: &str) -> Said {
    no(
        API_SERVER_CONFIGURED,
        reasons::CA_LOST,
        format!(
            "{NAME} {title} has no file, and none can be made while the CA is gone; see condition AuthenticatorReady"
        ),
    )
}

pub(super) fn paused(title: &str, why: &str) -> Said {
    no(
        API_SERVER_CONFIGURED,
        reasons::PENDING,
        format!("{NAME} {title} is paused and is changed when it no longer is: {why}"),
    )
}

pub(super) fn going(title: &str) -> Said {
    no(
        API_SERVER_CONFIGURED,
        reasons::BEING_DELETED,
        format!("{NAME} {title} or its Cluster is being deleted; nothing is changed in it any more"),
    )
}

pub(super) fn pending(edit: &Edit, pause: Pause) -> Said {
    let reason = if pause == Pause::ObserveOnly { reasons::OBSERVE_ONLY } else { reasons::SUSPENDED };
    no(API_SERVER_CONFIGURED, reason, format!("{}. Pending: {}", pause.message(), edit.message))
}

/// Machines are being replaced for another reason.
pub(super) fn busy(title: &str, rollout: &Rollout) -> Said {
    let reason = match rollout.state {
        RolloutState::Stalled => reasons::ROLLOUT_STALLED,
        RolloutState::InProgress | RolloutState::Done => reasons::ROLLING_OUT,
    };
    no(
        API_SERVER_CONFIGURED,
        reason,
        format!(
            "{NAME} {title} is not changed while its machines are, because one that joins then would get the flag without the file: {}",
            rollout.why
        ),
    )
}

pub(super) fn waits_for_turn(title: &str, others: &[String]) -> Said {
    no(
        API_SERVER_CONFIGURED,
        reasons::WAITING_FOR_TURN,
        format!(
            "{NAME} {title} is changed when its turn comes (--max-control-plane-rollouts); now replacing machines: {}",
            others.join(", ")
        ),
    )
}

pub(super) fn begun(edit: &Edit) -> Said {
    no(API_SERVER_CONFIGURED, reasons::ROLLING_OUT, edit.message.clone())
}

/// Our change is in the object and not yet on every machine.
pub(super) fn rolling(title: &str, rollout: &Rollout, moving: bool) -> Said {
    let why = &rollout.why;
    match (rollout.state, moving) {
        (RolloutState::Stalled, _) => no(
            API_SERVER_CONFIGURED,
            reasons::ROLLOUT_STALLED,
            format!("{NAME} {title} does not go on with replacing its machines: {why}"),
        ),
        (_, false) => no(
            API_SERVER_CONFIGURED,
            reasons::ROLLOUT_STALLED,
            format!(
                "nothing has moved for 30 minutes while {NAME} {title} replaces its machines: {why}. Look at its Machines (kubectl get machines.cluster.x-k8s.io); others need not wait for it any more"
            ),
        ),
        _ => no(
            API_SERVER_CONFIGURED,
            reasons::ROLLING_OUT,
            format!("{NAME} {title} replaces its machines: {why}"),
        ),
    }
}

/// Of machines that Cluster API calls done, these lack the flag.
pub(super) fn lacking(title: &str, nodes: &[String]) -> Said {
    no(
        API_SERVER_CONFIGURED,
        reasons::ROLLING_OUT,
        format!(
            "{NAME} {title} has file and flag, and the API servers of these nodes do not have the flag yet: {}",
            nodes.join(", ")
        ),
    )
}

pub(super) fn configured(title: &str) -> Said {
    yes(
        API_SERVER_CONFIGURED,
        reasons::CONFIGURED,
        format!("every machine of {NAME} {title} was made with file and flag"),
    )
}

/// Whether the status of a Cluster says that its API servers have been set up.
pub(super) fn was_configured(cluster: &Cluster) -> bool {
    let conditions = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    condition(conditions, API_SERVER_CONFIGURED).is_some_and(|c| c.status == Status::True.as_str())
}

/// Left as it is; with the change to be made by others.
pub(super) fn refused(refusal: &Refusal) -> Said {
    let reason = match refusal.reason {
        RefusalReason::FlagElsewhere => reasons::OTHER_WEBHOOK,
        RefusalReason::TopologyOwned | RefusalReason::ForeignManager => {
            reasons::CONTROL_PLANE_MANAGED_ELSEWHERE
        }
        RefusalReason::BeingDeleted => reasons::BEING_DELETED,
        RefusalReason::NotUnderstood
        | RefusalReason::FileNotOurs
        | RefusalReason::VolumeNotOurs
        | RefusalReason::VolumeInTheWay
        | RefusalReason::LimitReached
        | RefusalReason::NoWayBack
        | RefusalReason::NotOurs => reasons::WAITING_FOR_ADMINISTRATOR,
    };
    let patch = refusal.patch.as_deref().map(|patch| format!("\n{patch}")).unwrap_or_default();
    no(API_SERVER_CONFIGURED, reason, format!("{}{patch}", refusal.message))
}

/// Another way is asked for, and our change is still there.
pub(super) fn left_behind(title: &str, asked: awsiam_api::Rollout, undo: Option<&str>) -> Said {
    let undo = undo.map(|patch| format!("\n{patch}")).unwrap_or_default();
    no(
        API_SERVER_CONFIGURED,
        reasons::CONTROL_PLANE_EDIT_LEFT,
        format!(
            "spec.iamAuthenticator.apiServer.rollout is {asked:?}, and {NAME} {title} still has the file, flag and mount that awsiam put in: machines are made with them, nobody keeps the file up when the CA changes, and nobody takes them out. Set the rollout back to KubeadmControlPlane; or keep them as your own, by removing annotation {ANNOTATION} from it; or take them out, which replaces machines:{undo}"
        ),
    )
}

/// On removal: it stays until the API servers ask no more.
pub(super) fn authenticator_stays() -> Said {
    no(
        AUTHENTICATOR_READY,
        reasons::REMOVING,
        "our entries are gone; the authenticator stays until no API server asks it any more, see condition ApiServerConfigured",
    )
}

/// On removal: the flag is others' to take out.
pub(super) fn authenticator_stays_for_administrator() -> Said {
    no(
        AUTHENTICATOR_READY,
        reasons::FLAG_STILL_SET,
        "our entries are gone; the authenticator stays while the API server asks it, because every login would wait for it in vain. The flag is not ours to take out: condition ApiServerConfigured says what to do; the rest then goes by itself",
    )
}

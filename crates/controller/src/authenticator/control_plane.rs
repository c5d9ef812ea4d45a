//! Sets the API servers up through Cluster API: puts file, flag and mount into the Cluster's KubeadmControlPlane once
//! the authenticator is ready, and takes them out before it goes. What the change is, is decided in
//! `awsiam-authenticator`; here is when. Nothing is remembered but whose machines are being replaced, and that is found
//! again after a start.

mod found;
mod turns;
mod under_way;
mod words;

use std::sync::PoisonError;

use awsiam_api::Cluster;
use awsiam_authenticator::kubeadm_control_plane::{
    Decision, Edit, RefusalReason, RolloutState, WebhookFile, is_ours, plan, rollout, undo, undo_by_hand,
    webhook_file,
};
use awsiam_authenticator::kubeconfig::webhook;
use awsiam_authenticator::webhook::Webhook;
use tokio::time::Instant;

pub(crate) use self::found::is_going;
pub(super) use self::found::{Found, find};
pub(crate) use self::turns::Turns;
pub(super) use self::words::{not_there, not_yet};

use self::found::ControlPlane;
use self::turns::Turn;
use super::api_server::without_flag;
use super::conditions::{self, Said};
use super::seen::Seen;
use crate::error::Error;
use crate::gateway::is_race;
use crate::hands_off::Pause;
use crate::operator::Operator;
use crate::target::Target;

/// So often the object is read again when others are faster, before the next pass tries.
const ATTEMPTS: u32 = 3;

/// What the API servers are to get.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// What they are to trust, PEM. `None`: the CA is gone, and a file that is there stays as it is.
    pub(super) pinned_pem: Option<&'a str>,
    /// Whether the authenticator runs everywhere, with the mappings.
    pub(super) is_ready: bool,
    /// Why nothing may be written.
    pub(super) pause: Option<Pause>,
}

/// Where the work is done.
#[derive(Clone, Copy)]
struct Place<'a> {
    operator: &'a Operator,
    target: &'a Target,
    cluster: &'a Cluster,
    seen: &'a Seen,
}

/// Brings the KubeadmControlPlane to what is wanted, as far as it may be now, and says how it stands.
pub(super) async fn keep(
    operator: &Operator,
    target: &Target,
    cluster: &Cluster,
    seen: &Seen,
    wanted: Wanted<'_>,
) -> Said {
    let place = Place { operator, target, cluster, seen };
    let mut attempt = 0;
    loop {
        attempt += 1;
        let kept = match find(operator, cluster).await {
            Ok(Found::Here(control_plane)) => put_in(place, &control_plane, wanted).await,
            Ok(Found::Nothing(why)) => return not_there(&why),
            Ok(Found::NotYet(why)) => return not_yet(&why),
            Err(error) => return conditions::api_server_failed(&error),
        };
        match kept {
            Ok(said) => return said,
            Err(error) if is_race(&error) && attempt < ATTEMPTS => {}
            Err(error) => return words::failed(&error),
        }
    }
}

async fn put_in(place: Place<'_>, control_plane: &ControlPlane, wanted: Wanted<'_>) -> Result<Said, Error> {
    let ControlPlane { title, object, .. } = control_plane;
    let content = match wanted.pinned_pem {
        Some(pem) => webhook(pem),
        None => match webhook_file(object) {
            Some(content) => content.to_owned(),
            None => return Ok(words::without_authority(title)),
        },
    };
    match plan(object, &WebhookFile { content }) {
        Decision::InPlace => in_place(place, control_plane).await,
        // What has to change there has to change anyhow.
        Decision::Refused(refusal) if wanted.is_ready || refusal.reason == RefusalReason::FlagElsewhere => {
            Ok(words::refused(&refusal))
        }
        Decision::Refused(_) => Ok(words::waits_for_authenticator(title)),
        Decision::Edit(edit) => {
            if let Some(pause) = wanted.pause {
                return Ok(words::pending(&edit, pause));
            }
            if control_plane.is_going {
                return Ok(words::going(title));
            }
            if let Some(why) = &control_plane.paused {
                return Ok(words::paused(title, why));
            }
            if !wanted.is_ready {
                return Ok(words::waits_for_authenticator(title));
            }
            let rollout = rollout(object);
            if !rollout.lets_edit() {
                return Ok(words::busy(title, &rollout));
            }
            send(place.operator, control_plane, &edit).await
        }
    }
}

/// The change is in the object: how far the machines are, and what the API server itself says.
async fn in_place(place: Place<'_>, control_plane: &ControlPlane) -> Result<Said, Error> {
    let Place { operator, target, cluster, seen } = place;
    let ControlPlane { title, object, .. } = control_plane;
    let rollout = rollout(object);
    if rollout.state != RolloutState::Done {
        // Machines that had file and flag are replaced by machines that have: by an upgrade, for instance.
        if !operator.turns(|turns| turns.has(title)) && words::was_configured(cluster) {
            return Ok(words::configured(title));
        }
        let moving =
            !is_ours(object) || operator.turns(|turns| turns.saw(title, &rollout.progress, Instant::now()));
        return Ok(words::rolling(title, &rollout, moving));
    }
    operator.turns(|turns| turns.leave(title));
    let lacking = without_flag(&seen.api_servers);
    if !lacking.is_empty() {
        return Ok(words::lacking(title, &lacking));
    }
    let told = target.api_server.webhook(&target.client, Webhook::Asked).await?;
    Ok(match told {
        Webhook::Unanswered | Webhook::NotTrusted | Webhook::SomethingElse => {
            conditions::api_server(told, &[], cluster)
        }
        Webhook::Asked | Webhook::Absent | Webhook::Unknown => words::configured(title),
    })
}

/// Sends a change when it is its turn.
async fn send(operator: &Operator, control_plane: &ControlPlane, edit: &Edit) -> Result<Said, Error> {
    let ControlPlane { title, api, .. } = control_plane;
    let takes_a_turn = edit.replaces_machines;
    if takes_a_turn {
        under_way::take_in(operator).await?;
    }
    if takes_a_turn && let Turn::After(others) = operator.turns(|turns| turns.take(title, Instant::now())) {
        return Ok(words::waits_for_turn(title, &others));
    }
    let object = serde_json::from_value(edit.object.clone()).map_err(|error| Error::Unwritable {
        what: format!("KubeadmControlPlane {title}"),
        why: error.to_string(),
    });
    let written = match object {
        Ok(object) => operator.gateway.replace_dynamic(api, &object).await,
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        if takes_a_turn {
            operator.turns(|turns| turns.leave(title));
        }
        return Err(error);
    }
    tracing::info!(control_plane = title, change = edit.message, "changed a KubeadmControlPlane");
    Ok(words::begun(edit))
}

/// What is said of a KubeadmControlPlane that still holds our change although another way is asked for.
pub(super) fn left_behind(control_plane: &ControlPlane, asked: awsiam_api::Rollout) -> Option<Said> {
    let ControlPlane { title, object, .. } = control_plane;
    is_ours(object).then(|| words::left_behind(title, asked, undo_by_hand(object).as_deref()))
}

/// Takes everything of ours out of the KubeadmControlPlane again. `None`: no machine has it any more, or there is
/// nothing left to take it out of; else what is said until then.
pub(super) async fn take_out(operator: &Operator, cluster: &Cluster) -> Option<Vec<Said>> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let taken = match find(operator, cluster).await {
            Ok(Found::Here(control_plane)) => undone(operator, &control_plane).await,
            Ok(Found::Nothing(_) | Found::NotYet(_)) => Ok(None),
            Err(error) => Err(error),
        };
        match taken {
            Ok(said) => return said,
            Err(error) if is_race(&error) && attempt < ATTEMPTS => {}
            Err(error) => return Some(vec![words::authenticator_stays(), words::failed(&error)]),
        }
    }
}

async fn undone(operator: &Operator, control_plane: &ControlPlane) -> Result<Option<Vec<Said>>, Error> {
    let ControlPlane { title, object, .. } = control_plane;
    if control_plane.is_going {
        operator.turns(|turns| turns.leave(title));
        return Ok(None);
    }
    let said = match undo(object) {
        Decision::InPlace => {
            let rollout = rollout(object);
            if rollout.state == RolloutState::Done || rollout.progress.total == 0 {
                operator.turns(|turns| turns.leave(title));
                return Ok(None);
            }
            let moving = operator.turns(|turns| turns.saw(title, &rollout.progress, Instant::now()));
            words::rolling(title, &rollout, moving)
        }
        Decision::Refused(refusal) => {
            return Ok(Some(vec![words::authenticator_stays_for_administrator(), words::refused(&refusal)]));
        }
        Decision::Edit(edit) => match &control_plane.paused {
            Some(why) => words::paused(title, why),
            None => send(operator, control_plane, &edit).await?,
        },
    };
    Ok(Some(vec![words::authenticator_stays(), said]))
}

impl Operator {
    /// Whose machines are being replaced.
    fn turns<T>(&self, with: impl FnOnce(&mut Turns) -> T) -> T {
        with(&mut self.turns.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

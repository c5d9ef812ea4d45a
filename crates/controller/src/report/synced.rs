//! The condition `AwsAuthSynced`: its reason, and its words.

use awsiam_api::Severity;
use std::collections::BTreeSet;

use awsiam_api::conditions::{Status, reasons};
use awsiam_core::desired::{ConfigState, Refs};
use awsiam_core::diff;
use awsiam_core::mapping::Key;
use awsiam_core::plan::{Blocked, Note, Outcome, Plan, Reason, State};

use super::counted;
use crate::hands_off::Pause;
use crate::reporter::Planned;

/// The condition `AwsAuthSynced`: the gravest thing first.
pub(crate) fn synced(planned: &Planned) -> (Status, &'static str, String) {
    let plan = &planned.plan;
    let no = |reason: &'static str, message: String| (Status::False, reason, message);
    if let Some(blocked) = &plan.blocked {
        let (reason, message) = blocked_words(blocked);
        return no(reason, message);
    }
    if let Some(pause) = planned.pause.filter(|_| planned.pending) {
        let reason = match pause {
            Pause::ObserveOnly => reasons::OBSERVE_ONLY,
            _ => reasons::SUSPENDED,
        };
        return no(reason, format!("{}. Pending: {}", pause.message(), diff::summary(plan)));
    }
    if let Some(manager) = &planned.fighting {
        return no(
            reasons::FIGHTING_WRITER,
            format!(
                "field manager {manager} undid our entries three times in ten minutes; they are put back every five minutes. Take these entries out of what {manager} writes"
            ),
        );
    }
    if let Some(unreadable) = plan.unreadable.first() {
        return no(
            reasons::UNREADABLE,
            format!("{unreadable}. This data key is left as it is until it is mended; the others go on"),
        );
    }
    if let Some((reason, message)) = unresolved(planned) {
        return no(reason, message);
    }
    if let Some(outcome) = gravest(plan) {
        let more = plan.outcomes.iter().filter(|o| rank(o).is_some()).count() - 1;
        let and_more = if more > 0 { format!(" ({more} more under status.findings)") } else { String::new() };
        return no(condition_reason(&outcome.reason), format!("{}{and_more}", words(outcome)));
    }
    let rejected = planned.inputs.resolution.findings.iter().find_map(|(config, findings)| {
        findings.iter().find(|f| f.severity == Severity::Refused).map(|f| (config, f))
    });
    if let Some((config, finding)) = rejected {
        return no(reasons::MAPPINGS_REJECTED, format!("AWSIamConfig {config}: {finding}"));
    }
    if planned.inputs.resolution.refs == Refs::Absent {
        let message = "the Cluster has no identityProviderRefs, so nothing is wanted in aws-auth".to_owned();
        return (Status::True, reasons::NO_IDENTITY_PROVIDER_REFS, message);
    }
    let (status, reason, message) = progress(planned);
    match plan.notes.iter().find_map(not_asked) {
        Some(more) => (status, reason, format!("{more}. {message}")),
        None => (status, reason, message),
    }
}

/// Where nothing is wrong: whether all is done, or something is still on its way.
fn progress(planned: &Planned) -> (Status, &'static str, String) {
    let plan = &planned.plan;
    let moving: BTreeSet<&Key> =
        plan.outcomes.iter().filter(|o| is_on_its_way(o)).map(|outcome| &outcome.key).collect();
    if !moving.is_empty() {
        let first = plan.outcomes.iter().find(|o| is_on_its_way(o)).map(words).unwrap_or_default();
        return (
            Status::Unknown,
            reasons::MOVING,
            format!(
                "{} on the way between aws-auth and IAMIdentityMappings; the old place answers until the new one does. {first}",
                counted(moving.len(), "mapping is", "mappings are")
            ),
        );
    }
    let unloaded = plan.objects.unloaded.len();
    if unloaded > 0 && planned.pause.is_none() {
        return (
            Status::Unknown,
            reasons::WAITING_FOR_AUTHENTICATOR,
            format!(
                "{} written, and no authenticator has read {} yet, so {} nobody a login so far. An authenticator that runs with backend CRD does so within seconds",
                counted(unloaded, "IAMIdentityMapping is", "IAMIdentityMappings are"),
                if unloaded == 1 { "it" } else { "them" },
                if unloaded == 1 { "it gives" } else { "they give" },
            ),
        );
    }
    let summary = diff::summary(plan);
    let message = match planned.pause {
        // Who reads that all is in order should not think that it will be kept so.
        Some(pause) => format!("{}. Nothing is pending: {summary}", pause.message()),
        None => summary,
    };
    (Status::True, reasons::SYNCED, message)
}

/// Whether an outcome is a step of a move that goes on by itself.
pub(super) fn is_on_its_way(outcome: &Outcome) -> bool {
    outcome.state == State::Held && is_progress(outcome.reason.name())
}

/// Whether a reason tells of progress and not of something wrong.
pub(crate) fn is_progress(reason: &str) -> bool {
    [Reason::Moving.name(), Reason::AdministratorNotLoaded.name()].contains(&reason)
}

/// What is said where entries of others are no longer asked for.
pub(super) fn not_asked(note: &Note) -> Option<String> {
    let Note::NotAsked { foreign, nodes } = note else { return None };
    let nodes = match nodes {
        0 => String::new(),
        nodes => format!(", {} among them", counted(*nodes, "node entry", "node entries")),
    };
    Some(format!(
        "backendMode does not name EKSConfigMap, and aws-auth holds {} that {} not ours{nodes}: whoever relies on them can't log in. To keep them, refer to an AWSIamConfig with backendMode [CRD, EKSConfigMap]",
        counted(*foreign, "entry", "entries"),
        if *foreign == 1 { "is" } else { "are" },
    ))
}

fn blocked_words(blocked: &Blocked) -> (&'static str, String) {
    match blocked {
        Blocked::TargetClaimed { owner } => (
            reasons::TARGET_CLAIMED,
            format!("aws-auth is managed for {owner}; nothing is written. If that one is gone for good, annotate this Cluster with awsiam-operator.dev/take-over=true; entries of that one's AWSIamConfigs which this Cluster does not refer to are then removed"),
        ),
        Blocked::LedgerNewer { message } => (reasons::LEDGER_TOO_NEW, format!("nothing is written: {message}")),
        Blocked::Immutable => (
            reasons::IMMUTABLE,
            "aws-auth has immutable: true, so nobody can change it; delete it and let it be made again, or make a copy without that field".to_owned(),
        ),
        Blocked::BeingDeleted => (
            reasons::BEING_DELETED,
            "aws-auth is being deleted and a finalizer holds it; it is made again when it is gone".to_owned(),
        ),
        Blocked::TooLarge { bytes, limit, what } => (
            reasons::TOO_LARGE,
            format!("the {what} of aws-auth would take {bytes} bytes and the API server allows {limit}; nothing is written. Take mappings out, or split users into roles"),
        ),
    }
}

/// References that do not resolve, or disagree.
fn unresolved(planned: &Planned) -> Option<(&'static str, String)> {
    let Refs::Listed(configs) = &planned.inputs.resolution.refs else { return None };
    configs.iter().find_map(|config| {
        let name = &config.name;
        match &config.state {
            ConfigState::NotFound => Some((
                reasons::REFERENCE_NOT_RESOLVED,
                format!("AWSIamConfig {name} was not found in the Cluster's namespace; create it or take the reference out. Until then nothing is removed"),
            )),
            ConfigState::Undecodable(why) => Some((
                reasons::REFERENCE_NOT_RESOLVED,
                format!("AWSIamConfig {name} can't be read: {why}. Mend it; until then nothing is removed"),
            )),
            ConfigState::Disagrees(fields) => Some((
                reasons::REFERENCE_DISAGREES,
                format!("AWSIamConfig {name} differs from the first reference in {}; its entries are frozen", fields.join(", ")),
            )),
            ConfigState::Usable | ConfigState::Suspended => None,
        }
    })
}

/// How grave an outcome is for `AwsAuthSynced`; `None`: not at all.
pub(super) fn rank(outcome: &Outcome) -> Option<u8> {
    match (outcome.state, &outcome.reason) {
        (_, Reason::ConfigSuspended) => None,
        (State::Held, reason) if is_progress(reason.name()) => None,
        (State::Held, Reason::LastAdministrator) => Some(0),
        (State::Held, _) => Some(1),
        (State::Conflict, _) => Some(2),
        (State::Refused, _) => Some(3),
        (State::Frozen, _) => Some(4),
        _ => None,
    }
}

fn gravest(plan: &Plan) -> Option<&Outcome> {
    plan.outcomes.iter().filter(|o| rank(o).is_some()).min_by_key(|o| rank(o))
}

fn condition_reason(reason: &Reason) -> &'static str {
    match reason {
        Reason::RuleRefused | Reason::RowUnreadable => reasons::MAPPINGS_REJECTED,
        Reason::FirstRefUnresolved | Reason::RefUnresolved | Reason::ConfigUnresolved => {
            reasons::REFERENCE_NOT_RESOLVED
        }
        Reason::OtherList => reasons::CONFLICT,
        other => other.name(),
    }
}

/// An outcome in one sentence: which config and row, which ARN, what is wrong and what to do.
fn words(outcome: &Outcome) -> String {
    let place = match (&outcome.config, &outcome.field) {
        (Some(config), Some(field)) => format!("AWSIamConfig {config} {field}, "),
        (Some(config), None) => format!("AWSIamConfig {config}, "),
        _ => String::new(),
    };
    format!("{place}{}: {}", outcome.arn(), outcome.message)
}

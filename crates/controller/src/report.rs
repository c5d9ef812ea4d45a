//! What a pass found, as the status of its Cluster: conditions, counts, findings. Pure.

use std::collections::{BTreeMap, BTreeSet};

use awsiam_api::cluster_status::{ConfigCounts, EntryCounts, FindingSeverity, MAX_FINDINGS};
use awsiam_api::conditions::{self, Status, reasons, set_condition};
use awsiam_api::names::CLUSTER_FINALIZER;
use awsiam_api::{Cluster, ClusterFinding, ClusterStatus, ConfigStatus, Severity, TargetKind};
use awsiam_core::desired::{ConfigState, Refs};
use awsiam_core::diff;
use awsiam_core::ledger::{KeyHash, Ledger};
use awsiam_core::lint;
use awsiam_core::mapping::{Key, List};
use awsiam_core::plan::{self, Blocked, Note, Outcome, Plan, Reason, State};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::events::EventType;

use crate::events::Said;
use crate::hands_off;
use crate::reporter::{PassReport, Planned};
use crate::targets::NoTarget;
use crate::targets::health::Trouble;

/// What to do where a deletion can't finish.
const WAITS: &str = ". The Cluster is being deleted and waits for this. To let it go and leave its entries in aws-auth, annotate it with awsiam-operator.dev/give-up-target=true";

/// What is said of a target that answers.
const WATCHED: &str = "aws-auth is watched";

/// What is said of a target that is no longer ours.
const RELEASED_MESSAGE: &str = "an administrator has ended awsiam's ownership of this target (awsiam release): nothing is written to it, and nothing is held by a finalizer. To manage it again, remove the annotation awsiam-operator.dev/released from the Cluster";

/// Conditions of parts that a Cluster may do without.
const AUTHENTICATOR_PARTS: [&str; 3] =
    [conditions::AUTHENTICATOR_READY, conditions::API_SERVER_CONFIGURED, conditions::KUBECONFIG_READY];

/// Most characters of a condition's message.
const MAX_MESSAGE: usize = 1024;
/// The same where a patch may be in it, which is of no use cut off. The API takes 32,768.
const MAX_MESSAGE_WITH_PATCH: usize = 24 * 1024;

/// What is said by an Event and the log alone, because nothing may be written to the Cluster, or its
/// status would be dropped.
pub(crate) fn aside(pass: &PassReport) -> Option<Said> {
    let (reason, note) = match pass {
        PassReport::EksAnywhere => (
            reasons::MANAGED_BY_EKS_ANYWHERE,
            "EKS Anywhere controls this Cluster, so awsiam writes neither to it nor to its target. To hand it over, see docs/aws-auth.md of awsiam".to_owned(),
        ),
        PassReport::CrdLacksFields(lacking) => (
            reasons::CRD_LACKS_FIELDS,
            format!("nothing is written, because what awsiam relies on would be dropped: {lacking}. Apply the output of: awsiam crd"),
        ),
        _ => return None,
    };
    Some(Said { kind: EventType::Warning, reason: reason.to_owned(), action: "Wait", note, config: None })
}

/// What a pass came to, in two words for counting: whether it did its work, and the reason of the condition.
pub(crate) fn result(pass: &PassReport) -> (&'static str, &'static str) {
    let kept_off = |reason| ("kept_off", reason);
    match pass {
        PassReport::Planned(planned) => ("done", synced(planned).1),
        PassReport::Failed { reason, .. } => ("failed", reason),
        PassReport::Undecodable(_) => kept_off(reasons::UNDECODABLE),
        PassReport::NoTarget(none) => kept_off(no_target(none).0),
        PassReport::EksAnywhere => kept_off(reasons::MANAGED_BY_EKS_ANYWHERE),
        PassReport::Released => kept_off(reasons::RELEASED),
        PassReport::CrdLacksFields(_) => kept_off(reasons::CRD_LACKS_FIELDS),
        PassReport::Unseen(_) | PassReport::Unreachable { .. } => kept_off(reasons::UNREACHABLE),
    }
}

/// The status after a pass, from the one before.
pub(crate) fn status(
    guard: &DeserializeGuard<Cluster>,
    pass: &PassReport,
    before: &ClusterStatus,
    now: &Time,
) -> ClusterStatus {
    let generation = guard.meta().generation;
    let mut status = before.clone();
    status.observed_generation = generation;
    let conditions = &mut status.conditions;
    let waits = waits(guard, pass);
    let mut set = |kind: &str, state: Status, reason: &str, message: String| {
        let more = if waits && state == Status::False { WAITS } else { "" };
        let most =
            if kind == conditions::API_SERVER_CONFIGURED { MAX_MESSAGE_WITH_PATCH } else { MAX_MESSAGE };
        set_condition(
            conditions,
            now,
            generation,
            kind,
            state,
            reason,
            format!("{}{more}", cut_to(most, message)),
        );
    };
    match pass {
        PassReport::Undecodable(error) => {
            let message = format!("the Cluster can't be read, so nothing is done with it: {error}");
            set(conditions::AWS_AUTH_SYNCED, Status::False, reasons::UNDECODABLE, message);
        }
        PassReport::NoTarget(none) => {
            let (reason, message) = no_target(none);
            set(conditions::TARGET_REACHABLE, Status::False, reason, message);
            if *none == NoTarget::NotServed {
                conditions::remove_condition(&mut status.conditions, conditions::AWS_AUTH_SYNCED);
            } else {
                status.target = Some(TargetKind::Remote);
            }
        }
        PassReport::Unreachable { secret, trouble } => {
            let message = unreachable(secret, trouble);
            set(conditions::TARGET_REACHABLE, Status::False, reasons::UNREACHABLE, message);
            status.target = Some(TargetKind::Remote);
        }
        PassReport::Unseen(why) => {
            let message =
                format!("aws-auth can't be watched, and nothing is written before it was read: {why}");
            set(conditions::TARGET_REACHABLE, Status::False, reasons::UNREACHABLE, message);
        }
        PassReport::Failed { reason, error, answers } => {
            if *answers {
                let message = WATCHED.to_owned();
                set(conditions::TARGET_REACHABLE, Status::True, reasons::REACHABLE, message);
            }
            let message = format!("the last pass failed and is tried again: {error}");
            set(conditions::AWS_AUTH_SYNCED, Status::False, reason, message);
        }
        PassReport::Planned(planned) => {
            match &planned.trouble {
                None => {
                    let message = WATCHED.to_owned();
                    set(conditions::TARGET_REACHABLE, Status::True, reasons::REACHABLE, message);
                }
                Some(trouble) => {
                    let message = format!("requests fail since {}: {}", second(trouble.since), trouble.why);
                    set(conditions::TARGET_REACHABLE, Status::False, reasons::UNREACHABLE, message);
                }
            }
            let (state, reason, message) = synced(planned);
            set(conditions::AWS_AUTH_SYNCED, state, reason, message);
            for said in &planned.authenticator {
                set(said.part, said.status, said.reason, said.message.clone());
            }
            for part in AUTHENTICATOR_PARTS {
                if !planned.authenticator.iter().any(|said| said.part == part) {
                    conditions::remove_condition(&mut status.conditions, part);
                }
            }
            planned_status(planned, &mut status, now, generation);
        }
        PassReport::Released => {
            // What was said of the target is not looked after any more.
            status.conditions.clear();
            status.entries = None;
            status.configs.clear();
            status.findings.clear();
            status.findings_total = 0;
            set_condition(
                &mut status.conditions,
                now,
                generation,
                conditions::AWS_AUTH_SYNCED,
                Status::False,
                reasons::RELEASED,
                RELEASED_MESSAGE,
            );
        }
        PassReport::EksAnywhere | PassReport::CrdLacksFields(_) => {}
    }
    let (state, reason, message) = conditions::ready(&status.conditions);
    set_condition(&mut status.conditions, now, generation, conditions::READY, state, &reason, cut(message));
    status
}

/// Why a Cluster has no target, and what to do.
fn no_target(none: &NoTarget) -> (&'static str, String) {
    match none {
        NoTarget::NotServed => (
            reasons::TARGET_NOT_SUPPORTED,
            "this operator serves only the cluster it runs in, which is the Cluster that --local-cluster names; nothing is done for this one. For clusters behind a kubeconfig start it with --remote-targets (rights.remote.enabled of the chart)".to_owned(),
        ),
        NoTarget::Missing { secret } => (
            reasons::KUBECONFIG_SECRET_MISSING,
            format!("there is no {secret}: Cluster API makes it with the cluster; for any other cluster make it, with a kubeconfig under key value"),
        ),
        NoTarget::Forbidden { secret } => (
            reasons::KUBECONFIG_SECRET_FORBIDDEN,
            format!("the operator may not read {secret}: add its namespace to rights.remote.namespaces of the chart"),
        ),
        NoTarget::Unreadable { secret, why } => {
            (reasons::READ_FAILED, format!("{secret} can't be read, and is tried again: {why}"))
        }
        NoTarget::Refused { secret, why } => {
            (reasons::KUBECONFIG_REFUSED, format!("the kubeconfig in {secret} is not used: {why}"))
        }
        NoTarget::Management { secret } => (
            reasons::TARGET_IS_MANAGEMENT_CLUSTER,
            format!("the kubeconfig in {secret} leads to the cluster that the operator runs in, which is served for the Cluster that --local-cluster names and for no other"),
        ),
    }
}

fn unreachable(secret: &str, trouble: &Trouble) -> String {
    format!(
        "the API server of {secret} can't be used since {}: {}. It is tried again at least twice a minute; until then everything there stays as it is",
        second(trouble.since),
        trouble.why
    )
}

/// A time, for people.
fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether a Cluster is being deleted and can't go yet.
fn waits(guard: &DeserializeGuard<Cluster>, pass: &PassReport) -> bool {
    let done = matches!(pass, PassReport::Planned(planned) if planned.may_go());
    guard.meta().deletion_timestamp.is_some() && hands_off::has_finalizer(guard, CLUSTER_FINALIZER) && !done
}

/// Whether two statuses say the same; times aside.
pub(crate) fn same(one: &ClusterStatus, other: &ClusterStatus) -> bool {
    let untimed = |status: &ClusterStatus| ClusterStatus { conditions: Vec::new(), ..status.clone() };
    conditions::same_but_for_times(&one.conditions, &other.conditions) && untimed(one) == untimed(other)
}

fn cut(message: String) -> String {
    cut_to(MAX_MESSAGE, message)
}

fn cut_to(most: usize, message: String) -> String {
    match message.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", message.get(..at).unwrap_or_default()),
        None => message,
    }
}

fn planned_status(planned: &Planned, status: &mut ClusterStatus, now: &Time, generation: Option<i64>) {
    let plan = &planned.plan;
    status.target = Some(planned.target);
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let kept_back = plan.outcomes.iter().filter(|o| matches!(o.state, State::Frozen)).count();
    status.entries = Some(EntryCounts {
        owned: number(plan.counts.owned),
        foreign: number(plan.counts.foreign),
        nodes: number(plan.counts.nodes),
        frozen: number(kept_back),
    });
    status.configs = configs(planned);
    let findings = findings(planned, &status.findings);
    status.findings_total = number(findings.len());
    status.findings = findings.into_iter().take(MAX_FINDINGS).collect();
    let lost = plan.notes.iter().find_map(|note| match note {
        Note::NodeEntriesLost { revision } => Some(revision),
        _ => None,
    });
    let kind = conditions::NODE_ENTRIES_LOST;
    match lost {
        Some(revision) => set_condition(
            &mut status.conditions,
            now,
            generation,
            kind,
            Status::True,
            reasons::NO_NODE_ENTRIES,
            format!(
                "aws-auth has no node entry any more; history revision {revision} has some. Nodes that join by aws-auth can't: put their entries back, for example from ConfigMaps kube-system/aws-auth-history-0 to 9"
            ),
        ),
        None if plan.counts.nodes > 0 => set_condition(
            &mut status.conditions,
            now,
            generation,
            kind,
            Status::False,
            reasons::NODE_ENTRIES_PRESENT,
            counted(plan.counts.nodes, "node entry", "node entries"),
        ),
        None => conditions::remove_condition(&mut status.conditions, kind),
    }
}

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
            crate::hands_off::Pause::ObserveOnly => reasons::OBSERVE_ONLY,
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
    (Status::True, reasons::SYNCED, diff::summary(plan))
}

/// Whether an outcome is a step of a move that goes on by itself.
fn is_on_its_way(outcome: &Outcome) -> bool {
    outcome.state == State::Held && is_progress(outcome.reason.name())
}

/// Whether a reason tells of progress and not of something wrong.
pub(crate) fn is_progress(reason: &str) -> bool {
    [Reason::Moving.name(), Reason::AdministratorNotLoaded.name()].contains(&reason)
}

/// What is said where entries of others are no longer asked for.
fn not_asked(note: &Note) -> Option<String> {
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
fn rank(outcome: &Outcome) -> Option<u8> {
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

fn configs(planned: &Planned) -> Vec<ConfigStatus> {
    let Refs::Listed(configs) = &planned.inputs.resolution.refs else { return Vec::new() };
    let mut outcomes: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in &planned.plan.outcomes {
        outcomes.entry(outcome.config.as_deref().unwrap_or_default()).or_default().push(outcome);
    }
    let done = !planned.pending && planned.plan.blocked.is_none();
    configs
        .iter()
        .map(|config| {
            let mine = outcomes.get(config.name.as_str()).map(Vec::as_slice).unwrap_or_default();
            // By key: a mapping that moves has an outcome in each place.
            let of = |states: &[State]| {
                let counting = mine.iter().filter(|o| states.contains(&o.state) && !is_on_its_way(o));
                counting.map(|outcome| &outcome.key).collect::<BTreeSet<_>>()
            };
            let number = |keys: BTreeSet<&Key>| i64::try_from(keys.len()).unwrap_or(i64::MAX);
            let mut synced = of(&[State::InEffect, State::AlreadyPresent]);
            if done {
                synced.extend(of(&[State::Added, State::Changed, State::Repaired, State::Adopted]));
            }
            let privileged =
                mine.iter().filter(|o| o.state == State::Refused && matches!(o.reason, Reason::Privilege(_)));
            let counting = config.mappings.len().saturating_sub(privileged.count());
            let refused_rows = i64::try_from(config.refused.len()).unwrap_or(i64::MAX);
            ConfigStatus {
                name: config.name.clone(),
                uid: config.uid.clone(),
                generation: Some(config.generation).filter(|_| config.state.is_resolved()),
                state: (&config.state).into(),
                message: match &config.state {
                    ConfigState::Undecodable(why) => cut(why.clone()),
                    ConfigState::Disagrees(fields) => format!("differs in {}", fields.join(", ")),
                    _ => String::new(),
                },
                counts: Some(ConfigCounts {
                    // Without rows that are rejected whatever the target: the AWSIamConfig itself says so.
                    desired: i64::try_from(counting).unwrap_or(i64::MAX),
                    synced: number(synced),
                    refused: number(of(&[State::Refused, State::Conflict, State::Shadowed])) + refused_rows,
                    frozen: number(of(&[State::Frozen, State::Held])),
                }),
            }
        })
        .collect()
}

fn findings(planned: &Planned, before: &[ClusterFinding]) -> Vec<ClusterFinding> {
    let plan = &planned.plan;
    let mut findings: Vec<ClusterFinding> = plan
        .outcomes
        .iter()
        .filter(|o| !o.message.is_empty())
        .map(|o| ClusterFinding {
            reason: o.reason.name().to_owned(),
            severity: if rank(o).is_some() { FindingSeverity::Error } else { FindingSeverity::Warning },
            list: o.key.list.data_key().to_owned(),
            arn: o.arn().to_owned(),
            config: o.config.clone().unwrap_or_default(),
            message: o.message.clone(),
        })
        .collect();
    findings.extend(plan.unreadable.iter().map(|unreadable| ClusterFinding {
        reason: reasons::UNREADABLE.to_owned(),
        severity: FindingSeverity::Error,
        list: unreadable.list.data_key().to_owned(),
        message: unreadable.to_string(),
        ..ClusterFinding::default()
    }));
    findings.extend(plan.notes.iter().filter_map(note_finding));
    findings.extend(orphans(plan, before));
    findings.extend(lint::oddities(&plan.after.data).into_iter().map(|oddity| ClusterFinding {
        reason: oddity.reason.to_owned(),
        severity: FindingSeverity::Warning,
        list: oddity.data_key,
        arn: oddity.key.map(|key| key.arn).unwrap_or_default(),
        message: if oddity.line > 0 {
            format!("line {}: {}", oddity.line, oddity.message)
        } else {
            oddity.message
        },
        ..ClusterFinding::default()
    }));
    findings
}

/// Notes that last as long as what they are about; the others are Events alone.
fn note_finding(note: &Note) -> Option<ClusterFinding> {
    if let Some(message) = not_asked(note) {
        return Some(ClusterFinding {
            reason: reasons::ENTRIES_NOT_ASKED.to_owned(),
            severity: FindingSeverity::Warning,
            message,
            ..ClusterFinding::default()
        });
    }
    let Note::OlderGeneration { object, recorded, read } = note else { return None };
    Some(ClusterFinding {
        reason: "OlderGeneration".to_owned(),
        severity: FindingSeverity::Warning,
        message: format!(
            "{object} has generation {read} and was planned with at generation {recorded} before: a backup was restored. What it says now counts"
        ),
        ..ClusterFinding::default()
    })
}

/// Entries that may have been ours before the ledger was lost: those of this pass, and those of earlier
/// ones that are still there and still nobody's. The status alone remembers them.
fn orphans(plan: &Plan, before: &[ClusterFinding]) -> Vec<ClusterFinding> {
    let found = plan.notes.iter().filter_map(|note| match note {
        Note::PossiblyOrphaned { keys } => Some(keys.iter().cloned()),
        _ => None,
    });
    let known = before.iter().filter(|finding| finding.reason == reasons::POSSIBLY_ORPHANED);
    let known = known.filter_map(|finding| {
        let list = List::ALL.into_iter().find(|list| list.data_key() == finding.list)?;
        Some(Key::new(list, &finding.arn))
    });
    let keys: BTreeSet<Key> = found.flatten().chain(known).collect();
    if keys.is_empty() {
        return Vec::new();
    }
    let ledger = plan.after.ledger.as_deref().and_then(|text| Ledger::parse(text).ok());
    let is_ours = |key: &Key| ledger.as_ref().is_some_and(|l| l.owned.contains_key(&KeyHash::of(key)));
    let entries = plan::entries(&plan.after.data);
    let foreign = keys.into_iter().filter(|key| !is_ours(key)).filter_map(|key| {
        let entry = entries.get(&key.list).into_iter().flatten().find(|entry| entry.key(key.list) == key);
        // What can't be read now may still be there.
        let hidden = plan.unreadable.iter().any(|unreadable| unreadable.list == key.list);
        entry.map(|entry| entry.arn.clone()).or(hidden.then_some(key.arn)).map(|arn| (key.list, arn))
    });
    foreign
        .map(|(list, arn)| ClusterFinding {
            reason: reasons::POSSIBLY_ORPHANED.to_owned(),
            severity: FindingSeverity::Warning,
            list: list.data_key().to_owned(),
            arn,
            message:
                "the ledger was lost, and this entry may have been ours; remove it by hand if nobody needs it"
                    .to_owned(),
            ..ClusterFinding::default()
        })
        .collect()
}

/// A number with its noun.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The first few of many, and how many more there are.
pub(crate) fn listed(items: impl Iterator<Item = String>, most: usize) -> String {
    let items: Vec<String> = items.collect();
    let shown = items.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

//! What the things that were read mean. Pure: the time is a parameter.

use awsiam_api::crd::is_ours;
use awsiam_api::{Cluster, missing_fields};
use awsiam_authenticator::certificate::not_after;
use awsiam_authenticator::rollout::{Fault, Readiness};
use awsiam_authenticator::webhook::Webhook;
use awsiam_core::lint;
use awsiam_core::observed::Observed;
use awsiam_core::plan::{Note, Plan, State};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::{Timestamp, fmt::rfc2822};
use kube::config::Kubeconfig;
use kube::{Resource, ResourceExt};

use super::{Check, Level};
use crate::planned::blocked_words;

/// Seconds by which two clocks may differ.
const CLOCK: i64 = 60;
/// A day in seconds.
const DAY: i64 = 24 * 60 * 60;
/// So many days before its end a serving certificate has long been renewed, if all is well.
const SERVING_DAYS: i64 = 30;
/// So many days before its end a CA is to be changed.
const AUTHORITY_DAYS: i64 = 180;
/// Oddities that are said one by one.
const MAX_ODDITIES: usize = 20;

/// The clock of the API server, from the header `Date` of an answer.
pub(super) fn clock(date: Option<&str>, now: Timestamp) -> Check {
    let server = date.and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp());
    let Some(server) = server else {
        return Check::new(
            Level::Warning,
            "Clock",
            "the API server's answers say no time, so its clock is not known",
            "compare the clocks of the control-plane nodes by hand",
        );
    };
    let off = server.as_second() - now.as_second();
    if off.abs() <= CLOCK {
        return Check::ok(
            "Clock",
            format!("the API server's clock differs by {} s from this computer's", off.abs()),
        );
    }
    let which = if off > 0 { "ahead of" } else { "behind" };
    Check::new(
        Level::Error,
        "Clock",
        format!(
            "the API server's clock is {} s {which} this computer's, and logins carry their time",
            off.abs()
        ),
        "set both by NTP; AWS tokens are refused when clocks differ by more than 15 minutes, new certificates at once",
    )
}

/// One CRD: there, ours, of this version.
pub(super) fn crd(
    wanted: &CustomResourceDefinition,
    found: Option<&CustomResourceDefinition>,
    pre: bool,
) -> Check {
    let name = wanted.name_any();
    let Some(found) = found else {
        return if pre {
            Check::ok("CRD", "it is not there yet").of(&name)
        } else {
            Check::new(
                Level::Error,
                "CRD",
                "it is not there",
                "awsiam crd | kubectl apply --server-side -f -",
            )
            .of(&name)
        };
    };
    let whose = if is_ours(found) { "awsiam's" } else { "somebody else's" };
    let missing = missing_fields(found);
    let check = if !missing.is_empty() {
        let remedy = if is_ours(found) {
            "awsiam crd | kubectl apply --server-side -f -"
        } else {
            "where nobody else owns this CRD: awsiam crd | kubectl apply --server-side --force-conflicts -f -"
        };
        let message = format!("{whose}, and it drops what awsiam relies on: {}", missing.join(", "));
        Check::new(Level::Error, "CRD", message, remedy)
    } else if is_of_this_version(wanted, found) {
        Check::ok("CRD", format!("{whose}, of this version"))
    } else if is_ours(found) {
        Check::new(
            Level::Warning,
            "CRD",
            "awsiam's, of another version; it has every field",
            "awsiam crd | kubectl apply --server-side -f -",
        )
    } else {
        Check::ok("CRD", format!("{whose}; it has every field"))
    };
    check.of(&name)
}

/// Whether the schemas are equal.
fn is_of_this_version(wanted: &CustomResourceDefinition, found: &CustomResourceDefinition) -> bool {
    let schema = |crd: &CustomResourceDefinition| {
        let version = crd.spec.versions.first()?;
        serde_json::to_value(version.schema.as_ref()?).ok()
    };
    schema(wanted) == schema(found)
}

/// Whether the operator has looked at a Cluster as it is.
pub(super) fn operator(cluster: &Cluster) -> Check {
    let generation = cluster.meta().generation;
    let status = cluster.status.as_ref();
    let seen = status.and_then(|status| status.observed_generation);
    let ready = status.and_then(|status| {
        awsiam_api::conditions::condition(&status.conditions, awsiam_api::conditions::READY)
    });
    match (seen, ready) {
        (None, _) => Check::new(
            Level::Error,
            "Operator",
            "no operator has looked at this Cluster",
            "install the operator, and name this Cluster to it (--local-cluster, in the chart localCluster)",
        ),
        (Some(_), _) if seen != generation => Check::new(
            Level::Error,
            "Operator",
            "no operator has looked at this Cluster since it was changed",
            "see whether the operator runs, and its log",
        ),
        (_, Some(ready)) if ready.status == "True" => Check::ok("Operator", "Ready"),
        (_, Some(ready)) => {
            let message = format!("not Ready: {} ({})", ready.message, ready.reason);
            let remedy = format!("see {} in docs/runbook.md", ready.reason);
            Check::new(Level::Error, "Operator", message, remedy)
        }
        (_, None) => {
            Check::new(Level::Warning, "Operator", "it has not said yet whether all is Ready", "wait")
        }
    }
}

/// `aws-auth` as the authenticator reads it.
pub(super) fn aws_auth(observed: &Observed) -> Vec<Check> {
    if !observed.present {
        return vec![Check::new(
            Level::Warning,
            "AwsAuth",
            "there is no aws-auth, so nobody can log in by an AWS identity",
            "it is made with the first mapping",
        )];
    }
    let mut checks = Vec::new();
    for list in awsiam_core::mapping::List::ALL {
        let Some(text) = observed.data.get(list.data_key()) else { continue };
        if let Err(unreadable) = awsiam_core::reader::read(list, text) {
            checks.push(Check::new(
                Level::Error,
                "AwsAuth",
                format!("{unreadable}. The authenticator reads nothing of this data key"),
                "mend the text there; earlier contents are listed by: awsiam history",
            ));
        }
    }
    let odd = lint::oddities(&observed.data);
    let more = odd.len().saturating_sub(MAX_ODDITIES);
    checks.extend(odd.into_iter().take(MAX_ODDITIES).map(|odd| {
        let arn = odd.key.map(|key| format!(" {}", key.arn)).unwrap_or_default();
        let message = format!("{} line {}{arn}: {}", odd.data_key, odd.line, odd.message);
        Check::new(
            Level::Warning,
            "AwsAuth",
            message,
            "correct or remove the entry; awsiam changes none that is not its own",
        )
    }));
    if more > 0 {
        checks.push(Check::new(Level::Warning, "AwsAuth", format!("{more} more such entries"), ""));
    }
    if checks.is_empty() {
        checks.push(Check::ok("AwsAuth", "it can be read, and nothing in it is odd"));
    }
    checks
}

/// The plan: what is claimed, lost, or not as asked for.
pub(super) fn mappings(plan: &Plan) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(blocked) = &plan.blocked {
        checks.push(Check::new(Level::Error, "Mappings", blocked_words(blocked), ""));
    }
    for note in &plan.notes {
        if let Note::NodeEntriesLost { revision } = note {
            checks.push(Check::new(
                Level::Error,
                "Mappings",
                "aws-auth has lost the entries by which nodes join",
                format!("put them back, such as by: awsiam rollback --to-revision {revision}"),
            ));
        }
    }
    let wrong =
        |state: State| matches!(state, State::Refused | State::Conflict | State::Frozen | State::Held);
    let count = plan.outcomes.iter().filter(|outcome| wrong(outcome.state)).count();
    if count > 0 {
        checks.push(Check::new(
            Level::Warning,
            "Mappings",
            format!("{count} mappings are not written or kept back"),
            "see which by: awsiam get mappings -o wide",
        ));
    }
    if plan.has_write() || plan.has_object_writes() {
        checks.push(Check::new(
            Level::Warning,
            "Mappings",
            format!("not everything that is asked for is written: {}", awsiam_core::diff::summary(plan)),
            "if it stays so, see whether the operator runs; the change is shown by: awsiam diff",
        ));
    }
    if checks.is_empty() {
        checks.push(Check::ok("Mappings", awsiam_core::diff::summary(plan)));
    }
    checks
}

/// The authenticator on each control-plane node.
pub(super) fn authenticator(readiness: &Readiness) -> Check {
    const NAME: &str = "Authenticator";
    match readiness {
        Readiness::Ready { nodes } => {
            Check::ok(NAME, format!("it runs with the mappings on {nodes} control-plane nodes"))
        }
        Readiness::Running { nodes } => Check::new(
            Level::Warning,
            NAME,
            format!(
                "it runs on {nodes} control-plane nodes; whether it has the mappings is not looked at there"
            ),
            "",
        ),
        Readiness::NoControlPlaneNodes => Check::new(
            Level::Error,
            NAME,
            "no node is labelled as control plane",
            "label them node-role.kubernetes.io/control-plane, or set spec.iamAuthenticator.mode to External where somebody else runs the authenticator",
        ),
        Readiness::RollingOut(what) => Check::new(
            Level::Error,
            NAME,
            what.clone(),
            "wait; if it stays so, see RollingOut in docs/runbook.md",
        ),
        Readiness::Failing { fault, node, detail } => {
            Check::new(Level::Error, NAME, format!("on node {node}: {detail}"), remedy(*fault))
        }
    }
}

fn remedy(fault: Fault) -> &'static str {
    match fault {
        Fault::PortTaken => {
            "find what else listens on port 21362 of that node, such as another authenticator, and stop it"
        }
        Fault::CrashLooping => "see the log: kubectl -n kube-system logs ds/aws-iam-authenticator",
        Fault::ImagePull => {
            "see whether the node reaches the registry; a mirror is set by the chart's authenticator.imageMirror"
        }
        Fault::NotScheduled => "see the pod's events, and the Cluster's taints",
        Fault::ClockOff => "set the node's clock by NTP",
        Fault::MappingsNotLoaded => {
            "see what the probe saw: kubectl -n kube-system describe pods -l app.kubernetes.io/name=aws-iam-authenticator"
        }
    }
}

/// What the API server does with AWS tokens.
pub(super) fn webhook(answer: Webhook, name: &str) -> Check {
    const NAME: &str = "ApiServer";
    let wrong = |message: &str, remedy: String| Check::new(Level::Error, NAME, message, remedy);
    match answer {
        Webhook::Asked => {
            Check::ok(NAME, "it asks the authenticator and is answered (one API server was asked)")
        }
        Webhook::Absent => wrong(
            "it asks no webhook, so that nobody logs in by an AWS identity",
            format!(
                "set file and flag: awsiam control-plane {name} --for kubeadm|k3s|rke2|talos; docs/runbook.md, From nothing to the first login"
            ),
        ),
        Webhook::Unanswered => wrong(
            "it asks, and nothing answers on port 21362 of its node",
            "see the line Authenticator, and that the API server's node runs a pod of it".to_owned(),
        ),
        Webhook::NotTrusted => wrong(
            "it asks, and does not trust what answers",
            format!("its file has another CA: awsiam control-plane {name} --file-only prints the right one"),
        ),
        Webhook::SomethingElse => wrong(
            "it asks, and what answers is no authenticator",
            "find what else listens on port 21362 of its node".to_owned(),
        ),
        Webhook::Unknown => Check::new(
            Level::Warning,
            NAME,
            "its answer is none of those that are known, so it is not clear whether it asks",
            "log in by the user kubeconfig to find out",
        ),
    }
}

/// A certificate's end.
pub(super) fn certificate(what: &str, pem: Option<&str>, is_authority: bool, now: i64) -> Check {
    const NAME: &str = "Certificate";
    let Some(until) = pem.and_then(|pem| not_after(pem).ok()) else {
        let message = format!("{what} is not there or cannot be read");
        return Check::new(
            Level::Error,
            NAME,
            message,
            if is_authority {
                "the operator makes it; one that is lost: docs/runbook.md, CALost"
            } else {
                "the operator makes it; see condition AuthenticatorReady"
            },
        );
    };
    let days = (until - now).div_euclid(DAY);
    let (limit, remedy) = if is_authority {
        (AUTHORITY_DAYS, "change it in time: docs/runbook.md, Another CA")
    } else {
        (
            SERVING_DAYS,
            "the operator renews it after eight months; see whether it runs, and docs/runbook.md, Renewal of the serving certificate",
        )
    };
    if days < 0 {
        Check::new(Level::Error, NAME, format!("{what} ended {} days ago", -days), remedy)
    } else if days < limit {
        Check::new(Level::Warning, NAME, format!("{what} ends in {days} days"), remedy)
    } else {
        Check::ok(NAME, format!("{what} ends in {days} days"))
    }
}

/// What a user kubeconfig is to say.
pub(super) struct Login<'a> {
    pub(super) server: Option<&'a str>,
    pub(super) cluster_id: Option<&'a str>,
    pub(super) region: Option<&'a str>,
}

/// The kubeconfig that users log in with, from its Secret.
pub(super) fn kubeconfig(text: Option<&str>, login: &Login<'_>) -> Check {
    const NAME: &str = "Kubeconfig";
    const REMEDY: &str =
        "see condition KubeconfigReady; after it is mended, hand out the new one: awsiam kubeconfig";
    let Some(text) = text else {
        return Check::new(Level::Error, NAME, "its Secret is not there", REMEDY);
    };
    let Ok(found) = Kubeconfig::from_yaml(text) else {
        return Check::new(Level::Error, NAME, "its Secret holds no kubeconfig", REMEDY);
    };
    let server = found.clusters.first().and_then(|named| named.cluster.as_ref()?.server.clone());
    let exec = found.auth_infos.first().and_then(|named| named.auth_info.as_ref()?.exec.clone());
    let arguments = exec.as_ref().and_then(|exec| exec.args.clone()).unwrap_or_default();
    let region = exec.and_then(|exec| exec.env).into_iter().flatten().find_map(|variable| {
        let is_region = variable.get("name").is_some_and(|name| name == "AWS_REGION");
        variable.get("value").filter(|_| is_region).cloned()
    });
    let mut stale = Vec::new();
    if login.server.is_some_and(|wanted| server.as_deref() != Some(wanted)) {
        stale.push("the API server's address");
    }
    if login.cluster_id.is_some_and(|wanted| !arguments.iter().any(|argument| argument == wanted)) {
        stale.push("the cluster id");
    }
    if login.region.is_some_and(|wanted| region.as_deref() != Some(wanted)) {
        stale.push("the region");
    }
    if stale.is_empty() {
        Check::ok(NAME, "it is current")
    } else {
        Check::new(Level::Error, NAME, format!("it has an earlier state of {}", stale.join(", ")), REMEDY)
    }
}

#[cfg(test)]
mod tests;

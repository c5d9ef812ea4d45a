//! The operator where its chart put it: its pods, which of them leads, and values that keep it from work. Pure but for
//! [`of_chart`].

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::{Check, Level};
use crate::connection::words;
use crate::management::Management;

/// The chart's label of its Deployment.
const LABEL: &str = "app.kubernetes.io/name=awsiam-operator";
/// Seconds by which the leader's clock may differ from ours.
const CLOCK: i64 = 60;

/// Every Deployment of the chart that this cluster has.
pub(super) async fn of_chart(management: &Management) -> Vec<Check> {
    const NAME: &str = "Pods";
    let deployments: Api<Deployment> = Api::all(management.client.clone());
    let deployments = match deployments.list(&ListParams::default().labels(LABEL)).await {
        Ok(list) => list.items,
        Err(error) => {
            let message = format!(
                "Deployments can't be listed, so the operator's pods are not known: {}",
                words(&error)
            );
            return vec![Check::new(Level::Warning, NAME, message, "look as an administrator")];
        }
    };
    if deployments.is_empty() {
        return vec![Check::ok(
            NAME,
            "the chart is not installed in this cluster; the operator runs elsewhere, if at all",
        )];
    }
    let mut checks = Vec::new();
    for deployment in deployments {
        let arguments = arguments(&deployment);
        let mut of_one = vec![pods(&deployment)];
        if let Some((namespace, name)) = pair(&arguments, "--lease") {
            let leases: Api<Lease> = Api::namespaced(management.client.clone(), namespace);
            of_one.push(match leases.get_opt(name).await {
                Ok(lease) => leader(lease.as_ref(), Timestamp::now()),
                Err(error) => Check::new(
                    Level::Warning,
                    "Leader",
                    format!("the Lease can't be read: {}", words(&error)),
                    "look as an administrator",
                ),
            });
        }
        let local_is_there = match pair(&arguments, "--local-cluster") {
            // What can't be read says nothing of the chart.
            Some((namespace, name)) => {
                !matches!(management.cluster_if_there(namespace, name).await, Ok(None))
            }
            None => true,
        };
        of_one.extend(values(&arguments, local_is_there));
        let name = format!("{}/{}", deployment.namespace().unwrap_or_default(), deployment.name_any());
        checks.extend(of_one.into_iter().map(|check| check.of(&name)));
    }
    checks
}

fn arguments(deployment: &Deployment) -> Vec<String> {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let containers = template.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    containers.first().and_then(|container| container.args.clone()).unwrap_or_default()
}

/// The value `NAMESPACE/NAME` of a flag.
fn pair<'a>(arguments: &'a [String], flag: &str) -> Option<(&'a str, &'a str)> {
    let value = arguments.iter().find_map(|argument| argument.strip_prefix(flag)?.strip_prefix('='))?;
    value.split_once('/')
}

fn pods(deployment: &Deployment) -> Check {
    const NAME: &str = "Pods";
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let message = format!("{ready} of {wanted} pods are ready");
    let look = || {
        let namespace = deployment.namespace().unwrap_or_default();
        format!("see why: kubectl -n {namespace} describe pods -l {LABEL}")
    };
    match (wanted, ready) {
        (0, _) => Check::new(
            Level::Warning,
            NAME,
            "it is stopped: there are to be no pods",
            "set the chart's replicas",
        ),
        (_, 0) => Check::new(Level::Error, NAME, message, look()),
        _ if ready < wanted => Check::new(Level::Warning, NAME, message, look()),
        _ => Check::ok(NAME, message),
    }
}

/// Who has the Lease, and whether he still renews it.
fn leader(lease: Option<&Lease>, now: Timestamp) -> Check {
    const NAME: &str = "Leader";
    const REMEDY: &str = "see the pods' logs, and docs/runbook.md, Who leads, and when nobody does";
    let spec = lease.and_then(|lease| lease.spec.as_ref());
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
    let (Some(spec), Some(holder)) = (spec, holder) else {
        return Check::new(Level::Error, NAME, "no pod leads, so nothing is done", REMEDY);
    };
    let renewed = spec.renew_time.as_ref().map_or(0, |time| time.0.as_second());
    let since = now.as_second().saturating_sub(renewed);
    if since > i64::from(spec.lease_duration_seconds.unwrap_or_default()).saturating_add(CLOCK) {
        let message = format!("{holder} led, and has not renewed its Lease for {since} s");
        return Check::new(Level::Error, NAME, message, REMEDY);
    }
    Check::ok(NAME, format!("{holder} leads"))
}

/// Values of the chart by which nothing is done.
fn values(arguments: &[String], local_is_there: bool) -> Vec<Check> {
    const NAME: &str = "ChartValues";
    let mut checks = Vec::new();
    if arguments.iter().any(|argument| argument == "--observe-only") {
        checks.push(Check::new(
            Level::Warning,
            NAME,
            "observeOnly is true: the operator plans and reports, and writes to no target",
            "set observeOnly to false when the plans are right: awsiam diff",
        ));
    }
    let local = pair(arguments, "--local-cluster");
    if let Some((namespace, name)) = local
        && !local_is_there
    {
        checks.push(Check::new(
            Level::Warning,
            NAME,
            format!("localCluster names Cluster {namespace}/{name}, and there is none"),
            "apply it, or have the operator make it: localCluster.configs",
        ));
    }
    if checks.is_empty() {
        let local = local.map_or_else(|| "no".to_owned(), |(namespace, name)| format!("{namespace}/{name}"));
        checks.push(Check::ok(
            NAME,
            format!("localCluster is {local}, and nothing keeps the operator from writing"),
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use serde_json::json;

    use super::*;

    fn deployment(wanted: i32, ready: i32) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "awsiam", "namespace": "awsiam-system"},
            "spec": {"replicas": wanted, "selector": {}, "template": {"spec": {"containers": [
                {"name": "operator", "args": ["--lease=awsiam-system/awsiam", "--local-cluster=default/prod"]}]}}},
            "status": {"readyReplicas": ready},
        }))
        .unwrap()
    }

    #[test]
    fn pods_that_lack_are_told_with_how_to_look() {
        let levels =
            [(2, 2), (2, 1), (2, 0), (0, 0)].map(|(wanted, ready)| pods(&deployment(wanted, ready)).level);
        assert_eq!(levels, [Level::Ok, Level::Warning, Level::Error, Level::Warning]);
        let none = pods(&deployment(2, 0));
        assert_eq!(none.message, "0 of 2 pods are ready");
        assert!(none.remedy.contains("kubectl -n awsiam-system describe pods"), "{}", none.remedy);
    }

    #[test]
    fn a_lease_that_nobody_has_or_renews_is_an_error() {
        let held = |holder: &str, renewed: i64| Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        let now = Timestamp::from_second(1_000).unwrap();
        assert_eq!(leader(Some(&held("pod", 990)), now), Check::ok("Leader", "pod leads"));
        // Its clock may be ahead, or a little behind.
        assert_eq!(leader(Some(&held("pod", 2_000)), now).level, Level::Ok);
        assert_eq!(leader(Some(&held("pod", 925)), now).level, Level::Ok);
        let gone = leader(Some(&held("pod", 924)), now);
        assert!(gone.level == Level::Error && gone.message.contains("for 76 s"), "{gone:?}");
        for lease in [None, Some(held("", 990)), Some(Lease::default())] {
            let none = leader(lease.as_ref(), now);
            assert!(none.level == Level::Error && none.message.contains("no pod leads"), "{none:?}");
        }
    }

    #[test]
    fn values_that_keep_the_operator_from_work_are_told_by_their_names() {
        let arguments = arguments(&deployment(1, 1));
        assert_eq!(pair(&arguments, "--lease"), Some(("awsiam-system", "awsiam")));
        let well = values(&arguments, true);
        assert!(
            well.len() == 1 && well[0].level == Level::Ok && well[0].message.contains("default/prod"),
            "{well:?}"
        );
        let observing = [arguments.as_slice(), &["--observe-only".to_owned()]].concat();
        let told = values(&observing, false);
        let messages: Vec<&str> = told.iter().map(|check| check.message.as_str()).collect();
        assert!(
            messages[0].contains("observeOnly") && messages[1].contains("default/prod, and there is none"),
            "{told:?}"
        );
        assert!(told.iter().all(|check| check.level == Level::Warning));
    }

    #[test]
    fn every_section_of_the_runbook_that_a_remedy_names_is_there() {
        let runbook = include_str!("../../../../../docs/runbook.md");
        let mut count = 0;
        for source in [include_str!("judged.rs"), include_str!("deployed.rs")] {
            let before_tests = source.split("#[cfg(test)]").next().unwrap();
            for named in before_tests.split("docs/runbook.md, ").skip(1) {
                let section = named.split(['"', ';']).next().unwrap();
                let titles = ["##", "###"].map(|level| format!("\n{level} {section}\n"));
                assert!(titles.iter().any(|title| runbook.contains(title)), "{section}");
                count += 1;
            }
        }
        assert!(count >= 4, "{count}");
    }
}

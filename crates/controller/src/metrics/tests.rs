//! That `docs/metrics.md` lists what is there, no more and no less, and what is said when.

use std::collections::{BTreeMap, BTreeSet};

use awsiam_api::ClusterStatus;
use awsiam_api::conditions::{self, Status, set_condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

use super::*;
use crate::lease::Term;

const PAGE: &str = include_str!("../../../../docs/metrics.md");

/// Name as a query has it, type and label names.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

/// What a text of OpenMetrics describes.
fn described(text: &str) -> Described {
    let mut described = Described::new();
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    for (name, kind) in kinds {
        let series = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            "histogram" => format!("{name}_bucket"),
            _ => name.to_owned(),
        };
        let is_series =
            |line: &&str| line.starts_with(&series) && line[series.len()..].starts_with(['{', ' ']);
        let samples: Vec<&str> = text.lines().filter(is_series).collect();
        assert!(!samples.is_empty(), "{name} has a type and no series");
        let labels = samples.iter().filter_map(|line| line.split_once('{')?.1.rsplit_once('}'));
        let labels =
            labels.flat_map(|(labels, _)| labels.split("\",")).filter_map(|label| label.split_once('='));
        let labels = labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le").collect();
        let name = if kind == "histogram" { name.to_owned() } else { series };
        described.insert(name, (kind.to_owned(), labels));
    }
    described
}

/// What the page describes, in its table's first three columns.
fn listed() -> Described {
    let quoted =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = quoted(cells[1]).remove(0);
        (name, (cells[2].to_owned(), quoted(cells[3]).into_iter().collect()))
    })
    .collect()
}

fn cluster(name: &str) -> Cluster {
    let metadata =
        ObjectMeta { name: Some(name.into()), namespace: Some("team".into()), ..ObjectMeta::default() };
    Cluster { metadata, spec: awsiam_api::ClusterSpec::default(), status: None }
}

fn status() -> ClusterStatus {
    let mut status = ClusterStatus::default();
    let kind = conditions::TARGET_REACHABLE;
    let now = Time(Timestamp::UNIX_EPOCH);
    set_condition(&mut status.conditions, &now, Some(1), kind, Status::False, "Unreachable", "no answer");
    status
}

/// Metrics of a process that leads, with a series in each of them.
fn of_a_leader() -> Metrics {
    let metrics = Metrics::new("1.2.3", "abc", &Arc::default());
    metrics.leads(None);
    metrics.ended(&cluster("here"), &PassReport::Released);
    metrics.took(Duration::from_millis(7));
    metrics.wrote("ConfigMap", &Ok(()));
    metrics.wrote("ConfigMap", &Err::<(), _>(Error::NotLeading));
    metrics.changes.get_or_create(&[("kind", "role".into()), ("change", "repaired".into())]).inc();
    metrics.said(&cluster("here"), &status());
    metrics.certificates(&cluster("here"), Some(Until { serving: 1_700_000_000, authority: 1_900_000_000 }));
    metrics.clusters.refuses("here", "PrivilegeRefused");
    metrics
}

#[test]
fn the_page_lists_every_metric_with_its_type_and_labels_and_no_other() {
    assert_eq!(described(&of_a_leader().text().unwrap()), listed());
}

#[test]
fn a_cluster_has_its_series_until_it_is_gone() {
    let metrics = of_a_leader();
    let series = [
        "awsiam_target_reachable{namespace=\"team\",name=\"here\"} 0",
        "awsiam_cluster_condition{namespace=\"team\",name=\"here\",type=\"TargetReachable\",status=\"False\",reason=\"Unreachable\"} 1",
        "awsiam_certificate_expiry_timestamp_seconds{namespace=\"team\",name=\"here\",certificate=\"serving\"} 1700000000",
        "awsiam_drift_repairs_total{namespace=\"team\",name=\"here\"} 0",
    ];
    let text = metrics.text().unwrap();
    for line in series {
        assert!(text.lines().any(|there| there == line), "{line}\nis not in\n{text}");
    }
    metrics.clusters_of(|_, name| name != "here");
    assert!(!metrics.text().unwrap().contains("\"here\""));
}

#[test]
fn who_does_not_lead_says_nothing_of_clusters() {
    let metrics = of_a_leader();
    let term = Arc::new(Term::ended());
    metrics.leads(Some(term.clone()));
    let text = metrics.text().unwrap();
    assert!(text.contains("awsiam_leader 0\n") && !text.contains("\"here\""), "{text}");
    term.lasts_until(tokio::time::Instant::now() + Duration::from_mins(1));
    let text = metrics.text().unwrap();
    assert!(text.contains("awsiam_leader 1\n") && text.contains("\"here\""), "{text}");
    assert!(Metrics::new("", "", &Arc::default()).text().unwrap().contains("awsiam_leader 0\n"));
}

#[test]
fn what_is_put_aside_has_no_other_condition() {
    let metrics = of_a_leader();
    metrics.set_aside(&cluster("here"), "ManagedByEKSAnywhere");
    let text = metrics.text().unwrap();
    let conditions: Vec<&str> =
        text.lines().filter(|line| line.starts_with("awsiam_cluster_condition{")).collect();
    let [only] = conditions.as_slice() else { panic!("{conditions:?}") };
    assert!(only.contains("type=\"Ready\",status=\"Unknown\",reason=\"ManagedByEKSAnywhere\""), "{only}");
    assert!(!text.contains("awsiam_target_reachable"), "{text}");
}

#[test]
fn passes_that_are_under_way_are_counted_with_the_age_of_the_oldest() {
    let health: Arc<Health> = Arc::default();
    let metrics = Metrics::new("", "", &health);
    let pass = health.begins("team/here".into());
    assert!(metrics.text().unwrap().contains("awsiam_passes_under_way 1\n"));
    drop(pass);
    let text = metrics.text().unwrap();
    assert!(
        text.contains("awsiam_passes_under_way 0\n") && text.contains("awsiam_oldest_pass_age_seconds 0")
    );
}

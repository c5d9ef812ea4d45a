//! The alerts of the chart: each with words, a runbook section and cases, and right by promtool.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::prometheus::program;
use crate::{path, read, sections};

pub(crate) const ALERTS: &str = "charts/awsiam-operator/files/alerts.yaml";
const CASES: &str = "tests/alerts.test.yaml";
const RUNBOOK: &str = "docs/runbook.md";

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn alerts() -> Vec<Value> {
    let groups = yaml(ALERTS)["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

pub(crate) fn names() -> BTreeSet<String> {
    alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_alert_has_its_words_and_its_section_of_the_runbook_and_each_section_its_alert() {
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let text =
            |pointer: &str| alert.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        for part in ["/annotations/summary", "/annotations/description", "/labels/severity"] {
            assert!(!text(part).is_empty(), "{name} has no {part}");
        }
        let url = format!("https://github.com/awsiam/awsiam/blob/main/{RUNBOOK}#{}", name.to_lowercase());
        assert_eq!(text("/annotations/runbook_url"), url, "{name}");
    }
    assert_eq!(sections(RUNBOOK, "Alerts"), names());
}

#[test]
fn each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let cases = yaml(CASES);
    let (mut fires, mut rests) = (BTreeSet::new(), BTreeSet::new());
    let tests = cases["tests"].as_array().unwrap();
    for check in tests.iter().flat_map(|test| test["promql_expr_test"].as_array().unwrap()) {
        let expression = check["expr"].as_str().unwrap();
        let name = expression.split('"').nth(1).unwrap().to_owned();
        let is_silent = check["exp_samples"].as_array().unwrap().is_empty();
        if is_silent {
            rests.insert(name)
        } else {
            fires.insert(name)
        };
    }
    assert_eq!((fires, rests), (names(), names()));
}

#[test]
fn promtool_finds_the_alerts_right_and_every_case_as_it_says() {
    let Some(promtool) = program("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    for file in [ALERTS, CASES] {
        std::fs::copy(path(file), folder.path().join(path(file).file_name().unwrap())).unwrap();
    }
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output = Command::new(&promtool).args(arguments).current_dir(folder.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}

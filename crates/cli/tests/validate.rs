//! `awsiam validate` as a user sees it. The transcripts are stored under `snapshots/`.

mod command;

#[allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    reason = "shared with the tests of other crates"
)]
#[path = "../../api/tests/cases/mod.rs"]
mod cases;

use std::collections::{BTreeMap, BTreeSet};

use cases::Case;
use command::{awsiam, awsiam_reading};
use serde_json::{Value, json};

#[test]
fn every_case_of_the_admission_table_gets_the_same_verdict_and_words() {
    // Updates need an object to change, which files do not have.
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.from.is_none()).collect();
    let items: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(number, case)| {
            json!({
                "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": case.kind,
                "metadata": {"name": format!("case-{number}")}, "spec": case.spec,
            })
        })
        .collect();
    assert!(items.len() > 40);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let run = awsiam_reading(&["validate", "-f", "-", "-o", "json"], &list);
    assert_eq!(run.code, 1, "{}", run.stderr);

    let mut refused: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for finding in run.json()["findings"].as_array().unwrap() {
        // The API server lets repeated ARNs through, and knows no privilege flags.
        let beyond_admission =
            ["DuplicateArn", "PrivilegeRefused"].contains(&finding["reason"].as_str().unwrap());
        if finding["severity"] == "refused" && !beyond_admission {
            let object = finding["object"].as_str().unwrap().to_owned();
            refused.entry(object).or_default().insert(finding["message"].as_str().unwrap().to_owned());
        }
    }
    for (number, case) in cases.iter().enumerate() {
        let found = refused.remove(&format!("{} default/case-{number}", case.kind)).unwrap_or_default();
        assert_eq!(found, case.refused, "{}", case.name);
    }
}

#[test]
fn mistakes_are_shown_with_their_line_and_a_caret() {
    insta::assert_snapshot!(awsiam(&["validate", "-f", "mistakes.yaml"]).transcript());
}

#[test]
fn for_programs_there_is_json() {
    insta::assert_snapshot!(awsiam(&["validate", "-f", "mistakes.yaml", "-o", "json"]).transcript());
}

#[test]
fn files_without_fault_exit_with_0() {
    let run = awsiam(&["validate", "-f", "team.yaml", "here.yaml"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    assert_eq!(run.stdout, "1 AWSIamConfig and 1 Cluster in 2 files: all is well\n");
}

#[test]
fn the_examples_are_without_fault() {
    let run = awsiam(&["validate", "-f", "../../../../examples"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
}

#[test]
fn a_folder_stands_for_its_manifests_in_order() {
    let run = awsiam(&["validate", "-f", "several", "-o", "json"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let report = run.json();
    assert_eq!(
        (&report["files"], &report["configs"], &report["clusters"]),
        (&json!(3), &json!(2), &json!(2))
    );
}

#[test]
fn line_ends_of_windows_change_no_place() {
    let text = std::fs::read_to_string(command::files().join("mistakes.yaml")).unwrap();
    let unix = awsiam_reading(&["validate", "-f", "-"], &text);
    let windows = awsiam_reading(&["validate", "-f", "-"], &text.replace('\n', "\r\n"));
    assert_eq!(unix.transcript(), windows.transcript());
    let marked = awsiam_reading(&["validate", "-f", "-"], &format!("\u{feff}{text}"));
    assert_eq!(unix.transcript(), marked.transcript());
}

#[test]
fn a_file_that_is_no_yaml_is_shown_and_exits_with_2() {
    insta::assert_snapshot!(awsiam(&["validate", "-f", "broken.yaml", "team.yaml"]).transcript());
}

#[test]
fn a_file_that_is_not_there_exits_with_2() {
    insta::assert_snapshot!(awsiam(&["validate", "-f", "absent.yaml"]).transcript());
    assert_eq!(awsiam(&["validate", "-f", "../command/nothing"]).code, 2);
    assert_eq!(awsiam(&["validate"]).code, 2);
    assert_eq!(awsiam_reading(&["validate", "-f", "-", "-"], "").code, 2);
}

#[test]
fn what_is_meant_twice_is_refused() {
    insta::assert_snapshot!(awsiam(&["validate", "-f", "team.yaml", "several/c.yml"]).transcript());
}

#[test]
fn privilege_flags_are_those_of_the_operator() {
    let validate = |flags: &[&str]| {
        let run = awsiam(&[&["validate", "-f", "team.yaml", "-o", "json"], flags].concat());
        let report = run.json();
        let fields: Vec<String> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| {
                format!("{} {}", finding["reason"].as_str().unwrap(), finding["field"].as_str().unwrap())
            })
            .collect();
        (run.code, fields)
    };
    let masters = vec!["PrivilegeRefused spec.mapRoles[0].groups[0]".to_owned()];
    assert_eq!(validate(&["--system-masters=allow"]), (0, vec![]));
    assert_eq!(validate(&["--system-masters=deny"]), (1, masters.clone()));
    assert_eq!(validate(&["--system-masters=namespaces:a,b"]), (1, masters));
    assert_eq!(validate(&["--system-masters=namespaces:a,b", "-n", "b"]), (0, vec![]));
    assert_eq!(validate(&["--allowed-groups=x*", "--denied-groups=a,b"]), (0, vec![]));
    assert_eq!(awsiam(&["validate", "-f", "team.yaml", "--system-masters=perhaps"]).code, 2);
}

#[test]
fn texts_of_a_manifest_do_not_command_the_terminal() {
    let manifest = "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: AWSIamConfig\nmetadata: {name: a}\nspec:\n  awsRegion: x\n  backendMode: [EKSConfigMap]\n  mapRoles: [{roleARN: \"\\e[2Jx\", username: u}]\n";
    let run = awsiam_reading(&["validate", "-f", "-"], manifest);
    assert_eq!(run.code, 1);
    assert!(!run.stdout.contains('\u{1b}') && run.stdout.contains("\\u{1b}[2Jx"), "{}", run.stdout);
}

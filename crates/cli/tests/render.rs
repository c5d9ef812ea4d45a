//! `awsiam render aws-auth` as a user sees it. The transcripts are stored under `snapshots/`.

mod command;

use command::{Run, awsiam, awsiam_reading, files};
use serde_json::json;

fn render(words: &[&str], current: Option<&str>) -> Run {
    let words = [&["render", "aws-auth"], words].concat();
    match current {
        None => awsiam(&words),
        Some(text) => awsiam_reading(&[words.as_slice(), &["--current", "-"]].concat(), text),
    }
}

#[test]
fn the_configmap_is_printed_and_the_words_go_to_standard_error() {
    insta::assert_snapshot!(render(&["-f", "team.yaml", "here.yaml"], None).transcript());
}

#[test]
fn rendering_upon_what_was_rendered_changes_nothing() {
    for files in
        [&["-f", "../../../../examples"][..], &["-f", "team.yaml", "here.yaml"], &["-f", "team.yaml"]]
    {
        for format in ["text", "json"] {
            let words = [files, &["-o", format]].concat();
            let first = render(&words, None);
            assert_eq!(first.code, 0, "{}", first.stderr);
            let again = render(&words, Some(&first.stdout));
            assert_eq!(again.stdout, first.stdout, "{files:?}");
            let diff = render(&[files, &["--diff"]].concat(), Some(&first.stdout));
            assert!(diff.stdout.starts_with("nothing changes: "), "{}", diff.stdout);
            assert_eq!(diff.stdout.lines().count(), 1);
        }
    }
}

#[test]
fn everything_that_is_not_ours_stays() {
    insta::assert_snapshot!(render(&["-f", "team.yaml", "--current", "aws-auth.yaml"], None).transcript());
}

#[test]
fn a_diff_says_what_changes_and_why() {
    let current = std::fs::read_to_string(files().join("aws-auth.yaml")).unwrap();
    let current = current.replace("role/KubernetesAdmin", "role/Admin");
    insta::assert_snapshot!(
        render(&["-f", "mistakes.yaml", "team.yaml", "--diff"], Some(&current)).transcript()
    );
}

#[test]
fn a_diff_for_programs_holds_the_findings_too() {
    let run = render(&["-f", "mistakes.yaml", "--current", "aws-auth.yaml", "--diff", "-o", "json"], None);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let report = run.json();
    assert_eq!((&report["differs"], &report["cluster"]), (&json!(true), &json!("default/cluster")));
    assert_eq!(report["findings"].as_array().unwrap().len(), 6);
    assert_eq!(report["skipped"].as_array().unwrap().len(), 1);
    let states: Vec<&str> =
        report["outcomes"].as_array().unwrap().iter().map(|o| o["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["Refused", "Added", "Added", "Added"]);
}

#[test]
fn explicitly_empty_references_take_ours_away_and_give_back_what_was_there() {
    let before = std::fs::read_to_string(files().join("aws-auth.yaml")).unwrap();
    let added = render(&["-f", "team.yaml", "here.yaml", "-o", "json"], Some(&before));
    let removed = render(&["-f", "nobody.yaml", "-o", "json"], Some(&added.stdout));
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    let untouched = render(&["-f", "nobody.yaml", "-o", "json"], Some(&before));
    assert_eq!(removed.json()["data"], untouched.json()["data"]);
    assert_ne!(removed.json()["data"], added.json()["data"]);
    insta::assert_snapshot!(render(&["-f", "nobody.yaml", "--diff"], Some(&added.stdout)).transcript());
}

#[test]
fn a_reference_that_the_files_do_not_hold_removes_nothing() {
    let added = render(&["-f", "team.yaml", "here.yaml"], None);
    let run = render(&["-f", "here.yaml", "--diff"], Some(&added.stdout));
    assert!(run.stdout.contains("nothing changes"), "{}", run.stdout);
    assert_eq!(run.stdout.matches("frozen").count(), 2, "{}", run.stdout);
}

#[test]
fn of_several_clusters_one_must_be_named() {
    insta::assert_snapshot!(render(&["-f", "several"], None).transcript());
    insta::assert_snapshot!(render(&["-f", "several", "--cluster", "b", "--diff"], None).transcript());
    insta::assert_snapshot!(render(&["-f", "several", "--cluster", "x"], None).transcript());
}

#[test]
fn without_a_cluster_every_config_counts_and_one_may_be_named() {
    let run = render(
        &["-f", "several/b.json", "several/c.yml", "--cluster", "ns/my", "-n", "ns", "--diff", "-o", "json"],
        None,
    );
    let report = run.json();
    assert_eq!(report["cluster"], "ns/my");
    assert_eq!(report["outcomes"].as_array().unwrap().len(), 3);
}

#[test]
fn what_another_cluster_wrote_is_left_alone() {
    let theirs = render(&["-f", "team.yaml", "here.yaml"], None);
    let run = render(&["-f", "several", "--cluster", "b"], Some(&theirs.stdout));
    assert_eq!((run.code, &run.stdout), (0, &theirs.stdout));
    insta::assert_snapshot!(run.stderr);
}

#[test]
fn an_unreadable_list_stays_to_the_byte_while_the_others_go_on() {
    let current = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: aws-auth, namespace: kube-system}\ndata:\n  mapRoles: \"- a: [\\n\"\n";
    let run = render(&["-f", "team.yaml", "-o", "json"], Some(current));
    assert_eq!(run.json()["data"]["mapRoles"], "- a: [\n");
    assert!(run.json()["data"]["mapUsers"].as_str().unwrap().contains("user/team/alice"));
    assert!(run.stderr.contains("mapRoles, line 2"), "{}", run.stderr);
}

#[test]
fn a_current_that_is_not_aws_auth_is_refused() {
    for (current, says) in [
        ("", "is empty, so nobody knows what aws-auth holds"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: aws-auth}\n", "holds Secret kube-system/aws-auth"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n", "holds ConfigMap kube-system/other"),
        (
            "kind: ConfigMap\nmetadata: {name: aws-auth}\ndata: {mapRoles: 5}\n",
            "cannot be read as a ConfigMap",
        ),
        ("a: [", "stdin:2:1: this is neither YAML nor JSON"),
        ("kind: List\nitems: [{kind: ConfigMap}, {kind: ConfigMap}]\n", "holds 2 objects"),
    ] {
        let run = render(&["-f", "team.yaml"], Some(current));
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{current}");
        assert!(run.stderr.contains(says), "{current}: {}", run.stderr);
    }
    assert_eq!(render(&["-f", "-"], Some("")).code, 2);
}

#[test]
fn files_that_hold_nothing_of_ours_are_an_error() {
    let run = render(&["-f", "../../../../examples/view-only-binding.yaml"], None);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("neither a Cluster nor an AWSIamConfig"), "{}", run.stderr);
}

#[test]
fn where_nothing_is_there_and_nothing_is_asked_for_nothing_is_printed() {
    let run = render(&["-f", "nobody.yaml"], None);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert!(run.stderr.contains("there is no aws-auth, and nothing to put into one"), "{}", run.stderr);
}

#[test]
fn the_authenticators_objects_are_printed_without_a_key() {
    let run = awsiam(&[
        "render",
        "authenticator",
        "-f",
        "../../../../examples",
        "-o",
        "json",
        "--probe-image",
        "r/awsiam:1",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let documents = run.json();
    let kinds: Vec<&str> =
        documents.as_array().unwrap().iter().map(|d| d["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Secret", "DaemonSet"]);
    let containers = &documents[5]["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[1]["image"], json!("r/awsiam:1"));
    assert!(!run.stdout.contains("PRIVATE KEY"));
}

#[test]
fn what_hinders_the_authenticator_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let example = std::fs::read_to_string(files().join("../../../../examples/local-cluster.yaml")).unwrap();
    for (block, words) in [
        ("mode: External", "somebody else runs its authenticator"),
        (
            "image: evil.example.com/x",
            "spec.iamAuthenticator.image \"evil.example.com/x\" does not start with",
        ),
    ] {
        let file = folder.path().join("cluster.yaml");
        let text = example.replacen("spec:\n", &format!("spec:\n  iamAuthenticator:\n    {block}\n"), 1);
        std::fs::write(&file, text).unwrap();
        let run = awsiam(&["render", "authenticator", "-f", file.to_str().unwrap()]);
        assert_eq!(run.code, 2, "{}", run.stdout);
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
}

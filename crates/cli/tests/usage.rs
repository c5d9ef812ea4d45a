//! The command line as such: names, versions, completions, and errors that keep secrets.

mod command;

use std::os::unix::fs::symlink;

use command::{awsiam, program};

#[test]
fn the_version_names_release_and_commit() {
    let run = awsiam(&["--version"]);
    let commit = run.stdout.strip_prefix(concat!("awsiam ", env!("CARGO_PKG_VERSION"), " (commit "));
    let commit = commit.and_then(|rest| rest.strip_suffix(")\n")).unwrap_or_else(|| panic!("{}", run.stdout));
    assert!(commit == "unknown" || commit.chars().all(|c| c.is_ascii_hexdigit()), "{commit}");
}

#[test]
fn the_verbs_are_listed() {
    insta::with_settings!({filters => vec![(r"awsiam \d.*", "awsiam VERSION")]}, {
        insta::assert_snapshot!(awsiam(&["--help"]).transcript());
    });
}

#[test]
fn installed_as_a_plugin_it_speaks_of_kubectl() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-awsiam");
    symlink(env!("CARGO_BIN_EXE_awsiam"), &plugin).unwrap();
    let output = assert_cmd::Command::new(plugin).args(["validate", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Usage: kubectl awsiam validate"), "{help}");
}

#[test]
fn the_crds_are_those_in_the_repository_s_types() {
    assert_eq!(awsiam(&["crd"]).stdout, awsiam_api::crds_yaml());
}

#[test]
fn shells_and_man_get_what_they_ask_for() {
    assert!(awsiam(&["completions", "bash"]).stdout.contains("complete -F _awsiam"));
    assert!(awsiam(&["man"]).stdout.contains(".TH awsiam 1"));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(awsiam(&["man", "--to", folder.path().to_str().unwrap()]).code, 0);
    assert!(folder.path().join("awsiam-validate.1").exists());
    assert_eq!(awsiam(&["completions", "cobol"]).code, 2);
}

#[test]
fn a_broken_kubeconfig_is_placed_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let text = "apiVersion: v1\nkind: Config\nusers:\n- name: me\n  user:\n    token: SUPERSECRET\n    tokenFile: [x\ncontexts: 5\n";
    std::fs::write(&file, text).unwrap();
    for verb in [&["diff", "here"][..], &["controller"]] {
        let by_flag = program().args(verb).arg("--kubeconfig").arg(&file).output().unwrap();
        let by_environment = program().args(verb).env("KUBECONFIG", &file).output().unwrap();
        for output in [by_flag, by_environment] {
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!said.contains("SUPERSECRET") && !said.contains("tokenFile"), "{said}");
            assert!(said.contains("config: line ") && said.contains("column "), "{said}");
            assert_eq!(said.trim_end().lines().count(), 1, "{said}");
            assert_eq!(output.status.code(), Some(if verb[0] == "diff" { 2 } else { 1 }));
        }
    }
}

#[test]
fn without_a_cluster_the_error_says_how_to_name_one() {
    let run = awsiam(&["diff", "here"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("--kubeconfig FILE"), "{}", run.stderr);
    let run = awsiam(&["controller"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("--kubeconfig FILE"), "{}", run.stderr);
}

#[test]
fn a_cluster_that_does_not_answer_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, KUBECONFIG).unwrap();
    let output = program().args(["diff", "here", "--kubeconfig"]).arg(&file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.starts_with("awsiam: can't read Cluster default/here: "), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    let output = program().args(["controller", "--kubeconfig"]).arg(&file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("awsiam controller: can't read namespace kube-system"), "{said}");
}

/// Port 1 of this machine, where nobody listens.
const KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: \"https://127.0.0.1:1\"}}]\nusers: [{name: u, user: {token: t}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n";

#[test]
fn wrong_words_are_usage_errors() {
    for words in [
        &["frobnicate"][..],
        &["diff"],
        &["diff", "a/b/c"],
        &["diff", "here", "-f", "team.yaml", "--cluster", "x"],
        &["controller", "--local-cluster", "here"],
        &["controller", "--resync", "10"],
        &["controller", "--log-format", "xml"],
    ] {
        let run = awsiam(words);
        assert_eq!(run.code, 2, "{words:?}");
        assert_eq!(run.stdout, "");
        assert_eq!(run.stderr.lines().count(), 1, "{words:?}: {}", run.stderr);
    }
    assert_eq!(awsiam(&["render"]).code, 2);
    let misspelt = awsiam(&["controller", "--local-clustr", "a/b"]).stderr;
    assert_eq!(
        misspelt,
        "awsiam: unexpected argument '--local-clustr' found; tip: a similar argument exists: '--local-cluster' (--help says what there is)\n"
    );
    let missing = awsiam(&["validate"]).stderr;
    assert!(missing.starts_with("awsiam: the following required arguments were not provided: "), "{missing}");
}

#[test]
fn what_is_for_tests_alone_is_not_in_the_help() {
    let help = awsiam(&["controller", "--help"]).stdout;
    assert!(help.contains("--local-cluster") && !help.contains("hang-after-writes"), "{help}");
}

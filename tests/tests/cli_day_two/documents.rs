//! The commands of the pages about `aws-auth` and conditions, as they stand there; and that the commands of every document
//! are run somewhere.

use std::path::Path;

use awsiam_core::ledger::{self, Ledger, Writer};
use awsiam_tests::documents::{AWS_AUTH, CONDITIONS, Document, RUNBOOK, attempt, commands, run};
use awsiam_tests::stage::{CLUSTER, Stage};
use kube::api::DeleteParams;
use serde_json::json;

use crate::THEIRS;
use crate::history::{listed, served};
use crate::release::in_effect;

/// Where the blocks of commands below a heading are run, and how many there are. `docs/walkthrough.md` is run as a whole.
const RUN: [(&str, &str, usize, &str); 22] = [
    ("README.md", "awsiam", 1, "Makefile"),
    // The image's block is not run: there is no docker here. `make check-image` builds the Dockerfile.
    ("README.md", "Quick start", 3, "tests/tests/quick_start.rs"),
    ("README.md", "Log in", 3, "tests/tests/walkthrough.rs"),
    ("README.md", "Upgrade", 1, "tests/tests/quick_start.rs"),
    ("README.md", "Uninstall", 1, "tests/tests/quick_start.rs"),
    ("examples/README.md", "Examples", 1, "tests/tests/quick_start.rs"),
    ("charts/awsiam-operator/README.md", "awsiam-operator", 1, "tests/tests/quick_start.rs"),
    ("docs/aws-auth.md", "9. History", 1, "tests/tests/cli_day_two/documents.rs"),
    ("docs/aws-auth.md", "10. The last administrator stays", 1, "tests/tests/cli_day_two/documents.rs"),
    ("docs/conditions.md", "Conditions, findings and Events", 1, "tests/tests/cli_day_two/documents.rs"),
    ("docs/conditions.md", "A deletion that does not finish", 1, "tests/tests/cli_day_two/documents.rs"),
    ("docs/guard.md", "The guard at admission", 1, "tests/tests/guard.rs"),
    ("docs/runbook.md", "Another CA", 2, "tests/tests/authenticator/main.rs"),
    ("docs/runbook.md", "Locked out", 3, "tests/tests/cli_day_two/ways_out.rs"),
    ("docs/runbook.md", "The operator is gone for good", 3, "tests/tests/cli_day_two/ways_out.rs"),
    ("docs/runbook.md", "Restored from a backup", 2, "tests/tests/authenticator/restored.rs"),
    ("docs/runbook.md", "Moved to another management cluster", 1, "tests/tests/remote_targets/moved.rs"),
    ("docs/runbook.md", "Handing over from EKS Anywhere, and back", 3, "tests/tests/cli_day_two/ways_out.rs"),
    ("docs/runbook.md", "Alerts", 1, "tests/tests/cli_day_two/documents.rs"),
    ("docs/runbook.md", "TargetClaimed", 1, "tests/tests/cli_day_two/documents.rs"),
    ("docs/walkthrough.md", "", 13, "tests/tests/walkthrough.rs"),
    ("CONTRIBUTING.md", "The loop", 1, "Makefile"),
];

#[test]
fn the_commands_of_every_document_are_run_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found: Vec<(String, String)> = Vec::new();
    for folder in ["", "docs", "docs/adr", "docs/schema", "charts/awsiam-operator", "examples"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let blocks = commands(&std::fs::read_to_string(&path).unwrap());
                let path = path.strip_prefix(&root).unwrap().display().to_string();
                found.extend(blocks.into_iter().map(|(heading, _)| (path.clone(), heading)));
            }
        }
    }
    for (path, heading, count, by) in RUN {
        let before = found.len();
        found.retain(|(at, title)| at != path || !(heading.is_empty() || title == heading));
        assert_eq!(before - found.len(), count, "blocks of commands in {path} below {heading:?}; see {by}");
        let source = std::fs::read_to_string(root.join(by)).unwrap();
        let asks_for_it = source.contains(&format!("\"{heading}\")"));
        assert!(!by.ends_with("rs") || heading.is_empty() || asks_for_it, "{by} does not run {heading:?}");
    }
    assert!(found.is_empty(), "commands that no test runs: {found:?}");
}

/// The only block below a heading.
fn only(document: &Document, heading: &str) -> String {
    let blocks = document.blocks(heading);
    let [block] = blocks.as_slice() else { panic!("{blocks:#?}") };
    block.clone()
}

#[tokio::test]
async fn what_was_there_is_shown_and_asked_for_before_it_is_put_back() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", THEIRS)]).await;
    let (operator, with_ours) = served(&stage).await;
    operator.stop().await;
    let oldest = listed(&stage).await["revisions"][0]["revision"].to_string();
    let block = only(&AWS_AUTH, "9. History");
    // Nobody is there to be asked.
    let asked = attempt(&stage, &block, CLUSTER, &oldest).await.unwrap_err();
    assert!(asked.contains("--yes"), "{asked}");
    assert_eq!(stage.text("mapRoles").await, with_ours);
    let said = run(&stage, &format!("{} --yes", block.trim_end()), CLUSTER, &oldest).await;
    assert!(said.contains("+- rolearn: arn:aws:iam::111122223333:role/Dev"), "{said}");
    assert_eq!(stage.text("mapRoles").await, THEIRS);
}

#[tokio::test]
async fn an_annotation_lets_the_last_administrator_go() {
    let stage = Stage::set().await;
    stage.config("team", &[("Admin", "admin", &["system:masters"])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.text_gets("mapRoles", "role/Admin").await;
    let emptied = stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.condition("AwsAuthSynced", "False", "LastAdministrator").await;
    let generation = emptied.metadata.generation.unwrap().to_string();
    let block = only(&AWS_AUTH, "10. The last administrator stays");
    run(&stage, &block.replace("GENERATION", &generation), CLUSTER, "").await;
    stage.condition("AwsAuthSynced", "True", "Synced").await;
    assert!(!stage.text("mapRoles").await.contains("role/Admin"));
    operator.stop().await;
}

#[tokio::test]
async fn another_writers_target_is_taken_over_looked_at_and_given_up() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", THEIRS)]).await;
    let writer = Writer {
        management: Some("another".to_owned()),
        namespace: "fleet".to_owned(),
        name: "prod".to_owned(),
        uid: Some("u".to_owned()),
    };
    let theirs = Ledger::new(writer, 1).render();
    stage
        .edit_aws_auth("another", |config_map| {
            let annotations = config_map.metadata.annotations.get_or_insert_default();
            annotations.insert(ledger::ANNOTATION.to_owned(), theirs.clone());
        })
        .await;
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    let operator = stage.operator().await;
    stage.condition("AwsAuthSynced", "False", "TargetClaimed").await;
    run(&stage, &only(&RUNBOOK, "TargetClaimed"), CLUSTER, "").await;
    stage.condition("Ready", "True", "Ready").await;

    let said = run(&stage, &only(&CONDITIONS, "Conditions, findings and Events"), CLUSTER, "").await;
    assert!(said.contains("awsiamconfig.anywhere.eks.amazonaws.com/team"), "{said}");
    assert!(said.contains(r#""type":"Ready""#), "{said}");
    // The doctor finds something: no chart is installed here.
    let block = format!("{} || test $? = 1", only(&RUNBOOK, "Alerts").trim_end());
    let said = run(&stage, &block, CLUSTER, "").await;
    assert!(said.contains("AwsAuthSynced") && said.contains("the chart is not installed"), "{said}");
    operator.stop().await;
}

#[tokio::test]
async fn a_deletion_that_waits_is_let_go_by_an_annotation() {
    let stage = Stage::set().await;
    let operator = in_effect(&stage).await;
    stage
        .cluster_spec(json!({
            "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
            "iamAuthenticator": {"deletionPolicy": "Delete", "suspend": true},
        }))
        .await;
    let said = stage.condition("AwsAuthSynced", "True", "Synced").await;
    assert!(said.contains("suspend is true"), "{said}");
    let with_ours = stage.text("mapRoles").await;
    stage.clusters().delete(CLUSTER, &DeleteParams::default()).await.unwrap();
    stage.condition("AwsAuthSynced", "False", "Suspended").await;
    run(&stage, &only(&CONDITIONS, "A deletion that does not finish"), CLUSTER, "").await;
    stage
        .eventually("the Cluster to go", async || match stage.clusters().get_opt(CLUSTER).await.unwrap() {
            None => Ok(()),
            Some(cluster) => Err(format!("{:?}", cluster.metadata)),
        })
        .await;
    assert_eq!(stage.text("mapRoles").await, with_ours, "the entries stay where they are");
    operator.stop().await;
}

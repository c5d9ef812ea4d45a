//! The CloudFormation template of `awsiam export access-entries`, read by cfn-lint, which knows the schema of each
//! resource type.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program, which is built beside the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("awsiam");
    assert!(program.exists(), "build it first: cargo build -p awsiam");
    program
}

#[test]
fn the_template_of_an_export_is_one_that_cloudformation_takes() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built =
        Command::new(here.join("cfn-lint/build")).stderr(std::process::Stdio::inherit()).output().unwrap();
    assert!(built.status.success(), "cfn-lint could not be installed, see above");
    let environment = PathBuf::from(String::from_utf8(built.stdout).unwrap().trim_end());
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template.json");
    let lint = |text: &[u8]| {
        std::fs::write(&template, text).unwrap();
        let output = Command::new(environment.join("bin/cfn-lint")).arg(&template).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };

    let current = here.join("../crates/cli/tests/files/day-two.yaml");
    let exported = Command::new(program())
        .args(["export", "access-entries", "--format", "cloudformation", "--current"])
        .arg(current)
        .output()
        .unwrap();
    let text = String::from_utf8(exported.stdout).unwrap();
    assert!(text.matches("AWS::EKS::AccessEntry").count() >= 5, "{text}");
    let (is_good, said) = lint(text.as_bytes());
    assert!(is_good, "{said}\n{text}");

    // It would have told: a key that there is not.
    let wrong = text.replace("\"PrincipalArn\"", "\"Principal\"");
    let (is_good, said) = lint(wrong.as_bytes());
    assert!(!is_good && said.contains("PrincipalArn"), "{said}");
}

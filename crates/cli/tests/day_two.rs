//! What can be said of an `aws-auth` in a file: who an identity is, what can be declared, what has an equal as an access
//! entry. Stored texts, and the schemas of what programs get.

mod command;
mod schema;

use command::{Run, awsiam, awsiam_reading, files};

const CURRENT: [&str; 2] = ["--current", "day-two.yaml"];

fn explained(arn: &str) -> Run {
    awsiam(&["explain", arn, CURRENT[0], CURRENT[1]])
}

#[test]
fn an_identity_is_explained() {
    let arns = [
        "arn:aws:sts::111122223333:assumed-role/Admin/ann@example.org",
        "arn:aws:iam::111122223333:role/team/Dev",
        "arn:aws:iam::111122223333:user/BOB",
        "arn:aws:iam::111122223333:role/WithPath",
        "arn:aws:iam::012345678901:role/Anybody",
        "arn:aws:iam::999922223333:role/Admin",
    ];
    let said: Vec<String> = arns.iter().map(|arn| explained(arn).transcript()).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn nobody_s_arn_is_refused_with_what_to_give() {
    let run = explained("arn:aws:iam::111122223333:instance-profile/x");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(
        run.stderr.contains("instance profile") && run.stderr.contains("get-caller-identity"),
        "{}",
        run.stderr
    );
    assert_eq!(
        awsiam(&["explain", "arn:aws:iam::111122223333:role/x"]).code,
        2,
        "neither CLUSTER nor --current"
    );
}

#[test]
fn what_can_be_declared_is_declared_and_the_rest_is_explained() {
    let run = awsiam(&["import", "--current", "day-two.yaml", "--region", "eu-west-1"]);
    insta::assert_snapshot!(run.transcript());
    // It is what the rules of admission and of the operator take.
    let checked = awsiam_reading(&["validate", "-f", "-"], &run.stdout);
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    let region = awsiam(&["import", CURRENT[0], CURRENT[1]]);
    assert!(region.code == 2 && region.stderr.contains("--region"), "{}", region.stderr);
}

#[test]
fn what_is_imported_changes_nothing_when_it_is_applied() {
    let run = awsiam(&["import", "--current", "day-two.yaml", "--region", "eu-west-1"]);
    let current = files().join("day-two.yaml");
    let words =
        ["render", "aws-auth", "--diff", "-o", "json", "-f", "-", "--current", current.to_str().unwrap()];
    let refuse = awsiam_reading(&words, &run.stdout).json();
    assert_eq!((&refuse["differs"], &refuse["diff"]), (&false.into(), &"".into()), "{refuse:#}");
    let cluster = "---\napiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nmetadata: {name: c}\nspec:\n  identityProviderRefs: [{kind: AWSIamConfig, name: imported}]\n  iamAuthenticator: {conflictPolicy: Adopt}\n";
    let adopt = awsiam_reading(&words, &format!("{}{cluster}", run.stdout)).json();
    assert_eq!((&adopt["differs"], &adopt["diff"]), (&true.into(), &"".into()), "{adopt:#}");
    let states: Vec<&str> = adopt["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|outcome| outcome["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["Adopted"; 5]);
}

#[test]
fn grants_are_exported_as_access_entries() {
    for format in ["cli", "cloudformation", "terraform"] {
        let run = awsiam(&[
            "export",
            "access-entries",
            CURRENT[0],
            CURRENT[1],
            "--eks-cluster",
            "prod",
            "--format",
            format,
        ]);
        assert_eq!(run.code, 1, "some have no equal");
        insta::assert_snapshot!(format, run.transcript());
    }
}

#[test]
fn programs_get_what_the_schemas_say() {
    let arns =
        ["user/BOB", "role/Dev", "role/WithPath"].map(|name| format!("arn:aws:iam::111122223333:{name}"));
    for arn in arns.iter().map(String::as_str).chain(["arn:aws:iam::012345678901:role/Anybody"]) {
        schema::holds("explain", &awsiam(&["explain", arn, CURRENT[0], CURRENT[1], "-o", "json"]).json());
    }
    let import = awsiam(&["import", CURRENT[0], CURRENT[1], "--region", "eu-west-1", "-o", "json"]).json();
    schema::holds("import", &import);
    let export = awsiam(&["export", "access-entries", CURRENT[0], CURRENT[1], "--format", "json"]).json();
    schema::holds("export-access-entries", &export);
    for (file, name) in [("team.yaml", "validate"), ("mistakes.yaml", "validate")] {
        if files().join(file).exists() {
            schema::holds(name, &awsiam(&["validate", "-f", file, "-o", "json"]).json());
        }
    }
    let plan =
        awsiam(&["render", "aws-auth", "--diff", "-o", "json", "-f", "team.yaml", CURRENT[0], CURRENT[1]]);
    schema::holds("diff", &plan.json());
}

#[test]
fn a_schema_refuses_what_it_does_not_describe() {
    let mut value = awsiam(&["validate", "-f", "team.yaml", "-o", "json"]).json();
    value["more"] = 1.into();
    assert!(!schema::of("validate").is_valid(&value));
}

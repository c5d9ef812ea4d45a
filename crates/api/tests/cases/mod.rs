//! The table of admission (`admission-cases.yaml`) and the ARNs that all judges are compared on. Shared
//! by the tests of this crate and those that ask a real API server; knows no judge.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Kind of most cases.
pub(crate) const AWS_IAM_CONFIG: &str = "AWSIamConfig";

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Case {
    /// A sentence.
    pub(crate) name: String,
    /// `AWSIamConfig` or `Cluster`.
    pub(crate) kind: &'static str,
    /// The spec to judge.
    pub(crate) spec: Value,
    /// The spec that stands there before, for an update.
    pub(crate) from: Option<Value>,
    /// Every text of refusal.
    pub(crate) refused: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    case: String,
    role: Option<String>,
    user: Option<String>,
    account: Option<String>,
    spec: Option<Map<String, Value>>,
    cluster: Option<Map<String, Value>>,
    from: Option<Map<String, Value>>,
    #[serde(default)]
    refused: BTreeSet<String>,
}

/// Every case of the table.
pub(crate) fn all() -> Vec<Case> {
    let lines: Vec<Line> =
        serde_saphyr::from_str(include_str!("../admission-cases.yaml")).expect("the table");
    lines.into_iter().map(Case::from).collect()
}

impl From<Line> for Case {
    fn from(line: Line) -> Self {
        let mut case = match (line.role, line.user, line.account, line.spec, line.cluster) {
            (Some(arn), None, None, None, None) => Case::of_row("role", &arn),
            (None, Some(arn), None, None, None) => Case::of_row("user", &arn),
            (None, None, Some(id), None, None) => Case::of_row("account", &id),
            (None, None, None, Some(spec), None) => Case::of_spec(spec),
            (None, None, None, None, Some(spec)) => {
                Case { kind: "Cluster", spec: Value::Object(spec), ..Case::of_spec(Map::new()) }
            }
            _ => panic!("'{}' needs exactly one of role, user, account, spec, cluster", line.case),
        };
        case.from = line.from.map(|from| Case::of_spec(from).spec);
        case.name = line.case;
        case.refused = line.refused;
        case
    }
}

impl Case {
    /// A spec with one row.
    pub(crate) fn of_row(list: &str, arn: &str) -> Self {
        let (field, row) = match list {
            "role" => ("mapRoles", json!({ "roleARN": arn, "username": "someone" })),
            "user" => ("mapUsers", json!({ "userARN": arn, "username": "someone" })),
            _ => ("mapAccounts", json!(arn)),
        };
        Self::of_spec(Map::from_iter([(field.to_owned(), json!([row]))]))
    }

    fn of_spec(fields: Map<String, Value>) -> Self {
        let mut spec = json!({ "awsRegion": "eu-central-1", "backendMode": ["EKSConfigMap"] });
        spec.as_object_mut().expect("an object").extend(fields);
        Self { name: String::new(), kind: AWS_IAM_CONFIG, spec, from: None, refused: BTreeSet::new() }
    }
}

/// ARNs of all sorts: each part as it should be, and as people and tools get it wrong.
pub(crate) fn arns() -> Vec<String> {
    let schemes = ["arn", "ARN", "rn"];
    let partitions = ["aws", "aws-cn", "amazon", ""];
    let services = ["iam:", "sts:", "s3:", "iam:eu-west-1"];
    let accounts = ["111122223333", "1111", "aws", "111122223333 "];
    let resources = [
        "role/Admin",
        "role/a/b/Admin",
        "ROLE/*",
        "role/",
        "role",
        "user/alice",
        "user/a:b/alice",
        "user/al ice",
        "root",
        "root/x",
        "federated-user/alice",
        "federated-user/a/b",
        "assumed-role/Admin/alice",
        "assumed-role/Admin",
        "instance-profile/x",
        "group/x",
        "policy/x",
        "saml-provider/x",
        "",
    ];
    let mut arns: Vec<String> =
        ["", " ", "arn", "arn:", "arn:aws:iam::", ":::::", "Ä"].map(str::to_owned).into();
    for scheme in schemes {
        for partition in partitions {
            for service in services {
                for account in accounts {
                    arns.extend(
                        resources
                            .map(|resource| format!("{scheme}:{partition}:{service}:{account}:{resource}")),
                    );
                }
            }
        }
    }
    arns
}

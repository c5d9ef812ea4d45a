//! The admission rules of the CRDs, in CEL. They say what [`mod@crate::validate`] says, in the same words;
//! `tests/admission-cases.yaml` is the table that both, and a real API server, are held against.
//!
//! The API server estimates what a rule may cost at worst and refuses the CRD beyond its budget: for 2,000
//! rows, about 70 characters of regular expression a rule. So an ARN is asked short questions apart: what
//! it names, whether its characters are right, and (for the list) whether it lies in the partition. Only
//! when one fails does the message look at what the ARN is instead.

use awsiam_core::arn::Partition;
use kube::core::{Message, Reason, Rule};
use schemars::Schema;
use serde_json::{Value, json};

use crate::messages::{self as say, Text};

/// The ARN of the role behind a session, by cutting the parts out of the session's.
const ROLE_OF_SESSION: &str =
    "'arn' + self.find(':[^:]*:') + 'iam' + self.find('::[0-9]*:') + 'role' + self.find('/[^/]*')";

/// Rules of `spec.awsRegion`.
pub(crate) fn aws_region() -> Vec<Rule> {
    vec![
        rule("self != ''", say::EMPTY_REGION).reason(Reason::FieldValueRequired),
        rule("self == oldSelf", say::IMMUTABLE_REGION).reason(Reason::FieldValueForbidden),
    ]
}

/// Rules of `spec.partition`.
pub(crate) fn partition() -> Vec<Rule> {
    vec![
        saying(&format!("self in {}", partitions()), &say::UNKNOWN_PARTITION.cel(&[("partition", "self")])),
        rule("self == oldSelf", say::IMMUTABLE_PARTITION).reason(Reason::FieldValueForbidden),
    ]
}

/// Rules of `spec.backendMode`.
pub(crate) fn backend_mode() -> Vec<Rule> {
    vec![
        rule("self.size() > 0", say::NO_BACKEND_MODE).reason(Reason::FieldValueRequired),
        rule("!('MountedFile' in self)", say::MOUNTED_FILE),
        rule("self.all(mode, mode in ['EKSConfigMap', 'CRD', 'MountedFile'])", say::UNKNOWN_BACKEND_MODE),
        // Not FieldValueDuplicate: for that reason the API server leaves the message out.
        rule("self.all(mode, self.exists_one(other, other == mode))", say::REPEATED_BACKEND_MODE),
        rule("self == oldSelf", say::IMMUTABLE_BACKEND_MODE).reason(Reason::FieldValueForbidden),
    ]
}

/// Rules of a `username`.
pub(crate) fn username() -> Vec<Rule> {
    vec![rule("self != ''", say::EMPTY_USERNAME).reason(Reason::FieldValueRequired)]
}

/// Puts the rule of an account id on the items of `spec.mapAccounts`.
pub(crate) fn accounts(list: &mut Schema) {
    let account = saying("self.matches('^[0-9]{12}$')", &say::BAD_ACCOUNT.cel(&[("account", "self")]));
    if let Some(Value::Object(items)) = list.get_mut("items") {
        items.insert("x-kubernetes-validations".to_owned(), json!([account]));
    }
}

/// Rules of a `roleARN`.
pub(crate) fn role_arn() -> Vec<Rule> {
    let rungs = [
        ("self == ''", say::EMPTY_ROLE),
        (NOT_SIX_PARTS, say::NOT_A_ROLE_ARN),
        (&is("iam", "user/"), say::USER_IN_ROLES),
        (&is("iam", "root$"), say::ROOT_IN_ROLES),
        (&is("sts", "federated-user/"), say::FEDERATED_USER_IN_ROLES),
        (SESSION, say::ASSUMED_ROLE),
        (&is("iam", "instance-profile/"), say::INSTANCE_PROFILE),
        (&is("iam", "group/"), say::GROUP),
        (&is("iam", "policy/"), say::POLICY),
        (&is("iam", "role/"), say::BAD_ARN_ACCOUNT),
        (&is("sts", "assumed-role/"), say::BAD_ARN_ACCOUNT),
    ];
    arn(r"^arn:[^:]*:iam::\d{12}:role/", &ladder(&rungs, say::NOT_A_ROLE))
}

/// Rules of a `userARN`.
pub(crate) fn user_arn() -> Vec<Rule> {
    let rungs = [
        ("self == ''", say::EMPTY_USER),
        (NOT_SIX_PARTS, say::NOT_A_USER_ARN),
        (&is("iam", "role/"), say::ROLE_IN_USERS),
        (SESSION, say::ASSUMED_ROLE),
        (&is("iam", "instance-profile/"), say::INSTANCE_PROFILE),
        (&is("iam", "group/"), say::GROUP),
        (&is("iam", "policy/"), say::POLICY),
        (&is("iam", "(user/|root$)"), say::BAD_ARN_ACCOUNT),
        (&is("sts", "(federated-user|assumed-role)/"), say::BAD_ARN_ACCOUNT),
    ];
    let shape = r"^arn:[^:]*:(iam::\d{12}:(user/|root$)|sts::\d{12}:federated-user/)";
    arn(shape, &ladder(&rungs, say::NOT_A_USER))
}

/// The two questions about one ARN: what it names, and whether its characters are those of ARNs and names.
fn arn(shape: &str, otherwise: &str) -> Vec<Rule> {
    let blanks = [("arn", "self")];
    let characters = format!(
        "!self.matches('^[!-~]*$') ? {} : {}",
        say::BAD_CHARACTER.cel(&blanks),
        say::BAD_NAME.cel(&blanks)
    );
    vec![
        saying(&matches("self", shape), otherwise),
        saying("self == '' || self.matches('^([!-~]*[:/])?[A-Za-z0-9_+=,.@-]+$')", &characters),
    ]
}

/// Rules of an AWSIamConfig's spec: those that look at two fields.
pub(crate) fn config() -> Vec<Rule> {
    vec![
        rule(
            "!has(self.mapAccounts) || self.mapAccounts.size() == 0 || 'EKSConfigMap' in self.backendMode",
            say::ACCOUNTS_NEED_CONFIG_MAP,
        )
        .field_path(".mapAccounts"),
        in_partition("mapRoles", "roleARN"),
        in_partition("mapUsers", "userARN"),
    ]
}

/// Every ARN of a list lies in `spec.partition`, as far as that is a partition. What is not an ARN has
/// been refused by its own rule.
fn in_partition(list: &str, arn: &str) -> Rule {
    let strays = format!(
        "row.{arn}.lowerAscii().matches('^arn:([^:]*:){{4}}.') \
         && !row.{arn}.lowerAscii().startsWith('arn:' + self.partition + ':')"
    );
    let known = format!("self.partition in {}", partitions());
    // Only an index into the list itself has a bounded length in the API server's estimate, so that the
    // message may quote the ARN. Before Kubernetes 1.30 `indexOf` was not bounded: there the CRD is refused.
    let first = format!("self.{list}[self.{list}.map(row, {strays}).indexOf(true)].{arn}");
    saying(
        &format!("!has(self.{list}) || !({known}) || !self.{list}.exists(row, {strays})"),
        &say::WRONG_PARTITION.cel(&[("arn", &first), ("partition", "self.partition")]),
    )
    .field_path(format!(".{list}"))
}

/// Rules of `spec.identityProviderRefs`.
pub(crate) fn identity_provider_refs() -> Vec<Rule> {
    vec![rule(
        "self.all(ref, self.exists_one(other, other.kind == ref.kind && other.name == ref.name))",
        say::DUPLICATE_REF,
    )]
}

/// Rules of the name of an environment variable.
pub(crate) fn proxy_variable() -> Vec<Rule> {
    vec![saying(
        "self in ['HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY']",
        &say::UNKNOWN_VARIABLE.cel(&[("name", "self")]),
    )]
}

/// A session of a role, in an account.
const SESSION: &str = r"self.lowerAscii().matches(r'^arn:[^:]*:sts::\d{12}:assumed-role/')";
const NOT_SIX_PARTS: &str = "!self.lowerAscii().matches('^arn:[^:]*:[^:]*:[^:]*:[^:]*:.')";

fn matches(value: &str, shape: &str) -> String {
    format!("{value}.lowerAscii().matches(r'{shape}')")
}

/// Whether `self` is an ARN of `service` whose resource begins with `resource`.
fn is(service: &str, resource: &str) -> String {
    matches("self", &format!("^arn:[^:]*:{service}::[^:]*:{resource}"))
}

/// The text of the first rung that holds, as a CEL expression.
fn ladder(rungs: &[(&str, Text)], last: Text) -> String {
    let blanks = [("arn", "self"), ("role", ROLE_OF_SESSION)];
    let steps = rungs.iter().map(|(condition, text)| format!("{condition} ? {} : ", text.cel(&blanks)));
    steps.chain([last.cel(&blanks)]).collect()
}

fn partitions() -> String {
    let names: Vec<String> = Partition::ALL.iter().map(|partition| format!("'{partition}'")).collect();
    format!("[{}]", names.join(", "))
}

/// A rule with a fixed message.
fn rule(condition: &str, text: Text) -> Rule {
    Rule::new(condition).message(text.as_str())
}

/// A rule whose message is a CEL expression.
fn saying(condition: &str, message: &str) -> Rule {
    Rule::new(condition).message(Message::Expression(message.to_owned()))
}

//! The rules of the resources, run here: by `awsiam validate` on files, and by the controller on what
//! the cluster holds, whose CRD may be somebody else's. Says what `rules` says, and a little more:
//! warnings, and repeated ARNs, which the API server lets through.

use std::collections::BTreeMap;

use awsiam_core::arn::{
    AccountId, ArnError, Partition, RoleArn, UserArn, UserKind, check_characters, partition_word,
};
use awsiam_core::mapping::{Key, List, Mapping};

use crate::cluster::{ClusterSpec, IdentityProviderRef, MAX_REFS};
use crate::finding::{Finding, Reason, Severity};
use crate::iam_config::{AWSIamConfigSpec, MAX_MAPPINGS};
use crate::messages::{self as say, Text};

/// Most characters of an ARN. The longest that IAM makes is a user's in aws-us-gov with a path of 512 and
/// a name of 128 characters; one more digit and the rules would be too costly for the API server.
const MAX_ARN: usize = 680;
/// Most characters of a username.
const MAX_USERNAME: usize = 1024;
/// Most groups of a row, and most characters of a group.
const MAX_GROUPS: (usize, usize) = (256, 512);
/// The variables that `spec.iamAuthenticator.env` may hold.
pub const PROXY_VARIABLES: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];

/// Everything that is wrong with an AWSIamConfig, in the order in which it is written.
#[must_use]
pub fn validate(spec: &AWSIamConfigSpec) -> Vec<Finding> {
    let rows = judge_rows(spec).into_iter().flat_map(|row| row.findings);
    settings_of(spec).into_iter().chain(lists_of(spec)).chain(rows).collect()
}

/// Everything that is wrong with a Cluster.
#[must_use]
pub fn validate_cluster(spec: &ClusterSpec) -> Vec<Finding> {
    let refs = spec.identity_provider_refs.as_deref().unwrap_or_default();
    let mut findings = duplicate_refs(refs);
    findings.extend(too_many("spec.identityProviderRefs", refs.len(), MAX_REFS));
    let env = spec.iam_authenticator.iter().flat_map(|block| block.env.iter().enumerate());
    findings.extend(env.filter(|(_, variable)| !PROXY_VARIABLES.contains(&variable.name.as_str())).map(
        |(index, variable)| {
            let field = format!("spec.iamAuthenticator.env[{index}].name");
            let message = say::UNKNOWN_VARIABLE.fill(&[("name", &variable.name)]);
            refused(field, &variable.name, Reason::UnknownVariable, message)
        },
    ));
    findings
}

/// The fields of an AWSIamConfig that were changed and cannot be.
#[must_use]
pub fn validate_update(old: &AWSIamConfigSpec, new: &AWSIamConfigSpec) -> Vec<Finding> {
    let fields = [
        ("spec.awsRegion", old.aws_region == new.aws_region, say::IMMUTABLE_REGION),
        ("spec.partition", old.partition == new.partition, say::IMMUTABLE_PARTITION),
        ("spec.backendMode", old.backend_mode == new.backend_mode, say::IMMUTABLE_BACKEND_MODE),
    ];
    let changed = fields.into_iter().filter(|(_, same, _)| !same);
    changed.map(|(field, _, text)| refused(field, "", Reason::Immutable, text.as_str())).collect()
}

/// What is wrong with region, partition and backends.
pub(crate) fn settings_of(spec: &AWSIamConfigSpec) -> Vec<Finding> {
    let partition = spec.partition.parse::<Partition>().ok();
    let mut findings = region_findings(&spec.aws_region, partition);
    if partition.is_none() {
        let message = say::UNKNOWN_PARTITION.fill(&[("partition", &spec.partition)]);
        findings.push(refused("spec.partition", &spec.partition, Reason::UnknownPartition, message));
    }
    findings.extend(backend_findings(&spec.backend_mode));
    findings
}

fn region_findings(region: &str, partition: Option<Partition>) -> Vec<Finding> {
    let field = "spec.awsRegion";
    if region.is_empty() {
        return vec![refused(field, "", Reason::EmptyRegion, say::EMPTY_REGION.as_str())];
    }
    match (Partition::of_region(region), partition) {
        (None, _) => {
            let message = say::UNKNOWN_REGION.fill(&[("region", region)]);
            vec![warning(field, region, Reason::UnknownRegion, message)]
        }
        (Some(other), Some(partition)) if other != partition => {
            let values = [("region", region), ("other", other.as_str()), ("partition", partition.as_str())];
            let message = say::REGION_OF_OTHER_PARTITION.fill(&values);
            vec![warning(field, region, Reason::RegionOfOtherPartition, message)]
        }
        _ => vec![],
    }
}

fn backend_findings(modes: &[String]) -> Vec<Finding> {
    let known = |mode: &String| ["EKSConfigMap", "CRD", "MountedFile"].contains(&mode.as_str());
    let repeated = modes.iter().enumerate().any(|(index, mode)| modes.iter().take(index).any(|m| m == mode));
    let checks: [(bool, Reason, Text); 4] = [
        (modes.is_empty(), Reason::NoBackendMode, say::NO_BACKEND_MODE),
        (modes.iter().any(|mode| mode == "MountedFile"), Reason::MountedFile, say::MOUNTED_FILE),
        (!modes.iter().all(known), Reason::UnknownBackendMode, say::UNKNOWN_BACKEND_MODE),
        (repeated, Reason::RepeatedBackendMode, say::REPEATED_BACKEND_MODE),
    ];
    let subject = modes.join(", ");
    let failed = checks.into_iter().filter(|(fails, ..)| *fails);
    failed.map(|(_, reason, text)| refused("spec.backendMode", &subject, reason, text.as_str())).collect()
}

/// What is wrong with a list as a whole.
fn lists_of(spec: &AWSIamConfigSpec) -> Vec<Finding> {
    let lengths = [
        ("spec.mapRoles", spec.map_roles.len()),
        ("spec.mapUsers", spec.map_users.len()),
        ("spec.mapAccounts", spec.map_accounts.len()),
    ];
    let mut findings: Vec<Finding> =
        lengths.into_iter().filter_map(|(field, length)| too_many(field, length, MAX_MAPPINGS)).collect();
    if !accounts_work(spec) {
        let message = say::ACCOUNTS_NEED_CONFIG_MAP.as_str();
        findings.push(refused("spec.mapAccounts", "", Reason::AccountsNeedConfigMap, message));
    }
    findings
}

fn accounts_work(spec: &AWSIamConfigSpec) -> bool {
    spec.map_accounts.is_empty() || spec.backend_mode.iter().any(|mode| mode == "EKSConfigMap")
}

/// One row of a spec, looked at.
pub(crate) struct JudgedRow {
    /// Such as `spec.mapRoles[3]`.
    pub(crate) field: String,
    /// What it grants, if it counts.
    pub(crate) mapping: Option<Mapping>,
    /// Its key, if its ARN has one, also when the row does not count.
    pub(crate) key: Option<Key>,
    /// What is wrong with it.
    pub(crate) findings: Vec<Finding>,
}

/// One row as it is written.
struct Row<'a> {
    list: List,
    index: usize,
    arn: &'a str,
    /// Username and groups, which accounts don't have.
    identity: Option<(&'a str, &'a [String])>,
}

/// Every row, in the order of the lists, with its findings.
pub(crate) fn judge_rows(spec: &AWSIamConfigSpec) -> Vec<JudgedRow> {
    let partition = spec.partition.parse::<Partition>().ok();
    let accounts_work = accounts_work(spec);
    let mut first: BTreeMap<Key, String> = BTreeMap::new();
    rows_of(spec)
        .map(|row| {
            let mut judged = row.judge(partition, &spec.partition);
            if row.index >= MAX_MAPPINGS || (row.list == List::Accounts && !accounts_work) {
                judged.mapping = None;
            }
            mark_duplicate(&mut judged, &row, &mut first);
            judged
        })
        .collect()
}

fn rows_of(spec: &AWSIamConfigSpec) -> impl Iterator<Item = Row<'_>> {
    let roles = spec.map_roles.iter().enumerate().map(|(index, row)| Row {
        list: List::Roles,
        index,
        arn: &row.role_arn,
        identity: Some((&row.username, &row.groups)),
    });
    let users = spec.map_users.iter().enumerate().map(|(index, row)| Row {
        list: List::Users,
        index,
        arn: &row.user_arn,
        identity: Some((&row.username, &row.groups)),
    });
    let accounts = spec.map_accounts.iter().enumerate().map(|(index, account)| Row {
        list: List::Accounts,
        index,
        arn: account,
        identity: None,
    });
    roles.chain(users).chain(accounts)
}

fn mark_duplicate(judged: &mut JudgedRow, row: &Row<'_>, first: &mut BTreeMap<Key, String>) {
    let Some(key) = judged.key.clone() else { return };
    if let Some(earlier) = first.get(&key) {
        let message = say::DUPLICATE_ARN.fill(&[("arn", row.arn), ("first", earlier)]);
        judged.findings.push(refused(row.arn_field(), row.arn, Reason::DuplicateArn, message));
        judged.mapping = None;
    } else {
        first.insert(key, judged.field.clone());
    }
}

impl Row<'_> {
    fn field(&self) -> String {
        format!("spec.{}[{}]", self.list, self.index)
    }

    fn arn_field(&self) -> String {
        match self.list {
            List::Roles => format!("{}.roleARN", self.field()),
            List::Users => format!("{}.userARN", self.field()),
            List::Accounts => self.field(),
        }
    }

    fn judge(&self, partition: Option<Partition>, written_partition: &str) -> JudgedRow {
        let mut findings: Vec<Finding> = too_long(self.arn_field(), self.arn, MAX_ARN).into_iter().collect();
        let read = self.read_arn();
        let errors = self.arn_errors(read.as_ref().err(), partition);
        findings.extend(errors.iter().map(|error| self.arn_finding(error, written_partition)));
        findings.extend(self.root_warning());
        findings.extend(self.identity_findings());
        let counts = findings.iter().all(|finding| finding.severity == Severity::Warning);
        let (username, groups) = self.identity.unwrap_or_default();
        let arn = read.ok();
        let mapping = arn.clone().filter(|_| counts && partition.is_some()).map(|arn| Mapping {
            list: self.list,
            arn,
            username: username.to_owned(),
            groups: groups.to_vec(),
        });
        JudgedRow { field: self.field(), mapping, key: arn.map(|arn| Key::new(self.list, &arn)), findings }
    }

    /// The ARN as `aws-auth` carries it.
    fn read_arn(&self) -> Result<String, ArnError> {
        match self.list {
            List::Roles => RoleArn::parse(self.arn).map(|role| role.without_path()),
            List::Users => UserArn::parse(self.arn).map(|user| user.as_str().to_owned()),
            List::Accounts => AccountId::parse(self.arn).map(|account| account.to_string()),
        }
    }

    /// The answers to three questions that are asked apart, as the rules of the CRD do: what is it, are
    /// its characters right, does it lie in the object's partition (if that is one).
    fn arn_errors(&self, parsed: Option<&ArnError>, partition: Option<Partition>) -> Vec<ArnError> {
        if self.list == List::Accounts {
            return parsed.cloned().into_iter().collect();
        }
        let asked_apart = [ArnError::BadCharacter, ArnError::BadName, ArnError::UnknownPartition];
        let kind = parsed.filter(|error| !asked_apart.contains(error)).cloned();
        let characters = check_characters(self.arn).err();
        let elsewhere = partition
            .filter(|partition| partition_word(self.arn).is_some_and(|word| word != partition.as_str()));
        let partition = elsewhere.map(|expected| ArnError::WrongPartition { expected });
        [kind, characters, partition].into_iter().flatten().collect()
    }

    fn arn_finding(&self, error: &ArnError, partition: &str) -> Finding {
        let message = match self.list {
            List::Accounts => say::BAD_ACCOUNT.fill(&[("account", self.arn)]),
            list => say::of_arn(list, error, self.arn, partition),
        };
        refused(self.arn_field(), self.arn, Reason::from(error), message)
    }

    fn root_warning(&self) -> Option<Finding> {
        let user = (self.list == List::Users).then(|| UserArn::parse(self.arn).ok()).flatten()?;
        (user.kind == UserKind::Root).then(|| {
            let message = say::ROOT_USER.fill(&[("arn", self.arn)]);
            warning(self.arn_field(), self.arn, Reason::RootUser, message)
        })
    }

    fn identity_findings(&self) -> Vec<Finding> {
        let Some((username, groups)) = self.identity else { return vec![] };
        let (field, name) = (self.field(), format!("{}.username", self.field()));
        let mut findings: Vec<Finding> = too_long(name.clone(), username, MAX_USERNAME).into_iter().collect();
        if username.is_empty() {
            findings.push(refused(name, self.arn, Reason::EmptyUsername, say::EMPTY_USERNAME.as_str()));
        }
        let (most, longest) = MAX_GROUPS;
        findings.extend(too_many(&format!("{field}.groups"), groups.len(), most));
        for (index, group) in groups.iter().enumerate() {
            let place = format!("{field}.groups[{index}]");
            if group.is_empty() {
                findings.push(warning(place, self.arn, Reason::EmptyGroup, say::EMPTY_GROUP.as_str()));
            } else {
                findings.extend(too_long(place, group, longest));
            }
        }
        findings
    }
}

fn duplicate_refs(refs: &[IdentityProviderRef]) -> Vec<Finding> {
    let repeated =
        refs.iter().enumerate().filter(|(index, this)| refs.iter().take(*index).any(|r| r == *this));
    repeated
        .map(|(index, this)| {
            let field = format!("spec.identityProviderRefs[{index}]");
            refused(field, &this.name, Reason::DuplicateRef, say::DUPLICATE_REF.as_str())
        })
        .collect()
}

fn too_many(field: &str, count: usize, max: usize) -> Option<Finding> {
    let values = [("count", &*count.to_string()), ("max", &*max.to_string())];
    (count > max).then(|| refused(field, "", Reason::TooLong, say::TOO_MANY.fill(&values)))
}

fn too_long(field: String, text: &str, max: usize) -> Option<Finding> {
    let count = text.chars().count();
    let values = [("count", &*count.to_string()), ("max", &*max.to_string())];
    (count > max).then(|| refused(field, text, Reason::TooLong, say::TOO_LONG.fill(&values)))
}

fn refused(field: impl Into<String>, subject: &str, reason: Reason, message: impl Into<String>) -> Finding {
    finding(field.into(), subject, reason, message.into(), Severity::Refused)
}

fn warning(field: impl Into<String>, subject: &str, reason: Reason, message: impl Into<String>) -> Finding {
    finding(field.into(), subject, reason, message.into(), Severity::Warning)
}

fn finding(
    field_path: String,
    subject: &str,
    reason: Reason,
    message: String,
    severity: Severity,
) -> Finding {
    Finding { field_path, subject: subject.to_owned(), reason, message, severity }
}

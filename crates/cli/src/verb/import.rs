//! `awsiam import`: today's `aws-auth` as an AWSIamConfig that changes nothing when it is applied. What can be declared
//! is decided in `awsiam_core::import` and by the rules of admission; here it is written down, with comments for what
//! is left out.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use awsiam_api::iam_config::MAX_MAPPINGS;
use awsiam_api::names::{AWS_IAM_CONFIG_KIND, GROUP, VERSION};
use awsiam_api::{AWSIamConfigSpec, MapRole, MapUser, Resolution, Severity, validate};
use awsiam_controller::observe::{self, JudgedConfigs};
use awsiam_core::arn::Partition;
use awsiam_core::desired::Backend;
use awsiam_core::import::{self, Context, Declared, Import, LeftOut, Why};
use awsiam_core::ledger::Ledger;
use awsiam_core::mapping::{List, Mapping};
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::{Output, print_json};
use crate::connection;
use crate::current;
use crate::error::Error;
use crate::management::LiveArguments;
use crate::privileges::PrivilegeArguments;
use crate::selection::ClusterName;
use crate::target::Target;

/// Print an AWSIamConfig that declares what aws-auth holds today
///
/// Applying it changes nothing: with conflictPolicy Refuse the entries stay nobody's (AlreadyPresent), with Adopt they
/// become the AWSIamConfig's by the ledger alone, and no byte of the lists changes. Entries by which nodes join and
/// those that an AWSIamConfig cannot say are left out, each with a comment that says why. Give the privilege flags
/// that the operator runs with.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The Cluster, in the context's namespace unless it names one
    #[arg(
        value_name = "[NAMESPACE/]CLUSTER",
        conflicts_with = "current",
        required_unless_present = "current"
    )]
    cluster: Option<ClusterName>,

    /// Take this aws-auth instead, as kubectl get prints it in YAML or JSON; - for standard input
    #[arg(long, value_name = "FILE")]
    current: Option<PathBuf>,

    /// The name of the AWSIamConfig
    #[arg(long, value_name = "NAME", default_value = "imported")]
    name: String,

    /// The AWS region whose STS the logins ask; without it that of the Cluster's first AWSIamConfig
    #[arg(long, value_name = "REGION")]
    region: Option<String>,

    /// The partition of the ARNs; without it that of the Cluster's first AWSIamConfig, else of the first entry
    #[arg(long, value_name = "PARTITION")]
    partition: Option<Partition>,

    /// Print for people (text: YAML) or for programs (json)
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    live: LiveArguments,

    #[command(flatten)]
    privileges: PrivilegeArguments,
}

/// Why there is nothing to print.
#[derive(Debug, Error)]
pub(crate) enum ImportError {
    #[error(
        "nobody says whose region's STS the logins ask; name it with --region, such as --region eu-central-1"
    )]
    NoRegion,
    #[error(
        "backendMode of the Cluster's AWSIamConfigs asks for CRD first: mappings that are declared then become IAMIdentityMapping objects, so that an import of aws-auth would change something; refer to an AWSIamConfig with backendMode [EKSConfigMap] first"
    )]
    CrdFirst,
    #[error("aws-auth holds nothing that an AWSIamConfig could declare{0}")]
    Nothing(String),
}

/// What is imported from.
struct Source {
    aws_auth: Option<ConfigMap>,
    namespace: String,
    /// What the Cluster's AWSIamConfigs say so far.
    resolution: Option<Resolution>,
}

/// Reads and prints.
///
/// # Errors
/// When something cannot be read, or there is nothing to declare.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let source = match (&arguments.current, &arguments.cluster) {
        (Some(file), _) => Source {
            aws_auth: Some(current::read(file)?),
            namespace: arguments.live.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            resolution: None,
        },
        (None, Some(name)) => connection::block_on(arguments.read(name))??,
        // clap asks for one of the two.
        (None, None) => return Ok(ExitCode::FAILURE),
    };
    arguments.print(&source)?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    async fn read(&self, name: &ClusterName) -> Result<Source, Error> {
        let management = self.live.connect().await?;
        let cluster = management.cluster(name).await?;
        let target = Target::of(&management, &cluster).await?;
        let configs = management.configs_of(&cluster).await?;
        let resolution =
            observe::desired(&cluster, &JudgedConfigs::default(), |name| configs.get(name).cloned());
        let aws_auth = target.aws_auth().await?;
        let namespace = cluster.namespace().unwrap_or_default();
        Ok(Source { aws_auth, namespace, resolution: Some(resolution) })
    }

    fn print(&self, from: &Source) -> Result<(), Error> {
        let settings = from.resolution.as_ref().and_then(|resolution| resolution.settings.as_ref());
        if settings.is_some_and(|settings| settings.backends.first() == Some(&Backend::Crd)) {
            return Err(ImportError::CrdFirst.into());
        }
        let region = self.region.clone().or_else(|| settings.map(|settings| settings.region.clone()));
        let region = region.ok_or(ImportError::NoRegion)?;
        let observed = observe::observed(from.aws_auth.as_ref());
        let ledger = observed.ledger.as_deref().and_then(|text| Ledger::parse(text).ok());
        let policy = self.privileges.policy();
        let mut import = import::import(&Context {
            data: &observed.data,
            ledger: ledger.as_ref(),
            partition: self.partition.or_else(|| settings.map(|settings| settings.partition)),
            namespace: &from.namespace,
            policy: &policy,
        });
        let partition = import.partition.map_or("aws", Partition::as_str);
        let backends = settings.map_or(vec!["EKSConfigMap"], |settings| {
            settings.backends.iter().map(|backend| backend_name(*backend)).collect()
        });
        let base = AWSIamConfigSpec {
            aws_region: region,
            partition: partition.to_owned(),
            backend_mode: backends.into_iter().map(str::to_owned).collect(),
            map_roles: Vec::new(),
            map_users: Vec::new(),
            map_accounts: Vec::new(),
            suspend: false,
        };
        refuse_what_admission_refuses(&mut import, &base);
        if import.declared.is_empty() {
            let why = comments(&import, "  ");
            let why = if why.is_empty() { String::new() } else { format!(":\n{}", why.join("\n")) };
            return Err(ImportError::Nothing(why).into());
        }
        let objects = objects(&import, &base, &self.name, &from.namespace);
        let mut out = io::stdout().lock();
        match self.output {
            Output::Json => print_json(&mut out, &Report::of(&import, objects)),
            Output::Text => Ok(write!(out, "{}", manifest(&import, &objects)?)?),
        }
    }
}

fn backend_name(backend: Backend) -> &'static str {
    match backend {
        Backend::EksConfigMap => "EKSConfigMap",
        Backend::Crd => "CRD",
    }
}

/// Leaves out every row that the API server or the operator would reject.
fn refuse_what_admission_refuses(import: &mut Import, base: &AWSIamConfigSpec) {
    let declared = std::mem::take(&mut import.declared);
    for declared in declared {
        let alone = spec(base, std::slice::from_ref(&declared));
        // What is wrong with the base is no row's fault.
        let of_rows =
            validate(&alone).into_iter().filter(|finding| finding.field_path.starts_with("spec.map"));
        match of_rows.into_iter().find(|finding| finding.severity == Severity::Refused) {
            None => import.declared.push(declared),
            Some(finding) => {
                let Declared { mapping, line } = declared;
                let why = Why::Refused(finding.message);
                import.left_out.push(LeftOut { list: mapping.list, line, arn: mapping.arn, why });
            }
        }
    }
    import.left_out.sort_by_key(|left| (left.list, left.line));
}

fn spec(base: &AWSIamConfigSpec, rows: &[Declared]) -> AWSIamConfigSpec {
    let of = |list| rows.iter().map(|row| &row.mapping).filter(move |mapping| mapping.list == list);
    let role = |mapping: &Mapping| MapRole {
        role_arn: mapping.arn.clone(),
        username: mapping.username.clone(),
        groups: mapping.groups.clone(),
    };
    let user = |mapping: &Mapping| MapUser {
        user_arn: mapping.arn.clone(),
        username: mapping.username.clone(),
        groups: mapping.groups.clone(),
    };
    AWSIamConfigSpec {
        map_roles: of(List::Roles).map(role).collect(),
        map_users: of(List::Users).map(user).collect(),
        map_accounts: of(List::Accounts).map(|mapping| mapping.arn.clone()).collect(),
        ..base.clone()
    }
}

/// The AWSIamConfigs: one, or as many as the rows of a list need.
fn objects(import: &Import, base: &AWSIamConfigSpec, name: &str, namespace: &str) -> Vec<Value> {
    let of = |list| -> Vec<&Declared> {
        import.declared.iter().filter(|declared| declared.mapping.list == list).collect()
    };
    let lists = List::ALL.map(of);
    let parts = lists.iter().map(|rows| rows.len().div_ceil(MAX_MAPPINGS)).max().unwrap_or_default();
    let object = |part: usize| {
        let rows: Vec<Declared> = lists
            .iter()
            .flat_map(|rows| rows.iter().skip(part * MAX_MAPPINGS).take(MAX_MAPPINGS))
            .map(|declared| (*declared).clone())
            .collect();
        let name = if part == 0 { name.to_owned() } else { format!("{name}-{}", part + 1) };
        json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": AWS_IAM_CONFIG_KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec(base, &rows),
        })
    };
    (0..parts).map(object).collect()
}

/// The AWSIamConfigs as YAML, behind comments for what is left out.
fn manifest(import: &Import, objects: &[Value]) -> Result<String, serde_json::Error> {
    let names: Vec<&str> =
        objects.iter().filter_map(|object| object.pointer("/metadata/name")?.as_str()).collect();
    let mut lines = vec![
        "# What kube-system/aws-auth holds, as an AWSIamConfig. Applying it changes nothing.".to_owned(),
        "# Then refer to it from the Cluster, behind the AWSIamConfigs that it refers to already:".to_owned(),
        "#   identityProviderRefs:".to_owned(),
    ];
    for name in names {
        lines.extend([format!("#   - kind: {AWS_IAM_CONFIG_KIND}"), format!("#     name: {name}")]);
    }
    let policies = [
        "# With conflictPolicy Refuse the entries stay nobody's. With spec.iamAuthenticator.conflictPolicy: Adopt they",
        "# become this AWSIamConfig's, and no byte of the lists changes.",
    ];
    lines.extend(policies.map(str::to_owned));
    let left_out = comments(import, "#   ");
    if !left_out.is_empty() {
        lines.extend(["#".to_owned(), "# Left out:".to_owned()]);
        lines.extend(left_out);
    }
    let mut text = lines.join("\n") + "\n";
    for object in objects {
        text += "---\n";
        text += &current::to_yaml(object)?;
    }
    Ok(text)
}

/// What is left out, one line each, with `margin` in front.
fn comments(import: &Import, margin: &str) -> Vec<String> {
    let unreadable =
        import.unreadable.iter().map(|unreadable| format!("{unreadable}: nothing of it can be read"));
    let left_out = import.left_out.iter().map(|left| {
        let arn = if left.arn.is_empty() { String::new() } else { format!(" {}", left.arn) };
        format!("{} line {}{arn}: {}", left.list, left.line, left.why)
    });
    unreadable.chain(left_out).map(|line| format!("{margin}{}", one_line(&line))).collect()
}

/// What comes from `aws-auth` must not end a comment's line, whatever YAML reader looks at it.
fn one_line(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.chars().map(|c| if breaks(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// An import for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    objects: Vec<Value>,
    left_out: Vec<LeftOutRow>,
    unreadable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LeftOutRow {
    list: &'static str,
    line: usize,
    arn: String,
    reason: &'static str,
    message: String,
}

impl Report {
    fn of(import: &Import, objects: Vec<Value>) -> Self {
        let left_out = import.left_out.iter().map(|left| LeftOutRow {
            list: left.list.data_key(),
            line: left.line,
            arn: left.arn.clone(),
            reason: reason(&left.why),
            message: left.why.to_string(),
        });
        let unreadable = import.unreadable.iter().map(ToString::to_string).collect();
        Self { objects, left_out: left_out.collect(), unreadable }
    }
}

fn reason(why: &Why) -> &'static str {
    match why {
        Why::Node => "NodeEntry",
        Why::Declared(_) => "Declared",
        Why::Sso => "Sso",
        Why::NeverMatches(_) => "NeverMatches",
        Why::Overruled(..) => "Overruled",
        Why::Chance(_) => "Chance",
        Why::BothLists(_) => "BothLists",
        Why::WrongList { .. } => "WrongList",
        Why::NoUsername => "EmptyUsername",
        Why::OtherPartition { .. } => "OtherPartition",
        Why::Repeated => "Repeated",
        Why::Refused(_) => "Refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_aws_auth_cannot_leave_its_comment() {
        assert_eq!(one_line("a\nb\u{85}c\u{2028}d\u{1b}"), "a\\u{a}b\\u{85}c\\u{2028}d\\u{1b}");
    }

    #[test]
    fn more_rows_than_one_holds_become_several() {
        let row = |index: usize| Declared {
            mapping: Mapping {
                list: List::Roles,
                arn: format!("arn:aws:iam::111122223333:role/r{index}"),
                username: "u".into(),
                groups: vec![],
            },
            line: index,
        };
        let import = Import {
            partition: None,
            declared: (0..=MAX_MAPPINGS).map(row).collect(),
            left_out: vec![],
            unreadable: vec![],
        };
        let base = AWSIamConfigSpec {
            aws_region: "eu-west-1".into(),
            partition: "aws".into(),
            backend_mode: vec!["EKSConfigMap".into()],
            map_roles: vec![],
            map_users: vec![],
            map_accounts: vec![],
            suspend: false,
        };
        let objects = objects(&import, &base, "x", "n");
        let rows = |index: usize| objects[index]["spec"]["mapRoles"].as_array().map(Vec::len);
        assert_eq!((objects.len(), rows(0), rows(1)), (2, Some(MAX_MAPPINGS), Some(1)));
        assert_eq!(objects[1]["metadata"]["name"], "x-2");
    }
}

//! `awsiam export access-entries`: the grants of a cluster as EKS access entries. What has an equal is decided in
//! `awsiam_core::access_entries`; here it is written down for the AWS CLI, CloudFormation, Terraform and programs.

mod formats;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use awsiam_core::access_entries::{self, Export};
use clap::{Args, Subcommand, ValueEnum};

use super::print_json;
use crate::connection;
use crate::current;
use crate::error::Error;
use crate::management::LiveArguments;
use crate::paint::harmless;
use crate::selection::ClusterName;
use crate::target::Target;

/// Print the grants of a cluster in another form
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    AccessEntries(AccessEntriesArguments),
}

/// The entries of aws-auth as EKS access entries
///
/// Whatever has no equal is listed with the reason, on standard error (with json: in the document). Nothing is
/// created. Access entries count in authentication modes API and API_AND_CONFIG_MAP of the EKS cluster. Exit code 0:
/// every entry has an equal; 1: some have none; 2: error.
#[derive(Args, Debug)]
struct AccessEntriesArguments {
    /// The Cluster, in the context's namespace unless it names one
    #[arg(
        value_name = "[NAMESPACE/]CLUSTER",
        conflicts_with = "current",
        required_unless_present = "current"
    )]
    name: Option<ClusterName>,

    /// Take this aws-auth instead, as kubectl get prints it in YAML or JSON; - for standard input
    #[arg(long, value_name = "FILE")]
    current: Option<PathBuf>,

    /// The name of the EKS cluster; without it clusterID of the Cluster, else its name
    #[arg(long, value_name = "NAME")]
    eks_cluster: Option<String>,

    /// cli (a script for the AWS CLI), cloudformation, terraform or json
    #[arg(long, short = 'o', alias = "output", value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,

    #[command(flatten)]
    live: LiveArguments,
}

/// `--format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Commands for the AWS CLI.
    #[default]
    Cli,
    /// A CloudFormation template.
    Cloudformation,
    /// Terraform resources, as JSON (a file *.tf.json).
    Terraform,
    /// For programs.
    Json,
}

/// Reads and prints.
///
/// # Errors
/// When `aws-auth` cannot be read.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let What::AccessEntries(arguments) = &arguments.what;
    let (data, eks) = match (&arguments.current, &arguments.name) {
        (Some(file), _) => {
            let eks = arguments.eks_cluster.clone().unwrap_or_else(|| "CLUSTER".to_owned());
            (current::read(file)?.data.unwrap_or_default(), eks)
        }
        (None, Some(name)) => connection::block_on(arguments.read(name))??,
        // clap asks for one of the two.
        (None, None) => return Ok(ExitCode::FAILURE),
    };
    let export = access_entries::export(&data);
    let mut out = io::stdout().lock();
    match arguments.format {
        Format::Cli => write!(out, "{}", formats::commands(&export, &eks))?,
        Format::Cloudformation => print_json(&mut out, &formats::cloudformation(&export, &eks))?,
        Format::Terraform => print_json(&mut out, &formats::terraform(&export, &eks))?,
        Format::Json => print_json(&mut out, &formats::Report::of(&export, &eks))?,
    }
    if arguments.format != Format::Json {
        print_notes(&export)?;
    }
    let is_whole = export.without_equal.is_empty() && export.unreadable.is_empty();
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl AccessEntriesArguments {
    async fn read(&self, name: &ClusterName) -> Result<(BTreeMap<String, String>, String), Error> {
        let management = self.live.connect().await?;
        let cluster = management.cluster(name).await?;
        let target = Target::of(&management, &cluster).await?;
        let aws_auth = target.aws_auth().await?;
        let id = cluster.spec.iam_authenticator.as_ref().and_then(|block| block.cluster_id.clone());
        let eks = self.eks_cluster.clone().or(id).unwrap_or_else(|| name.name.clone());
        Ok((aws_auth.and_then(|config_map| config_map.data).unwrap_or_default(), eks))
    }
}

/// What has no equal, and what to know of what has, to standard error.
fn print_notes(export: &Export) -> io::Result<()> {
    let mut out = io::stderr().lock();
    for entry in &export.entries {
        for remark in &entry.remarks {
            writeln!(out, "note: {}: {remark}", harmless(&entry.principal))?;
        }
    }
    for without in &export.without_equal {
        let place = format!("{} line {}", without.list, without.line);
        writeln!(out, "no equal: {place} {}: {}", harmless(&without.arn), harmless(&without.why))?;
    }
    for unreadable in &export.unreadable {
        writeln!(out, "not read: {}", harmless(&unreadable.to_string()))?;
    }
    Ok(())
}

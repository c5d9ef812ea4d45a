//! `awsiam get mappings`: who has access to a cluster, and who was meant to. Reads as the operator reads and writes
//! nothing.

use std::io::Write;
use std::process::ExitCode;

use awsiam_api::Cluster;
use awsiam_core::desired::Backend;
use awsiam_core::inventory::{self, Owner, Row, Standing};
use awsiam_core::privilege::Policy;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::print_json;
use crate::connection;
use crate::current;
use crate::error::Error;
use crate::management::{LiveArguments, LiveError, Management, title};
use crate::paint::{Paint, harmless};
use crate::planned::blocked_words;
use crate::privileges::PrivilegeArguments;
use crate::selection::ClusterName;
use crate::survey::Survey;
use crate::table::Table;

/// Show what is there
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Mappings(MappingsArguments),
}

/// Who has access to a cluster by which AWS identity, who owns the entry, and what it is worth
///
/// Lists every entry of aws-auth (and every IAMIdentityMapping, where backendMode names them) and every mapping that
/// an AWSIamConfig asks for and that is not there. Give the privilege flags that the operator runs with. Exit code 0,
/// 1 when some Clusters could not be read, 2 on error.
#[derive(Args, Debug)]
struct MappingsArguments {
    /// The Cluster, in the context's namespace unless it names one; without it all Clusters of the namespace
    #[arg(value_name = "[NAMESPACE/]CLUSTER")]
    name: Option<ClusterName>,

    /// The Clusters of all namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,

    /// table, wide (with the reasons), json, yaml or csv
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    live: LiveArguments,

    #[command(flatten)]
    privileges: PrivilegeArguments,
}

/// `-o`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
    /// Comma-separated values.
    Csv,
}

/// Reads and prints.
///
/// # Errors
/// When the Clusters cannot be read, or the only one's target.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let What::Mappings(arguments) = &arguments.what;
    connection::block_on(arguments.run())?
}

impl MappingsArguments {
    async fn run(&self) -> Result<ExitCode, Error> {
        let management = self.live.connect().await?;
        let mut clusters = management.chosen(self.name.as_ref(), self.all_namespaces).await?;
        clusters.sort_by_key(title);
        let policy = self.privileges.policy();
        let mut report = Report { clusters: Vec::new() };
        for cluster in clusters {
            let name = title(&cluster);
            match of_cluster(&management, cluster, &policy).await {
                Ok(found) => report.clusters.push(found),
                Err(error) if self.name.is_some() => return Err(error.into()),
                Err(error) => report.clusters.push(OfCluster::failed(name, &error)),
            }
        }
        let mut out = std::io::stdout().lock();
        match self.output {
            Format::Json => print_json(&mut out, &report)?,
            Format::Yaml => write!(out, "{}", current::to_yaml(&report)?)?,
            Format::Csv => report.table(true, true).print_csv(&mut out)?,
            Format::Table | Format::Wide => {
                let several = report.clusters.len() > 1 || self.all_namespaces;
                report.table(several, self.output == Format::Wide).print(&mut out, Paint::stdout())?;
            }
        }
        if matches!(self.output, Format::Table | Format::Wide | Format::Csv) {
            report.print_notes()?;
        }
        let failed = report.clusters.iter().any(|cluster| cluster.error.is_some());
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

async fn of_cluster(
    management: &Management,
    cluster: Cluster,
    policy: &Policy,
) -> Result<OfCluster, LiveError> {
    let survey = Survey::live(management, cluster, policy).await?;
    let rows = inventory::rows(&survey.request(), &survey.plan);
    let unreadable = survey.plan.unreadable.iter().map(|unreadable| {
        format!("{unreadable}: of this data key the authenticator reads nothing, and none of its entries is listed")
    });
    let blocked = survey.plan.blocked.iter().map(blocked_words);
    Ok(OfCluster {
        cluster: title(&survey.cluster),
        mappings: rows.into_iter().map(MappingRow::from).collect(),
        notes: unreadable.chain(blocked).collect(),
        error: None,
    })
}

/// What is printed for programs.
#[derive(Debug, Serialize)]
struct Report {
    clusters: Vec<OfCluster>,
}

#[derive(Debug, Serialize)]
struct OfCluster {
    cluster: String,
    mappings: Vec<MappingRow>,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One mapping for programs.
#[derive(Debug, Serialize)]
struct MappingRow {
    place: Backend,
    list: &'static str,
    arn: String,
    username: String,
    groups: Vec<String>,
    owner: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<String>,
    state: Standing,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl From<Row> for MappingRow {
    fn from(row: Row) -> Self {
        let (owner, config) = match row.owner {
            Owner::Config(name) => ("AWSIamConfig", Some(name)),
            Owner::Foreign => ("foreign", None),
            Owner::Node => ("node", None),
        };
        Self {
            place: row.place,
            list: row.list.data_key(),
            arn: row.arn,
            username: row.username,
            groups: row.groups,
            owner,
            config,
            state: row.standing,
            message: row.message,
            line: row.line,
            object: row.object,
            field: row.field.as_deref().map(str::to_owned),
        }
    }
}

impl OfCluster {
    fn failed(cluster: String, error: &LiveError) -> Self {
        Self { cluster, mappings: Vec::new(), notes: Vec::new(), error: Some(error.to_string()) }
    }
}

impl Report {
    fn table(&self, with_cluster: bool, is_wide: bool) -> Table {
        let mut headings = vec!["ARN", "USERNAME", "GROUPS", "OWNER", "STATE"];
        if with_cluster {
            headings.insert(0, "CLUSTER");
        }
        if is_wide {
            headings.extend(["PLACE", "MESSAGE"]);
        }
        let mut table = Table::new(&headings);
        for cluster in &self.clusters {
            for mapping in &cluster.mappings {
                let mut cells = vec![
                    mapping.arn.clone(),
                    mapping.username.clone(),
                    mapping.groups.join(","),
                    mapping.config.clone().unwrap_or_else(|| mapping.owner.to_owned()),
                    words(mapping.state).to_owned(),
                ];
                if with_cluster {
                    cells.insert(0, cluster.cluster.clone());
                }
                if is_wide {
                    cells.extend([mapping.place_words(), mapping.message.clone()]);
                }
                table.row(cells);
            }
        }
        table
    }

    /// What the rows don't say, to standard error.
    fn print_notes(&self) -> std::io::Result<()> {
        let mut out = std::io::stderr().lock();
        for cluster in &self.clusters {
            for note in cluster.notes.iter().chain(&cluster.error) {
                writeln!(out, "{}: {}", cluster.cluster, harmless(note))?;
            }
        }
        Ok(())
    }
}

impl MappingRow {
    fn place_words(&self) -> String {
        match (&self.object, self.line, &self.field) {
            (Some(object), ..) => format!("IAMIdentityMapping {object}"),
            (None, Some(line), _) => format!("{} line {line}", self.list),
            (None, None, Some(field)) => field.clone(),
            (None, None, None) => self.list.to_owned(),
        }
    }
}

fn words(standing: Standing) -> &'static str {
    match standing {
        Standing::InEffect => "in effect",
        Standing::Pending => "pending",
        Standing::Frozen => "frozen",
        Standing::Conflict => "conflict",
        Standing::Shadowed => "shadowed",
        Standing::Refused => "refused",
        Standing::WithoutEffect => "without effect",
    }
}

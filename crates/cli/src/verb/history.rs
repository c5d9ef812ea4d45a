//! `awsiam history`: what `aws-auth` held before, when, and by whom. Reads the records and writes nothing.

use std::io::{self, Write};
use std::process::ExitCode;

use awsiam_controller::history::{Recorded, record_name};
use awsiam_core::diff;
use awsiam_core::history::Change;
use awsiam_core::plan::Content;
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use super::{Output, print_json};
use crate::connection;
use crate::error::Error;
use crate::management::{LiveArguments, title};
use crate::paint::{Paint, harmless};
use crate::selection::ClusterName;
use crate::table::Table;
use crate::target::Target;

/// List what aws-auth held before: when, by whom, and what changed
///
/// The operator records every content of aws-auth that it sees in the ConfigMaps aws-auth-history-0 to 9 of
/// kube-system, used in turn. A revision can be put back by: awsiam rollback CLUSTER --to-revision N
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The Cluster, in the context's namespace unless it names one
    #[arg(value_name = "[NAMESPACE/]CLUSTER")]
    name: ClusterName,

    /// Print each change as a diff
    #[arg(long)]
    diff: bool,

    /// Print for people (text) or for programs (json)
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    live: LiveArguments,
}

/// Reads and prints.
///
/// # Errors
/// When the records or `aws-auth` cannot be read.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    connection::block_on(arguments.run())?
}

impl Arguments {
    async fn run(&self) -> Result<ExitCode, Error> {
        let management = self.live.connect().await?;
        let cluster = management.cluster(&self.name).await?;
        let target = Target::of(&management, &cluster).await?;
        let (records, aws_auth) = tokio::try_join!(target.history(), target.aws_auth())?;
        let report = Report::of(title(&cluster), &records, aws_auth.as_ref());
        let mut out = io::stdout().lock();
        match self.output {
            Output::Json => print_json(&mut out, &report)?,
            Output::Text => report.print(&mut out, self.diff, Paint::stdout())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The content that a record holds.
pub(crate) fn content(recorded: &Recorded) -> Content {
    Content { data: recorded.record.data.clone(), ledger: recorded.record.ledger.clone() }
}

/// The content of an `aws-auth`.
pub(crate) fn content_of(aws_auth: Option<&ConfigMap>) -> Content {
    let observed = awsiam_controller::observe::observed(aws_auth);
    Content { data: observed.data, ledger: observed.ledger }
}

/// The records for programs, oldest first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    cluster: String,
    /// The newest revision that holds what `aws-auth` holds now; none where it is not on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    revisions: Vec<Revision>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the name that programs know it by")]
struct Revision {
    revision: u64,
    /// The ConfigMap in kube-system.
    record: String,
    seen: String,
    writer: String,
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
    summary: String,
    has_node_entries: bool,
    /// From the revision before, if that is on record.
    diff: String,
}

impl Report {
    fn of(cluster: String, records: &[Recorded], aws_auth: Option<&ConfigMap>) -> Self {
        let mut revisions = Vec::new();
        let mut before: Option<&Recorded> = None;
        for recorded in records {
            revisions.push(Revision::of(before, recorded));
            before = Some(recorded);
        }
        let now = content_of(aws_auth);
        let is_current = |recorded: &&Recorded| aws_auth.is_some() && content(recorded) == now;
        let current = records.iter().rev().find(is_current).map(|recorded| recorded.record.revision);
        Self { cluster, current, revisions }
    }

    fn print(&self, out: &mut dyn Write, with_diff: bool, paint: Paint) -> io::Result<()> {
        if self.revisions.is_empty() {
            return writeln!(out, "no content of aws-auth is on record; the operator records what it sees");
        }
        if with_diff {
            for revision in &self.revisions {
                writeln!(out, "{}", paint.bold(&harmless(&revision.line(self.current))))?;
                writeln!(out, "{}", paint.diff(&revision.diff))?;
            }
        } else {
            let mut table = Table::new(&["REVISION", "SEEN", "WRITTEN BY", "CHANGE"]);
            for revision in &self.revisions {
                let mark = if self.current == Some(revision.revision) { " (now)" } else { "" };
                table.row(vec![
                    format!("{}{mark}", revision.revision),
                    revision.seen.clone(),
                    revision.writer.clone(),
                    revision.summary.clone(),
                ]);
            }
            table.print(out, paint)?;
        }
        if self.current.is_none() {
            writeln!(out, "what aws-auth holds now is not on record")?;
        }
        Ok(())
    }
}

impl Revision {
    fn of(before: Option<&Recorded>, recorded: &Recorded) -> Self {
        let record = &recorded.record;
        let held = |recorded: &'_ Recorded| -> Content { content(recorded) };
        let old = before.map(held);
        let change = Change::between(
            old.as_ref().map(|old| (&old.data, old.ledger.as_deref())),
            (&record.data, record.ledger.as_deref()),
        );
        // Without the one before nobody knows what changed.
        let is_first = before.is_none_or(|before| before.record.revision + 1 != record.revision);
        let summary = if is_first { "the oldest on record".to_owned() } else { change.to_string() };
        let arns = |keys: &[awsiam_core::mapping::Key]| {
            let keys = keys.iter().filter(|_| !is_first);
            keys.map(|key| format!("{} {}", key.list, key.arn)).collect()
        };
        let content = content(recorded);
        Self {
            revision: record.revision,
            record: record_name(record.slot),
            seen: recorded.seen.clone(),
            writer: record.writer.clone(),
            added: arns(&change.added),
            changed: arns(&change.changed),
            removed: arns(&change.removed),
            summary,
            has_node_entries: record.has_nodes(),
            diff: diff::unified(&old.unwrap_or_default(), &content),
        }
    }

    fn line(&self, current: Option<u64>) -> String {
        let mark = if current == Some(self.revision) { " (now)" } else { "" };
        format!("revision {}{mark}, {}, by {}: {}", self.revision, self.seen, self.writer, self.summary)
    }
}

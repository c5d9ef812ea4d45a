//! `awsiam validate`: the rules of admission and of the operator, on files. Needs no cluster.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Output;
use crate::checks;
use crate::error::Error;
use crate::files::{FileArguments, Source};
use crate::finding::{self, Finding};
use crate::manifests;
use crate::object::Objects;
use crate::paint::Paint;
use crate::privileges::PrivilegeArguments;

/// Check manifests by the rules of admission and of the operator, offline
///
/// Prints each finding with file, line and column, the line itself, and what to write instead. Exit code 0:
/// nothing is refused; 1: something is; 2: wrong usage, or a file that cannot be read.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: FileArguments,

    /// The namespace of objects that name none
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,

    /// Print for people (text) or for programs (json)
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    privileges: PrivilegeArguments,
}

/// What was found, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'r> {
    files: usize,
    configs: usize,
    clusters: usize,
    refused: usize,
    warnings: usize,
    findings: &'r [Finding],
    skipped: &'r [String],
}

impl Report<'_> {
    fn sum(&self) -> String {
        let objects = match (self.configs, self.clusters) {
            (0, 0) => "no AWSIamConfig and no Cluster".to_owned(),
            (configs, 0) => counted(configs, "AWSIamConfig"),
            (0, clusters) => counted(clusters, "Cluster"),
            (configs, clusters) => {
                format!("{} and {}", counted(configs, "AWSIamConfig"), counted(clusters, "Cluster"))
            }
        };
        let found = match (self.refused, self.warnings) {
            (0, 0) => "all is well".to_owned(),
            (refused, 0) => format!("{refused} refused"),
            (0, warnings) => counted(warnings, "warning"),
            (refused, warnings) => format!("{refused} refused, {}", counted(warnings, "warning")),
        };
        format!("{objects} in {}: {found}", counted(self.files, "file"))
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Checks and prints.
///
/// # Errors
/// When a file cannot be read, or the output cannot be written.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let sources = arguments.files.read()?;
    let manifests = manifests::read(&sources, &arguments.namespace);
    let objects = Objects::of(&manifests);
    let mut findings = manifests.findings;
    findings.extend(checks::findings(&objects, &arguments.privileges.policy()));
    checks::sort(
        &mut findings,
        &sources.iter().map(|source: &Source| source.name.as_str()).collect::<Vec<_>>(),
    );
    let refused = findings.iter().filter(|finding| finding.is_refusal()).count();
    let report = Report {
        files: sources.len(),
        configs: objects.configs.len(),
        clusters: objects.clusters.len(),
        refused,
        warnings: findings.len() - refused,
        findings: &findings,
        skipped: &manifests.skipped,
    };
    let mut out = std::io::stdout().lock();
    if arguments.output == Output::Json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        finding::print_notes(&manifests.skipped)?;
        finding::print_all(&findings, &mut out, Paint::stdout())?;
        writeln!(out, "{}", report.sum())?;
    }
    match (manifests.unreadable, refused) {
        (0, 0) => Ok(ExitCode::SUCCESS),
        (0, _) => Ok(ExitCode::FAILURE),
        (unreadable, _) => Err(Error::Manifests(unreadable)),
    }
}

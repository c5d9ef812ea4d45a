//! `awsiam check`: a doctor. Looks at everything that a login needs, one line each, with what to do. Reads alone, but
//! for reviews, which change nothing. What is read lies in `reads`, what it means in `judged`; the
//! chart's Deployment has both in `deployed`.

mod deployed;
mod judged;
mod permissions;
mod reads;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::print_json;
use crate::connection;
use crate::error::Error;
use crate::management::LiveArguments;
use crate::paint::{Paint, harmless};
use crate::privileges::PrivilegeArguments;
use crate::selection::ClusterName;

/// Look whether everything is in order, before and after installing, and say what to do where it is not
///
/// Looks at the API server and its clock, the CRDs, the operator's pods, leader and values, permissions, aws-auth, the
/// authenticator on each node, the API server's webhook, the ends of certificates, and the user kubeconfig. Exit code 0:
/// nothing is wrong (there may be warnings); 1: something is; 2: it could not be looked at.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The Cluster, in the context's namespace unless it names one; without it all Clusters of the namespace
    #[arg(value_name = "[NAMESPACE/]CLUSTER")]
    name: Option<ClusterName>,

    /// Before installing: whether it can be installed here, and what aws-auth is like
    #[arg(long, conflicts_with = "name")]
    pre: bool,

    /// After installing: the API server, the CRDs, and whether the operator says that this Cluster is Ready. Needs to read
    /// the Cluster and the CRDs, and nothing else
    #[arg(long, requires = "name", conflicts_with_all = ["pre", "service_account"])]
    installed: bool,

    /// Ask for the permissions of this ServiceAccount, the operator's, in place of your own
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "pre", value_parser = service_account)]
    service_account: Option<String>,

    /// table, short (what is not in order alone) or json
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
    /// Every check.
    #[default]
    Table,
    /// What is not in order.
    Short,
    /// For programs.
    Json,
}

/// The user name of a ServiceAccount.
fn service_account(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(format!("system:serviceaccount:{namespace}:{name}"))
        }
        _ => Err("it is not NAMESPACE/NAME".to_owned()),
    }
}

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
enum Level {
    /// In order.
    Ok,
    /// Worth a look.
    Warning,
    /// Wrong.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the name that programs know it by")]
struct Check {
    level: Level,
    /// One word for programs, such as `Clock`.
    check: &'static str,
    /// What was looked at: a Cluster, a CRD; empty where it is the cluster of the context.
    #[serde(skip_serializing_if = "String::is_empty")]
    subject: String,
    /// What was found.
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

impl Check {
    fn new(level: Level, check: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level, check, subject: String::new(), message: message.into(), remedy: remedy.into() }
    }

    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::Ok, check, message, "")
    }

    fn of(self, subject: &str) -> Self {
        Self { subject: subject.to_owned(), ..self }
    }

    fn line(&self, paint: Paint) -> String {
        let word = match self.level {
            Level::Ok => paint.green("ok     "),
            Level::Warning => paint.yellow("warning"),
            Level::Error => paint.red("error  "),
        };
        let subject = if self.subject.is_empty() { String::new() } else { format!(" {}", self.subject) };
        let remedy = if self.remedy.is_empty() { String::new() } else { format!(". To do: {}", self.remedy) };
        let text = format!("{}{subject}: {}{remedy}", self.check, self.message);
        format!("{word} {}", harmless(&text).replace('\n', " "))
    }
}

/// Everything that was looked at, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    errors: usize,
    warnings: usize,
    checks: Vec<Check>,
}

impl Report {
    fn of(checks: Vec<Check>) -> Self {
        let count = |level| checks.iter().filter(|check| check.level == level).count();
        Self { errors: count(Level::Error), warnings: count(Level::Warning), checks }
    }

    fn print(&self, out: &mut dyn Write, is_short: bool, paint: Paint) -> io::Result<()> {
        let shown = self.checks.iter().filter(|check| !is_short || check.level != Level::Ok);
        for check in shown {
            writeln!(out, "{}", check.line(paint))?;
        }
        let sum = match (self.errors, self.warnings) {
            (0, 0) => format!("all is well: {} checks", self.checks.len()),
            (errors, warnings) => {
                format!("{errors} wrong, {warnings} worth a look, of {} checks", self.checks.len())
            }
        };
        writeln!(out, "{}", paint.bold(&sum))
    }
}

/// Looks and prints.
///
/// # Errors
/// When there is no way to the cluster.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    connection::block_on(arguments.run())?
}

impl Arguments {
    async fn run(&self) -> Result<ExitCode, Error> {
        let config = self.live.connection.configuration(crate::management::READ).await?;
        let reviewer = reads::reviewer(&config, self.service_account.as_deref())?;
        let management = self.live.connect().await?;
        let mut checks = reads::of_server(&management).await;
        checks.extend(reads::of_crds(&management, self.pre).await);
        if self.pre {
            checks.extend(permissions::to_install(&reviewer).await);
            checks.extend(reads::of_aws_auth_alone(&management).await);
        } else if self.installed {
            checks.extend(reads::as_the_operator_says(&management, self.name.as_ref()).await);
        } else {
            checks.extend(deployed::of_chart(&management).await);
            let clusters = management.chosen(self.name.as_ref(), false).await;
            let place = clusters.as_ref().ok().and_then(|clusters| clusters.first());
            checks.extend(permissions::of_operator(&reviewer, self.service_account.as_deref(), place).await);
            match clusters {
                Ok(clusters) => {
                    for cluster in clusters {
                        let policy = self.privileges.policy();
                        checks.extend(reads::of_cluster(&management, cluster, &policy).await);
                    }
                }
                Err(error) => checks.push(Check::new(Level::Error, "Cluster", error.to_string(), "")),
            }
        }
        let report = Report::of(checks);
        let mut out = io::stdout().lock();
        match self.output {
            Format::Json => print_json(&mut out, &report)?,
            format => report.print(&mut out, format == Format::Short, Paint::stdout())?,
        }
        Ok(if report.errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_is_wrong_and_what_to_do() {
        let check = Check::new(Level::Error, "Clock", "off by\n90 s\u{1b}", "set it").of("a/b");
        assert_eq!(check.line(Paint::plain()), "error   Clock a/b: off by 90 s\\u{1b}. To do: set it");
        let report = Report::of(vec![check, Check::ok("X", "y")]);
        let mut out = Vec::new();
        report.print(&mut out, true, Paint::plain()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.lines().count() == 2 && text.ends_with("1 wrong, 0 worth a look, of 2 checks\n"),
            "{text}"
        );
    }

    #[test]
    fn a_service_account_is_named_with_its_namespace() {
        assert_eq!(service_account("a/b"), Ok("system:serviceaccount:a:b".into()));
        for wrong in ["a", "/b", "a/", "a/b/c"] {
            assert!(service_account(wrong).is_err(), "{wrong}");
        }
    }
}

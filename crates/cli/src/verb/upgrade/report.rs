//! What came of it, for people and for programs.

use std::io::{self, Write};
use std::process::ExitCode;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;
use serde_json::Value;

use super::apply::Change;
use crate::finding::Finding;
use crate::paint::{Paint, harmless};

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ready,
    /// Refused or failed; why.
    Failed(String),
    /// The time is up; what is missing.
    TimedOut(String),
    /// The API server's file and flag are an administrator's to set.
    Administrator(String),
    Interrupted,
    DryRun,
    NotWaited,
}

/// Exit code of a process that SIGINT ended, as shells report it.
const INTERRUPTED: u8 = 130;

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Outcome::Ready => "Ready",
            Outcome::Failed(_) => "Failed",
            Outcome::TimedOut(_) => "TimedOut",
            Outcome::Administrator(_) => "WaitingForAdministrator",
            Outcome::Interrupted => "Interrupted",
            Outcome::DryRun => "DryRun",
            Outcome::NotWaited => "NotWaited",
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Outcome::Ready | Outcome::DryRun | Outcome::NotWaited => ExitCode::SUCCESS,
            Outcome::Failed(_) => ExitCode::FAILURE,
            Outcome::TimedOut(_) => ExitCode::from(3),
            Outcome::Administrator(_) => ExitCode::from(4),
            Outcome::Interrupted => ExitCode::from(INTERRUPTED),
        }
    }

    /// In words, with the next step.
    fn words(&self, cluster: &str, kubeconfig: Option<&str>) -> String {
        match self {
            Outcome::Ready => match kubeconfig {
                Some(file) => {
                    format!("{cluster} is Ready. Users log in with: kubectl --kubeconfig {file} get nodes")
                }
                None => format!("{cluster} is Ready"),
            },
            Outcome::Failed(why) => why.clone(),
            Outcome::TimedOut(missing) => format!(
                "{cluster} is not Ready in time: {missing}. The operator goes on; run this again to go on waiting"
            ),
            Outcome::Administrator(why) => format!(
                "{cluster} waits for an administrator: {why}. See what to set with: awsiam control-plane {cluster} --for kubeadm (or k3s, rke2, talos)"
            ),
            Outcome::Interrupted => format!(
                "interrupted: {cluster} was applied, and the operator goes on. Run this again to go on watching"
            ),
            Outcome::DryRun => "a dry run: nothing was applied".to_owned(),
            Outcome::NotWaited => format!(
                "{cluster} was applied; the operator does the rest. Watch it with: kubectl get clusters.anywhere.eks.amazonaws.com -w"
            ),
        }
    }
}

/// An object that was applied, or would be.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppliedObject {
    pub(super) object: String,
    pub(super) change: Change,
}

/// Everything, for programs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// `NAMESPACE/NAME`; empty where it is not known.
    pub(super) cluster: String,
    outcome: &'static str,
    message: String,
    pub(super) findings: Vec<Finding>,
    pub(super) skipped: Vec<String>,
    pub(super) notes: Vec<String>,
    /// The plan as `awsiam diff -o json` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plan: Option<Value>,
    pub(super) applied: Vec<AppliedObject>,
    /// The conditions of the Cluster when it ended.
    pub(super) conditions: Vec<Condition>,
    /// The users' kubeconfig that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kubeconfig: Option<String>,
}

impl Report {
    /// Takes in how it ended.
    pub(super) fn close(&mut self, outcome: &Outcome) {
        self.outcome = outcome.word();
        self.message = outcome.words(&self.cluster, self.kubeconfig.as_deref());
    }

    /// Writes it as one document.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(super) fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, self)?;
        writeln!(out)
    }

    /// What was applied and how it ended, for people: what is wrong on standard error.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(super) fn tell(&self, outcome: &Outcome) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if *outcome != Outcome::DryRun {
            for object in &self.applied {
                print_object(&mut out, object, "")?;
            }
        }
        match outcome {
            Outcome::Failed(_) => eprintln!("awsiam: {}", harmless(&self.message)),
            Outcome::TimedOut(_) | Outcome::Administrator(_) | Outcome::Interrupted => {
                eprintln!("{}", Paint::stderr().bold(&harmless(&self.message)));
            }
            _ => writeln!(out, "{}", Paint::stdout().bold(&harmless(&self.message)))?,
        }
        Ok(())
    }
}

/// One line for an object.
pub(super) fn print_object(out: &mut dyn Write, object: &AppliedObject, mood: &str) -> io::Result<()> {
    let paint = Paint::stdout();
    let word = format!("{mood}{}", object.change.word());
    let word = match object.change {
        Change::Unchanged => word,
        Change::Created => paint.green(&word),
        Change::Changed => paint.yellow(&word),
    };
    writeln!(out, "{} {word}", harmless(&object.object))
}

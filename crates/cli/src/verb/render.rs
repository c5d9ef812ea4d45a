//! `awsiam render`: what a target would get, from files alone. Needs no cluster.

pub(crate) mod authenticator;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use awsiam_api::resolve::Backend;
use awsiam_api::{AWSIamConfig, Cluster, ConfigLookup, Resolution, resolve};
use awsiam_controller::observe::{Inputs, KnownPlaces};
use awsiam_core::plan;
use clap::{Args, Subcommand};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::Output;
use crate::checks;
use crate::current;
use crate::error::Error;
use crate::files::{self, FileArguments, FileError};
use crate::finding::{self, Finding};
use crate::manifests;
use crate::object::Objects;
use crate::paint::Paint;
use crate::planned::Planned;
use crate::privileges::PrivilegeArguments;
use crate::selection::{self, ClusterName};

/// Print what a cluster would get, offline
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    AwsAuth(AwsAuthArguments),
    Authenticator(authenticator::Arguments),
}

/// Print the ConfigMap kube-system/aws-auth that would result
///
/// A Cluster in the files says by its identityProviderRefs which AWSIamConfigs apply; an empty list takes away
/// what was granted before. Without a Cluster, every AWSIamConfig applies, in the order of the files, as if a
/// Cluster called "cluster" (or what --cluster says) referred to them in their namespace.
///
/// The output can be applied and fed back as --current. Of --current it keeps everything that is not ours,
/// and uid and resourceVersion too, so that kubectl refuses to apply it when somebody has written in between.
/// Findings go to standard error; the exit code is 0, or 2 if the files cannot be read.
#[derive(Args, Debug)]
struct AwsAuthArguments {
    #[command(flatten)]
    files: FileArguments,

    /// The aws-auth that is there, as kubectl get prints it in YAML or JSON; - for standard input. Without
    /// it there is none yet
    #[arg(long, value_name = "FILE")]
    current: Option<PathBuf>,

    /// Print what changes and why, in place of the ConfigMap
    #[arg(long)]
    diff: bool,

    /// Which Cluster of the files is meant; without one in the files, whose aws-auth it is
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    cluster: Option<ClusterName>,

    /// The namespace of objects that name none
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,

    /// Print for people (text: YAML, or a diff) or for programs (json)
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    privileges: PrivilegeArguments,
}

/// Renders and prints.
///
/// # Errors
/// When a file cannot be read, or it is not clear which Cluster is meant.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    match &arguments.what {
        What::AwsAuth(arguments) => arguments.run(),
        What::Authenticator(arguments) => arguments.run(),
    }
}

impl AwsAuthArguments {
    fn run(&self) -> Result<ExitCode, Error> {
        if self.files.name_stdin() && self.current.as_deref().is_some_and(files::is_stdin) {
            return Err(FileError::StdinTwice.into());
        }
        let sources = self.files.read()?;
        let manifests = manifests::read(&sources, &self.namespace);
        let objects = Objects::of(&manifests);
        let policy = self.privileges.policy();
        let mut findings = manifests.findings;
        findings.extend(checks::findings(&objects, &policy));
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        checks::sort(&mut findings, &names);
        let is_json = self.output == Output::Json;
        if !(is_json && self.diff) {
            finding::print_notes(&manifests.skipped)?;
            finding::print_all(&findings, &mut std::io::stderr().lock(), Paint::stderr())?;
        }
        if manifests.unreadable > 0 {
            return Err(Error::Manifests(manifests.unreadable));
        }

        let cluster = match selection::in_files(&objects, self.cluster.as_ref())? {
            Some(cluster) => cluster,
            None => selection::of_all_configs(&objects, self.cluster.as_ref())?,
        };
        let mut skipped = manifests.skipped;
        let aside = selection::left_aside(&objects, &cluster);
        if !(is_json && self.diff) {
            finding::print_notes(&aside)?;
        }
        skipped.extend(aside);
        let current = self.current.as_deref().map(current::read).transpose()?;
        let resolution = resolution(&objects, &cluster);
        let withheld = super::diff::withheld(&cluster, current.as_ref());
        let inputs = offline(&cluster, current.as_ref(), resolution);
        let policy = awsiam_controller::observe::policy_for(&cluster, &policy);
        let plan = plan::plan(&inputs.request(&policy));
        let cluster = format!("{}/{}", inputs.writer.namespace, inputs.writer.name);
        let planned = Planned { cluster, plan, withheld };
        self.print(current.as_ref(), &planned, &findings, &skipped)?;
        Ok(ExitCode::SUCCESS)
    }

    fn print(
        &self,
        current: Option<&ConfigMap>,
        planned: &Planned,
        findings: &[Finding],
        skipped: &[String],
    ) -> Result<(), Error> {
        let mut out = std::io::stdout().lock();
        let is_json = self.output == Output::Json;
        if self.diff {
            if is_json {
                serde_json::to_writer_pretty(&mut out, &planned.for_programs(findings, skipped))?;
                writeln!(out)?;
            } else {
                planned.print(&mut out, Paint::stdout())?;
            }
            return Ok(());
        }
        planned.print_words(&mut std::io::stderr().lock(), Paint::stderr())?;
        match current::planned(current, &planned.plan) {
            Some(wanted) if is_json => {
                serde_json::to_writer_pretty(&mut out, &wanted)?;
                writeln!(out)?;
            }
            Some(wanted) => write!(out, "{}", current::to_yaml(&wanted)?)?,
            None => eprintln!("there is no aws-auth, and nothing to put into one"),
        }
        Ok(())
    }
}

/// The Cluster's references looked up in the files.
fn resolution(objects: &Objects<'_>, cluster: &Cluster) -> Resolution {
    let namespace = cluster.namespace().unwrap_or_default();
    resolve(cluster.spec.identity_provider_refs.as_deref(), |name| {
        let Some(object) = objects.config(&namespace, name) else { return ConfigLookup::NotFound };
        match &object.spec {
            Err(why) => ConfigLookup::Undecodable(why.clone()),
            Ok(spec) => ConfigLookup::from(AWSIamConfig {
                metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
                spec: spec.clone(),
                status: None,
            }),
        }
    })
}

/// What a pass would read, as far as files tell: no server has given uids and generations, and there is no
/// history.
fn offline(cluster: &Cluster, current: Option<&ConfigMap>, resolution: Resolution) -> Inputs {
    let mut inputs = Inputs::of(cluster, "", current, resolution, Arc::default());
    inputs.writer.management = None;
    inputs.writer.uid = None;
    if inputs.backends().contains(&Backend::Crd) {
        // Objects come into no file, so that their part is as on a target that has none yet.
        inputs.places = Some(KnownPlaces { objects: Some(Vec::new()), ready: false });
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_written_offline_names_no_uids() {
        let cluster = Cluster {
            metadata: ObjectMeta {
                name: Some("c".into()),
                namespace: Some("n".into()),
                ..ObjectMeta::default()
            },
            ..Cluster::new("c", awsiam_api::ClusterSpec::default())
        };
        let resolution = Resolution {
            refs: awsiam_core::desired::Refs::Absent,
            findings: std::collections::BTreeMap::new(),
            settings: None,
        };
        let writer = offline(&cluster, None, resolution).writer;
        assert_eq!((writer.namespace.as_str(), writer.name.as_str()), ("n", "c"));
        assert_eq!((writer.management, writer.uid), (None, None));
    }
}

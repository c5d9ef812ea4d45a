//! `awsiam diff`: what the operator would change on the live target, planned as the operator plans. Reads a
//! cluster and writes nothing to it.

pub(crate) mod with_files;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use awsiam_api::Cluster;
use awsiam_api::names::{EKS_ANYWHERE_FINALIZER, EKS_ANYWHERE_MANAGER, EKS_ANYWHERE_PAUSED, RELEASED};
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use thiserror::Error;

use self::with_files::FromFiles;
use super::Output;
use crate::connection;
use crate::error::Error;
use crate::files;
use crate::finding;
use crate::management::{LiveArguments, title};
use crate::paint::Paint;
use crate::planned::Planned;
use crate::privileges::PrivilegeArguments;
use crate::selection::ClusterName;
use crate::survey::Survey;

/// Show what the operator would change on the live target
///
/// Plans as the operator does: with the Cluster, its AWSIamConfigs, aws-auth and its history as they are in
/// the cluster of the current context; with -f, the objects in the files take the place of those in the
/// cluster. Give the privilege flags that the operator runs with. Exit code 0: nothing would change; 1:
/// something would, or cannot be written; 2: error.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The Cluster to look at, in the context's namespace unless it names one
    #[arg(value_name = "[NAMESPACE/]CLUSTER", conflicts_with = "files", required_unless_present = "files")]
    name: Option<ClusterName>,

    /// Manifests whose objects take the place of those in the cluster: files, - for standard input, folders
    #[arg(short = 'f', long = "filename", value_name = "FILE", num_args = 1..)]
    files: Vec<PathBuf>,

    /// With -f: which Cluster is meant, where the files hold several or none
    #[arg(long, value_name = "[NAMESPACE/]NAME", conflicts_with = "name")]
    cluster: Option<ClusterName>,

    /// Print for people (text) or for programs (json)
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    live: LiveArguments,

    #[command(flatten)]
    privileges: PrivilegeArguments,
}

/// Why there is nothing to compare.
#[derive(Debug, Error)]
pub(crate) enum DiffError {
    #[error(
        "the files hold AWSIamConfigs and no Cluster, and no Cluster in the cluster refers to one of them; name one with --cluster, or add it to the files"
    )]
    NobodyRefers,
    #[error("the files hold AWSIamConfigs and no Cluster, and several Clusters refer to them ({}); name one with --cluster", .0.join(", "))]
    SeveralRefer(Vec<String>),
}

/// Compares and prints.
///
/// # Errors
/// When something cannot be read, or it is not clear what is meant.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    connection::block_on(arguments.run())?
}

impl Arguments {
    async fn run(&self) -> Result<ExitCode, Error> {
        let management = self.live.connect().await?;
        let policy = self.privileges.policy();

        let sources = files::read_all(&self.files)?;
        let files = FromFiles::read(&sources, &management.namespace, &policy);
        let files = match files {
            Ok(files) => files,
            Err(unreadable) => {
                finding::print_all(&unreadable.findings, &mut std::io::stderr().lock(), Paint::stderr())?;
                return Err(Error::Manifests(unreadable.files));
            }
        };
        let mut findings = files.findings.clone();
        let cluster = match &self.name {
            Some(name) => management.cluster(name).await?,
            None => files.cluster(&management, self.cluster.as_ref()).await?,
        };
        let skipped = files.skipped(&cluster);

        let (configs, changes) = files.configs(&management, &cluster).await?;
        findings.extend(changes);
        let survey = Survey::of(&management, cluster, &configs, &policy).await?;
        let mut withheld = withheld(&survey.cluster, survey.aws_auth.as_ref());
        withheld.extend(management.lacking().await);
        let planned = Planned { cluster: title(&survey.cluster), plan: survey.plan, withheld };

        let mut out = std::io::stdout().lock();
        if self.output == Output::Json {
            serde_json::to_writer_pretty(&mut out, &planned.for_programs(&findings, &skipped))?;
            writeln!(out)?;
        } else {
            finding::print_notes(&skipped)?;
            finding::print_all(&findings, &mut std::io::stderr().lock(), Paint::stderr())?;
            planned.print(&mut out, Paint::stdout())?;
        }
        Ok(if planned.differs() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Why the operator would not carry out a plan for this Cluster now, in words.
pub(crate) fn withheld(cluster: &Cluster, aws_auth: Option<&ConfigMap>) -> Vec<String> {
    let manages = |c: &ConfigMap| {
        c.managed_fields().iter().any(|entry| entry.manager.as_deref() == Some(EKS_ANYWHERE_MANAGER))
    };
    let is_eks_anywhere = cluster.finalizers().iter().any(|name| name == EKS_ANYWHERE_FINALIZER)
        || aws_auth.is_some_and(manages);
    let is_suspended = cluster.spec.iam_authenticator.as_ref().is_some_and(|block| block.suspend);
    let reasons = [
        (is_eks_anywhere, "EKS Anywhere controls this Cluster or its aws-auth; let its controller go first"),
        (is_suspended, "spec.iamAuthenticator.suspend of the Cluster is true; set it to false"),
        (
            cluster.annotations().contains_key(RELEASED),
            "the Cluster has the annotation awsiam-operator.dev/released (awsiam release); remove it to have the target managed again",
        ),
        (
            cluster.annotations().contains_key(EKS_ANYWHERE_PAUSED),
            "the Cluster has the annotation anywhere.eks.amazonaws.com/paused; remove it",
        ),
    ];
    reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, why)| why.to_owned()).collect()
}

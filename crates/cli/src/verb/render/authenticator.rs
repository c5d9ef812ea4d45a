//! `awsiam render authenticator`: the objects that a target would get besides `aws-auth`, from files alone.

use std::io::Write;
use std::process::ExitCode;

use awsiam_api::Rollout;
use awsiam_authenticator::certificate::Leaf;
use awsiam_authenticator::kubeconfig::{manifest, webhook};
use awsiam_authenticator::objects::{objects, webhook_file};
use awsiam_controller::authenticator_facts;
use awsiam_core::privilege::Policy;
use clap::Args;
use kube::ResourceExt;
use thiserror::Error;

use crate::checks;
use crate::error::Error;
use crate::files::FileArguments;
use crate::finding;
use crate::images::ImageArguments;
use crate::manifests;
use crate::object::Objects;
use crate::paint::Paint;
use crate::selection::{self, ClusterName};
use crate::verb::Output;

/// Print the objects that run the authenticator
///
/// What the operator would put on the cluster besides aws-auth. Certificates are made by the operator, and the
/// cluster id follows from the cluster: in their place stand words, and the hashes beside them are not the real ones.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: FileArguments,

    /// Which Cluster of the files is meant
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    cluster: Option<ClusterName>,

    /// The namespace of objects that name none
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,

    /// The id that the cluster has, if it is known
    #[arg(long, value_name = "ID", default_value = "FOLLOWS-FROM-THE-CLUSTER")]
    cluster_id: String,

    /// Print YAML (text) or a JSON list (json)
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    images: ImageArguments,
}

/// Why nothing can be printed.
#[derive(Debug, Error)]
pub(crate) enum AuthenticatorError {
    #[error("Cluster {0} has spec.iamAuthenticator.mode External: somebody else runs its authenticator")]
    External(String),
    #[error(
        "Cluster {0} refers to no AWSIamConfig that the files hold, so region, partition and backends are not known"
    )]
    NoSettings(String),
    #[error("{0}")]
    Image(#[from] awsiam_authenticator::image::ImageError),
    #[error("can't put an object into words: {0}")]
    Words(String),
}

impl Arguments {
    /// Renders and prints.
    pub(super) fn run(&self) -> Result<ExitCode, Error> {
        let sources = self.files.read()?;
        let manifests = manifests::read(&sources, &self.namespace);
        let files = Objects::of(&manifests);
        let mut findings = manifests.findings;
        findings.extend(checks::findings(&files, &Policy::default()));
        finding::print_all(&findings, &mut std::io::stderr().lock(), Paint::stderr())?;
        if manifests.unreadable > 0 {
            return Err(Error::Manifests(manifests.unreadable));
        }
        let cluster = match selection::in_files(&files, self.cluster.as_ref())? {
            Some(cluster) => cluster,
            None => selection::of_all_configs(&files, self.cluster.as_ref())?,
        };
        let title = format!("{}/{}", cluster.namespace().unwrap_or_default(), cluster.name_any());
        if cluster.spec.authenticator().mode == awsiam_api::AuthenticatorMode::External {
            return Err(AuthenticatorError::External(title).into());
        }
        let settings = super::resolution(&files, &cluster).settings;
        let settings = settings.ok_or(AuthenticatorError::NoSettings(title))?;
        let facts = authenticator_facts(
            &cluster,
            &settings,
            &self.cluster_id,
            &self.images.policy(),
            self.images.probe_image(),
        )
        .map_err(AuthenticatorError::from)?;
        let made = |what: &str| format!("{what}, made by the operator\n");
        let leaf = Leaf { certificate_pem: made("the certificate"), key_pem: made("the private key") };
        let authority = made("the certificate of the CA");
        let mut documents = objects(&facts, &leaf, &authority).documents()?;
        let writes_file = cluster.spec.authenticator().api_server.rollout == Rollout::HostPath;
        if let Some(image) = facts.probe_image.as_deref().filter(|_| writes_file) {
            let daemon_set = webhook_file(image, &facts.taints, &webhook(&authority));
            documents.push(serde_json::to_value(&daemon_set)?);
        }
        let mut out = std::io::stdout().lock();
        if self.output == Output::Json {
            serde_json::to_writer_pretty(&mut out, &documents)?;
            writeln!(out)?;
        } else {
            for document in &documents {
                let text =
                    manifest(document).map_err(|error| AuthenticatorError::Words(error.to_string()))?;
                write!(out, "---\n{text}")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

//! `awsiam kubeconfig`: the kubeconfig that logs in with AWS credentials, from the Secret that the operator keeps,
//! into a file that only its owner can read. Writes nothing to a cluster.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use awsiam_authenticator::kubeconfig::{Exec, UserKubeconfig, user};
use awsiam_authenticator::names::kubeconfig_secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use kube::config::Kubeconfig;
use thiserror::Error;

use crate::connection::{self, ConnectionArguments, ConnectionError};
use crate::error::Error;
use crate::selection::ClusterName;
use crate::whole;

/// How long the API server may take for an answer.
const READ: Duration = Duration::from_secs(30);
/// First line of a file that this verb wrote: only such a file is written over.
const MARK: &str = "# Written by: awsiam kubeconfig";
/// Key of the Secret.
const VALUE: &str = "value";

/// Write the kubeconfig with which people log in to a cluster by their AWS credentials
///
/// Takes it from the Secret CLUSTER-aws-iam-kubeconfig, which the operator keeps in the Cluster's namespace. It
/// holds no secret: who may log in is decided by AWS credentials and the cluster's mappings. The file is made whole
/// or not at all, readable by its owner alone, and a file that this command did not write is left as it is.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The Cluster, in the context's namespace unless it names one
    #[arg(value_name = "[NAMESPACE/]CLUSTER")]
    name: ClusterName,

    /// The program that makes the token
    #[arg(long, value_name = "PROGRAM", value_enum, default_value_t)]
    exec: Program,

    /// The file to write; - for standard output. Without it: CLUSTER/CLUSTER-aws.kubeconfig
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Write over a file that this command did not write
    #[arg(long)]
    force: bool,

    /// The namespace of the Cluster; without it the context's
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// `--exec`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Program {
    /// aws-iam-authenticator token
    #[default]
    AwsIamAuthenticator,
    /// aws eks get-token
    Aws,
}

/// Why there is no file.
#[derive(Debug, Error)]
pub(crate) enum KubeconfigError {
    #[error("can't read Secret {secret}: {why}")]
    Read { secret: String, why: String },
    #[error(
        "there is no Secret {secret}: the operator makes it once condition KubeconfigReady of Cluster {cluster} can be True (kubectl describe clusters.anywhere.eks.amazonaws.com {cluster})"
    )]
    NotThere { secret: String, cluster: String },
    #[error("Secret {0} does not hold a kubeconfig as the operator writes it")]
    Strange(String),
    #[error("{} is there and was not written by this command; name another file with --file, or pass --force", .0.display())]
    NotOurs(PathBuf),
    #[error("can't write {}: {why}", file.display())]
    Write { file: PathBuf, why: io::Error },
}

/// Fetches and writes.
///
/// # Errors
/// When the Secret cannot be read, or the file cannot or must not be written.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ConnectionError::Runtime)?;
    let text = runtime.block_on(arguments.fetch())?;
    let file = match &arguments.file {
        Some(file) if file.as_os_str() == "-" => {
            io::stdout().lock().write_all(text.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(file) => file.clone(),
        None => usual_file(&arguments.name.name),
    };
    write(&file, &text, arguments.force)?;
    println!("wrote {}; log in with: kubectl --kubeconfig {} get nodes", file.display(), file.display());
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    async fn fetch(&self) -> Result<String, Error> {
        let config = self.connection.configuration(READ).await?;
        let namespace = self.name.namespace.clone().or_else(|| self.namespace.clone());
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        fetched(&connection::client(config)?, &namespace, &self.name.name, self.exec).await
    }
}

/// The file to write where none is named.
pub(crate) fn usual_file(cluster: &str) -> PathBuf {
    PathBuf::from(cluster).join(format!("{cluster}-aws.kubeconfig"))
}

/// The text of the file for a Cluster, from its Secret.
///
/// # Errors
/// When the Secret cannot be read, or holds something else.
pub(crate) async fn fetched(
    client: &Client,
    namespace: &str,
    cluster: &str,
    exec: Program,
) -> Result<String, Error> {
    let name = kubeconfig_secret(cluster);
    let secret = format!("{namespace}/{name}");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let read = secrets
        .get_opt(&name)
        .await
        .map_err(|error| KubeconfigError::Read { secret: secret.clone(), why: connection::words(&error) })?;
    let read = read.ok_or_else(|| KubeconfigError::NotThere {
        secret: secret.clone(),
        cluster: format!("{namespace}/{cluster}"),
    })?;
    let text = read.data.and_then(|mut data| data.remove(VALUE));
    let text = text.and_then(|bytes| String::from_utf8(bytes.0).ok());
    let text = text.and_then(|text| match exec {
        Program::AwsIamAuthenticator => Some(text),
        Program::Aws => with_aws(&text),
    });
    let text = text.ok_or(KubeconfigError::Strange(secret))?;
    Ok(format!("{MARK}\n{text}"))
}

/// The same with `aws eks get-token` in the place of `aws-iam-authenticator token`.
fn with_aws(text: &str) -> Option<String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let config: Kubeconfig = serde_saphyr::from_str_with_options(text, options).ok()?;
    let (named, user_of) = (config.clusters.first()?, config.auth_infos.first()?);
    let cluster = named.cluster.as_ref()?;
    let exec = user_of.auth_info.as_ref()?.exec.as_ref()?;
    let after_flag = exec.args.as_ref()?.iter().skip_while(|argument| *argument != "-i").nth(1)?;
    let region =
        exec.env.as_ref()?.iter().find(|variable| variable.get("name").is_some_and(|n| n == "AWS_REGION"));
    let ca = STANDARD.decode(cluster.certificate_authority_data.as_ref()?).ok()?;
    user(&UserKubeconfig {
        cluster: &named.name,
        server: cluster.server.as_deref()?,
        ca_pem: &String::from_utf8(ca).ok()?,
        cluster_id: after_flag,
        region: region?.get("value")?,
        exec: Exec::Aws,
    })
    .ok()
}

/// Writes the file whole or not at all: under another name first, then in place.
///
/// # Errors
/// When it cannot be written, or is there and not ours.
pub(crate) fn write(file: &Path, text: &str, force: bool) -> Result<(), KubeconfigError> {
    let failed = |why| KubeconfigError::Write { file: file.to_owned(), why };
    if !force && !is_ours(file).map_err(failed)? {
        return Err(KubeconfigError::NotOurs(file.to_owned()));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    whole::replace(file, text, 0o600).map_err(failed)
}

/// Whether the file may be written over: it is not there, or this verb wrote it. A link is not followed.
fn is_ours(file: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(found) if !found.is_file() => Ok(false),
        Ok(_) => Ok(fs::read(file)?.starts_with(MARK.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_for_its_owner_alone_and_only_our_own_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prod/prod-aws.kubeconfig");
        write(&file, &format!("{MARK}\none"), false).unwrap();
        write(&file, &format!("{MARK}\ntwo"), false).unwrap();
        assert!(fs::read_to_string(&file).unwrap().ends_with("two"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, "mine").unwrap();
        assert!(matches!(write(&file, "x", false), Err(KubeconfigError::NotOurs(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        write(&file, "forced", true).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "forced");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(matches!(write(&link, "x", false), Err(KubeconfigError::NotOurs(_))));
    }

    #[test]
    fn the_other_program_gets_the_same_cluster() {
        let of = UserKubeconfig {
            cluster: "prod",
            server: "https://[fd00::1]:443",
            ca_pem: "CA",
            cluster_id: "id",
            region: "eu-west-1",
            exec: Exec::Authenticator,
        };
        let aws = with_aws(&user(&of).unwrap()).unwrap();
        assert_eq!(aws, user(&UserKubeconfig { exec: Exec::Aws, ..of }).unwrap());
        assert_eq!(with_aws("{"), None);
    }
}

//! `awsiam control-plane`: what an administrator sets so that the API servers of a cluster ask the authenticator,
//! printed. Of the CA's Secret only certificates are looked at, never its key. Writes nothing anywhere.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use awsiam_authenticator::certificate::not_after;
use awsiam_authenticator::distribution::{Distribution, settings};
use awsiam_authenticator::kubeconfig::webhook;
use awsiam_authenticator::names::ca_secret;
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use thiserror::Error;

use crate::connection::{self, ConnectionArguments, ConnectionError};
use crate::error::Error;
use crate::files;
use crate::selection::ClusterName;

/// How long the API server may take for an answer.
const READ: Duration = Duration::from_secs(30);
/// Key of the Secret: the CA's certificate.
const CERTIFICATE: &str = "cert.pem";
/// Key of the Secret: further certificates, while one CA takes the place of another.
const TRUSTED: &str = "trusted.pem";

/// Print what makes the API servers of a cluster ask the authenticator: file, flag and mount
///
/// For nodes that run and for nodes that join later, and how to undo it. The CA certificate comes from the Secret
/// CLUSTER-aws-iam-authenticator-ca, which the operator keeps in the Cluster's namespace, or from --ca. What is
/// printed holds no secret.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The Cluster, in the context's namespace unless it names one
    #[arg(value_name = "[NAMESPACE/]CLUSTER", required_unless_present = "ca")]
    name: Option<ClusterName>,

    /// How the control plane was made
    #[arg(long = "for", value_name = "DISTRIBUTION", value_enum, required_unless_present = "file_only")]
    distribution: Option<Made>,

    /// Print the file alone, as it is to lie on the nodes
    #[arg(long, conflicts_with = "distribution")]
    file_only: bool,

    /// Take the CA certificate from this file (PEM) and ask no cluster; - for standard input
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// The namespace of the Cluster; without it the context's
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// `--for`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Made {
    /// By kubeadm, without Cluster API
    Kubeadm,
    /// By k3s
    K3s,
    /// By RKE2
    Rke2,
    /// By Talos Linux
    Talos,
}

impl From<Made> for Distribution {
    fn from(made: Made) -> Self {
        match made {
            Made::Kubeadm => Self::Kubeadm,
            Made::K3s => Self::K3s,
            Made::Rke2 => Self::Rke2,
            Made::Talos => Self::Talos,
        }
    }
}

/// Why there is nothing to print.
#[derive(Debug, Error)]
pub(crate) enum ControlPlaneError {
    #[error("can't read Secret {secret}: {why}")]
    Read { secret: String, why: String },
    #[error(
        "there is no Secret {secret}: the operator makes it in its first pass over a Cluster with spec.iamAuthenticator.mode DaemonSet; condition AuthenticatorReady of Cluster {cluster} says what keeps it from that (kubectl describe clusters.anywhere.eks.amazonaws.com {name} --namespace {namespace})"
    )]
    NotThere { secret: String, cluster: String, namespace: String, name: String },
    #[error(
        "Secret {secret}: {key} is not made of certificates in PEM form; restore the Secret from a backup"
    )]
    Strange { secret: String, key: &'static str },
    #[error(
        "{0} is not made of certificates in PEM form; --ca wants the authenticator's CA certificate, key cert.pem of Secret CLUSTER-aws-iam-authenticator-ca"
    )]
    NoCertificates(String),
    #[error(
        "{0} holds a private key, which must not come to the API servers; --ca wants the certificate alone"
    )]
    HoldsAKey(String),
}

/// Fetches the CA certificate and prints.
///
/// # Errors
/// When there is no CA certificate to be had.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let ca = match (&arguments.ca, &arguments.name) {
        (None, Some(name)) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(ConnectionError::Runtime)?;
            runtime.block_on(arguments.fetch(name))?
        }
        (Some(file), _) => {
            let source = files::read_one(file)?;
            checked(source.text, source.name)?
        }
        // The command line asks for one of the two.
        (None, None) => return Ok(ExitCode::FAILURE),
    };
    let file = webhook(&ca);
    let text = match arguments.distribution {
        Some(made) => settings(made.into(), &file),
        None => file,
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// What the operator has the API servers trust: the CA, and others while one takes the place of another.
    async fn fetch(&self, cluster: &ClusterName) -> Result<String, Error> {
        let config = self.connection.configuration(READ).await?;
        let namespace = cluster.namespace.clone().or_else(|| self.namespace.clone());
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let name = ca_secret(&cluster.name);
        let secret = format!("{namespace}/{name}");
        let secrets: Api<Secret> = Api::namespaced(connection::client(config)?, &namespace);
        let read = secrets.get_opt(&name).await.map_err(|error| ControlPlaneError::Read {
            secret: secret.clone(),
            why: connection::words(&error),
        })?;
        let read = read.ok_or_else(|| ControlPlaneError::NotThere {
            secret: secret.clone(),
            cluster: format!("{namespace}/{}", cluster.name),
            namespace: namespace.clone(),
            name: cluster.name.clone(),
        })?;
        Ok(trusted_of(read, secret)?)
    }
}

/// The certificates of the Secret, in the operator's order; nothing else of it is looked at.
fn trusted_of(secret: Secret, name: String) -> Result<String, ControlPlaneError> {
    let mut data = secret.data.unwrap_or_default();
    let (certificate, trusted) = (data.remove(CERTIFICATE), data.remove(TRUSTED));
    drop(data);
    let text = |bytes: k8s_openapi::ByteString| String::from_utf8(bytes.0).ok();
    let certificate = certificate.and_then(text).filter(|pem| are_certificates(pem));
    let Some(certificate) = certificate else {
        return Err(ControlPlaneError::Strange { secret: name, key: CERTIFICATE });
    };
    match trusted.filter(|bytes| !bytes.0.is_empty()).map(text) {
        None => Ok(certificate),
        Some(Some(trusted)) if are_certificates(&trusted) => Ok(certificate + &trusted),
        Some(_) => Err(ControlPlaneError::Strange { secret: name, key: TRUSTED }),
    }
}

fn checked(pem: String, file: String) -> Result<String, ControlPlaneError> {
    if pem.contains("PRIVATE KEY-----") {
        Err(ControlPlaneError::HoldsAKey(file))
    } else if are_certificates(&pem) {
        Ok(pem)
    } else {
        Err(ControlPlaneError::NoCertificates(file))
    }
}

/// Whether a text is PEM and holds certificates and nothing else.
fn are_certificates(pem: &str) -> bool {
    const BEGIN: &str = "-----BEGIN ";
    let mut blocks = pem.split_inclusive("-----END CERTIFICATE-----").filter(|block| block.contains(BEGIN));
    blocks.clone().next().is_some()
        && blocks.all(|block| block.matches(BEGIN).count() == 1 && not_after(block).is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    const CA: &str = include_str!("../../tests/files/ca.pem");

    fn secret(data: &[(&str, &str)]) -> Secret {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        let data: BTreeMap<_, _> = data.iter().map(|(key, text)| ((*key).to_owned(), bytes(text))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    fn of(data: &[(&str, &str)]) -> Result<String, String> {
        trusted_of(secret(data), "default/ca".to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_certificate_that_is_to_be_trusted_is_in_the_file_and_the_key_is_not() {
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        assert_eq!(of(&[("cert.pem", CA), ("key.pem", key)]), Ok(CA.to_owned()));
        assert_eq!(of(&[("cert.pem", CA), ("trusted.pem", CA), ("key.pem", key)]), Ok(CA.repeat(2)));
        assert_eq!(of(&[("cert.pem", CA), ("trusted.pem", "")]), Ok(CA.to_owned()));
    }

    #[test]
    fn what_is_no_certificate_is_named_and_not_printed() {
        let mixed = format!("{CA}-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
        let other = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
        for strange in [&mixed, other, "", "c2VjcmV0"] {
            let said = of(&[("cert.pem", strange)]).unwrap_err();
            assert!(said.contains("default/ca: cert.pem") && !said.contains("c2VjcmV0"), "{said}");
        }
        let said = of(&[("cert.pem", CA), ("trusted.pem", &mixed)]).unwrap_err();
        assert!(said.contains("trusted.pem") && !said.contains("c2VjcmV0"), "{said}");
        assert!(of(&[]).unwrap_err().contains("cert.pem"));
    }
}

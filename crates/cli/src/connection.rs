//! The way to a cluster, as kubectl finds it, and errors on that way in words that hold no secrets: a
//! kubeconfig holds tokens, and what reads it likes to quote the lines around a mistake.

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use awsiam_controller::words;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How we call ourselves in the API server's audit log.
const USER_AGENT: &str = concat!("awsiam/", env!("CARGO_PKG_VERSION"));

/// Where the cluster is, as typed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Which cluster")]
pub(crate) struct ConnectionArguments {
    /// The kubeconfig to use. Without it: $KUBECONFIG, ~/.kube/config, or inside of a pod its ServiceAccount
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig; without it the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Why there is no way to a cluster.
#[derive(Debug, Error)]
pub(crate) enum ConnectionError {
    #[error(
        "there is neither a kubeconfig (--kubeconfig, $KUBECONFIG, ~/.kube/config) nor a pod's ServiceAccount; say which cluster with --kubeconfig FILE"
    )]
    Nowhere,
    #[error("can't use the kubeconfig {file}: {why}")]
    Kubeconfig { file: String, why: String },
    #[error("can't use this pod's ServiceAccount: {0}")]
    InCluster(#[from] kube::config::InClusterError),
    #[error("can't make a client for {server}: {why}")]
    Client { server: String, why: String },
    #[error("can't start: {0}")]
    Runtime(#[from] std::io::Error),
}

impl ConnectionArguments {
    /// The cluster that is meant. `read` limits how long an answer may stay silent.
    ///
    /// # Errors
    /// [`ConnectionError`], without a word of what the kubeconfig holds.
    pub(crate) async fn configuration(&self, read: Duration) -> Result<Config, ConnectionError> {
        let mut config = self.found().await?;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(read);
        // Else the time that a pooled connection lay idle would count.
        config.reset_reader_on_write = true;
        if let (Ok(name), Ok(value)) = ("user-agent".parse(), USER_AGENT.parse()) {
            config.headers.push((name, value));
        }
        Ok(config)
    }

    async fn found(&self) -> Result<Config, ConnectionError> {
        let from_environment = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
        let default = std::env::home_dir().map(|home| home.join(".kube").join("config"));
        let (file, read) = match (&self.kubeconfig, from_environment, default.filter(|file| file.exists())) {
            (Some(file), ..) => (name(file), Kubeconfig::read_from(file)),
            (None, Some(files), _) => (name(Path::new(&files)), Kubeconfig::read()),
            (None, None, Some(file)) => (name(&file), Kubeconfig::read_from(&file)),
            (None, None, None) if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
                return Ok(Config::incluster()?);
            }
            (None, None, None) => return Err(ConnectionError::Nowhere),
        };
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match read {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
            Err(error) => Err(error),
        };
        config.map_err(|error| ConnectionError::Kubeconfig { file, why: kubeconfig_words(&error) })
    }
}

/// Runs what asks a cluster.
///
/// # Errors
/// [`ConnectionError::Runtime`]
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, ConnectionError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ConnectionError::Runtime)?;
    Ok(runtime.block_on(future))
}

/// A client for a configuration.
///
/// # Errors
/// [`ConnectionError::Client`], as for certificates that are none.
pub(crate) fn client(config: Config) -> Result<Client, ConnectionError> {
    made(config, Client::try_from)
}

/// As [`client`], for who stays: its connections notice a server that is gone without a word.
///
/// # Errors
/// As [`client`].
pub(crate) fn lasting_client(config: Config) -> Result<Client, ConnectionError> {
    made(config, awsiam_controller::client)
}

fn made(
    config: Config,
    make: impl FnOnce(Config) -> Result<Client, kube::Error>,
) -> Result<Client, ConnectionError> {
    let server = config.cluster_url.to_string();
    make(config).map_err(|error| ConnectionError::Client { server, why: words(&error) })
}

/// The certificates by which a configuration trusts its API server, PEM; empty where it trusts whom the system
/// trusts.
pub(crate) fn authority_pem(config: &Config) -> String {
    let certificates = config.root_cert.iter().flatten();
    certificates.map(|der| awsiam_authenticator::certificate::to_pem(der)).collect()
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

/// What is wrong with a kubeconfig; of a mistake in its text only the place.
fn kubeconfig_words(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => match error.location() {
            Some(place) => {
                format!("line {}, column {} is not as a kubeconfig should be", place.line(), place.column())
            }
            None => "it is not as a kubeconfig should be".to_owned(),
        },
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::CurrentContextNotSet => {
            "it names no current context; name one with --context".to_owned()
        }
        KubeconfigError::LoadContext(name) => format!("it has no context {name}"),
        KubeconfigError::ParseCertificates(_) => "its certificates cannot be read as PEM".to_owned(),
        other => other.to_string(),
    }
}

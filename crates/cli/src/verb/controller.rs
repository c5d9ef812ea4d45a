//! `awsiam controller`: runs the operator until it is told to stop.

mod logs;
mod open_files;
mod signals;

use std::process::ExitCode;
use std::time::Duration;

use awsiam_controller::{LocalCluster, Options, StartError};
use clap::{Args, ValueEnum};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::arguments::VERSION;
use crate::connection::{self, ConnectionArguments, ConnectionError};
use crate::images::ImageArguments;
use crate::privileges::PrivilegeArguments;

/// How long an answer may stay silent: longer than the API server leaves a watch without a word, after
/// which it ends it (290 s).
const READ: Duration = Duration::from_mins(5);

/// How long after the first signal the process ends, whatever is still under way: the next start takes it up.
const LAST_MOMENT: Duration = Duration::from_millis(4800);

/// Run the operator
///
/// Keeps kube-system/aws-auth of the cluster it runs in as the Cluster object of --local-cluster and its
/// AWSIamConfigs say, and with --remote-targets that of other clusters. The first SIGTERM or SIGINT lets it finish the write in flight and exit with 0, the
/// second ends it at once. RUST_LOG says what is logged (info).
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The Cluster object that stands for the cluster the operator runs in. The operator's own identity serves no other
    #[arg(long, value_name = "NAMESPACE/NAME")]
    local_cluster: Option<LocalCluster>,

    /// Serve other Clusters too, each through the kubeconfig in the Secret NAME-kubeconfig (key value) of its namespace
    #[arg(long)]
    remote_targets: bool,

    /// For Clusters in namespace FROM, look for that Secret and for Cluster API's objects in namespace TO. Whoever may make
    /// a Cluster in FROM then reaches every cluster whose Secret lies in TO
    #[arg(long = "cluster-api-namespace", value_name = "FROM=TO", value_parser = namespace_pair, value_delimiter = ',')]
    cluster_api_namespaces: Vec<(String, String)>,

    /// Look at Clusters and AWSIamConfigs in these namespaces alone
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    watch_namespaces: Vec<String>,

    /// Plan and report, and write nothing to aws-auth
    #[arg(long)]
    observe_only: bool,

    /// How often everything is looked at again without a change, and read again of remote targets, such as 30s, 10m or 1h
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = super::time::parse)]
    resync: Duration,

    /// How to log, to standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,

    /// How many control planes of Cluster API may replace their machines at a time because of awsiam
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    max_control_plane_rollouts: usize,

    /// Seconds by which the clock is to be ahead
    #[arg(long, value_name = "SECONDS", hide = true, default_value_t = 0, allow_negative_numbers = true)]
    clock_ahead: i64,

    /// Have the write after this many never return, as if the process had died there
    #[arg(long, value_name = "N", hide = true)]
    hang_after_writes: Option<u64>,

    #[command(flatten)]
    connection: ConnectionArguments,

    #[command(flatten)]
    images: ImageArguments,

    #[command(flatten)]
    privileges: PrivilegeArguments,
}

/// `--log-format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people, in colour on a terminal.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Why the operator did not start.
#[derive(Debug, Error)]
enum ControllerError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("{}", start_words(.0))]
    Start(#[from] StartError),
    #[error("--local-cluster is in namespace {0}, which --watch-namespaces leaves out; name it there, too")]
    LocalClusterNotWatched(String),
    #[error("RUST_LOG cannot be read: {0}")]
    Logs(#[from] tracing_subscriber::filter::FromEnvError),
    #[error("can't start: {0}")]
    Runtime(#[from] std::io::Error),
}

fn start_words(error: &StartError) -> String {
    match error {
        StartError::ManagementCluster(error) => format!(
            "can't read namespace kube-system, whose uid names this cluster in the ledger: {}",
            connection::words(error)
        ),
        other @ StartError::NoUid => other.to_string(),
    }
}

impl Arguments {
    fn options(&self, api_server_ca: String) -> Options {
        Options {
            local_cluster: self.local_cluster.clone(),
            remote_targets: self.remote_targets,
            cluster_api_namespaces: self.cluster_api_namespaces.iter().cloned().collect(),
            watch_namespaces: self.watch_namespaces.clone(),
            observe_only: self.observe_only,
            policy: self.privileges.policy(),
            resync: self.resync,
            instance: std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()),
            images: self.images.policy(),
            probe_image: self.images.probe_image(),
            api_server_ca,
            max_control_plane_rollouts: self.max_control_plane_rollouts,
            clock_ahead: self.clock_ahead,
            hang_after_writes: self.hang_after_writes,
        }
    }
}

fn namespace_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err("FROM=TO is wanted, two namespaces, such as default=eksa-system".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a number from 1 on is wanted".to_owned()),
    }
}

/// Runs it. Exit code 0 after a signal, 1 when it did not start.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("awsiam controller: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), ControllerError> {
    logs::start(arguments.log_format)?;
    let open_files = open_files::raise();
    tracing::debug!(open_files, "as many files may be open");
    // One thread: the operator waits far more than it works, and a watch event that becomes a PUT on the thread
    // that read it waits for no other thread to wake up.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(serve(arguments));
    // What hangs does not hold up the end.
    runtime.shutdown_background();
    done
}

async fn serve(arguments: &Arguments) -> Result<(), ControllerError> {
    let stop = CancellationToken::new();
    signals::listen(stop.clone())?;
    let config = arguments.connection.configuration(READ).await?;
    let local_cluster = arguments.local_cluster.as_ref();
    let watched = &arguments.watch_namespaces;
    if let Some(local) = local_cluster.filter(|l| !watched.is_empty() && !watched.contains(&l.namespace)) {
        return Err(ControllerError::LocalClusterNotWatched(local.namespace.clone()));
    }
    tracing::info!(
        version = VERSION,
        server = %config.cluster_url,
        local_cluster = local_cluster.map(|local| format!("{}/{}", local.namespace, local.name)),
        observe_only = arguments.observe_only,
        "starting"
    );
    if local_cluster.is_none() && !arguments.remote_targets {
        tracing::warn!("without --local-cluster and --remote-targets no Cluster is served");
    }
    let api_server_ca = connection::authority_pem(&config);
    let client = connection::client(config)?;
    tokio::select! {
        done = awsiam_controller::run(client, arguments.options(api_server_ca), stop.clone()) => Ok(done?),
        () = overdue(&stop) => {
            tracing::warn!("something did not end in time; leaving it to the next start");
            Ok(())
        }
    }
}

async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_MOMENT).await;
}

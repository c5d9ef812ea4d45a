//! `awsiam controller`: runs the operator until it is told to stop.

mod logs;
mod open_files;
mod signals;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use awsiam_api::ClusterSpec;
use awsiam_controller::metrics::Metrics;
use awsiam_controller::{Election, ElectionError, LocalCluster, Options, StartError};
use clap::{Args, ValueEnum};
use thiserror::Error;
use tokio::net::TcpListener;
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

    /// Make that object at the start where there is none, with this spec, as JSON: such as
    /// '{"identityProviderRefs":[{"kind":"AWSIamConfig","name":"team"}]}'. One that is there is never changed
    #[arg(long, value_name = "SPEC", requires = "local_cluster", value_parser = cluster_spec)]
    create_local_cluster: Option<Box<ClusterSpec>>,

    /// Make the CRDs at the start where they are absent, and bring awsiam's own up to date; those of others, and of newer
    /// versions, are left as they are
    #[arg(long)]
    install_crds: bool,

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

    /// Wait for this Lease and work only while it is held, so that of several replicas one works at a time
    #[arg(long, value_name = "NAMESPACE/NAME")]
    lease: Option<LocalCluster>,

    /// After how long without a renewal another replica may take the lease: whole seconds
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = super::time::parse)]
    lease_duration: Duration,

    /// After how long without a renewal this replica stops writing; shorter than --lease-duration
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = super::time::parse)]
    lease_renew_deadline: Duration,

    /// How often the lease is renewed or asked for; at most half of --lease-renew-deadline
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = super::time::parse)]
    lease_retry_period: Duration,

    /// Where to answer /livez and /readyz, such as 0.0.0.0:8081
    #[arg(long, value_name = "ADDRESS:PORT")]
    health_address: Option<SocketAddr>,

    /// Where to answer /metrics, such as 0.0.0.0:8080
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_address: Option<SocketAddr>,

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

/// Exit code for flags that can't be followed, as clap gives it.
const WRONG_FLAGS: u8 = 2;

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
    #[error(
        "--lease-duration ({duration:?}) must be whole seconds and longer than --lease-renew-deadline ({deadline:?}), and that at least twice --lease-retry-period ({retry:?})"
    )]
    LeaseTimes { duration: Duration, deadline: Duration, retry: Duration },
    #[error("can't listen on {flag} {address}: {error}")]
    Address { flag: &'static str, address: SocketAddr, error: std::io::Error },
    #[error("{0}")]
    Election(ElectionError),
    #[error("RUST_LOG cannot be read: {0}")]
    Logs(#[from] tracing_subscriber::filter::FromEnvError),
    #[error("can't start: {0}")]
    Runtime(#[from] std::io::Error),
}

impl From<ElectionError> for ControllerError {
    fn from(error: ElectionError) -> Self {
        match error {
            ElectionError::Start(error) => Self::Start(error),
            lost @ ElectionError::Lost { .. } => Self::Election(lost),
        }
    }
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
    /// How the lease is taken and held, where there is one.
    fn election(&self, instance: Option<&str>) -> Option<Election> {
        let lease = self.lease.as_ref()?;
        Some(Election {
            namespace: lease.namespace.clone(),
            name: lease.name.clone(),
            identity: Election::identity(instance.unwrap_or("awsiam")),
            duration: self.lease_duration,
            renew_deadline: self.lease_renew_deadline,
            retry_period: self.lease_retry_period,
        })
    }

    /// Whether the flags go together: the local Cluster is looked at, and a leader stands down before anybody else leads.
    fn in_order(&self) -> Result<(), ControllerError> {
        let watched = &self.watch_namespaces;
        let local = self.local_cluster.as_ref();
        if let Some(local) = local.filter(|l| !watched.is_empty() && !watched.contains(&l.namespace)) {
            return Err(ControllerError::LocalClusterNotWatched(local.namespace.clone()));
        }
        let (duration, deadline, retry) =
            (self.lease_duration, self.lease_renew_deadline, self.lease_retry_period);
        if duration.subsec_nanos() == 0 && duration > deadline && deadline >= retry.saturating_mul(2) {
            return Ok(());
        }
        Err(ControllerError::LeaseTimes { duration, deadline, retry })
    }

    fn options(&self, api_server_ca: String) -> Options {
        let health = Arc::default();
        Options {
            local_cluster: self.local_cluster.clone(),
            create_local_cluster: self.create_local_cluster.as_deref().cloned(),
            install_crds: self.install_crds,
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
            term: None,
            metrics: Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), env!("AWSIAM_COMMIT"), &health)),
            health,
            clock_ahead: self.clock_ahead,
            hang_after_writes: self.hang_after_writes,
        }
    }
}

fn cluster_spec(text: &str) -> Result<Box<ClusterSpec>, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not the spec of a Cluster as JSON: {error}"))
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

/// Runs it. Exit code 0 after a signal, 1 when it did not start or lost its lease, 2 for flags that contradict each
/// other.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let (error, code) = match arguments.in_order() {
        Err(error) => (error, ExitCode::from(WRONG_FLAGS)),
        Ok(()) => match start(arguments) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (error, ExitCode::FAILURE),
        },
    };
    eprintln!("awsiam controller: {error}");
    code
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
    let options = arguments.options(connection::authority_pem(&config));
    if let Some(address) = arguments.health_address {
        let listener = listen("--health-address", address).await?;
        tokio::spawn(awsiam_controller::health::serve(listener, options.health.clone()));
    }
    if let Some(address) = arguments.metrics_address {
        let listener = listen("--metrics-address", address).await?;
        tokio::spawn(awsiam_controller::metrics::serve(listener, options.metrics.clone()));
    }
    let election = arguments.election(options.instance.as_deref());
    let lease_client = connection::lasting_client(config.clone())?;
    let client = connection::lasting_client(config)?;
    let work = async {
        match election {
            Some(election) => {
                awsiam_controller::run_elected(client, lease_client, options, election, stop.clone()).await?;
            }
            None => awsiam_controller::run(client, options, stop.clone()).await?,
        }
        Ok::<_, ControllerError>(())
    };
    tokio::select! {
        done = work => done,
        () = overdue(&stop) => {
            tracing::warn!("something did not end in time; leaving it to the next start");
            Ok(())
        }
    }
}

async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, ControllerError> {
    TcpListener::bind(address).await.map_err(|error| ControllerError::Address { flag, address, error })
}

async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_MOMENT).await;
}

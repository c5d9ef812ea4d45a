//! The operator as a whole: what its passes share, how it starts and how it stops.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use awsiam_api::names::EKS_ANYWHERE_FINALIZER;
use awsiam_api::{AWSIamConfig, Cluster};
use futures::stream::{self, select_all};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::Api;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::{Client, Resource, ResourceExt};
use tokio::sync::{Notify, OnceCell, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authenticator::{CrdRights, Taken, Turns, Watches};
use crate::crd_gate::CrdGate;
use crate::error::StartError;
use crate::events::Publisher;
use crate::gateway::Gateway;
use crate::health::Health;
use crate::observe::JudgedConfigs;
use crate::options::Options;
use crate::reporter::{self, Reporter};
use crate::runner::{self, Next, received};
use crate::target::{Seen, Target};
use crate::targets::{Spawn, Targets};
use crate::watches::Guard;
use crate::{config_status, crds, hands_off, local_cluster, pass, watches};

/// How long writes in flight may take after the operator was told to stop.
const DRAIN: Duration = Duration::from_secs(4);

/// What passes share.
pub(crate) struct Operator {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) gateway: Arc<Gateway>,
    /// uid of this cluster's `kube-system`: who we are in ledgers.
    pub(crate) management: String,
    pub(crate) gate: CrdGate,
    pub(crate) clusters: Store<Guard<Cluster>>,
    pub(crate) configs: Store<Guard<AWSIamConfig>>,
    configs_listed: watch::Sender<bool>,
    clusters_listed: watch::Sender<bool>,
    /// The AWSIamConfigs as last looked at.
    pub(crate) judged: JudgedConfigs,
    pub(crate) reporter: Arc<Reporter>,
    /// Writes in the background that a stop waits for.
    pub(crate) tasks: TaskTracker,
    pub(crate) config_statuses: config_status::Statuses,
    pub(crate) targets: Arc<Targets>,
    /// Whose control plane is being rolled out.
    pub(crate) turns: Mutex<Turns>,
    /// Set once the rollouts are in `turns` that were going on at the start.
    pub(crate) rollouts_known: OnceCell<()>,
    /// Whose image is being changed, as far as the Clusters do not say so yet.
    pub(crate) image_turns: Mutex<Taken>,
    failures: Mutex<HashMap<String, u32>>,
    /// What runs until the operator stops.
    background: TaskTracker,
    stop: CancellationToken,
}

impl Operator {
    /// Whether EKS Anywhere controls a Cluster, as far as has been seen: by its finalizer, or by its field
    /// manager on `aws-auth`.
    pub(crate) fn is_eks_anywheres(&self, cluster: &Cluster) -> bool {
        hands_off::has_finalizer(cluster, EKS_ANYWHERE_FINALIZER)
            || self.targets.known(cluster).is_some_and(|target| match target.seen() {
                Seen::Present(config_map) => hands_off::is_eks_anywheres(&config_map),
                Seen::Nothing(_) | Seen::Absent => false,
            })
    }

    /// The watches on the authenticator's objects of a target, started at the first call.
    pub(crate) fn authenticator_watches<'a>(&self, target: &'a Arc<Target>) -> &'a Watches {
        target.authenticator.get_or_init(|| {
            let cluster = self.options.local_cluster.clone().unwrap_or_default();
            Watches::start(&target.client, &cluster, |task| self.forever(task), touching(target))
        })
    }

    /// The watches on what the authenticator needs for backend `CRD`, started at the first call.
    pub(crate) fn crd_rights<'a>(&self, target: &'a Arc<Target>) -> &'a CrdRights {
        target
            .crd_rights
            .get_or_init(|| CrdRights::start(&target.client, |task| self.forever(task), touching(target)))
    }

    /// Runs this until it ends or the operator stops.
    pub(crate) fn forever(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.options.clock_ahead);
        Timestamp::now().saturating_add(ahead).unwrap_or_else(|_| Timestamp::now())
    }

    /// Waits until all AWSIamConfigs are known: before that a reference looks as if it did not resolve. False when `cluster`
    /// is not as it was any more by then, or the operator stops: then a pass over it has to begin anew.
    pub(crate) async fn configs_listed(&self, cluster: &Cluster) -> bool {
        self.listed(&self.configs_listed, &self.clusters, cluster).await
    }

    /// Waits until all Clusters are known: before that an AWSIamConfig looks as if none referred to it. False as above.
    pub(crate) async fn clusters_listed(&self, config: &AWSIamConfig) -> bool {
        self.listed(&self.clusters_listed, &self.configs, config).await
    }

    async fn listed<K>(&self, all: &watch::Sender<bool>, store: &Store<Guard<K>>, object: &K) -> bool
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        let mut all = all.subscribe();
        if *all.borrow() {
            return true;
        }
        // The sender lives in `self`, so waiting does not fail.
        let waited = self.stop.run_until_cancelled(all.wait_for(|listed| *listed)).await.map(drop);
        let object_ref = ObjectRef::new(&object.name_any()).within(&object.namespace().unwrap_or_default());
        let now = store.get(&object_ref);
        waited.is_some() && now.is_some_and(|now| now.resource_version() == object.resource_version())
    }

    /// At the next resync, a little earlier or later so that not all come at once.
    pub(crate) fn later(&self) -> Next {
        let spread = Timestamp::now().subsec_nanosecond().unsigned_abs() % 100;
        let jitter = self.options.resync.mul_f64(f64::from(spread) / 1000.0);
        Next::After(self.options.resync.saturating_sub(jitter))
    }

    /// One more failure of an object; how many there were before it.
    pub(crate) fn failed<K: Resource>(&self, object: &K) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.meta().uid.clone().unwrap_or_default()).or_default();
        *count = count.saturating_add(1);
        *count - 1
    }

    /// The object's pass went through.
    pub(crate) fn succeeded<K: Resource>(&self, object: &K) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(object.meta().uid.as_deref().unwrap_or_default());
    }
}

/// What a watch calls when something changed on a target.
fn touching(target: &Arc<Target>) -> impl Fn() + Clone + Send + 'static {
    let touched = Arc::downgrade(target);
    move || {
        if let Some(target) = touched.upgrade() {
            target.touched();
        }
    }
}

/// Runs the operator until `stop` is cancelled; then lets the writes in flight finish and returns.
///
/// # Errors
/// [`StartError`] when it can't find out who it is.
pub async fn run(client: Client, options: Options, stop: CancellationToken) -> Result<(), StartError> {
    options.metrics.leads(options.term.clone());
    let gate = CrdGate::new();
    let background = TaskTracker::new();
    let forever = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        background.spawn(stop.clone().run_until_cancelled_owned(task));
    };
    let (touched, target_changes) = mpsc::unbounded_channel();
    let spawn: Spawn = Arc::new({
        let (background, stop) = (background.clone(), stop.clone());
        move |task| background.spawn(stop.clone().run_until_cancelled_owned(task)).abort_handle()
    });
    let targets = Arc::new(Targets::new(&options, &client, &touched, &spawn));
    forever({
        let (gate, client) = (gate.clone(), client.clone());
        Box::pin(async move { gate.watch(client).await })
    });
    let gateway = Arc::new(Gateway::new(&options));
    forever(Box::pin(say_what_crds_lack(gate.clone(), options.health.clone())));
    forever(Box::pin(make_what_is_absent(client.clone(), gateway.clone(), options.clone(), gate.clone())));
    if let Some(target) = targets.local().cloned() {
        forever(Box::pin(read_ahead(target)));
    }
    let Some(management) = stop.run_until_cancelled(management(&client)).await else { return Ok(()) };
    let management = management?;
    if stop.run_until_cancelled(gate.installed()).await.is_none() {
        return Ok(());
    }

    let (to_configs, for_configs) = mpsc::unbounded_channel();
    let cluster_touched = Arc::new(Notify::new());
    let namespaces = options.watch_namespaces.clone();
    let clusters_listed = watch::Sender::new(false);
    let on_event = on_cluster_event(
        options.health.clone(),
        cluster_touched.clone(),
        clusters_listed.clone(),
        to_configs,
    );
    let (clusters, cluster_changes) = watches::clusters(client.clone(), &namespaces, on_event);
    let configs_listed = watch::Sender::new(false);
    let (configs, config_changes) = watches::configs(client.clone(), &namespaces, configs_listed.clone());
    let reporter = Arc::new(Reporter::default());
    options.metrics.clusters_of(is_among(clusters.clone()));
    let operator = Arc::new(Operator {
        gateway,
        turns: Mutex::new(Turns::new(options.max_control_plane_rollouts)),
        rollouts_known: OnceCell::new(),
        image_turns: Mutex::default(),
        client,
        options,
        management,
        gate,
        clusters,
        configs,
        configs_listed,
        clusters_listed,
        judged: JudgedConfigs::default(),
        reporter,
        tasks: TaskTracker::new(),
        config_statuses: config_status::Statuses::default(),
        targets,
        failures: Mutex::default(),
        background: background.clone(),
        stop: stop.clone(),
    });
    let writing = tokio::spawn(reporter::write_all(
        Publisher::new(operator.client.clone(), operator.gateway.clone(), operator.options.instance.clone()),
        operator.client.clone(),
        operator.gateway.clone(),
        operator.reporter.clone(),
        operator.options.metrics.clone(),
    ));
    operator.forever(forget_targets(Arc::downgrade(&operator), cluster_touched));
    let late = CancellationToken::new();
    background.spawn(late_after(stop.clone(), late.clone()));
    tokio::select! {
        () = serve(&operator, cluster_changes, config_changes, for_configs, target_changes, &stop) => {}
        () = late.cancelled() => {}
    }

    operator.reporter.close();
    operator.tasks.close();
    let tasks = operator.tasks.clone();
    drop(operator);
    let drained = late.run_until_cancelled(async {
        tasks.wait().await;
        drop(writing.await);
    });
    if drained.await.is_none() {
        tracing::warn!("some writes did not finish in time; the next start takes them up");
    }
    tracing::info!("stopped");
    Ok(())
}

/// What every event of the watch on Clusters brings about, beside a pass.
fn on_cluster_event(
    health: Arc<Health>,
    touched: Arc<Notify>,
    listed: watch::Sender<bool>,
    to_configs: mpsc::UnboundedSender<ObjectRef<Guard<AWSIamConfig>>>,
) -> impl FnMut(&Event<Guard<Cluster>>) + Send + 'static {
    let mut concerned = config_status::Concerned::default();
    let mut listing = Vec::new();
    move |event| {
        touched.notify_one();
        match event {
            Event::InitApply(cluster) => listing.push(pass::named(cluster)),
            Event::InitDone => {
                health.listed(std::mem::take(&mut listing));
                listed.send_replace(true);
            }
            Event::Delete(cluster) => health.looked_at(&pass::named(cluster)),
            Event::Init | Event::Apply(_) => {}
        }
        for config in concerned.changed(event) {
            // The queue ends only when the operator does.
            drop(to_configs.send(config));
        }
    }
}

/// Whether there is a Cluster of this namespace and name.
fn is_among(clusters: Store<Guard<Cluster>>) -> impl Fn(&str, &str) -> bool + Send + Sync {
    move |namespace, name| clusters.get(&ObjectRef::new(name).within(namespace)).is_some()
}

/// Reads what the first pass over the local target needs, beside the rest of the start; a pass that finds nothing reads again.
async fn read_ahead(target: Arc<Target>) {
    let mappings = async {
        if target.identity_mappings.look().await == Some(true) {
            target.touched();
        }
    };
    let (records, ()) = futures::future::join(target.history.records(), mappings).await;
    drop(records);
}

/// The CRDs, and once they are there the local Cluster object, as far as the operator is told to make them.
async fn make_what_is_absent(client: Client, gateway: Arc<Gateway>, options: Options, gate: CrdGate) {
    let the_crds = async {
        if options.install_crds {
            crds::install(&client, &gateway).await;
        }
    };
    let the_cluster = async {
        if let (Some(local), Some(spec)) = (&options.local_cluster, &options.create_local_cluster) {
            gate.installed().await;
            local_cluster::make_if_absent(&client, &gateway, local, spec).await;
        }
    };
    futures::future::join(the_crds, the_cluster).await;
}

/// Has `/readyz` say what the CRDs lack, as long as they do.
async fn say_what_crds_lack(gate: CrdGate, health: Arc<Health>) {
    let mut changes = std::pin::pin!(gate.changes());
    loop {
        health.crds_lack(gate.lacking());
        if changes.next().await.is_none() {
            return;
        }
    }
}

/// Drops what is kept of Clusters that are gone, soon after that.
async fn forget_targets(operator: Weak<Operator>, cluster_touched: Arc<Notify>) {
    loop {
        cluster_touched.notified().await;
        // Many changes are one look.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(operator) = operator.upgrade() else { return };
        operator.targets.keep_only(|cluster| operator.clusters.get(cluster).is_some());
        operator.options.metrics.forget_gone();
    }
}

/// Cancels `late` when the time for writes in flight is up: passes and statuses share it.
async fn late_after(stop: CancellationToken, late: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN).await;
    late.cancel();
}

async fn management(client: &Client) -> Result<String, StartError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace =
        namespaces.get("kube-system").await.map_err(|e| StartError::ManagementCluster(Box::new(e)))?;
    namespace.uid().ok_or(StartError::NoUid)
}

type Changes<K> = Result<Guard<K>, kube::runtime::watcher::Error>;

/// Runs both reconcilers until `stop`.
async fn serve(
    operator: &Arc<Operator>,
    cluster_changes: impl Stream<Item = Changes<Cluster>> + Send + 'static,
    config_changes: impl Stream<Item = Changes<AWSIamConfig>> + Send + 'static,
    for_configs: mpsc::UnboundedReceiver<ObjectRef<Guard<AWSIamConfig>>>,
    target_changes: mpsc::UnboundedReceiver<ObjectRef<Guard<Cluster>>>,
    stop: &CancellationToken,
) {
    let (to_clusters, for_clusters) = mpsc::unbounded_channel();
    let config_changes = config_changes.inspect({
        let operator = operator.clone();
        move |change| {
            if let Ok(config) = change {
                let referring = config_status::referring(&operator.clusters, config);
                for cluster in referring {
                    // The queue ends only when the operator does.
                    let _ = to_clusters.send(ObjectRef::from_obj(cluster.as_ref()));
                }
            }
        }
    });
    let due = select_all([
        changed(cluster_changes).boxed(),
        received(for_clusters).boxed(),
        received(target_changes).boxed(),
        all_on(operator.gate.changes(), operator.clusters.clone()).boxed(),
    ]);
    let passes =
        runner::run(due, &operator.clusters, |cluster| pass::reconcile(cluster, operator.clone()), stop);
    let due = select_all([
        changed(config_changes).boxed(),
        received(for_configs).boxed(),
        all_on(operator.gate.changes(), operator.configs.clone()).boxed(),
    ]);
    let statuses = runner::run(
        due,
        &operator.configs,
        |config| config_status::reconcile(config, operator.clone()),
        stop,
    );
    // Which of them is first changes: one that always finds work leaves something to the other.
    tokio::join!(passes, statuses);
}

/// What a watch says has changed. One that broke is taken up again.
fn changed<K>(changes: impl Stream<Item = Changes<K>>) -> impl Stream<Item = ObjectRef<Guard<K>>>
where
    K: Resource<DynamicType = ()>,
{
    changes.filter_map(async |change| match change {
        Ok(object) => Some(ObjectRef::from_obj(&object)),
        Err(error) => {
            tracing::warn!(%error, "a watch broke; taking it up again");
            None
        }
    })
}

/// All that is in the store, whenever there is an item.
fn all_on<K>(when: impl Stream<Item = ()>, store: Store<Guard<K>>) -> impl Stream<Item = ObjectRef<Guard<K>>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    when.flat_map(move |()| {
        let all = store.state();
        stream::iter(all.into_iter().map(|object| ObjectRef::from_obj(object.as_ref())))
    })
}

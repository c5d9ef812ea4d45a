//! Several clusters: a management cluster that tests share, each in a namespace of its own, and workload clusters behind
//! kubeconfig Secrets; real ones, or stand-ins by the thousand.

mod stand_ins;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use awsiam_api::Cluster;
use awsiam_controller::Options;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::control_plane::{self, ControlPlane};
use crate::stage::{OPERATOR_NAMESPACE, Running, Stage, install_with, operator_config};

pub use self::stand_ins::StandIns;

/// Name of the authenticator's DaemonSet, and of its container.
const AUTHENTICATOR: &str = "aws-iam-authenticator";
/// So many tests of one program may have a namespace.
const NAMESPACES: usize = 40;

/// A namespace of the shared management cluster in which the operator may serve remote Clusters.
///
/// # Panics
/// When the chart's rights can't be installed, or there are too many tests.
#[expect(clippy::expect_used, reason = "only tests call this")]
pub async fn namespace() -> Stage {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let plane = control_plane::shared().await;
    let names: Vec<String> = (0..NAMESPACES).map(|number| format!("team-{number}")).collect();
    INSTALLED
        .get_or_init(async || {
            for name in &names {
                Stage::beside(plane, name).await;
            }
            let values = ["rights.remote.enabled=true".to_owned(), list("rights.remote.namespaces", &names)];
            install_with(plane, OPERATOR_NAMESPACE, "here", &values).await.expect("the chart's rights");
        })
        .await;
    let name = names.get(NEXT.fetch_add(1, Ordering::SeqCst)).expect("more namespaces than tests");
    Stage::beside(plane, name).await
}

fn list(value: &str, items: &[String]) -> String {
    format!("{value}={{{}}}", items.join(","))
}

/// Options of an operator that serves the remote Clusters of these namespaces, and looks again every 2 seconds.
#[must_use]
pub fn options(stages: &[&Stage]) -> Options {
    Options {
        remote_targets: true,
        watch_namespaces: stages.iter().map(|stage| stage.namespace.clone()).collect(),
        resync: Duration::from_secs(2),
        ..Options::default()
    }
}

/// Starts an operator under the chart's rights.
///
/// # Panics
/// As [`Running::start`].
pub async fn operator(plane: &ControlPlane, options: Options) -> Running {
    // One token for all tests of a program: it is good for an hour.
    static CONFIG: OnceCell<kube::Config> = OnceCell::const_new();
    let config = CONFIG.get_or_init(|| operator_config(plane)).await;
    Running::start(config.clone(), options)
}

/// Applies a Cluster that refers to these AWSIamConfigs, with more fields of `iamAuthenticator`.
///
/// # Panics
/// When the API server refuses.
pub async fn cluster(stage: &Stage, name: &str, configs: &[&str], block: Value) -> Cluster {
    let refs: Vec<Value> = configs.iter().map(|name| json!({"kind": "AWSIamConfig", "name": name})).collect();
    let spec = json!({"identityProviderRefs": refs, "iamAuthenticator": block});
    stage.cluster_object(name, json!({}), spec).await
}

/// Puts a kubeconfig into the Secret of a Cluster.
///
/// # Panics
/// When the API server refuses.
#[expect(clippy::expect_used, reason = "only tests call this")]
pub async fn put_kubeconfig(stage: &Stage, cluster: &str, kubeconfig: &str) {
    let name = format!("{cluster}-kubeconfig");
    let secret = Secret {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("value".to_owned(), ByteString(kubeconfig.as_bytes().to_vec()))])),
        ..Secret::default()
    };
    let params = PatchParams::apply("cluster-api").force();
    secrets(stage).patch(&name, &params, &Patch::Apply(&secret)).await.expect("a Secret");
}

/// The Secrets of a namespace.
#[must_use]
pub fn secrets(stage: &Stage) -> Api<Secret> {
    Api::namespaced(stage.client.clone(), &stage.namespace)
}

/// A workload cluster.
pub struct Workload {
    plane: Plane,
    /// An administrator's client.
    pub client: Client,
}

enum Plane {
    Own(Box<ControlPlane>),
    Shared(
        &'static ControlPlane,
        #[expect(dead_code, reason = "held, not looked at")] MutexGuard<'static, ()>,
    ),
}

impl Workload {
    /// One that may be stopped.
    ///
    /// # Panics
    /// When it can't be started.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn start() -> Self {
        let plane = ControlPlane::start().await.expect("a workload cluster");
        Self { client: plane.client(), plane: Plane::Own(Box::new(plane)) }
    }

    /// The one that the tests of a program share, in turn; without anything of an earlier test in `kube-system`.
    ///
    /// # Panics
    /// When it can't be started or cleared.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn shared() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        static PLANE: OnceCell<&'static ControlPlane> = OnceCell::const_new();
        let turn = TURN.lock().await;
        let plane = *PLANE
            .get_or_init(async || {
                &*Box::leak(Box::new(ControlPlane::start().await.expect("a workload cluster")))
            })
            .await;
        let client = plane.client();
        let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
        let records = (0..awsiam_core::history::SLOTS).map(awsiam_controller::history::record_name);
        for name in records.chain(["aws-auth".to_owned()]) {
            match config_maps.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                deleted => drop(deleted.expect("a cleared workload cluster")),
            }
        }
        Self { client, plane: Plane::Shared(plane, turn) }
    }

    /// So many that may be stopped, all at once.
    ///
    /// # Panics
    /// As [`Workload::start`].
    pub async fn start_all(count: usize) -> Vec<Self> {
        futures::future::join_all((0..count).map(|_| Self::start())).await
    }

    /// DaemonSets of kube-system.
    #[must_use]
    pub fn daemon_sets(&self) -> Api<DaemonSet> {
        Api::namespaced(self.client.clone(), "kube-system")
    }

    /// The image that the authenticator is to run with; empty where there is none, or nobody answers.
    pub async fn authenticator_image(&self) -> String {
        let read = self.daemon_sets().get_opt(AUTHENTICATOR).await.ok().flatten();
        let pod = read.and_then(|set| set.spec?.template.spec);
        let containers = pod.map(|pod| pod.containers).unwrap_or_default();
        let authenticator = containers.into_iter().find(|container| container.name == AUTHENTICATOR);
        authenticator.and_then(|container| container.image).unwrap_or_default()
    }

    /// Makes a control-plane node. Nothing runs on it.
    ///
    /// # Panics
    /// When the API server refuses.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn make_node(&self) {
        let labels = BTreeMap::from([("node-role.kubernetes.io/control-plane".to_owned(), String::new())]);
        let node = Node {
            metadata: ObjectMeta {
                name: Some("control-0".to_owned()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            ..Node::default()
        };
        Api::all(self.client.clone()).create(&PostParams::default(), &node).await.expect("a new node");
    }

    /// Says what the DaemonSet controller would say once the authenticator runs as it is now to run on the one node.
    ///
    /// # Panics
    /// When there is no authenticator, or the API server refuses.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn authenticator_runs(&self) {
        let api = self.daemon_sets();
        let generation = api.get(AUTHENTICATOR).await.expect("the authenticator").metadata.generation;
        let status = json!({"status": {"observedGeneration": generation, "currentNumberScheduled": 1,
            "numberMisscheduled": 0, "numberReady": 1, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1,
            "numberAvailable": 1}});
        let patch = Patch::Merge(&status);
        api.patch_status(AUTHENTICATOR, &PatchParams::default(), &patch).await.expect("a new status");
    }

    /// Its control plane.
    #[must_use]
    pub fn plane(&self) -> &ControlPlane {
        match &self.plane {
            Plane::Own(plane) => plane,
            Plane::Shared(plane, _) => plane,
        }
    }

    /// Its control plane, to stop it; only of one's own.
    ///
    /// # Panics
    /// For a shared one.
    #[expect(clippy::panic, reason = "only tests call this")]
    pub fn own(&mut self) -> &mut ControlPlane {
        match &mut self.plane {
            Plane::Own(plane) => plane,
            Plane::Shared(..) => panic!("others use this cluster, too"),
        }
    }

    /// The administrator's kubeconfig.
    ///
    /// # Panics
    /// When it can't be read.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        std::fs::read_to_string(self.plane().kubeconfig_path()).expect("the kubeconfig")
    }

    /// ConfigMaps of kube-system.
    #[must_use]
    pub fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), "kube-system")
    }

    /// Makes `aws-auth` with these roles.
    ///
    /// # Panics
    /// When the API server refuses.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn make_aws_auth(&self, roles: &str) {
        let config_map = ConfigMap {
            metadata: ObjectMeta { name: Some("aws-auth".to_owned()), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([("mapRoles".to_owned(), roles.to_owned())])),
            ..ConfigMap::default()
        };
        self.config_maps().create(&PostParams::default(), &config_map).await.expect("a new aws-auth");
    }

    /// `mapRoles` of `aws-auth`; empty where there is none, or nobody answers.
    pub async fn roles(&self) -> String {
        let read = self.config_maps().get_opt("aws-auth").await.ok().flatten();
        read.and_then(|c| c.data?.remove("mapRoles")).unwrap_or_default()
    }

    /// uid of its `kube-system`.
    ///
    /// # Panics
    /// When it can't be read.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn identity(&self) -> String {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client.clone());
        namespaces.get("kube-system").await.expect("kube-system").uid().unwrap_or_default()
    }
}

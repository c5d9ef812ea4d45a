//! A stage for tests of the operator: the resources and the chart's rights on a control plane, an operator
//! that runs under exactly those rights, and an `aws-auth` of one's own until the test ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use awsiam_api::{AWSIamConfig, Cluster, crds_yaml};
use awsiam_controller::{LocalCluster, Options, StartError};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Config, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::control_plane::{self, ControlPlane};

/// Namespace that the operator's ServiceAccount lies in.
pub const OPERATOR_NAMESPACE: &str = "awsiam-system";
/// The operator's username, as audit logs have it.
pub const OPERATOR: &str = "system:serviceaccount:awsiam-system:awsiam";
/// Name of the Cluster object on a stage.
pub const CLUSTER: &str = "here";
/// How long a test waits for what should come at once, on a machine that does a lot besides.
pub const DEADLINE: Duration = Duration::from_secs(30);

type Anything = Box<dyn std::error::Error + Send + Sync>;

/// Puts the CRDs and what `helm template` makes of the chart, Deployment aside, on a control plane.
///
/// # Errors
/// When helm or kubectl refuses.
pub async fn install(plane: &ControlPlane) -> Result<(), Anything> {
    install_for(plane, OPERATOR_NAMESPACE, CLUSTER).await
}

/// As [`install`], with the rights on the Secrets of this Cluster.
///
/// # Errors
/// As [`install`].
pub async fn install_for(plane: &ControlPlane, namespace: &str, cluster: &str) -> Result<(), Anything> {
    install_with(plane, namespace, cluster, &[]).await.map(drop)
}

/// As [`install_for`], with more values of the chart, each as `--set` takes it; gives what the chart made of them.
///
/// # Errors
/// As [`install`].
pub async fn install_with(
    plane: &ControlPlane,
    namespace: &str,
    cluster: &str,
    values: &[String],
) -> Result<String, Anything> {
    let namespaces: Api<Namespace> = Api::all(plane.client());
    for name in [OPERATOR_NAMESPACE, namespace] {
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        create_if_absent(&namespaces, &namespace).await?;
    }
    apply(plane, &crds_yaml())?;
    let manifests = rendered(plane, namespace, cluster, values)?;
    let rights: Vec<&str> =
        manifests.split("\n---").filter(|document| !document.contains("kind: Deployment")).collect();
    apply(plane, &rights.join("\n---"))?;
    crate::rights::granted(plane.folder(), &manifests)?;
    let crds: Api<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    > = Api::all(plane.client());
    for crd in awsiam_api::crds() {
        let established = kube::runtime::wait::conditions::is_crd_established();
        let name = crd.name_any();
        let wait = kube::runtime::wait::await_condition(crds.clone(), &name, established);
        tokio::time::timeout(DEADLINE, wait).await??;
    }
    Ok(manifests)
}

/// What `helm template` makes of the chart for this local Cluster, with more values, each as `--set` takes it.
///
/// # Errors
/// What helm printed.
fn rendered(
    plane: &ControlPlane,
    namespace: &str,
    cluster: &str,
    values: &[String],
) -> Result<String, Anything> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/awsiam-operator");
    let rendered = plane
        .helm()?
        .args(["template", "awsiam"])
        .arg(chart)
        .args(["--namespace", OPERATOR_NAMESPACE, "--skip-tests"])
        .arg("--set")
        .arg(format!("localCluster.namespace={namespace},localCluster.name={cluster}"))
        .args(values.iter().flat_map(|value| ["--set", value]))
        .output()?;
    if !rendered.status.success() {
        return Err(format!("helm template: {}", String::from_utf8_lossy(&rendered.stderr)).into());
    }
    Ok(String::from_utf8(rendered.stdout)?)
}

/// The words that the Deployment among these manifests starts the operator with, those that [`is_address`] aside.
///
/// # Errors
/// When there is no Deployment.
pub fn operator_words(manifests: &str) -> Result<Vec<String>, Anything> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(manifests)?;
    let deployment = objects.iter().find(|object| object.get("kind") == Some(&json!("Deployment")));
    let words = deployment.and_then(|object| object.pointer("/spec/template/spec/containers/0/args"));
    let words: Vec<String> = serde_json::from_value(words.ok_or("no Deployment with arguments")?.clone())?;
    Ok(words.into_iter().filter(|word| !is_address(word)).collect())
}

/// Whether this argument of the operator says where it listens: tests leave that out, as several run on one computer.
#[must_use]
pub fn is_address(word: &str) -> bool {
    ["--health-address=", "--metrics-address="].iter().any(|flag| word.starts_with(flag))
}

/// `kubectl apply --server-side --force-conflicts` of manifests.
///
/// # Errors
/// What kubectl printed.
pub fn apply(plane: &ControlPlane, manifests: &str) -> Result<String, Anything> {
    use std::io::Write as _;
    let mut kubectl = plane.kubectl()?;
    kubectl.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
    let mut child = kubectl
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(manifests.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
    }
}

async fn create_if_absent<K>(api: &Api<K>, object: &K) -> Result<(), kube::Error>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    match api.create(&PostParams::default(), object).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        created => created.map(drop),
    }
}

/// A test's turn: a namespace of its own and the only `aws-auth` of the shared control plane.
pub struct Stage {
    /// The control plane.
    pub plane: &'static ControlPlane,
    /// An administrator's client.
    pub client: Client,
    /// The namespace of this test's objects.
    pub namespace: String,
    /// Held while this test has the shared control plane.
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Stage {
    /// Waits for the turn and clears away what the test before left.
    ///
    /// # Panics
    /// When the stage can't be set: no test can go on then.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn set() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        log_to_output();
        let turn = TURN.lock().await;
        let plane = control_plane::shared().await;
        INSTALLED.get_or_init(async || install(plane).await.expect("the chart's rights and the CRDs")).await;
        let client = plane.client();
        let namespace = format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let stage = Self { plane, client, namespace, _turn: Some(turn) };
        stage.clear().await.expect("a clean stage");
        stage
    }

    /// A stage on a control plane of its own, which lasts as long as the test program: for a test that
    /// takes long, or that changes what all others share.
    ///
    /// # Panics
    /// As [`Stage::set`].
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn alone() -> Self {
        log_to_output();
        let plane: &'static ControlPlane =
            Box::leak(Box::new(ControlPlane::start().await.expect("a control plane of its own")));
        install(plane).await.expect("the chart's rights and the CRDs");
        let stage = Self { plane, client: plane.client(), namespace: "test-alone".to_owned(), _turn: None };
        stage.clear().await.expect("a clean stage");
        stage
    }

    /// A namespace of its own on the shared control plane, which others use meanwhile: for tests that are not about its
    /// `aws-auth`. The rights are the caller's to install.
    ///
    /// # Panics
    /// When the namespace can't be made.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn beside(plane: &'static ControlPlane, namespace: &str) -> Self {
        let stage = Self { plane, client: plane.client(), namespace: namespace.to_owned(), _turn: None };
        stage.make_namespace().await.expect("a namespace");
        stage
    }

    async fn make_namespace(&self) -> Result<(), Anything> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(self.namespace.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Ok(create_if_absent(&namespaces, &namespace).await?)
    }

    async fn clear(&self) -> Result<(), Anything> {
        let clusters: Api<Cluster> = Api::all(self.client.clone());
        for cluster in clusters.list(&ListParams::default()).await? {
            remove(
                &Api::<Cluster>::namespaced(self.client.clone(), &cluster.namespace().unwrap_or_default()),
                &cluster,
            )
            .await?;
        }
        let configs: Api<AWSIamConfig> = Api::all(self.client.clone());
        for config in configs.list(&ListParams::default()).await? {
            remove(
                &Api::<AWSIamConfig>::namespaced(
                    self.client.clone(),
                    &config.namespace().unwrap_or_default(),
                ),
                &config,
            )
            .await?;
        }
        // Where their CRD was installed by an earlier test.
        let mappings: Api<kube::core::DynamicObject> =
            Api::all_with(self.client.clone(), &awsiam_api::identity_mapping::api_resource());
        for mapping in mappings.list(&ListParams::default()).await.into_iter().flatten() {
            remove_named(&mappings, &mapping.name_any()).await?;
        }
        let config_maps = self.config_maps();
        for slot in 0..awsiam_core::history::SLOTS {
            remove_named(&config_maps, &awsiam_controller::history::record_name(slot)).await?;
        }
        if let Some(aws_auth) = config_maps.get_opt("aws-auth").await? {
            remove(&config_maps, &aws_auth).await?;
        }
        self.make_namespace().await
    }

    /// ConfigMaps of kube-system.
    #[must_use]
    pub fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), "kube-system")
    }

    /// The Clusters of this test's namespace.
    #[must_use]
    pub fn clusters(&self) -> Api<Cluster> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The AWSIamConfigs of this test's namespace.
    #[must_use]
    pub fn configs(&self) -> Api<AWSIamConfig> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Options for an operator that serves this test's Cluster and looks again every 2 seconds.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            local_cluster: Some(LocalCluster { namespace: self.namespace.clone(), name: CLUSTER.to_owned() }),
            resync: Duration::from_secs(2),
            ..Options::default()
        }
    }

    /// Starts an operator under the chart's rights.
    ///
    /// # Panics
    /// When its ServiceAccount has no token.
    pub async fn operator(&self) -> Running {
        self.operator_with(self.options()).await
    }

    /// Starts an operator with other options.
    ///
    /// # Panics
    /// As [`Stage::operator`].
    pub async fn operator_with(&self, options: Options) -> Running {
        Running::start(operator_config(self.plane).await, options)
    }

    /// Runs `awsiam` as an administrator in this test's namespace; what it prints. An operator of the test goes on meanwhile.
    ///
    /// # Panics
    /// When it fails.
    #[expect(clippy::panic, clippy::expect_used, reason = "only tests call this")]
    pub async fn awsiam(&self, words: &[&str]) -> String {
        let mut command = std::process::Command::new(crate::process::binary());
        command.args(words).arg("--kubeconfig").arg(self.plane.kubeconfig_path());
        command.args(["-n", &self.namespace]);
        let printed = tokio::task::spawn_blocking(move || crate::site::printed(&mut command));
        let printed = printed.await.expect("awsiam to be waited for");
        printed.unwrap_or_else(|error| panic!("awsiam {words:?}: {error}"))
    }

    /// Makes `aws-auth` with this data.
    ///
    /// # Panics
    /// When the API server refuses.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn make_aws_auth(&self, data: &[(&str, &str)]) -> ConfigMap {
        let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        let config_map = ConfigMap {
            metadata: ObjectMeta { name: Some("aws-auth".to_owned()), ..ObjectMeta::default() },
            data: Some(data),
            ..ConfigMap::default()
        };
        self.config_maps().create(&PostParams::default(), &config_map).await.expect("a new aws-auth")
    }

    /// `aws-auth`, if there is one.
    ///
    /// # Panics
    /// When it can't be read.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn aws_auth(&self) -> Option<ConfigMap> {
        self.config_maps().get_opt("aws-auth").await.expect("reading aws-auth")
    }

    /// A data key of `aws-auth`; empty where there is none.
    pub async fn text(&self, data_key: &str) -> String {
        let data = self.aws_auth().await.and_then(|c| c.data).unwrap_or_default();
        data.get(data_key).cloned().unwrap_or_default()
    }

    /// Changes `aws-auth` as field manager `by`, again and again until nobody was faster.
    ///
    /// # Panics
    /// When there is none, or the API server refuses.
    #[expect(clippy::panic, reason = "only tests call this")]
    pub async fn edit_aws_auth(&self, by: &str, edit: impl Fn(&mut ConfigMap)) -> ConfigMap {
        loop {
            let Some(mut config_map) = self.aws_auth().await else { panic!("there is no aws-auth to edit") };
            edit(&mut config_map);
            let params = PostParams { field_manager: Some(by.to_owned()), ..PostParams::default() };
            match self.config_maps().replace("aws-auth", &params, &config_map).await {
                Ok(edited) => return edited,
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                Err(error) => panic!("editing aws-auth: {error}"),
            }
        }
    }

    /// Applies an AWSIamConfig with these `mapRoles` rows: name of the role, username, groups.
    ///
    /// # Panics
    /// When the API server refuses.
    pub async fn config(&self, name: &str, roles: &[(&str, &str, &[&str])]) -> AWSIamConfig {
        let rows: Vec<Value> = roles
            .iter()
            .map(|(role, username, groups)| json!({"roleARN": role_arn(role), "username": username, "groups": groups}))
            .collect();
        self.config_spec(name, json!({"mapRoles": rows})).await
    }

    /// Applies an AWSIamConfig with more fields of spec beside region and backend.
    ///
    /// # Panics
    /// When the API server refuses.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn config_spec(&self, name: &str, more: Value) -> AWSIamConfig {
        let mut spec = json!({"awsRegion": "eu-west-1", "backendMode": ["EKSConfigMap"]});
        merge(&mut spec, more);
        let object = json!({
            "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "AWSIamConfig",
            "metadata": {"name": name}, "spec": spec,
        });
        self.configs()
            .patch(name, &PatchParams::apply("kubectl").force(), &Patch::Apply(&object))
            .await
            .expect("applying an AWSIamConfig")
    }

    /// Applies the Cluster with references to these AWSIamConfigs.
    ///
    /// # Panics
    /// When the API server refuses.
    pub async fn cluster(&self, configs: &[&str]) -> Cluster {
        let refs: Vec<Value> =
            configs.iter().map(|name| json!({"kind": "AWSIamConfig", "name": name})).collect();
        self.cluster_spec(json!({"identityProviderRefs": refs})).await
    }

    /// Applies the Cluster with this spec.
    ///
    /// # Panics
    /// When the API server refuses.
    pub async fn cluster_spec(&self, spec: Value) -> Cluster {
        self.cluster_object(CLUSTER, json!({}), spec).await
    }

    /// Applies a Cluster of any name, with metadata. Where `spec` does not say who runs the authenticator, somebody
    /// else does: most tests are about `aws-auth` alone.
    ///
    /// # Panics
    /// When the API server refuses.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn cluster_object(&self, name: &str, metadata: Value, mut spec: Value) -> Cluster {
        if let Some(spec) = spec.as_object_mut() {
            let block = spec.entry("iamAuthenticator").or_insert_with(|| json!({}));
            if let Some(block) = block.as_object_mut() {
                block.entry("mode").or_insert_with(|| json!("External"));
            }
        }
        let mut metadata_of = json!({"name": name});
        merge(&mut metadata_of, metadata);
        let object = json!({
            "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster",
            "metadata": metadata_of, "spec": spec,
        });
        self.clusters()
            .patch(name, &PatchParams::apply("kubectl").force(), &Patch::Apply(&object))
            .await
            .expect("applying a Cluster")
    }

    /// Waits until a condition of the Cluster has this status and reason for the current generation;
    /// gives its message.
    ///
    /// # Panics
    /// After the deadline, with the conditions as they are.
    pub async fn condition(&self, kind: &str, status: &str, reason: &str) -> String {
        self.condition_of(CLUSTER, kind, status, reason).await
    }

    /// As [`Stage::condition`], of a Cluster of any name.
    ///
    /// # Panics
    /// As [`Stage::condition`].
    pub async fn condition_of(&self, name: &str, kind: &str, status: &str, reason: &str) -> String {
        let what = format!("condition {kind}={status} ({reason}) of {name}");
        self.eventually(&what, async || {
            let cluster = self.clusters().get(name).await.map_err(|e| e.to_string())?;
            let conditions = cluster.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
            let current = cluster.metadata.generation;
            conditions
                .iter()
                .find(|c| {
                    c.type_ == kind
                        && c.status == status
                        && c.reason == reason
                        && c.observed_generation == current
                })
                .map(|c| c.message.clone())
                .ok_or_else(|| format!("{conditions:#?}"))
        })
        .await
    }

    /// Waits until a data key of `aws-auth` is exactly this text.
    ///
    /// # Panics
    /// After the deadline, with the text as it is.
    pub async fn text_becomes(&self, data_key: &str, wanted: &str) {
        self.eventually(&format!("{data_key} to become\n{wanted}"), async || {
            let text = self.text(data_key).await;
            if text == wanted { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Waits until a data key of `aws-auth` contains this.
    ///
    /// # Panics
    /// After the deadline, with the text as it is.
    pub async fn text_gets(&self, data_key: &str, part: &str) -> String {
        self.eventually(&format!("{data_key} to contain {part}"), async || {
            let text = self.text(data_key).await;
            if text.contains(part) { Ok(text) } else { Err(text) }
        })
        .await
    }

    /// Waits until a data key of `aws-auth` no longer contains this.
    ///
    /// # Panics
    /// After the deadline, with the text as it is.
    pub async fn text_loses(&self, data_key: &str, part: &str) -> String {
        self.eventually(&format!("{data_key} to lose {part}"), async || {
            let text = self.text(data_key).await;
            if text.contains(part) { Err(text) } else { Ok(text) }
        })
        .await
    }

    /// Waits for an Event of this reason on an object of this test's namespace; gives its note.
    ///
    /// # Panics
    /// After the deadline, with the Events as they are.
    pub async fn event(&self, reason: &str) -> String {
        use k8s_openapi::api::events::v1::Event;
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        self.eventually(&format!("an Event {reason}"), async || {
            let all = events.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
            let found = all.items.iter().find(|e| e.reason.as_deref() == Some(reason));
            found.and_then(|e| e.note.clone()).ok_or_else(|| {
                format!("{:?}", all.items.iter().map(|e| (&e.reason, &e.note)).collect::<Vec<_>>())
            })
        })
        .await
    }

    /// Waits until the operator writes nothing for as long as `a_while` takes. What it was about may still be written before: the
    /// status of an AWSIamConfig follows within a second. A TokenReview is a question, though it is sent as a create.
    ///
    /// # Panics
    /// After the deadline, with what it goes on to write.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn comes_to_rest(&self, a_while: impl AsyncFn()) {
        self.eventually("the operator to come to rest", async || {
            let mark = self.plane.audit_mark().expect("the end of the audit log");
            a_while().await;
            let mut writes = self.plane.audit_events_since(mark).expect("an audit log");
            writes.retain(|e| e.is_write() && e.user == OPERATOR && e.resource != "tokenreviews");
            if writes.is_empty() { Ok(()) } else { Err(format!("{writes:#?}")) }
        })
        .await;
    }

    /// Waits for a condition by asking again and again, up to [`DEADLINE`].
    ///
    /// # Panics
    /// After the deadline, with what was there instead.
    #[expect(clippy::panic, reason = "only tests call this")]
    pub async fn eventually<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            match ask().await {
                Ok(value) => return value,
                Err(instead) if tokio::time::Instant::now() > end => {
                    panic!("waited {DEADLINE:?} for {what}; there is\n{instead}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Sends the operator's log to the test's output, as far as `RUST_LOG` asks for it.
fn log_to_output() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Only the first test of a program sets it.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

/// The ARN of a role in the tests' account.
#[must_use]
pub fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

/// The connection of the operator's ServiceAccount.
///
/// # Panics
/// When it has no token.
#[expect(clippy::expect_used, reason = "only tests call this")]
pub async fn operator_config(plane: &ControlPlane) -> Config {
    let path = plane
        .service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam")
        .await
        .expect("a token of the operator's ServiceAccount");
    let kubeconfig = kube::config::Kubeconfig::read_from(path).expect("the kubeconfig that was just written");
    Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
        .await
        .expect("a usable kubeconfig")
}

fn merge(base: &mut Value, more: Value) {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
}

async fn remove<K>(api: &Api<K>, object: &K) -> Result<(), kube::Error>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let name = object.meta().name.clone().unwrap_or_default();
    let patch = json!({"metadata": {"finalizers": null}});
    api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    remove_named(api, &name).await
}

async fn remove_named<K>(api: &Api<K>, name: &str) -> Result<(), kube::Error>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        deleted => deleted.map(drop),
    }
}

/// A running operator. Dropping it kills it on the spot, as SIGKILL would.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), StartError>>,
}

impl Running {
    /// Starts an operator with this connection.
    ///
    /// # Panics
    /// When the connection can't be made into a client.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    #[must_use]
    pub fn start(config: Config, options: Options) -> Self {
        Self::start_with(Client::try_from(config).expect("a client"), options)
    }

    /// Starts an operator with this client.
    #[must_use]
    pub fn start_with(client: Client, options: Options) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(awsiam_controller::run(client, options, stop.clone()));
        Self { stop, task }
    }

    /// Stops it as SIGTERM does, and waits.
    ///
    /// # Panics
    /// When it does not stop within the deadline, or stops with an error.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), &mut self.task);
        ended
            .await
            .expect("it stops in time")
            .expect("it does not panic")
            .expect("it stops without an error");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

/// The data of a ConfigMap.
#[must_use]
pub fn data(config_map: &ConfigMap) -> BTreeMap<String, String> {
    config_map.data.clone().unwrap_or_default()
}

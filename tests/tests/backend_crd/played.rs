//! What the tests of backend `CRD` set up, and the parts that they play: an authenticator that fills in the status of
//! objects, a DaemonSet controller, and a witness of every state of both places.

use std::collections::BTreeMap;
use std::time::Duration;

use awsiam_api::cluster_status::ConfigCounts;
use awsiam_api::identity_mapping::{api_resource, crd};
use awsiam_controller::Options;
use awsiam_core::identity_mappings::canonical_arn;
use awsiam_core::mapping::List;
use awsiam_core::reader;
use awsiam_tests::stage::{CLUSTER, Stage, install_for, role_arn};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A row as [`Set::config`] takes it.
pub(crate) type Row<'a> = (&'a str, &'a str, &'a [&'a str]);

/// The administrator of the tests.
pub(crate) const ADMIN: Row<'static> = ("Admin", "admin", &["system:masters"]);
/// Somebody else.
pub(crate) const DEV: Row<'static> = ("Dev", "dev", &["viewers"]);

const NAME: &str = "aws-iam-authenticator";

/// A stage without objects, their CRD, or an authenticator.
pub(crate) struct Set {
    pub(crate) stage: Stage,
}

impl Set {
    pub(crate) async fn up() -> Self {
        let stage = Stage::set().await;
        install_for(stage.plane, &stage.namespace, CLUSTER).await.unwrap();
        let crds: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
        let name = crd().name_any();
        drop(crds.delete(&name, &DeleteParams::default()).await);
        let daemon_sets: Api<DaemonSet> = Api::namespaced(stage.client.clone(), "kube-system");
        drop(daemon_sets.delete(NAME, &DeleteParams::default()).await);
        let roles: Api<ClusterRole> = Api::all(stage.client.clone());
        drop(roles.delete("awsiam:aws-iam-authenticator", &DeleteParams::default()).await);
        let bindings: Api<ClusterRoleBinding> = Api::all(stage.client.clone());
        drop(bindings.delete("awsiam:aws-iam-authenticator", &DeleteParams::default()).await);
        let set = Self { stage };
        set.stage
            .eventually("the CRD to go", async || match crds.get_opt(&name).await {
                Ok(None) => Ok(()),
                other => Err(format!("{:?}", other.map(|crd| crd.map(|crd| crd.status)))),
            })
            .await;
        set
    }

    pub(crate) fn objects(&self) -> Api<DynamicObject> {
        Api::all_with(self.stage.client.clone(), &api_resource())
    }

    pub(crate) async fn install_crd(&self) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.stage.client.clone());
        let crd = crd();
        crds.patch(&crd.name_any(), &PatchParams::apply("kubectl"), &Patch::Apply(&crd)).await.unwrap();
        self.stage
            .eventually("objects to be served", async || {
                self.objects().list(&ListParams::default()).await.map(drop).map_err(|e| e.to_string())
            })
            .await;
    }

    /// Makes an object that is not ours.
    pub(crate) async fn make(&self, name: &str, arn: &str, username: &str, groups: &[&str]) -> DynamicObject {
        let mut object = DynamicObject::new(name, &api_resource());
        object.data = json!({"spec": {"arn": arn, "username": username, "groups": groups}});
        self.objects().create(&PostParams::default(), &object).await.unwrap()
    }

    /// An object, once the authenticator that is played has read it.
    pub(crate) async fn loaded(&self, object: &DynamicObject) -> DynamicObject {
        self.stage
            .eventually("the object to be read", async || {
                let now = self.objects().get(&object.name_any()).await.map_err(|e| e.to_string())?;
                if now.data.pointer("/status/canonicalARN").is_some() {
                    Ok(now)
                } else {
                    Err(format!("{now:?}"))
                }
            })
            .await
    }

    pub(crate) async fn config(&self, name: &str, backends: &[&str], rows: &[Row<'_>]) {
        let row = |(role, username, groups): &Row<'_>| json!({"roleARN": role_arn(role), "username": username, "groups": groups});
        let rows: Vec<Value> = rows.iter().map(row).collect();
        self.stage.config_spec(name, json!({"backendMode": backends, "mapRoles": rows})).await;
    }

    /// The Cluster with an authenticator that somebody else runs with these backends.
    pub(crate) async fn cluster(&self, configs: &[&str], authenticator: &str) {
        let refs: Vec<Value> =
            configs.iter().map(|name| json!({"kind": "AWSIamConfig", "name": name})).collect();
        let metadata = json!({"annotations": {"awsiam-operator.dev/authenticator-backends": authenticator}});
        self.stage.cluster_object(CLUSTER, metadata, json!({"identityProviderRefs": refs})).await;
    }

    /// The Cluster with an authenticator that the operator runs.
    pub(crate) async fn daemon_set_cluster(&self, config: &str, metadata: Value) {
        let spec = json!({
            "kubernetesVersion": "1.33",
            "controlPlaneConfiguration": {"endpoint": {"host": "api.example.com"}},
            "identityProviderRefs": [{"kind": "AWSIamConfig", "name": config}],
            "iamAuthenticator": {"mode": "DaemonSet"},
        });
        self.stage.cluster_object(CLUSTER, metadata, spec).await;
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            probe_image: Some("registry.example.com/awsiam:test".to_owned()),
            api_server_ca: "-----BEGIN CERTIFICATE-----\nY2E=\n-----END CERTIFICATE-----\n".to_owned(),
            ..self.stage.options()
        }
    }

    /// Our objects by their ARN; empty where there is no CRD.
    pub(crate) async fn ours(&self) -> BTreeMap<String, DynamicObject> {
        let labelled = ListParams::default().labels("app.kubernetes.io/managed-by=awsiam-operator");
        let Ok(list) = self.objects().list(&labelled).await else { return BTreeMap::new() };
        let arn = |object: &DynamicObject| object.data["spec"]["arn"].as_str().unwrap_or_default().to_owned();
        list.items.into_iter().map(|object| (arn(&object), object)).collect()
    }

    /// Waits until our object for a role has this username.
    pub(crate) async fn username_becomes(&self, role: &str, username: &str) {
        self.stage
            .eventually(&format!("{role} to be {username}"), async || {
                let ours = self.ours().await;
                let is = ours.get(&role_arn(role)).is_some_and(|o| o.data["spec"]["username"] == username);
                if is { Ok(()) } else { Err(format!("{ours:#?}")) }
            })
            .await;
    }

    /// Waits until there is no object of ours for a role.
    pub(crate) async fn gone(&self, role: &str) {
        self.stage
            .eventually(&format!("the object of {role} to go"), async || {
                let ours = self.ours().await;
                if ours.contains_key(&role_arn(role)) { Err(self.describe().await) } else { Ok(()) }
            })
            .await;
    }

    pub(crate) async fn edit_roles(&self, text: &str) {
        let edit = |config_map: &mut k8s_openapi::api::core::v1::ConfigMap| {
            config_map.data.get_or_insert_default().insert("mapRoles".to_owned(), text.to_owned());
        };
        self.stage.edit_aws_auth("somebody", edit).await;
    }

    /// The counts of the one AWSIamConfig in the Cluster's status.
    pub(crate) async fn counts(&self) -> ConfigCounts {
        let cluster = self.stage.clusters().get(CLUSTER).await.unwrap();
        cluster.status.unwrap().configs[0].counts.clone().unwrap()
    }

    /// Whether both mappings stand in one place alone and the Cluster says that it is done.
    pub(crate) async fn is_at_rest(&self, in_objects: bool) -> bool {
        let cluster = self.stage.clusters().get(CLUSTER).await.unwrap();
        let generation = cluster.metadata.generation;
        let conditions = cluster.status.unwrap_or_default().conditions;
        let is_ready = conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True" && c.observed_generation == generation);
        let text = self.stage.text("mapRoles").await;
        let ours = self.ours().await.len();
        let is_moved =
            if in_objects { text.is_empty() && ours == 2 } else { text.contains("Admin") && ours == 0 };
        is_ready && is_moved
    }

    pub(crate) async fn describe(&self) -> String {
        let status = self.stage.clusters().get(CLUSTER).await.unwrap().status;
        format!("{}\n{:#?}\n{status:#?}", self.stage.text("mapRoles").await, self.ours().await.keys())
    }

    fn daemon_sets(&self) -> Api<DaemonSet> {
        Api::namespaced(self.stage.client.clone(), "kube-system")
    }

    /// The backends in the DaemonSet's template.
    pub(crate) async fn template_mode(&self) -> String {
        let daemon_set = self.daemon_sets().get_opt(NAME).await.unwrap();
        let arguments = daemon_set.and_then(|set| set.spec?.template.spec?.containers.first()?.args.clone());
        let arguments = arguments.unwrap_or_default();
        let mode = arguments.iter().find_map(|argument| argument.strip_prefix("--backend-mode="));
        mode.unwrap_or_default().to_owned()
    }

    pub(crate) async fn template_becomes(&self, mode: &str) {
        self.stage
            .eventually(&format!("a DaemonSet with {mode}"), async || {
                let now = self.template_mode().await;
                if now == mode { Ok(()) } else { Err(now) }
            })
            .await;
    }

    /// A control-plane node, and what its DaemonSet controller would say once all pods have this mode.
    pub(crate) async fn rolled_out(&self, mode: &str) {
        let nodes: Api<Node> = Api::all(self.stage.client.clone());
        let node = json!({"metadata": {"name": "control-0",
            "labels": {"node-role.kubernetes.io/control-plane": "true"}}});
        let node: Node = serde_json::from_value(node).unwrap();
        drop(nodes.create(&PostParams::default(), &node).await);
        self.template_becomes(mode).await;
        let daemon_set = self.daemon_sets().get(NAME).await.unwrap();
        let status = json!({"status": {"observedGeneration": daemon_set.metadata.generation,
            "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1, "desiredNumberScheduled": 1,
            "updatedNumberScheduled": 1, "numberAvailable": 1}});
        self.daemon_sets().patch_status(NAME, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }
}

/// Writes the status of objects as an authenticator would, until stopped.
pub(crate) struct Authenticator(CancellationToken, JoinHandle<()>);

impl Authenticator {
    pub(crate) fn start(stage: &Stage) -> Self {
        let stop = CancellationToken::new();
        let api: Api<DynamicObject> = Api::all_with(stage.client.clone(), &api_resource());
        let task = tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let events = watcher::watcher(api.clone(), watcher::Config::default()).default_backoff();
            let mut events = events.applied_objects().boxed();
            while let Some(event) = events.next().await {
                // The CRD may not be there yet.
                let Ok(object) = event else { continue };
                let wanted = canonical_arn(object.data["spec"]["arn"].as_str().unwrap_or_default());
                let is = object.data.pointer("/status/canonicalARN").and_then(Value::as_str);
                if let Some(wanted) = wanted.filter(|wanted| is != Some(wanted)) {
                    // It takes its time.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let status = json!({"status": {"canonicalARN": wanted}});
                    let patch = Patch::Merge(&status);
                    drop(api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await);
                }
            }
        }));
        let task = tokio::spawn(async move {
            let _ = task.await;
        });
        Self(stop, task)
    }

    pub(crate) async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }
}

/// Who is who at one moment: what `aws-auth` and the objects give by ARN in lower case, and the order in which the
/// authenticator asks them.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) version: u64,
    order: String,
    entries: BTreeMap<String, Vec<String>>,
    objects: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl State {
    /// Whether the administrator is one: the first place that knows the role answers.
    pub(crate) fn has_administrator(&self) -> bool {
        let arn = role_arn(ADMIN.0).to_lowercase();
        let answer = self.order.split(',').find_map(|place| match place {
            "CRD" => self.objects.values().find_map(|object| object.get(&arn)),
            _ => self.entries.get(&arn),
        });
        answer.is_some_and(|groups| groups.iter().any(|group| group == "system:masters"))
    }
}

/// One change of one object.
enum Change {
    Order(String),
    Entries(BTreeMap<String, Vec<String>>),
    Object(String, Option<BTreeMap<String, Vec<String>>>),
}

type Changes = Vec<(u64, Change)>;

/// Every state of both places since it was started.
pub(crate) struct Watch {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Changes>>,
}

impl Watch {
    pub(crate) fn start(stage: &Stage) -> Self {
        let stop = CancellationToken::new();
        let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let order = |cluster: &awsiam_api::Cluster, _: bool| {
            let order = cluster.annotations()["awsiam-operator.dev/authenticator-backends"].clone();
            Some(Change::Order(order))
        };
        let entries = |config_map: &k8s_openapi::api::core::v1::ConfigMap, is_there: bool| {
            let text =
                config_map.data.as_ref().and_then(|data| data.get("mapRoles").cloned()).unwrap_or_default();
            let read = reader::read(List::Roles, &text).unwrap().entries;
            let given = read.into_iter().map(|read| (read.entry.arn.to_lowercase(), read.entry.groups));
            Some(Change::Entries(given.filter(|_| is_there).collect()))
        };
        let object = |object: &DynamicObject, is_there: bool| {
            let arn = object.data.pointer("/status/canonicalARN").and_then(Value::as_str);
            let groups = object.data["spec"]["groups"].as_array().into_iter().flatten();
            let groups: Vec<String> = groups.filter_map(|group| group.as_str().map(str::to_owned)).collect();
            let given = arn.map(|arn| (arn.to_owned(), groups)).into_iter().collect();
            Some(Change::Object(object.name_any(), is_there.then_some(given)))
        };
        let all = Api::all_with(stage.client.clone(), &api_resource());
        let tasks = vec![
            record(stage.clusters(), named(CLUSTER), stop.clone(), order),
            record(stage.config_maps(), named("aws-auth"), stop.clone(), entries),
            record(all, watcher::Config::default(), stop.clone(), object),
        ];
        Self { stop, tasks }
    }

    /// The states in their order. Versions of one etcd order the changes of all kinds.
    pub(crate) async fn stop(self) -> Vec<State> {
        // What was written last is to be seen, too.
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.stop.cancel();
        let mut changes = Changes::new();
        for task in self.tasks {
            changes.extend(task.await.unwrap());
        }
        changes.sort_by_key(|(version, _)| *version);
        let mut state = State::default();
        let mut states = Vec::new();
        let (mut has_order, mut has_entries) = (false, false);
        for (version, change) in changes {
            state.version = version;
            match change {
                Change::Order(order) => (state.order, has_order) = (order, true),
                Change::Entries(entries) => (state.entries, has_entries) = (entries, true),
                Change::Object(name, Some(given)) => drop(state.objects.insert(name, given)),
                Change::Object(name, None) => drop(state.objects.remove(&name)),
            }
            if has_order && has_entries {
                states.push(state.clone());
            }
        }
        states
    }
}

fn record<K>(
    api: Api<K>,
    config: watcher::Config,
    stop: CancellationToken,
    change: impl Fn(&K, bool) -> Option<Change> + Send + 'static,
) -> JoinHandle<Changes>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    tokio::spawn(async move {
        let mut events = watcher::watcher(api, config).default_backoff().boxed();
        let mut seen = Changes::new();
        loop {
            let Some(event) = stop.run_until_cancelled(events.try_next()).await else { return seen };
            let (object, is_there) = match event {
                Ok(Some(Event::Apply(object) | Event::InitApply(object))) => (object, true),
                Ok(Some(Event::Delete(object))) => (object, false),
                // Not served yet.
                _ => continue,
            };
            let version = object.resource_version().unwrap().parse().unwrap();
            seen.extend(change(&object, is_there).map(|change| (version, change)));
        }
    })
}

//! How long a change of an AWSIamConfig takes to be seen in `aws-auth`, beside the floor: the same change of
//! an object of the same size and schema, whose watch event a bare client answers with one conditional PUT
//! of the same size. Both are measured in turn in the same run, on a real API server. Prints; judges nothing.
//!
//! Run it by `make bench-latency`, which builds the release binary first.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::process::ALLOCATOR;
use awsiam_tests::stage;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;

type Anything = Box<dyn std::error::Error + Send + Sync>;

const NAMESPACE: &str = "bench";
const CHANGES: usize = 200;

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let operator = operator_binary()?;
    for (configs, rows) in [(1, 5), (200, 5)] {
        measure(&operator, configs, rows).await?;
    }
    Ok(())
}

fn operator_binary() -> Result<std::path::PathBuf, Anything> {
    let own = std::env::current_exe()?;
    let binary = own.with_file_name("awsiam");
    if binary.exists() {
        Ok(binary)
    } else {
        Err(format!("{} is not built; run make bench-latency", binary.display()).into())
    }
}

async fn measure(operator: &std::path::Path, configs: usize, rows: usize) -> Result<(), Anything> {
    let plane = ControlPlane::start().await?;
    stage::install(&plane).await?;
    let client = plane.client();
    let floor = prepare(&plane, configs, rows).await?;
    let kubeconfig = plane.service_account_kubeconfig(stage::OPERATOR_NAMESPACE, "awsiam").await?;

    let mut seen = follow(client.clone(), "kube-system", "aws-auth");
    let started = Instant::now();
    let running = Running(
        Command::new(operator)
            .args(["controller", "--local-cluster", "bench/here", "--log-format", "json", "--kubeconfig"])
            .arg(kubeconfig)
            .envs(ALLOCATOR)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    seen_with(&mut seen, &format!("last-{}", configs - 1)).await?;
    let converged = started.elapsed();
    // The first change comes when the start's own writes are done.
    settled(&client).await?;
    let idle = resident_kib(running.0.id());

    floor.begin(&client).await?;
    let mut floor_seen = follow(client.clone(), "kube-system", "floor");
    let configs_api: Api<awsiam_api::AWSIamConfig> = Api::namespaced(client.clone(), NAMESPACE);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let mark = format!("change-{change}-end");
        let patch = json!({"spec": {"mapRoles": role_rows(0, rows, &mark)}});
        let sent = Instant::now();
        configs_api.patch("config-0", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        seen_with(&mut seen, &mark).await?;
        ours.push(sent.elapsed());

        let sent = Instant::now();
        floor.api.patch("config-0", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        seen_with(&mut floor_seen, &mark).await?;
        bare.push(sent.elapsed());
    }
    settled(&client).await?;
    let after = resident_kib(running.0.id());
    report(configs, rows, converged, (idle, after), &mut ours, &mut bare);
    Ok(())
}

fn report(
    configs: usize,
    rows: usize,
    converged: Duration,
    (idle, after): (u64, u64),
    ours: &mut [Duration],
    bare: &mut [Duration],
) {
    let at = |times: &mut [Duration], share: usize| {
        times.sort_unstable();
        times.get((times.len() * share / 100).min(times.len() - 1)).copied().unwrap_or_default().as_secs_f64()
            * 1e3
    };
    println!(
        "{configs} AWSIamConfigs of {rows} mappings on one Cluster, {CHANGES} changes one after the other"
    );
    println!("  start to converged      {:8.1} ms", converged.as_secs_f64() * 1e3);
    println!("  memory idle / after     {:8.1} / {:.1} MiB", mib(idle), mib(after));
    println!("                             awsiam      floor      ratio");
    for share in [50, 90, 99] {
        let (mine, floor) = (at(ours, share), at(bare, share));
        println!("  p{share}                    {mine:8.2} ms {floor:8.2} ms {:8.2}", mine / floor);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The operator's process, ended when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn role_rows(config: usize, rows: usize, mark: &str) -> Vec<Value> {
    (0..rows)
        .map(|row| {
            let username = if row == 0 { mark.to_owned() } else { format!("team-{config}-{row}") };
            json!({"roleARN": stage::role_arn(&format!("team-{config}-role-{row}")), "username": username, "groups": ["viewers"]})
        })
        .collect()
}

/// Namespace, node entry, configs, Cluster; and the floor's own CRD and object.
async fn prepare(plane: &ControlPlane, configs: usize, rows: usize) -> Result<Floor, Anything> {
    let client = plane.client();
    let metadata = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata: metadata(NAMESPACE), ..Namespace::default() };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let node = "- rolearn: arn:aws:iam::111122223333:role/nodes\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n  - system:bootstrappers\n  - system:nodes\n";
    let aws_auth = ConfigMap {
        metadata: metadata("aws-auth"),
        data: Some([("mapRoles".to_owned(), node.to_owned())].into()),
        ..ConfigMap::default()
    };
    Api::namespaced(client.clone(), "kube-system").create(&PostParams::default(), &aws_auth).await?;
    let floor = Floor::prepare(&client, rows).await?;
    let mut refs = Vec::new();
    for config in 0..configs {
        let name = format!("config-{config}");
        let spec = json!({"awsRegion": "eu-west-1", "backendMode": ["EKSConfigMap"],
            "mapRoles": role_rows(config, rows, &format!("last-{config}"))});
        let object = json!({"apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "AWSIamConfig", "metadata": {"name": name}, "spec": spec});
        let api: Api<awsiam_api::AWSIamConfig> = Api::namespaced(client.clone(), NAMESPACE);
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        refs.push(json!({"kind": "AWSIamConfig", "name": name}));
    }
    let cluster = json!({"apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "here"}, "spec": {"identityProviderRefs": refs, "iamAuthenticator": {"mode": "External"}}});
    let clusters: Api<awsiam_api::Cluster> = Api::namespaced(client, NAMESPACE);
    clusters.create(&PostParams::default(), &serde_json::from_value(cluster)?).await?;
    Ok(floor)
}

/// The bare client: a resource with the schema of an AWSIamConfig under another group, and a ConfigMap of
/// the size of `aws-auth`.
struct Floor {
    api: Api<DynamicObject>,
}

impl Floor {
    async fn prepare(client: &Client, rows: usize) -> Result<Self, Anything> {
        let mut crd =
            awsiam_api::crds().into_iter().find(|c| c.spec.names.kind == "AWSIamConfig").ok_or("no CRD")?;
        crd.metadata.name = Some("awsiamconfigs.floor.example".to_owned());
        "floor.example".clone_into(&mut crd.spec.group);
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        crds.create(&PostParams::default(), &crd).await?;
        let established = kube::runtime::wait::conditions::is_crd_established();
        kube::runtime::wait::await_condition(crds, "awsiamconfigs.floor.example", established).await?;
        let gvk = kube::api::GroupVersionKind::gvk("floor.example", "v1alpha1", "AWSIamConfig");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "awsiamconfigs");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
        let object = DynamicObject::new("config-0", &resource)
            .data(json!({"spec": {"awsRegion": "eu-west-1",
            "backendMode": ["EKSConfigMap"], "mapRoles": role_rows(0, rows, "last-0")}}));
        api.create(&PostParams::default(), &object).await?;
        Ok(Self { api })
    }

    /// Copies `aws-auth` and answers each event on the object with one conditional PUT of the copy.
    async fn begin(&self, client: &Client) -> Result<(), Anything> {
        let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
        let mut copy = config_maps.get("aws-auth").await?;
        copy.metadata = ObjectMeta {
            name: Some("floor".to_owned()),
            annotations: copy.metadata.annotations,
            ..ObjectMeta::default()
        };
        let template = copy.data.clone().unwrap_or_default().remove("mapRoles").unwrap_or_default();
        let mut current = config_maps.create(&PostParams::default(), &copy).await?;
        let events = watcher::watcher(self.api.clone(), watcher::Config::default());
        tokio::spawn(async move {
            let mut events = events.boxed();
            while let Ok(Some(event)) = events.try_next().await {
                let Event::Apply(object) = event else { continue };
                let mark = object.data.pointer("/spec/mapRoles/0/username").and_then(Value::as_str);
                let text = template.replace("last-0\n", &format!("{}\n", mark.unwrap_or_default()));
                current.data = Some([("mapRoles".to_owned(), text)].into());
                current.metadata.managed_fields = None;
                match config_maps.replace("floor", &PostParams::default(), &current).await {
                    Ok(written) => current = written,
                    Err(error) => eprintln!("the floor's PUT failed: {error}"),
                }
            }
        });
        Ok(())
    }
}

/// The `mapRoles` of a ConfigMap, as a watch shows it.
fn follow(client: Client, namespace: &str, name: &str) -> watch::Receiver<String> {
    let (sender, receiver) = watch::channel(String::new());
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    tokio::spawn(async move {
        let mut events = watcher::watcher(api, config).boxed();
        while let Ok(Some(event)) = events.try_next().await {
            if let Event::Apply(config_map) | Event::InitApply(config_map) = event {
                let text = config_map.data.and_then(|mut data| data.remove("mapRoles")).unwrap_or_default();
                sender.send_replace(text);
            }
        }
    });
    receiver
}

async fn seen_with(seen: &mut watch::Receiver<String>, part: &str) -> Result<(), Anything> {
    let wait = seen.wait_for(|text| text.contains(part));
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .map_err(|_| format!("no {part} within 30 s"))??;
    Ok(())
}

/// Waits until the Cluster's status says that it is synced and nothing has been written for a second.
async fn settled(client: &Client) -> Result<(), Anything> {
    let clusters: Api<awsiam_api::Cluster> = Api::namespaced(client.clone(), NAMESPACE);
    let end = Instant::now() + Duration::from_mins(1);
    let (mut last, mut since) = (None, Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        if Instant::now() > end {
            return Err("the operator does not come to rest within 60 s".into());
        }
        let version = clusters.get("here").await?.resource_version();
        if version != last {
            (last, since) = (version, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

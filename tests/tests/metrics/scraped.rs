//! An operator of two replicas on a real API server, scraped by a real Prometheus: what happens there can be asked for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use awsiam_tests::loopback::free_address;
use awsiam_tests::process::Process;
use awsiam_tests::stage::{CLUSTER, OPERATOR_NAMESPACE, Stage, install_for, role_arn};
use awsiam_tests::valve::Valve;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::alerts::{ALERTS, names};
use crate::prometheus::{Prometheus, get};
use crate::{path, read};

const DASHBOARD: &str = "charts/awsiam-operator/files/dashboard.json";
const NODE: &str = "\
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).unwrap()
}

/// Every query of the dashboard, with what Grafana would put in place of its variables.
fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let query = |target: &Value| {
        let text = target["expr"].as_str().unwrap();
        text.replace("$__rate_interval", "30s").replace("$namespace", ".*")
    };
    targets.map(query).collect()
}

#[test]
fn the_dashboard_has_panels_with_one_number_each_and_takes_its_data_source_from_the_reader() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    assert!(panels.iter().all(|panel| panel["datasource"]["uid"] == "${datasource}"));
    assert!(queries().len() >= panels.len() && queries().iter().all(|query| !query.contains('$')));
}

/// Two replicas, the first of which leads and reaches the API server through a valve.
struct Scene {
    stage: Stage,
    valve: Valve,
    leader: SocketAddr,
    waiting: SocketAddr,
    _replicas: [Process; 2],
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::set().await;
        install_for(stage.plane, &stage.namespace, CLUSTER).await.unwrap();
        stage.make_aws_auth(&[("mapRoles", NODE)]).await;
        configure(&stage, "dev").await;
        stage
            .cluster_spec(json!({
                "kubernetesVersion": "1.33",
                "controlPlaneConfiguration": {"endpoint": {"host": "api.example.com"}},
                "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
                "iamAuthenticator": {"mode": "DaemonSet"},
            }))
            .await;
        let kubeconfig = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam").await.unwrap();
        let server = stage.plane.url().trim_start_matches("https://").parse().unwrap();
        let valve = Valve::to(server).await.unwrap();
        let text = std::fs::read_to_string(&kubeconfig).unwrap();
        let through_valve = stage.plane.folder().join("through-valve.kubeconfig");
        let text = text.replace(&server.to_string(), &valve.address().to_string());
        std::fs::write(&through_valve, text).unwrap();
        let (leader, waiting) = (free_address(), free_address());
        let start = |kubeconfig: &PathBuf, address: SocketAddr| {
            let lease = format!("--lease={OPERATOR_NAMESPACE}/awsiam");
            let address = format!("--metrics-address={address}");
            let cluster = format!("{}/{CLUSTER}", stage.namespace);
            let log = stage.plane.folder().join("metrics.log");
            Process::start(kubeconfig, &cluster, &[&lease, &address], &log).unwrap()
        };
        let first = start(&through_valve, leader);
        stage.text_gets("mapRoles", "role/Dev").await;
        let second = start(&kubeconfig, waiting);
        Self { valve, leader, waiting, _replicas: [first, second], stage }
    }

    /// Waits until a query gives so much, or more.
    async fn at_least(&self, prometheus: &Prometheus, query: &str, least: f64) {
        let what = format!("{query} to be at least {least}");
        self.stage
            .eventually(&what, async || match prometheus.number(query)? {
                enough if enough >= least => Ok(()),
                other => Err(other.to_string()),
            })
            .await;
    }

    /// Waits until the leader itself says this in a line of its own.
    async fn says(&self, line: &str) {
        self.stage
            .eventually(line, async || match get(self.leader, "/metrics")? {
                text if text.lines().any(|there| there == line) => Ok(()),
                text => Err(text),
            })
            .await;
    }

    /// Has a foreign write come between the operator's read and its write.
    async fn contend(&self, round: usize) {
        let mark = format!("round-{round}");
        self.valve.shut();
        configure(&self.stage, &mark).await;
        self.says("awsiam_passes_under_way 1").await;
        let label = move |config_map: &mut k8s_openapi::api::core::v1::ConfigMap| {
            config_map.metadata.annotations.get_or_insert_default().insert("round".into(), round.to_string());
        };
        self.stage.edit_aws_auth("somebody", label).await;
        self.valve.open();
        self.stage.text_gets("mapRoles", &mark).await;
    }
}

/// A role, and one that asks for more than it may have.
async fn configure(stage: &Stage, username: &str) {
    stage.config("team", &[("Dev", username, &["viewers"]), ("Bad", "bad", &["system:controllers"])]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_the_dashboard_asks_for_is_there_after_a_repair_a_refusal_and_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    if crate::prometheus::program("prometheus").is_none() {
        return;
    }
    let scene = Scene::set().await;
    let addresses = [scene.leader, scene.waiting];
    let prometheus = Prometheus::start(folder.path(), &path(ALERTS), &addresses).unwrap();
    scene.at_least(&prometheus, "sum(up) == 2", 2.0).await;
    let (namespace, stage) = (scene.stage.namespace.clone(), &scene.stage);
    let own = format!("namespace=\"{namespace}\",name=\"{CLUSTER}\"");
    scene.at_least(&prometheus, &format!("awsiam_drift_repairs_total{{{own}}}"), 0.0).await;

    stage
        .edit_aws_auth("kubectl-edit", |config_map| {
            drop(config_map.data.get_or_insert_default().insert("mapRoles".into(), NODE.into()));
        })
        .await;
    stage.text_gets("mapRoles", "role/Dev").await;
    for round in 0..20 {
        scene.contend(round).await;
        if get(scene.leader, "/metrics").unwrap().contains("kind=\"ConfigMap\",result=\"conflict\"") {
            break;
        }
    }

    for (query, least) in [
        (format!("sum(increase(awsiam_drift_repairs_total{{{own}}}[1m]))"), 1.0),
        ("sum(awsiam_writes_total{kind=\"ConfigMap\", result=\"conflict\"})".to_owned(), 1.0),
        ("sum(awsiam_refused_mappings{reason=\"PrivilegeRefused\"}) == 1".to_owned(), 1.0),
        ("sum(awsiam_entries{kind=\"role\", state=\"applied\"}) == 1".to_owned(), 1.0),
        (format!("count(awsiam_certificate_expiry_timestamp_seconds{{{own}}} > time() + 300 * 86400)"), 2.0),
        (
            format!("awsiam_cluster_condition{{{own}, type=\"AwsAuthSynced\", reason=\"PrivilegeRefused\"}}"),
            1.0,
        ),
        (format!("awsiam_target_reachable{{{own}}}"), 1.0),
        ("count(awsiam_build_info{version!=\"\", commit!=\"\"})".to_owned(), 2.0),
        ("sum(awsiam_leader) == 1".to_owned(), 1.0),
    ] {
        scene.at_least(&prometheus, &query, least).await;
    }
    for query in queries() {
        stage
            .eventually(&format!("data for {query}"), async || match prometheus.query(&query)? {
                series if series.is_empty() => Err("nothing".to_owned()),
                _ => Ok(()),
            })
            .await;
    }
    let rules = prometheus.api("rules").unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:#?}");
    assert_eq!(rules.len(), names().len());
    every_series_is_listed(&get(scene.leader, "/metrics").unwrap());

    let waiting = get(scene.waiting, "/metrics").unwrap();
    assert!(waiting.contains("awsiam_leader 0\n") && !waiting.contains("name=\""), "{waiting}");
    stage.clusters().delete(CLUSTER, &DeleteParams::default()).await.unwrap();
    stage
        .eventually("the series of the Cluster to go", async || match get(scene.leader, "/metrics")? {
            text if text.contains(&own) => Err(text),
            _ => Ok(()),
        })
        .await;
}

/// That names are those of the page, and that nothing is told that is nobody else's business.
fn every_series_is_listed(text: &str) {
    let page = read("docs/metrics.md");
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        let listed = ["", "_total", "_info"].map(|end| page.contains(&format!("| `{name}{end}` |")));
        assert!(listed.contains(&true), "docs/metrics.md does not list {name}");
    }
    for secret in ["arn:", "role/", "viewers", &role_arn("Dev")] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
}

#[test]
fn an_address_that_is_taken_is_named_with_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "users": [{"name": "it", "user": {"token": "t"}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).unwrap();
    let output = std::process::Command::new(awsiam_tests::process::binary())
        .args(["controller", "--local-cluster=a/b", "--metrics-address", &address, "--kubeconfig"])
        .arg(&kubeconfig)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("can't listen on --metrics-address {address}")), "{said}");
}

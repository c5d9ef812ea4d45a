//! What the chart makes of sets of values, before a real API server: every object is taken, every pod is admitted where Pod
//! Security's level `restricted` is enforced, and `helm test` has the rights that it needs and no others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use awsiam_tests::control_plane::{ControlPlane, shared};
use awsiam_tests::process::{ALLOCATOR, binary};
use awsiam_tests::site::printed;
use awsiam_tests::stage::{CLUSTER, DEADLINE, OPERATOR_NAMESPACE, Stage, apply};
use kube::Api;
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_crd_established;
use serde_json::{Value, json};

/// Where pods are as narrow as Kubernetes asks for.
const RESTRICTED: &str = "awsiam-restricted";

/// Names of sets of values, and what `--set` takes for each.
const SETS: [(&str, &[&str]); 10] = [
    ("least", &[]),
    ("one cluster", &["localCluster.configs={team}", "localCluster.mode=External"]),
    (
        "mappings alone",
        &["rights.authenticator=false", "rights.controlPlane=false", "crds.install=false", "replicas=1"],
    ),
    (
        "remote",
        &[
            "rights.remote.enabled=true",
            "rights.remote.namespaces={team-a}",
            "rights.remote.clusters={team-b/prod}",
            "watchNamespaces={awsiam-restricted,team-a,team-b}",
            "clusterApiNamespaces.team-a=eksa-system",
            "networkPolicy.remotePorts={443,8443}",
        ],
    ),
    ("remote everywhere", &["rights.remote.enabled=true", "rights.remote.allNamespaces=true"]),
    (
        "a mirror and pull secrets",
        &[
            "global.imageRegistry=mirror.example:5000",
            "global.imagePullSecrets[0].name=everybody",
            "imagePullSecrets[0].name=ours",
            "image.digest=sha256:0123456789012345678901234567890123456789012345678901234567890123",
        ],
    ),
    (
        "where pods run",
        &[
            "nodeSelector.role=infra",
            "tolerations[0].key=infra",
            "tolerations[0].operator=Exists",
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key=a",
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator=Exists",
            "priorityClassName=system-cluster-critical",
            "podAnnotations.a=b",
            "podLabels.c=d",
            "extraEnv[0].name=E",
            "extraEnv[0].value=v",
            "logFilter=debug",
            "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring",
        ],
    ),
    ("a dashboard", &["metrics.dashboard.enabled=true", "metrics.dashboard.labels.team=platform"]),
    (
        "monitors and alerts",
        &[
            "metrics.serviceMonitor.enabled=true",
            "metrics.serviceMonitor.interval=15s",
            "metrics.podMonitor.enabled=true",
            "metrics.prometheusRule.enabled=true",
            "metrics.prometheusRule.labels.release=prometheus",
        ],
    ),
    ("a guard", &["guard.enabled=true", "guard.exemptUsers={it's \"me\"}", "guard.exemptGroups={a,b}"]),
];

/// What the chart makes of values, with its test.
fn rendered(plane: &ControlPlane, release: &str, namespace: &str, values: &[&str]) -> Vec<Value> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/awsiam-operator");
    let mut helm = plane.helm().unwrap();
    helm.args(["template", release]).arg(chart).args(["--namespace", namespace]);
    let output = helm.args(values.iter().flat_map(|value| ["--set", value])).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

fn as_text(objects: &[Value]) -> String {
    objects.iter().flat_map(|object| ["---\n".to_owned(), object.to_string(), "\n".to_owned()]).collect()
}

/// `kubectl apply --dry-run=server`: what it prints to standard error, and whether it went through.
fn dry_run(plane: &ControlPlane, objects: &[Value]) -> (bool, String) {
    let mut kubectl = plane.kubectl().unwrap();
    kubectl.args(["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"]);
    let mut child =
        kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(as_text(objects).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn make_namespaces(plane: &ControlPlane) {
    let restricted = json!({
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    });
    let of_name = |name: &str, labels: &Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    let mut objects = vec![of_name(RESTRICTED, &restricted)];
    objects.extend(["team-a", "team-b", "eksa-system"].map(|name| of_name(name, &json!({}))));
    apply(plane, &as_text(&objects)).unwrap();
}

/// The kinds of Prometheus's operator that the chart makes objects of, as its own CRDs have them.
async fn install_monitoring(plane: &ControlPlane) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("prometheus-operator/crds");
    let folder = printed(&mut Command::new(script)).unwrap();
    for plural in ["servicemonitors", "podmonitors", "prometheusrules"] {
        let file = Path::new(folder.trim()).join(format!("monitoring.coreos.com_{plural}.yaml"));
        apply(plane, &fs::read_to_string(file).unwrap()).unwrap();
        let crds = Api::all(plane.client());
        let name = format!("{plural}.monitoring.coreos.com");
        let wait = await_condition(crds, &name, is_crd_established());
        tokio::time::timeout(DEADLINE, wait).await.unwrap().unwrap();
    }
}

/// The pod that a Deployment makes.
fn pod_of(deployment: &Value) -> Value {
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("admitted");
    pod["metadata"]["namespace"] = deployment["metadata"]["namespace"].clone();
    pod
}

/// Else the figures of `docs/performance.md` are of something that nobody runs.
#[tokio::test]
async fn memory_is_measured_with_what_the_chart_tells_the_allocator() {
    let objects = rendered(shared().await, "awsiam", RESTRICTED, &[]);
    let env = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"];
    let of_malloc = |entry: &&Value| entry["name"].as_str().is_some_and(|name| name.starts_with("MALLOC_"));
    let told: Vec<Value> = env.as_array().unwrap().iter().filter(of_malloc).cloned().collect();
    assert_eq!(json!(told), json!(ALLOCATOR.map(|(name, value)| json!({"name": name, "value": value}))));
}

#[tokio::test]
async fn every_object_is_taken_and_every_pod_is_admitted_where_restricted_is_enforced() {
    let plane = shared().await;
    make_namespaces(plane);
    install_monitoring(plane).await;
    for (set, values) in SETS {
        let objects = rendered(plane, "awsiam", RESTRICTED, values);
        let accounts: Vec<Value> =
            objects.iter().filter(|object| object["kind"] == "ServiceAccount").cloned().collect();
        assert_eq!(accounts.len(), 2, "{set}: the operator's and the test's");
        // Without its account no pod is admitted.
        apply(plane, &as_text(&accounts)).unwrap();
        assert_eq!(dry_run(plane, &objects), (true, String::new()), "{set}");
        let pod = pod_of(of_kind(&objects, "Deployment"));
        assert_eq!(dry_run(plane, &[pod]), (true, String::new()), "{set}: the operator's pod");
    }
    // The test can fail: this one is as it should not be.
    let objects = rendered(plane, "awsiam", RESTRICTED, &["hostNetwork=true"]);
    let (is_admitted, complaint) = dry_run(plane, &[pod_of(of_kind(&objects, "Deployment"))]);
    assert!(!is_admitted && complaint.contains("violates PodSecurity \"restricted:latest\""), "{complaint}");
}

#[tokio::test]
async fn names_of_images_follow_registries_and_digests() {
    let plane = shared().await;
    let digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123";
    let digested = format!("image.digest={digest}");
    for (values, wanted) in [
        (vec![], "awsiam:0.1.0".to_owned()),
        (vec!["image.registry=r.example/team", "image.tag=v1"], "r.example/team/awsiam:v1".to_owned()),
        (vec!["image.registry=r.example", "global.imageRegistry=m:5000"], "m:5000/awsiam:0.1.0".to_owned()),
        (vec!["image.repository=r.example/awsiam", &digested], format!("r.example/awsiam@{digest}")),
    ] {
        let objects = rendered(plane, "awsiam", RESTRICTED, &values);
        let container = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], json!(wanted));
        let args: Vec<&str> =
            container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        assert!(args.contains(&format!("--probe-image={wanted}").as_str()), "{args:?}");
    }
}

#[tokio::test]
async fn the_operator_takes_the_arguments_of_every_set_of_values() {
    let plane = shared().await;
    for (set, values) in SETS {
        let objects = rendered(plane, "awsiam", RESTRICTED, values);
        let container = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let args = container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap());
        // A kubeconfig that is not there: what comes before it was taken.
        let output = Command::new(binary()).args(args).arg("--kubeconfig=/not/there").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("/not/there"), "{set}: {said}");
    }
}

#[tokio::test]
async fn helm_test_passes_with_its_own_rights_once_the_operator_says_ready() {
    let stage = Stage::set().await;
    let namespace = format!("localCluster.namespace={}", stage.namespace);
    let name = format!("localCluster.name={CLUSTER}");
    let objects = rendered(stage.plane, "awsiam", OPERATOR_NAMESPACE, &[&namespace, &name]);
    let is_hook = |object: &&Value| object["metadata"]["annotations"]["helm.sh/hook"] == "test";
    let hooks: Vec<Value> = objects.iter().filter(is_hook).cloned().collect();
    let pod = of_kind(&hooks, "Pod").clone();
    let rights: Vec<Value> = hooks.iter().filter(|object| object["kind"] != "Pod").cloned().collect();
    apply(stage.plane, &as_text(&rights)).unwrap();
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap();
    let kubeconfig = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, account).await.unwrap();
    let args: Vec<String> = serde_json::from_value(pod["spec"]["containers"][0]["args"].clone()).unwrap();
    let check = async || {
        let mut command = Command::new(binary());
        command.args(&args).env("KUBECONFIG", &kubeconfig);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };

    let (code, said) = check().await;
    assert!(code == Some(1) && said.contains("there is no Cluster"), "{said}");
    stage.config("team", &[("Dev", "dev", &["dev"])]).await;
    stage.cluster(&["team"]).await;
    let (code, said) = check().await;
    assert!(code == Some(1) && said.contains("no operator has looked at this Cluster"), "{said}");
    let operator = stage.operator().await;
    stage.condition("Ready", "True", "Ready").await;
    assert_eq!(check().await.0, Some(0), "{}", check().await.1);
    operator.stop().await;
}

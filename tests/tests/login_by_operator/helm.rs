//! The packed chart on the real node, by both Helms: installed, upgraded and uninstalled while somebody logs in all the time,
//! and what is left of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::machine::{Machine, MachineError, requirements};
use awsiam_tests::site::{Site, printed};
use awsiam_tests::sts::Sts;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{Users, accounts, apply_resources, load_images, logs_in};

const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_helms_install_upgrade_and_uninstall_while_logins_go_on() {
    let started = Instant::now();
    let told = |what: &str| eprintln!("{:>6.1} s  {what}", started.elapsed().as_secs_f64());
    let mut machine = match Machine::start().await {
        Err(error @ MachineError::Missing(_)) => {
            requirements::tell_skipped("login_by_operator", &error);
            return;
        }
        machine => machine.unwrap(),
    };
    let sts = Sts::start(machine.control_plane(), &accounts()).await.unwrap();
    load_images(&machine, &sts);
    let site = Site {
        kubeconfig: machine.control_plane().kubeconfig_path().to_owned(),
        folder: machine.folder().to_owned(),
    };
    let before = objects(&site);
    let helms = helms(machine.control_plane());
    let chart = packed(&site, &helms[0]);
    told("a machine, and a packed chart");

    let mut users = None;
    for helm in &helms {
        let release = Release { site: &site, helm, chart: &chart };
        release.installs();
        if users.is_none() {
            apply_resources(machine.control_plane(), &sts);
            site.condition("ApiServerConfigured", "False", "WaitingForAdministrator");
            let file = site.awsiam(&["control-plane", "default/prod", "--file-only"]);
            machine.control_plane_mut().use_webhook(&file).await.unwrap();
        }
        site.condition("Ready", "True", "Ready");
        let users = users.get_or_insert_with(|| Users::new(&site));
        release.helm(&["test", "awsiam", "--namespace", "awsiam-system"].map(str::to_owned));
        is_well_where_the_chart_is(&site);
        let logins = Logins::start(machine.control_plane(), &sts, users);
        release.maps(&machine, &sts, users);
        told("installed: two pods are ready, a mapping is applied and logs in");
        release.upgrades();
        told("upgraded to other values");
        release.uninstalls();
        assert_left(&site, &before, "With `helm uninstall` alone:");
        machine.whoami(&sts, &users.authenticator, sts.identity("alice")).unwrap();
        let (accepted, refused) = logins.stop().await;
        told(&format!("uninstalled; {accepted} logins, {refused} refused"));
        assert!(accepted > 20 && refused == 0, "{accepted} logins accepted, {refused} refused");
    }

    let release = Release { site: &site, helm: &helms[1], chart: &chart };
    release.installs();
    site.condition("Ready", "True", "Ready");
    site.awsiam(&["release", "--all", "--yes", "--delete-objects"]);
    release.uninstalls();
    assert_left(&site, &before, "With `awsiam release --all --delete-objects` before:");
    machine.whoami(&sts, &users.unwrap().authenticator, sts.identity("alice")).unwrap();
    told("released and uninstalled, and logins go on");
    kustomize_brings_the_same(&site);
    told("installed by `kubectl apply -k`, and taken away again");
}

/// The base of the repository, with the image's registry in an overlay as its first lines say.
fn kustomize_brings_the_same(site: &Site) {
    let overlay = site.folder.join("overlay");
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kustomize");
    std::fs::create_dir_all(overlay.join("base")).unwrap();
    for file in ["kustomization.yaml", "namespace.yaml", "operator.yaml"] {
        std::fs::copy(base.join(file), overlay.join("base").join(file)).unwrap();
    }
    let images = "resources: [base]\nimages: [{name: awsiam, newName: awsiam.test/awsiam}]\n";
    std::fs::write(overlay.join("kustomization.yaml"), images).unwrap();
    let overlay = overlay.to_str().unwrap();
    site.kubectl(&["apply", "--server-side", "-k", overlay]);
    two_pods_are_ready(site);
    site.kubectl(&["delete", "-k", overlay]);
    assert!(!objects(site).iter().any(|object| object.contains("awsiam-system")));
}

fn two_pods_are_ready(site: &Site) {
    let ready = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
    let words =
        ["-n", "awsiam-system", "get", "pods", "-l", "app.kubernetes.io/name=awsiam-operator", "-o", ready];
    site.eventually("two pods that are ready, and no third", || {
        let ready = site.kubectl(&words);
        if ready == "True True" { Ok(()) } else { Err(ready) }
    });
}

/// What the doctor says of pods, leader and values.
fn is_well_where_the_chart_is(site: &Site) {
    let said = site.awsiam(&["check", "default/prod"]);
    for line in [
        "ok      Pods awsiam-system/awsiam: 2 of 2 pods are ready",
        "ok      Leader awsiam-system/awsiam: awsiam-",
        "ok      ChartValues awsiam-system/awsiam: localCluster is default/prod,",
    ] {
        assert!(said.contains(line), "{said}");
    }
}

/// Helm 3 and Helm 4.
fn helms(plane: &ControlPlane) -> [PathBuf; 2] {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("helm4/build");
    let folder = printed(&mut Command::new(script)).unwrap();
    let three = PathBuf::from(plane.helm().unwrap().get_program());
    let helms = [three, Path::new(folder.trim()).join("helm")];
    for (helm, version) in helms.iter().zip(["v3.", "v4."]) {
        let said = printed(Command::new(helm).args(["version", "--short"])).unwrap();
        assert!(said.starts_with(version), "{said}");
    }
    helms
}

fn packed(site: &Site, helm: &Path) -> PathBuf {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/awsiam-operator");
    let mut package = site.helm(helm);
    printed(package.arg("package").arg(chart).arg("--destination").arg(&site.folder)).unwrap();
    site.folder.join("awsiam-operator-0.1.0.tgz")
}

/// Release `awsiam` in the hands of one Helm.
struct Release<'a> {
    site: &'a Site,
    helm: &'a Path,
    chart: &'a Path,
}

impl Release<'_> {
    fn helm(&self, words: &[String]) -> String {
        printed(self.site.helm(self.helm).args(words)).unwrap_or_else(|error| {
            let pods = self.site.try_kubectl(&["describe", "pods", "-n", "awsiam-system"]);
            panic!("{} {words:?}: {error}\n{}", self.helm.display(), pods.unwrap_or_default())
        })
    }

    fn with_chart(&self, verb: &str, values: &[&str]) {
        let mut words = vec![verb.to_owned()];
        words.extend(self.site.release_words(self.chart, values));
        self.helm(&words);
        two_pods_are_ready(self.site);
    }

    fn installs(&self) {
        self.with_chart("install", &[]);
    }

    /// Another value in the pods, in the operator's arguments, and an object more.
    fn upgrades(&self) {
        let values = ["logFormat=text", "podLabels.changed=yes", "guard.enabled=true"];
        self.with_chart("upgrade", &values);
        let pods = ["-n", "awsiam-system", "get", "pods", "-l", "changed=yes", "-o"];
        let args = "jsonpath={.items[*].spec.containers[0].args}";
        let args = self.site.kubectl(&[&pods[..], &[args]].concat());
        assert_eq!(args.matches("--log-format=text").count(), 2, "{args}");
        self.site.kubectl(&["get", "validatingadmissionpolicy", "awsiam.awsiam-system.guard"]);
    }

    fn uninstalls(&self) {
        let words = ["uninstall", "awsiam", "--namespace", "awsiam-system", "--wait"];
        self.helm(&words.map(str::to_owned));
    }

    /// A mapping more, by which somebody gets another group.
    fn maps(&self, machine: &Machine, sts: &Sts, users: &Users) {
        let group = format!("by-{}", self.helm.parent().unwrap().file_name().unwrap().display());
        let patch = json!([{"op": "add", "path": "/spec/mapUsers/0/groups/-", "value": group}]).to_string();
        self.site.kubectl(&["patch", "awsiamconfig", "team", "--type=json", "-p", &patch]);
        self.site.eventually("alice's new group", || {
            let who = machine.whoami(sts, &users.authenticator, sts.identity("alice"))?;
            if who.groups.contains(&group) { Ok(()) } else { Err(format!("{:?}", who.groups)) }
        });
    }
}

/// Somebody who logs in ten times a second, with a token of his own each time.
struct Logins {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<(usize, usize)>,
}

impl Logins {
    fn start(plane: &ControlPlane, sts: &Sts, users: &Users) -> Self {
        let tokens = sts.tokens(sts.identity("developer"), &users.cluster_id, 2_000).unwrap();
        let client = plane.client();
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let task = tokio::spawn(async move {
            let (mut accepted, mut refused) = (0, 0);
            for token in tokens {
                if until.load(Ordering::Relaxed) {
                    return (accepted, refused);
                }
                let count = if logs_in(client.clone(), token).await { &mut accepted } else { &mut refused };
                *count += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("all tokens are used up");
        });
        Self { is_over, task }
    }

    /// How many were accepted and how many refused.
    async fn stop(self) -> (usize, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Every object of the cluster, as `KIND NAMESPACE/NAME`, without those that come and go by themselves.
fn objects(site: &Site) -> BTreeSet<String> {
    let kinds = site.kubectl(&["api-resources", "--verbs=list,get", "-o", "name"]);
    let kinds: Vec<&str> = kinds
        .lines()
        .filter(|kind| !kind.starts_with("events") && !kind.starts_with("componentstatuses"))
        .filter(|kind| !kind.starts_with("endpoint") && !kind.starts_with("controllerrevisions"))
        .collect();
    let columns = "custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name";
    let listed = site.kubectl(&["get", &kinds.join(","), "-A", "--no-headers", "-o", columns]);
    let object = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, namespace, name] = words[..] else { panic!("{line}") };
        // One for each node, each change.
        let many = [("Pod", "aws-iam-authenticator-"), ("ConfigMap", "aws-auth-history-")];
        let of = many.iter().find(|(of, prefix)| *of == kind && name.starts_with(prefix));
        let name = of.map_or_else(|| name.to_owned(), |(_, prefix)| format!("{prefix}…"));
        if namespace == "<none>" { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
    };
    // kubelet's own may come later.
    listed.lines().map(object).filter(|object| !object.starts_with("Lease kube-node-lease/")).collect()
}

/// What is there beyond what was there before is what the runbook lists under a heading, to the object.
fn assert_left(site: &Site, before: &BTreeSet<String>, heading: &str) {
    let (_, behind) = RUNBOOK.split_once(heading).unwrap();
    let (_, behind) = behind.split_once("```text\n").unwrap();
    let listed = behind.split_once("```").unwrap().0;
    let named =
        listed.replace("NAMESPACE", "awsiam-system").replace("RELEASE", "awsiam").replace("CLUSTER", "prod");
    let named = named.replace("CONFIG", "team").replace("ITS-OWN", "default");
    let wanted: BTreeSet<String> = named.lines().map(str::to_owned).collect();
    site.eventually("nothing but what the runbook lists", || {
        let left: BTreeSet<String> = objects(site).difference(before).cloned().collect();
        if left == wanted {
            return Ok(());
        }
        let lines = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join("\n");
        Err(format!("{}\n\nwhere the runbook lists\n\n{}", lines(&left), lines(&wanted)))
    });
    eprintln!("          {heading} {}", named.lines().collect::<Vec<_>>().join(", "));
}

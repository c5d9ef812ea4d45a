//! The README's quick start, command for command, on a real API server, and that of the examples. No pod runs here: the
//! binary is started with the arguments of the Deployment and the rights of its ServiceAccount, as the pods would be. A login
//! needs a node; all of it is in `walkthrough.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::documents::{CHART, EXAMPLES, README, lines, platform};
use awsiam_tests::process::{Process, binary};
use awsiam_tests::site::{Site, printed};
use awsiam_tests::stage::{self, is_address};

const CLUSTER: &str = "clusters.anywhere.eks.amazonaws.com/local";
const ADMINISTRATOR: &str = "arn:aws:iam::111122223333:role/PlatformAdmin";

/// The words of a command as a shell takes them apart.
fn words(command: &str) -> Vec<String> {
    let script = format!("printf '%s\\n' {command}");
    let printed = printed(Command::new("bash").args(["-c", &script])).unwrap();
    printed.lines().map(str::to_owned).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Where the commands run.
struct Desk {
    plane: ControlPlane,
    site: Site,
    folder: PathBuf,
}

impl Desk {
    /// At an empty cluster, in this folder, or else in a new one that holds what the README takes to be there.
    async fn new(folder: Option<PathBuf>) -> Self {
        let plane = ControlPlane::start().await.unwrap();
        let site = Site { kubeconfig: plane.kubeconfig_path().to_owned(), folder: plane.folder().to_owned() };
        let folder = folder.unwrap_or_else(|| {
            let folder = plane.folder().join("desk");
            std::fs::create_dir(&folder).unwrap();
            std::os::unix::fs::symlink(repository().join("charts"), folder.join("charts")).unwrap();
            std::fs::write(folder.join("platform.yaml"), platform()).unwrap();
            folder
        });
        Self { plane, site, folder }
    }

    /// Runs a command as the administrator; what it prints.
    fn run(&self, line: &str) -> String {
        let words = words(line);
        let mut command = match words[0].as_str() {
            "helm" => self.plane.helm().unwrap(),
            "kubectl" => self.plane.kubectl().unwrap(),
            "awsiam" => Command::new(binary()),
            other => panic!("nobody has {other}"),
        };
        command.env("KUBECONFIG", &self.site.kubeconfig).current_dir(&self.folder);
        // No pod would ever be ready.
        command.args(words[1..].iter().filter(|word| *word != "--wait"));
        printed(&mut command).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// What the Deployment starts a pod with, one argument a line.
    fn arguments_of_the_pod(&self) -> String {
        let path = "jsonpath={range .spec.template.spec.containers[0].args[*]}{@}{\"\\n\"}{end}";
        self.site.kubectl(&["-n", "awsiam-system", "get", "deployment", "awsiam-operator", "-o", path])
    }

    /// What the kubelet would run, and until its pod is ready.
    async fn play_the_pod(&self) -> Process {
        let arguments = self.arguments_of_the_pod();
        let arguments: Vec<&str> = arguments.lines().filter(|word| !is_address(word)).collect();
        let kubeconfig =
            self.plane.service_account_kubeconfig("awsiam-system", "awsiam-operator").await.unwrap();
        let pod = Process::run(&kubeconfig, &arguments, &self.plane.folder().join("operator.log")).unwrap();
        let is_there = ["-n", "awsiam-system", "get", CLUSTER];
        self.site.eventually("the local Cluster", || self.site.try_kubectl(&is_there).map(drop));
        pod
    }

    /// Installs and maps; gives the pod.
    async fn install(&self) -> Process {
        let (mut pod, mut last) = (None, String::new());
        for line in lines(&README.blocks("Quick start")[1]) {
            last = self.run(&line);
            if line.starts_with("helm ") {
                assert!(last.contains("The same as cluster-admin"), "{last}");
                pod = Some(self.play_the_pod().await);
            }
        }
        assert!(last.contains(ADMINISTRATOR), "{last}");
        pod.expect("the chart is installed")
    }

    /// Of what leads to a login, the two commands that need no node.
    fn prepare_logins(&self) {
        self.comes("KubeconfigReady");
        let blocks = README.blocks("Log in");
        let commands =
            blocks.iter().flat_map(|block| lines(block)).filter(|line| line.starts_with("awsiam "));
        let said: Vec<String> = commands.map(|line| self.run(&line)).collect();
        let [settings, written] = said.as_slice() else { panic!("{said:#?}") };
        assert!(settings.contains("authentication-token-webhook-config-file"), "{settings}");
        assert!(written.contains("local/local-aws.kubeconfig"), "{written}");
        let users = std::fs::read_to_string(self.folder.join("local/local-aws.kubeconfig")).unwrap();
        assert!(users.contains("https://API-SERVER:6443"), "{users}");
    }

    /// Upgrades; what was set at the installation stays set.
    fn upgrade(&self) {
        let before = self.arguments_of_the_pod();
        assert!(before.contains("API-SERVER"), "{before}");
        let blocks = README.blocks("Upgrade");
        let [upgrade] = blocks.as_slice() else { panic!("{blocks:#?}") };
        for line in lines(upgrade) {
            let said = self.run(&line);
            assert!(said.contains("REVISION: 2"), "{said}");
        }
        assert_eq!(self.arguments_of_the_pod(), before);
    }

    /// Uninstalls, and the pod goes with the chart.
    fn uninstall(&self, pod: Process) {
        let mut pod = Some(pod);
        for line in lines(&README.blocks("Uninstall")[0]) {
            if line.starts_with("helm ") {
                drop(pod.take());
            }
            self.run(&line);
        }
        assert!(pod.is_none(), "the chart is still there");
        // The CRDs stay, and what was made with them; nothing of it waits for an operator.
        let finalizers = "jsonpath={.items[*].metadata.finalizers}";
        let words =
            ["-n", "awsiam-system", "get", CLUSTER, "awsiamconfigs.anywhere.eks.amazonaws.com/platform"];
        assert_eq!(self.site.kubectl(&[&words[..], &["-o", finalizers]].concat()), "");
        let aws_auth =
            self.site.kubectl(&["-n", "kube-system", "get", "configmap", "aws-auth", "-o", "yaml"]);
        assert!(aws_auth.contains(ADMINISTRATOR), "{aws_auth}");
        assert!(!aws_auth.contains("awsiam-operator.dev/ledger"), "{aws_auth}");
    }

    /// Waits until a condition of the Cluster, which need not be there yet, is True.
    fn comes(&self, condition: &str) {
        let wait = format!("--for=condition={condition}");
        let words = ["-n", "awsiam-system", "wait", &wait, CLUSTER, "--timeout=30s"];
        self.site.eventually(condition, || self.site.try_kubectl(&words).map(drop));
    }
}

#[tokio::test]
async fn every_command_of_the_quick_start_does_what_it_says() {
    let desk = Desk::new(None).await;
    let blocks = README.blocks("Quick start");
    let [_image, _installed, from_a_desk] = blocks.as_slice() else { panic!("{blocks:#?}") };
    let pod = desk.install().await;
    desk.prepare_logins();
    desk.upgrade();
    desk.uninstall(pod);

    // As the chart's own page has it.
    let install = &CHART.blocks("awsiam-operator")[0];
    assert!(install.starts_with("helm install "), "{install}");
    desk.run(install);
    desk.run("helm uninstall awsiam-operator --namespace awsiam-system");

    // Without the chart, and without a Cluster; the CRDs are those of before.
    desk.site.kubectl(&["-n", "awsiam-system", "delete", CLUSTER]);
    let (make, controller) = from_a_desk.split_once('\n').unwrap();
    assert_eq!(make, "make build");
    let words = words(controller);
    assert_eq!(words[0], "target/release/awsiam");
    let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let log = desk.plane.folder().join("desk.log");
    let desks = Process::run(&desk.site.kubeconfig, &args, &log).unwrap();
    desk.comes("AwsAuthSynced");
    drop(desks);
}

#[tokio::test]
async fn the_examples_are_applied_as_their_page_says() {
    let desk = Desk::new(Some(repository().join("examples"))).await;
    stage::install_for(&desk.plane, "default", "local").await.unwrap();
    let kubeconfig =
        desk.plane.service_account_kubeconfig(stage::OPERATOR_NAMESPACE, "awsiam").await.unwrap();
    let log = desk.plane.folder().join("operator.log");
    let operator = Process::start(&kubeconfig, "default/local", &[], &log).unwrap();
    let blocks = EXAMPLES.blocks("Examples");
    let [block] = blocks.as_slice() else { panic!("{blocks:#?}") };
    for line in lines(block) {
        desk.run(&line);
    }
    let aws_auth = desk.site.kubectl(&["-n", "kube-system", "get", "configmap", "aws-auth", "-o", "yaml"]);
    assert!(aws_auth.contains("arn:aws:iam::111122223333:role/KubernetesViewer"), "{aws_auth}");
    drop(operator);
}

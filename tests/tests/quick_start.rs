//! The README's quick start, command for command, on a real API server. No pod runs here: the binary is started with the
//! arguments of the Deployment and the rights of its ServiceAccount, as the pods would be.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::Command;

use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::documents::{CHART, README};
use awsiam_tests::process::Process;
use awsiam_tests::site::{Site, printed};
use awsiam_tests::stage::is_address;

/// The first of the two resources that the README shows.
fn platform() -> &'static str {
    let (_, behind) = include_str!("../../README.md").split_once("```yaml\n").unwrap();
    behind.split_once("```").unwrap().0
}

/// The words of a command as a shell takes them apart.
fn words(command: &str) -> Vec<String> {
    let script = format!("printf '%s\\n' {command}");
    let printed = printed(Command::new("bash").args(["-c", &script])).unwrap();
    printed.lines().map(str::to_owned).collect()
}

/// What the kubelet would run, and until its pod is ready.
async fn play_the_pod(plane: &ControlPlane, site: &Site) -> Process {
    let path = "jsonpath={range .spec.template.spec.containers[0].args[*]}{@}{\"\\n\"}{end}";
    let words = ["-n", "awsiam-system", "get", "deployment", "awsiam-operator", "-o", path];
    let args = site.kubectl(&words);
    let args: Vec<&str> = args.lines().filter(|arg| !is_address(arg)).collect();
    let kubeconfig = plane.service_account_kubeconfig("awsiam-system", "awsiam-operator").await.unwrap();
    let pod = Process::run(&kubeconfig, &args, &plane.folder().join("operator.log")).unwrap();
    let words = ["-n", "awsiam-system", "get", "clusters.anywhere.eks.amazonaws.com/local"];
    site.eventually("the local Cluster", || site.try_kubectl(&words).map(drop));
    pod
}

#[tokio::test]
async fn every_command_of_the_quick_start_does_what_it_says() {
    let plane = ControlPlane::start().await.unwrap();
    let site = Site { kubeconfig: plane.kubeconfig_path().to_owned(), folder: plane.folder().to_owned() };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let desk = plane.folder().join("desk");
    std::fs::create_dir(&desk).unwrap();
    std::os::unix::fs::symlink(root.join("charts").canonicalize().unwrap(), desk.join("charts")).unwrap();
    std::fs::write(desk.join("platform.yaml"), platform()).unwrap();
    let mut pod = None;
    let mut last = String::new();
    let blocks = README.blocks("Quick start");
    let [_image, installed, from_a_desk] = blocks.as_slice() else { panic!("{blocks:#?}") };
    let lines: Vec<&str> = installed.lines().collect();
    assert!(lines.len() >= 4, "{lines:?}");
    for line in lines {
        let words = words(line);
        let is_install = words[0] == "helm";
        let mut command = if is_install { plane.helm() } else { plane.kubectl() }.unwrap();
        // No pod would ever be ready.
        command.args(words[1..].iter().filter(|word| *word != "--wait")).current_dir(&desk);
        last = printed(&mut command).unwrap_or_else(|error| panic!("{line}: {error}"));
        if is_install {
            assert!(last.contains("The same as cluster-admin"), "{last}");
            pod = Some(play_the_pod(&plane, &site).await);
        }
    }
    assert!(last.contains("arn:aws:iam::111122223333:role/PlatformAdmin"), "{last}");
    drop(pod);

    // Uninstalling leaves the CRDs and what was made with them.
    let mut helm = plane.helm().unwrap();
    printed(helm.args(["uninstall", "awsiam-operator", "--namespace", "awsiam-system"])).unwrap();
    let cluster = "clusters.anywhere.eks.amazonaws.com/local";
    site.kubectl(&["-n", "awsiam-system", "get", cluster, "awsiamconfig/platform"]);

    // As the chart's own page has it.
    let install = words(&CHART.blocks("awsiam-operator")[0]);
    assert_eq!(install[..2], ["helm", "install"]);
    let mut helm = plane.helm().unwrap();
    printed(helm.args(&install[1..]).current_dir(&desk)).unwrap();
    let mut helm = plane.helm().unwrap();
    printed(helm.args(["uninstall", "awsiam-operator", "--namespace", "awsiam-system"])).unwrap();

    // Without the chart, and without a Cluster; the CRDs are those of before.
    site.kubectl(&["-n", "awsiam-system", "delete", cluster]);
    let (make, controller) = from_a_desk.split_once('\n').unwrap();
    assert_eq!(make, "make build");
    let words = words(controller);
    assert_eq!(words[0], "target/release/awsiam");
    let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let desks = Process::run(&site.kubeconfig, &args, &plane.folder().join("desk.log")).unwrap();
    let synced = ["-n", "awsiam-system", "wait", "--for=condition=AwsAuthSynced", cluster, "--timeout=30s"];
    site.eventually("the Cluster that is made from a desk", || site.try_kubectl(&synced).map(drop));
    drop(desks);
}

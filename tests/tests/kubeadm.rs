//! The way of an administrator whose cluster kubeadm made, on real nodes: file and flag set by the very words that
//! `awsiam control-plane --for kubeadm` prints, a control-plane node that joins with the flag in place, and one that
//! restarts while nobody answers the API server. `make test-kubeadm` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "kubeadm/printed.rs"]
mod printed;

use std::path::{Path, PathBuf};
use std::time::Instant;

use awsiam_tests::authenticator;
use awsiam_tests::machine::kubeadm::{KubeadmCluster, KubeadmNode};
use awsiam_tests::machine::{MachineError, requirements};
use awsiam_tests::site::{Site, operator_image};
use awsiam_tests::sts::{Accounts, Sts};
use serde_json::json;

use printed::Printed;

const AUTHENTICATOR: &str = "awsiam.test/aws-iam-authenticator:v0.7.18";
const FILE: &str = "/etc/kubernetes/awsiam/token-webhook.yaml";
const DAEMON_SET: [&str; 4] = ["-n", "kube-system", "daemonset", "aws-iam-authenticator"];
const USER: &str = "alice";

#[tokio::test]
#[ignore = "takes two minutes: make test-kubeadm, part of make check, runs it"]
async fn an_administrator_of_a_kubeadm_cluster_gets_logins_that_outlive_joins_and_restarts() {
    let started = Instant::now();
    let told = |what: &str| eprintln!("{:>6.1} s  {what}", started.elapsed().as_secs_f64());
    let mut cluster = match KubeadmCluster::init().await {
        Err(error @ MachineError::Missing(_)) => {
            requirements::tell_skipped("kubeadm (login runs what it can without nodes)", &error);
            return;
        }
        cluster => cluster.unwrap(),
    };
    told("kubeadm init, and a second machine with containerd");
    let site = Site { kubeconfig: cluster.admin_kubeconfig(), folder: cluster.folder().to_owned() };
    let sts = cluster.sts(&Accounts::default().user(USER, "/team/").user("mallory", "/")).await.unwrap();
    load_images(&cluster, &sts);
    site.install_operator(&[
        "tolerations[0].key=node-role.kubernetes.io/control-plane,tolerations[0].operator=Exists",
    ]);
    told("the operator is installed by its chart");
    apply_resources(&site, &cluster, &sts);
    site.condition("AuthenticatorReady", "True", "RolledOut");
    site.condition("ApiServerConfigured", "False", "WaitingForAdministrator");
    told("the authenticator runs on the node, with the mappings");

    let printed = Printed::of(&site.awsiam(&["control-plane", "default/prod", "--for", "kubeadm"]));
    printed.put_the_file_on(cluster.first());
    printed.set_the_flag_on(cluster.first(), || has_the_flag(&site, cluster.first()));
    told("file and flag are set by what was printed, and the API server is back");
    site.condition("ApiServerConfigured", "True", "Configured");
    site.condition("Ready", "True", "Ready");
    let users = users_kubeconfigs(&site, &cluster);
    logs_in(&site, &cluster, &sts, &users.first);
    assert!(cluster.whoami(&sts, &users.first, sts.identity("mallory")).is_err(), "nobody mapped mallory");
    told("a login");

    printed.put_the_file_where_cloud_init_would(cluster.second());
    cluster.join().unwrap();
    told("a second control-plane node has joined");
    has_the_flag(&site, cluster.second());
    site.condition("ApiServerConfigured", "True", "Configured");
    let said = site.condition("AuthenticatorReady", "True", "RolledOut");
    assert_eq!(said, "runs with the mappings on 2 control-plane nodes");
    logs_in(&site, &cluster, &sts, &users.second);
    logs_in(&site, &cluster, &sts, &users.first);
    told("logins through both API servers");

    // Nobody answers on the node when its API server starts: certificates log in, AWS identities wait.
    site.kubectl(&["-n", "awsiam-system", "scale", "deployment", "awsiam", "--replicas=0"]);
    site.kubectl(&["-n", "awsiam-system", "wait", "--for=delete", "pods", "--all", "--timeout=60s"]);
    site.kubectl(&[
        "delete",
        DAEMON_SET[2],
        DAEMON_SET[3],
        DAEMON_SET[0],
        DAEMON_SET[1],
        "--cascade=foreground",
    ]);
    cluster.second_mut().restart().await.unwrap();
    told("the second node is restarted while the authenticator's DaemonSet is gone");
    let second = cluster.second().address();
    site.eventually("the restarted API server", || {
        let ready = format!("kubectl --server=https://{second}:6443 --request-timeout=2s get --raw=/readyz");
        cluster.second().shell(&ready).map(drop).map_err(|error| error.to_string())
    });
    let webhook = cluster.second().shell(&format!("cat {FILE}")).unwrap();
    assert_eq!(webhook, site.awsiam(&["control-plane", "default/prod", "--file-only"]));
    assert!(cluster.whoami(&sts, &users.second, sts.identity(USER)).is_err(), "nobody answers there");
    told("its API server has started, and certificates log in");
    site.kubectl(&["-n", "awsiam-system", "scale", "deployment", "awsiam", "--replicas=1"]);
    logs_in(&site, &cluster, &sts, &users.second);
    site.condition("Ready", "True", "Ready");
    logs_in(&site, &cluster, &sts, &users.first);
    told("with the operator back, AWS identities log in through both");
    drop(cluster);
    told("the machines are gone");
}

fn load_images(cluster: &KubeadmCluster, sts: &Sts) {
    let authenticator = authenticator::image(AUTHENTICATOR, sts.authority()).unwrap();
    for (name, image) in [("operator.tar", &operator_image().unwrap()), ("authenticator.tar", &authenticator)]
    {
        let archive = cluster.folder().join(name);
        image.write(&archive).unwrap();
        cluster.import_image(&archive).unwrap();
    }
}

fn apply_resources(site: &Site, cluster: &KubeadmCluster, sts: &Sts) {
    let env = sts.server_environment();
    let env: Vec<_> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let config = json!({"apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "AWSIamConfig",
        "metadata": {"name": "team", "namespace": "default"},
        "spec": {"awsRegion": "us-east-1", "backendMode": ["EKSConfigMap"], "mapUsers": [
            {"userARN": "arn:aws:iam::123456789012:user/team/alice", "username": USER, "groups": ["operators"]}]}});
    let endpoint = format!("{}:6443", cluster.first().address());
    let of = json!({"apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "prod", "namespace": "default"},
        "spec": {"kubernetesVersion": "1.36", "controlPlaneConfiguration": {"endpoint": {"host": endpoint}},
            "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
            "iamAuthenticator": {"image": AUTHENTICATOR, "env": env}}});
    site.apply(&config.to_string());
    site.apply(&of.to_string());
}

/// The user's kubeconfig for the API server of each node.
struct Users {
    first: PathBuf,
    second: PathBuf,
}

fn users_kubeconfigs(site: &Site, cluster: &KubeadmCluster) -> Users {
    let first = site.folder.join("users-first.kubeconfig");
    site.awsiam(&["kubeconfig", "default/prod", "--file", first.to_str().unwrap()]);
    let at = |node: &KubeadmNode| format!("https://{}:6443", node.address());
    let text = std::fs::read_to_string(&first).unwrap();
    let second = site.folder.join("users-second.kubeconfig");
    assert!(text.contains(&at(cluster.first())), "{text}");
    std::fs::write(&second, text.replace(&at(cluster.first()), &at(cluster.second()))).unwrap();
    Users { first, second }
}

/// As soon as the authenticator on that node has the mappings.
fn logs_in(site: &Site, cluster: &KubeadmCluster, sts: &Sts, kubeconfig: &Path) {
    site.eventually("a login", || {
        let who = cluster.whoami(sts, kubeconfig, sts.identity(USER))?;
        assert_eq!(
            (who.username.as_str(), who.groups),
            (USER, vec!["operators".into(), "system:authenticated".into()])
        );
        Ok(())
    });
}

/// The API server of a node runs with the flag, and answers.
fn has_the_flag(site: &Site, node: &KubeadmNode) {
    let pod = format!("kube-apiserver-{}", node.name());
    let command = ["-n", "kube-system", "get", "pod", &pod, "-o", "jsonpath={.spec.containers[0].command}"];
    let flag = format!("--authentication-token-webhook-config-file={FILE}");
    site.eventually("the API server's pod to have the flag", || {
        site.try_kubectl(&["get", "--raw=/readyz"])?;
        let command = site.try_kubectl(&command)?;
        if command.contains(&flag) { Ok(()) } else { Err(command) }
    });
}

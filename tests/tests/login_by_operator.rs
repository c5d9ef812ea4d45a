//! From nothing to a login and back, on a real node: the operator from its own image, installed by its chart under the
//! chart's rights; the real authenticator rolled out by it; file and flag set as an administrator sets them. AWS STS
//! alone is played.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "login_by_operator/helm.rs"]
mod helm;
#[path = "login_by_operator/host_path.rs"]
mod host_path;
#[path = "login_by_operator/port.rs"]
mod port;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use awsiam_tests::authenticator;
use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::machine::{Machine, MachineError, requirements};
use awsiam_tests::site::{Site, operator_image};
use awsiam_tests::stage::apply;
use awsiam_tests::sts::{Accounts, Identity, Sts};
use futures::StreamExt;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

const AUTHENTICATOR: &str = "awsiam.test/aws-iam-authenticator:v0.7.18";
/// Where users and the test reach the API server.
const ENDPOINT: &str = "198.18.77.2:6443";
/// For what takes seconds, on a machine that may be compiling at the same time.
const DEADLINE: Duration = Duration::from_mins(2);

/// What stands in `aws-auth` before we come.
const FOREIGN: &str = "\
# written by hand
- rolearn: arn:aws:iam::123456789012:role/somebody-elses
  username: theirs
";

#[tokio::test]
async fn from_nothing_to_a_login_and_back_to_nothing() {
    let started = Instant::now();
    let told = |what: &str| eprintln!("{:>6.1} s  {what}", started.elapsed().as_secs_f64());
    let mut machine = match Machine::start().await {
        Err(error @ MachineError::Missing(_)) => {
            requirements::tell_skipped("login_by_operator", &error);
            return;
        }
        machine => machine.unwrap(),
    };
    told("a machine with a control plane and a node");
    let sts = Sts::start(machine.control_plane(), &accounts()).await.unwrap();
    told("STS is played");
    load_images(&machine, &sts);
    let site = Site {
        kubeconfig: machine.control_plane().kubeconfig_path().to_owned(),
        folder: machine.folder().to_owned(),
    };
    site.install_operator(&["replicas=0"]);
    start_with_the_clock_back(&site);
    told("the operator is installed by its chart");
    apply_resources(machine.control_plane(), &sts);
    site.condition("AwsAuthSynced", "True", "Synced");
    site.condition("AuthenticatorReady", "True", "RolledOut");
    site.condition("ApiServerConfigured", "False", "WaitingForAdministrator");
    told("the authenticator runs on the node, with the mappings");

    let file = site.awsiam(&["control-plane", "default/prod", "--file-only"]);
    machine.control_plane_mut().use_webhook(&file).await.unwrap();
    site.condition("ApiServerConfigured", "True", "Configured");
    site.condition("Ready", "True", "Ready");
    told("the API server asks it: Ready");

    let users = Users::new(&site);
    let plane = machine.control_plane();
    everybody_is_who_they_should_be(&machine, &sts, &users);
    an_old_token_is_refused(plane, &sts, &users).await;
    told("logins as they should be, by both programs");

    five_hundred_logins_fit_into_the_memory(&machine, &sts, &users).await;
    let gap = the_leaf_is_renewed(&machine, &sts, &users, &site).await;
    told(&format!(
        "a renewed serving certificate: pods rolled, the API server was not touched, no login for {:.1} s",
        gap.as_secs_f64()
    ));
    host_path::a_daemon_set_keeps_the_file(&mut machine, &sts, &users, &site).await;
    told(
        "HostPath: the file is written, mended, and brought to another CA; a writer that fails disturbs nobody",
    );
    logins_go_on_without_the_ca(&machine, &sts, &users, &site);
    told("with the CA's Secret gone logins go on, and with it back all is well");
    mappings_move_to_objects_and_back(&machine, &sts, &users, &site);
    told("mappings moved to IAMIdentityMappings and back, with logins from both");

    // A mapping is taken away: refused within 3 s and the API server's cache of 5 s.
    site.kubectl(&[
        "patch",
        "awsiamconfig",
        "team",
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/spec/mapUsers"}]"#,
    ]);
    let removed = Instant::now();
    let alice = sts.identity("alice");
    let refusal = loop {
        let asked = removed.elapsed();
        match machine.whoami(&sts, &users.authenticator, alice) {
            Err(refusal) => break refusal,
            Ok(_) => assert!(asked < Duration::from_secs(3 + 5), "alice still gets in"),
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(refusal.contains("Unauthorized"), "{refusal}");
    told(&format!(
        "a mapping that is taken away no longer logs in, {:.1} s later",
        removed.elapsed().as_secs_f64()
    ));

    // No more references: our entries go, the authenticator stays while the flag is set.
    let empty = r#"{"spec":{"identityProviderRefs":[]}}"#;
    site.kubectl(&["patch", "clusters.anywhere.eks.amazonaws.com", "prod", "--type=merge", "-p", empty]);
    site.condition("AuthenticatorReady", "False", "FlagStillSet");
    assert!(
        !site
            .kubectl(&["-n", "kube-system", "get", "daemonset", "aws-iam-authenticator", "-o", "name"])
            .is_empty()
    );
    told("without references our entries are gone, and the authenticator stays for the flag");
    machine.control_plane_mut().use_no_webhook().await.unwrap();
    nothing_of_ours_is_left(machine.control_plane(), &site).await;
    told("without the flag nothing of ours is left but the history");
    drop(machine);
    told("the machine is gone");
}

fn accounts() -> Accounts {
    Accounts::default()
        .user("alice", "/team/ops/")
        .user("mallory", "/")
        .session("developer", "arn:aws:iam::123456789012:role/team/x/developers", "laptop")
        .session("administrator", "arn:aws:iam::123456789012:role/admins", "carol@example.com")
        .session("visitor", "arn:aws:iam::210987654321:role/visitors", "visit")
}

fn load_images(machine: &Machine, sts: &Sts) {
    let operator = operator_image().unwrap();
    let authenticator = authenticator::image(AUTHENTICATOR, sts.authority()).unwrap();
    for (name, image) in [("operator.tar", &operator), ("authenticator.tar", &authenticator)] {
        let archive = machine.folder().join(name);
        image.write(&archive).unwrap();
        machine.import_image(&archive).unwrap();
    }
}

fn apply_resources(plane: &ControlPlane, sts: &Sts) {
    let env: Vec<_> = sts
        .server_environment()
        .into_iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let aws_auth = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "aws-auth", "namespace": "kube-system"}, "data": {"mapRoles": FOREIGN}});
    let config = json!({"apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "AWSIamConfig",
        "metadata": {"name": "team", "namespace": "default"},
        "spec": {"awsRegion": "us-east-1", "backendMode": ["EKSConfigMap"],
            "mapRoles": [
                {"roleARN": "arn:aws:iam::123456789012:role/team/x/developers", "username": "developer", "groups": ["devs", "readers"]},
                {"roleARN": "arn:aws:iam::123456789012:role/admins", "username": "admin:{{SessionName}}", "groups": ["admins"]},
            ],
            "mapUsers": [
                {"userARN": "arn:aws:iam::123456789012:user/team/ops/alice", "username": "alice", "groups": ["operators"]},
            ],
            "mapAccounts": ["210987654321"]}});
    let cluster = json!({"apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "prod", "namespace": "default"},
        "spec": {"kubernetesVersion": "1.36", "controlPlaneConfiguration": {"endpoint": {"host": ENDPOINT}},
            "identityProviderRefs": [{"kind": "AWSIamConfig", "name": "team"}],
            "iamAuthenticator": {"image": AUTHENTICATOR, "env": env}}});
    for manifest in [aws_auth, config, cluster] {
        apply(plane, &manifest.to_string()).unwrap();
    }
}

/// The kubeconfigs of users, written as a user gets them.
struct Users {
    authenticator: PathBuf,
    aws: PathBuf,
    cluster_id: String,
}

impl Users {
    fn new(site: &Site) -> Self {
        let written = |exec: &str| {
            let file = site.folder.join(format!("users-{exec}.kubeconfig"));
            site.awsiam(&["kubeconfig", "default/prod", "--exec", exec, "--file", file.to_str().unwrap()]);
            file
        };
        let path = r"jsonpath={.metadata.annotations.awsiam-operator\.dev/cluster-id}";
        let cluster_id =
            site.kubectl(&["-n", "kube-system", "get", "configmap", "aws-iam-authenticator", "-o", path]);
        Self { authenticator: written("aws-iam-authenticator"), aws: written("aws"), cluster_id }
    }
}

fn everybody_is_who_they_should_be(machine: &Machine, sts: &Sts, users: &Users) {
    let is = |kubeconfig: &Path, identity: &str, username: &str, groups: &[&str]| {
        let who = machine.whoami(sts, kubeconfig, sts.identity(identity));
        let who = who.unwrap_or_else(|error| panic!("{identity} does not get in: {error}"));
        let expected: Vec<&str> = groups.iter().copied().chain(["system:authenticated"]).collect();
        assert_eq!(
            (who.username.as_str(), who.groups),
            (username, expected.iter().map(ToString::to_string).collect())
        );
    };
    let is_refused = |what: &str, kubeconfig: &Path, identity: &Identity| {
        let error = machine.whoami(sts, kubeconfig, identity).expect_err(what);
        assert!(error.contains("Unauthorized"), "{what} ends otherwise: {error}");
    };
    for kubeconfig in [&users.authenticator, &users.aws] {
        is(kubeconfig, "alice", "alice", &["operators"]);
        is(kubeconfig, "developer", "developer", &["devs", "readers"]);
    }
    is(&users.authenticator, "administrator", "admin:carol-example.com", &["admins"]);
    is(&users.authenticator, "visitor", "arn:aws:iam::210987654321:role/visitors", &[]);
    is_refused("an unmapped user", &users.authenticator, sts.identity("mallory"));
    is_refused("a wrong secret", &users.authenticator, &sts.identity("alice").with_wrong_secret());
    let other =
        std::fs::read_to_string(&users.authenticator).unwrap().replace(&users.cluster_id, "another-cluster");
    let file = users.authenticator.with_extension("other");
    std::fs::write(&file, other).unwrap();
    is_refused("a token for another cluster", &file, sts.identity("alice"));
}

/// A token is good for 15 minutes from its signature.
async fn an_old_token_is_refused(plane: &ControlPlane, sts: &Sts, users: &Users) {
    let reviews: Api<TokenReview> = Api::all(plane.client());
    for (age, accepted) in [(Duration::from_secs(5), true), (Duration::from_mins(20), false)] {
        let token = sts.token(sts.identity("alice"), &users.cluster_id, age).unwrap();
        let spec = TokenReviewSpec { token: Some(token), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
        assert_eq!(answer.authenticated.unwrap_or(false), accepted, "{age:?}: {answer:?}");
    }
}

/// Logs in with a token of its own each time, so that the API server's cache does not answer.
async fn logs_in(client: Client, token: String) -> bool {
    let reviews: Api<TokenReview> = Api::all(client);
    let spec = TokenReviewSpec { token: Some(token), ..TokenReviewSpec::default() };
    let review = TokenReview { spec, ..TokenReview::default() };
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
    answer.authenticated.unwrap_or(false)
}

async fn five_hundred_logins_fit_into_the_memory(machine: &Machine, sts: &Sts, users: &Users) {
    let tokens = sts.tokens(sts.identity("alice"), &users.cluster_id, 500).unwrap();
    let plane = machine.control_plane();
    let accepted: Vec<bool> = futures::stream::iter(tokens)
        .map(|token| logs_in(plane.client(), token))
        .buffer_unordered(20)
        .collect()
        .await;
    assert_eq!((accepted.len(), accepted.iter().all(|in_| *in_)), (500, true));
    let script = r"for d in /proc/[0-9]*; do
        tr '\0' ' ' <$d/cmdline 2>/dev/null | grep -q '^/aws-iam-authenticator server' && grep -E '^(RssAnon|VmHWM|VmRSS)' $d/status
        done; true";
    let output = machine.command(Path::new("sh")).args(["-c", script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    eprintln!(
        "          memory of the authenticator after 500 logins, 20 at a time: {}",
        text.replace('\n', "; ").replace('\t', " ")
    );
    let peak = text
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    assert!(peak.expect("its memory") < 128 * 1024, "{text}");
    let restarts = r"jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let mut kubectl = plane.kubectl().unwrap();
    kubectl.args([
        "-n",
        "kube-system",
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/name=aws-iam-authenticator",
        "-o",
        restarts,
    ]);
    assert_eq!(String::from_utf8(kubectl.output().unwrap().stdout).unwrap(), "0 0");
}

/// Starts the operator with its clock eight months behind: what it issues is old at once.
fn start_with_the_clock_back(site: &Site) {
    let behind = r#"[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--clock-ahead=-21600000"},
        {"op":"replace","path":"/spec/replicas","value":2}]"#;
    site.kubectl(&["-n", "awsiam-system", "patch", "deployment", "awsiam", "--type=json", "-p", behind]);
    site.kubectl(&["-n", "awsiam-system", "rollout", "status", "deployment", "awsiam"]);
}

/// Moves the operator's clock eight months forward, to what it is elsewhere, and measures for how long nobody gets in.
async fn the_leaf_is_renewed(machine: &Machine, sts: &Sts, users: &Users, site: &Site) -> Duration {
    let serving = || {
        let path = r"jsonpath={.data.tls\.crt}";
        site.kubectl(&["-n", "kube-system", "get", "secret", "aws-iam-authenticator-serving", "-o", path])
    };
    let before = serving();
    // The argument that was put at the end goes again; the chart's own are as they were.
    let deployment = site.kubectl(&["-n", "awsiam-system", "get", "deployment", "awsiam", "-o", "json"]);
    let deployment: serde_json::Value = serde_json::from_str(&deployment).unwrap();
    let last = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().len() - 1;
    let forward = json!([{"op": "remove", "path": format!("/spec/template/spec/containers/0/args/{last}")}])
        .to_string();
    site.kubectl(&["-n", "awsiam-system", "patch", "deployment", "awsiam", "--type=json", "-p", &forward]);
    let end = Instant::now() + DEADLINE;
    let tokens = sts.tokens(sts.identity("alice"), &users.cluster_id, 800).unwrap();
    let (mut refused_since, mut gap) = (None::<Instant>, Duration::ZERO);
    for token in tokens {
        assert!(Instant::now() < end, "the pods were not restarted");
        if logs_in(machine.control_plane().client(), token).await {
            gap = gap.max(refused_since.take().map_or(Duration::ZERO, |since| since.elapsed()));
            if !gap.is_zero() && serving() != before {
                break;
            }
        } else {
            refused_since.get_or_insert_with(Instant::now);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(serving() != before, "the certificate is the old one");
    assert!(
        !gap.is_zero(),
        "the pods were not restarted: {}\n{}",
        site.kubectl(&["-n", "kube-system", "get", "pods,daemonsets", "-o", "wide"]),
        site.try_kubectl(&["-n", "awsiam-system", "logs", "deployment/awsiam", "--tail=30"])
            .unwrap_or_default()
    );
    site.condition("AuthenticatorReady", "True", "RolledOut");
    gap
}

fn logins_go_on_without_the_ca(machine: &Machine, sts: &Sts, users: &Users, site: &Site) {
    let name = "prod-aws-iam-authenticator-ca";
    let kept = site.kubectl(&["get", "secret", name, "-o", "json"]);
    site.kubectl(&["delete", "secret", name]);
    site.condition("AuthenticatorReady", "False", "CALost");
    machine.whoami(sts, &users.authenticator, sts.identity("alice")).unwrap();
    let mut secret: serde_json::Value = serde_json::from_str(&kept).unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        secret["metadata"].as_object_mut().unwrap().remove(field);
    }
    apply(machine.control_plane(), &secret.to_string()).unwrap();
    site.condition("AuthenticatorReady", "True", "RolledOut");
}

/// The backend of an AWSIamConfig never changes; a Cluster refers to another one instead.
fn mappings_move_to_objects_and_back(machine: &Machine, sts: &Sts, users: &Users, site: &Site) {
    let mut config: serde_json::Value =
        serde_json::from_str(&site.kubectl(&["get", "awsiamconfig", "team", "-o", "json"])).unwrap();
    let objects = json!({"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {"name": "objects", "namespace": "default"},
        "spec": config["spec"].as_object_mut().map(|spec| { spec.insert("backendMode".into(), json!(["CRD", "EKSConfigMap"])); spec.clone() })});
    apply(machine.control_plane(), &objects.to_string()).unwrap();
    let refer = |name: &str| {
        let patch =
            json!({"spec": {"identityProviderRefs": [{"kind": "AWSIamConfig", "name": name}]}}).to_string();
        site.kubectl(&["patch", "clusters.anywhere.eks.amazonaws.com", "prod", "--type=merge", "-p", &patch]);
    };
    let entries =
        || site.kubectl(&["-n", "kube-system", "get", "configmap", "aws-auth", "-o", "jsonpath={.data}"]);
    let is = |identity: &str, username: &str| {
        let who = machine.whoami(sts, &users.authenticator, sts.identity(identity));
        assert_eq!(who.unwrap_or_else(|error| panic!("{identity}: {error}")).username, username);
    };
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        let end = Instant::now() + DEADLINE;
        while !is_so() {
            assert!(
                Instant::now() < end,
                "{what} did not come; aws-auth: {}\n{}",
                entries(),
                site.kubectl(&["get", "clusters.anywhere.eks.amazonaws.com", "prod", "-o", "yaml"])
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    refer("objects");
    wait("the end of the move to objects", &|| !entries().contains("user/team/ops/alice"));
    site.condition("AwsAuthSynced", "True", "Synced");
    is("alice", "alice");
    is("developer", "developer");
    is("visitor", "arn:aws:iam::210987654321:role/visitors");
    let listed = site.kubectl(&["get", "iamidentitymappings.iamauthenticator.k8s.aws", "-o", "name"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    refer("team");
    wait("the end of the move back", &|| {
        let names = ["get", "iamidentitymappings.iamauthenticator.k8s.aws", "-o", "name"];
        site.try_kubectl(&names).unwrap_or_default().is_empty()
    });
    site.condition("Ready", "True", "Ready");
    is("alice", "alice");
}

async fn nothing_of_ours_is_left(plane: &ControlPlane, site: &Site) {
    let end = Instant::now() + DEADLINE;
    let listed =
        ["get", "serviceaccounts,roles,rolebindings,configmaps,secrets,daemonsets", "-A", "-o", "name"];
    let selector = ["-l", "app.kubernetes.io/managed-by=awsiam-operator"];
    loop {
        let left = site.kubectl(&[&listed[..], &selector[..]].concat());
        let left: Vec<&str> =
            left.lines().filter(|line| !line.starts_with("configmap/aws-auth-history-")).collect();
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "left: {left:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let config_maps: Api<ConfigMap> = Api::namespaced(plane.client(), "kube-system");
    let aws_auth = config_maps.get("aws-auth").await.unwrap();
    assert_eq!(aws_auth.data.unwrap()["mapRoles"], FOREIGN);
    assert!(aws_auth.metadata.annotations.unwrap_or_default().keys().all(|key| !key.contains("ledger")));
}

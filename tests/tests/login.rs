//! People log in to a real API server with AWS identities, through the real authenticator: in a pod on a test machine,
//! and as a process beside a control plane without nodes. AWS STS alone is played.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use awsiam_tests::authenticator::{self, Process, Serving};
use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::login::{TokenBy, user_kubeconfig, whoami};
use awsiam_tests::machine::{Machine, MachineError, requirements};
use awsiam_tests::stage::apply;
use awsiam_tests::sts::{Accounts, Identity, Sts};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::Api;
use kube::runtime::wait::await_condition;
use serde_json::json;

const CLUSTER_ID: &str = "login-test";
const NAMESPACE: &str = "authenticator";
const PORT: u16 = 21362;
/// For what takes seconds, on a machine that may be compiling at the same time.
const DEADLINE: Duration = Duration::from_secs(90);

/// Who is mapped, and to what. The role's entry has no path: the authenticator never sees one.
const AWS_AUTH: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: aws-auth, namespace: kube-system}
data:
  mapRoles: |
    - rolearn: arn:aws:iam::123456789012:role/developers
      username: developer
      groups: [devs, readers]
    - rolearn: arn:aws:iam::123456789012:role/admins
      username: "admin:{{SessionName}}"
      groups: [admins]
  mapUsers: |
    - userarn: arn:aws:iam::123456789012:user/team/ops/alice
      username: alice
      groups: [operators]
  mapAccounts: |
    - "210987654321"
"#;

/// The authenticator may read `aws-auth` and nothing else.
const RIGHTS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: authenticator}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: authenticator, namespace: authenticator}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: authenticator, namespace: kube-system}
rules:
- {apiGroups: [''], resources: [configmaps], resourceNames: [aws-auth], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: authenticator, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: authenticator}
subjects: [{kind: ServiceAccount, name: authenticator, namespace: authenticator}]
";

#[tokio::test]
async fn aws_identities_log_in_through_an_authenticator_in_a_pod() {
    let started = Instant::now();
    let mut machine = match Machine::start().await {
        Err(error @ MachineError::Missing(_)) => {
            // The other test still shows the same logins, with the authenticator as a process.
            requirements::tell_skipped("login", &error);
            return;
        }
        started => started.unwrap(),
    };
    eprintln!("machine ready after {:.1?}", started.elapsed());
    let sts = Sts::start(machine.control_plane(), &accounts()).await.unwrap();
    eprintln!("STS ready after {:.1?}", started.elapsed());
    let serving = Serving::new().unwrap();
    deploy_by_hand(&machine, &sts, &serving).await;
    eprintln!("authenticator ready after {:.1?}", started.elapsed());
    let url = format!("https://127.0.0.1:{PORT}/authenticate");
    let webhook = ControlPlane::webhook_kubeconfig(&url, &serving.authority);
    machine.control_plane_mut().use_webhook(&webhook).await.unwrap();
    eprintln!("webhook in use after {:.1?}", started.elapsed());
    everybody_is_who_they_should_be(machine.control_plane(), &sts).await;
    eprintln!("all logins after {:.1?}", started.elapsed());
    drop(machine);
    eprintln!("all gone after {:.1?}", started.elapsed());
}

#[tokio::test]
async fn aws_identities_log_in_through_an_authenticator_beside_the_api_server() {
    let mut plane = ControlPlane::start().await.unwrap();
    let sts = Sts::start(&plane, &accounts()).await.unwrap();
    let serving = Serving::new().unwrap();
    apply(&plane, RIGHTS).unwrap();
    apply(&plane, AWS_AUTH).unwrap();
    let kubeconfig = plane.service_account_kubeconfig(NAMESPACE, "authenticator").await.unwrap();
    let authority = plane.folder().join("sts-authority.crt");
    std::fs::write(&authority, sts.authority()).unwrap();
    let mut environment = sts.server_environment();
    environment.push(no_metadata());
    environment.push(("SSL_CERT_FILE".to_owned(), authority.display().to_string()));
    let process = Process::start(&plane, &kubeconfig, CLUSTER_ID, &serving, &environment).await.unwrap();
    let webhook = ControlPlane::webhook_kubeconfig(process.url(), &serving.authority);
    plane.use_webhook(&webhook).await.unwrap();
    everybody_is_who_they_should_be(&plane, &sts).await;
}

/// Saves time, and nothing else: without it the server asks for EC2's instance metadata for four seconds after it began
/// to listen, and answers nobody meanwhile.
fn no_metadata() -> (String, String) {
    ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned())
}

fn accounts() -> Accounts {
    Accounts::default()
        .user("alice", "/team/ops/")
        .user("mallory", "/")
        .session("developer", "arn:aws:iam::123456789012:role/team/x/developers", "laptop")
        .session("administrator", "arn:aws:iam::123456789012:role/admins", "carol@example.com")
        .session("visitor", "arn:aws:iam::210987654321:role/visitors", "visit")
}

/// What both tests show.
async fn everybody_is_who_they_should_be(plane: &ControlPlane, sts: &Sts) {
    let kubeconfig = user_kubeconfig(plane, TokenBy::Authenticator, CLUSTER_ID).unwrap();
    let login = Login { plane, sts };
    login.becomes_possible(&kubeconfig, sts.identity("alice")).await;

    login.is(&kubeconfig, "alice", "alice", &["operators"]);
    login.is(&kubeconfig, "developer", "developer", &["devs", "readers"]);
    login.is(&kubeconfig, "administrator", "admin:carol-example.com", &["admins"]);
    login.is(&kubeconfig, "visitor", "arn:aws:iam::210987654321:role/visitors", &[]);

    let alice = sts.identity("alice");
    login.is_refused("an unmapped user", &kubeconfig, sts.identity("mallory"));
    login.is_refused("a wrong secret", &kubeconfig, &alice.with_wrong_secret());
    let other = user_kubeconfig(plane, TokenBy::Authenticator, "another-cluster").unwrap();
    login.is_refused("a token for another cluster", &other, alice);

    let by_aws_cli = user_kubeconfig(plane, TokenBy::AwsCli, CLUSTER_ID).unwrap();
    login.is(&by_aws_cli, "alice", "alice", &["operators"]);
    login.is(&by_aws_cli, "developer", "developer", &["devs", "readers"]);
}

struct Login<'a> {
    plane: &'a ControlPlane,
    sts: &'a Sts,
}

impl Login<'_> {
    /// The authenticator is ready before it has read its mappings.
    async fn becomes_possible(&self, kubeconfig: &Path, identity: &Identity) {
        let started = Instant::now();
        while let Err(error) = whoami(self.plane, self.sts, kubeconfig, identity) {
            assert!(started.elapsed() < DEADLINE, "no login within {DEADLINE:?}: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn is(&self, kubeconfig: &Path, identity: &str, username: &str, groups: &[&str]) {
        let who = whoami(self.plane, self.sts, kubeconfig, self.sts.identity(identity));
        let who = who.unwrap_or_else(|error| panic!("{identity} does not get in: {error}"));
        assert_eq!(who.username, username);
        let expected: Vec<&str> = groups.iter().copied().chain(["system:authenticated"]).collect();
        assert_eq!(who.groups, expected, "groups of {identity}");
    }

    fn is_refused(&self, what: &str, kubeconfig: &Path, identity: &Identity) {
        let error = whoami(self.plane, self.sts, kubeconfig, identity).expect_err(what);
        assert!(error.contains("Unauthorized"), "{what} ends otherwise: {error}");
    }
}

/// Puts the authenticator on the machine's node, as an administrator without an operator would.
async fn deploy_by_hand(machine: &Machine, sts: &Sts, serving: &Serving) {
    let plane = machine.control_plane();
    let image = authenticator::image("awsiam.test/aws-iam-authenticator:1", sts.authority()).unwrap();
    let archive = machine.folder().join("authenticator.tar");
    image.write(&archive).unwrap();
    machine.import_image(&archive).unwrap();
    apply(plane, RIGHTS).unwrap();
    apply(plane, AWS_AUTH).unwrap();
    let state = PathBuf::from("/var/aws-iam-authenticator");
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "authenticator", "namespace": NAMESPACE },
        "type": "kubernetes.io/tls",
        "data": {
            "tls.crt": STANDARD.encode(&serving.certificate),
            "tls.key": STANDARD.encode(&serving.key),
        },
    });
    let settings = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "authenticator", "namespace": NAMESPACE },
        "data": { "config.yaml": authenticator::configuration(CLUSTER_ID, PORT, &state) },
    });
    for manifest in [&secret, &settings, &daemon_set(image.name(), &state, sts)] {
        apply(plane, &manifest.to_string()).unwrap();
    }
    let daemon_sets: Api<DaemonSet> = Api::namespaced(plane.client(), NAMESPACE);
    let available = await_condition(daemon_sets.clone(), "authenticator", is_available);
    if tokio::time::timeout(DEADLINE, available).await.is_err() {
        let pods = plane.kubectl().unwrap().args(["describe", "pods", "-n", NAMESPACE]).output().unwrap();
        panic!("the authenticator isn't available:\n{}", String::from_utf8_lossy(&pods.stdout));
    }
}

fn daemon_set(image: &str, state: &Path, sts: &Sts) -> serde_json::Value {
    let environment: Vec<_> = sts
        .server_environment()
        .into_iter()
        .chain([no_metadata()])
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let container = json!({
        "name": "authenticator",
        "image": image,
        "imagePullPolicy": "Never",
        "args": [
            "server",
            "--config=/etc/authenticator/config.yaml",
            format!("--state-dir={}", state.display()),
            "--kubeconfig-pregenerated=true",
            "--backend-mode=EKSConfigMap",
        ],
        "env": environment,
        "readinessProbe": {
            "httpGet": { "scheme": "HTTPS", "host": "127.0.0.1", "port": PORT, "path": "/healthz" },
            "periodSeconds": 1,
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        },
        "volumeMounts": [
            { "name": "settings", "mountPath": "/etc/authenticator" },
            { "name": "state", "mountPath": state, "readOnly": true },
        ],
    });
    let secret = json!({
        "secretName": "authenticator",
        "defaultMode": 0o440,
        "items": [{ "key": "tls.crt", "path": "cert.pem" }, { "key": "tls.key", "path": "key.pem" }],
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": "authenticator", "namespace": NAMESPACE },
        "spec": {
            "selector": { "matchLabels": { "app": "authenticator" } },
            "template": {
                "metadata": { "labels": { "app": "authenticator" } },
                "spec": {
                    "serviceAccountName": "authenticator",
                    "hostNetwork": true,
                    "nodeSelector": { "node-role.kubernetes.io/control-plane": "" },
                    "tolerations": [{ "operator": "Exists" }],
                    "terminationGracePeriodSeconds": 2,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "fsGroup": 65532,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [container],
                    "volumes": [
                        { "name": "settings", "configMap": { "name": "authenticator" } },
                        { "name": "state", "secret": secret },
                    ],
                },
            },
        },
    })
}

fn is_available(daemon_set: Option<&DaemonSet>) -> bool {
    let status = daemon_set.and_then(|set| set.status.as_ref());
    status.is_some_and(|status| status.desired_number_scheduled == 1 && status.number_available == Some(1))
}

//! Rollout HostPath on the real node: the file is written, mended, and brought to another CA; a writer that fails is
//! told and disturbs nobody. The API server reads that very file.

use std::path::Path;

use awsiam_authenticator::certificate::Authority;
use awsiam_tests::machine::Machine;
use awsiam_tests::site::Site;
use awsiam_tests::sts::Sts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Users;
use super::port::{PODS, Taken};

/// On the node.
const FILE: &str = "/etc/kubernetes/awsiam/token-webhook.yaml";
const CA: &str = "prod-aws-iam-authenticator-ca";

/// Leaves the Cluster with rollout Manual, as it was, and with another CA.
pub(crate) async fn a_daemon_set_keeps_the_file(
    machine: &mut Machine,
    sts: &Sts,
    users: &Users,
    site: &Site,
) {
    set_rollout(site, "HostPath");
    is_written(machine, site);
    assert_eq!(shell(machine, &format!("stat -c '%a %U:%G' {FILE}")).unwrap().trim(), "640 root:root");
    // The one that is there is not written again: its inode stays.
    let inode = || shell(machine, &format!("stat -c %i {FILE}")).unwrap();
    let before = inode();
    machine.control_plane_mut().use_webhook_file(Path::new(FILE)).await.unwrap();
    site.condition("ApiServerConfigured", "True", "Configured");
    logs_in(machine, sts, users, site);
    let inode = shell(machine, &format!("stat -c %i {FILE}")).unwrap();
    assert_eq!(inode, before);

    shell(machine, &format!("echo altered >{FILE}")).unwrap();
    is_written(machine, site);
    // A folder can't be written over: that is for somebody to look at.
    shell(machine, &format!("rm {FILE} && mkdir {FILE}")).unwrap();
    site.eventually("the writer's last words", || {
        let said = site.said("ApiServerConfigured");
        let is_told = said.starts_with("False WebhookFileNotWritten") && said.contains("node awsiam-node: ");
        if is_told && said.contains("is a folder") { Ok(()) } else { Err(said) }
    });
    assert!(site.said("AuthenticatorReady").starts_with("True RolledOut"));
    logs_in(machine, sts, users, site);
    shell(machine, &format!("rmdir {FILE}")).unwrap();
    // The writer, which failed, waits for a while before it tries again; the port is taken meanwhile.
    Taken::from_the_authenticator(machine, site).give_back(site);
    is_written(machine, site);
    site.condition("AuthenticatorReady", "True", "RolledOut");
    site.condition("ApiServerConfigured", "True", "Configured");

    exchange_the_ca(machine, sts, users, site).await;

    // Without being asked for the DaemonSet goes, and the file stays.
    set_rollout(site, "Manual");
    site.eventually("the writer to go", || {
        let there = site.kubectl(&["-n", "kube-system", "get", "pods,daemonsets", "-o", "name"]);
        if there.contains("awsiam-webhook-file") { Err(there) } else { Ok(()) }
    });
    is_written(machine, site);
}

/// As the runbook says, with the file's way to the node left to the DaemonSet.
async fn exchange_the_ca(machine: &mut Machine, sts: &Sts, users: &Users, site: &Site) {
    let old = site.kubectl(&["get", "secret", CA, "-o", r"jsonpath={.data.cert\.pem}"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let new = Authority::new(rcgen::KeyPair::generate().unwrap(), i64::try_from(now).unwrap()).unwrap();
    let both = json!({"metadata": {"annotations": {"awsiam-operator.dev/use-ca": "true"}}, "data": {
        "cert.pem": STANDARD.encode(new.certificate_pem()), "key.pem": STANDARD.encode(new.key_pem()), "trusted.pem": old}});
    let before = pod(site);
    site.kubectl(&["patch", "secret", CA, "--type=merge", "-p", &both.to_string()]);
    is_written(machine, site);
    machine.control_plane_mut().use_webhook_file(Path::new(FILE)).await.unwrap();
    site.condition("ApiServerConfigured", "True", "Configured");
    logs_in(machine, sts, users, site);
    // What serves is of the old CA still, and was not disturbed.
    site.condition("AuthenticatorReady", "True", "RolledOut");
    assert_eq!(pod(site), before);
    let leaf = || {
        let path = r"jsonpath={.data.tls\.crt}";
        site.kubectl(&["-n", "kube-system", "get", "secret", "aws-iam-authenticator-serving", "-o", path])
    };
    let before = leaf();
    let alone = r#"{"data":{"trusted.pem":null}}"#;
    site.kubectl(&["patch", "secret", CA, "--type=merge", "-p", alone]);
    site.eventually("a leaf of the new CA", || {
        if leaf() == before { Err("the old leaf".into()) } else { Ok(()) }
    });
    site.condition("AuthenticatorReady", "True", "RolledOut");
    is_written(machine, site);
    logs_in(machine, sts, users, site);
}

/// The authenticator's pod, once there is one alone that is ready and stays: one that was deleted serves for a while.
fn pod(site: &Site) -> String {
    let path = r#"jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
    let mut pod = String::new();
    site.eventually("one pod of the authenticator", || {
        let said = site.kubectl(&["-n", "kube-system", "get", "pods", "-l", PODS, "-o", path]);
        match said.trim().split_once("  ") {
            Some((name, "True")) => name.clone_into(&mut pod),
            _ => return Err(said),
        }
        Ok(())
    });
    pod
}

fn set_rollout(site: &Site, rollout: &str) {
    let patch = json!({"spec": {"iamAuthenticator": {"apiServer": {"rollout": rollout}}}}).to_string();
    site.kubectl(&["patch", "clusters.anywhere.eks.amazonaws.com", "prod", "--type=merge", "-p", &patch]);
}

/// Waits until the file is there, as it would be printed.
fn is_written(machine: &Machine, site: &Site) {
    let wanted = || site.awsiam(&["control-plane", "default/prod", "--file-only"]);
    site.eventually("the file", || match shell(machine, &format!("cat {FILE}")) {
        Ok(text) if text == wanted() => Ok(()),
        other => Err(format!("{other:?}, and wanted is {}", wanted())),
    });
}

fn logs_in(machine: &Machine, sts: &Sts, users: &Users, site: &Site) {
    site.eventually("a login", || {
        let who = machine.whoami(sts, &users.authenticator, sts.identity("alice"))?;
        assert_eq!(who.username, "alice");
        Ok(())
    });
}

fn shell(machine: &Machine, script: &str) -> Result<String, String> {
    let output = machine.command(Path::new("sh")).args(["-c", script]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

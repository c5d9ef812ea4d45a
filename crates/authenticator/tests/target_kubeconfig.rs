//! Which kubeconfigs of a target are accepted, and what is said of the others: the field and the reason, and nothing that
//! stands in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::fmt::Write as _;

use awsiam_authenticator::certificate::Authority;
use awsiam_authenticator::target_kubeconfig::{Credentials, MAX_BYTES, TargetKubeconfig, judge};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use serde_json::{Value, json};

const TOKEN: &str = "SECRET-TOKEN-0123456789";
const SERVER: &str = "https://secret-host.example.com:6443";

fn authority() -> String {
    Authority::new(KeyPair::generate().unwrap(), 1_800_000_000).unwrap().certificate_pem().to_owned()
}

fn kubeconfig() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "admin@prod", "preferences": {},
        "clusters": [{"name": "prod", "cluster": {
            "server": SERVER, "certificate-authority-data": STANDARD.encode(authority()),
        }}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "admin@prod", "context": {"cluster": "prod", "user": "admin"}}],
    })
}

/// The kubeconfig with another value at a JSON pointer.
fn with(pointer: &str, value: Value) -> String {
    let mut kubeconfig = kubeconfig();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    kubeconfig.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(field.to_owned(), value);
    kubeconfig.to_string()
}

/// What is said of a kubeconfig that is refused; nothing that stands in it may be in there.
fn refused(text: &str) -> String {
    let refusal = judge(text).expect_err("it is refused");
    let said = format!("{refusal} {refusal:?}");
    for secret in [TOKEN, "secret-host", "SECRET", "hunter2"] {
        assert!(!said.contains(secret), "{said}");
    }
    refusal.to_string()
}

#[test]
fn what_cluster_api_writes_is_accepted() {
    let key = KeyPair::generate().unwrap();
    let (certificate, key) = (authority(), key.serialize_pem());
    let user = json!({
        "client-certificate-data": STANDARD.encode(&certificate), "client-key-data": STANDARD.encode(&key),
    });
    let text = with("/users/0/user", user);
    let yaml =
        awsiam_authenticator::kubeconfig::manifest(&serde_json::from_str::<Value>(&text).unwrap()).unwrap();
    for text in [text, yaml] {
        let TargetKubeconfig { server, authorities, tls_server_name, credentials } = judge(&text).unwrap();
        assert_eq!((server.as_str(), authorities.len(), tls_server_name), (SERVER, 1, None));
        let Credentials::Certificate { certificate_pem, key_pem } = credentials else {
            panic!("a certificate")
        };
        assert_eq!((certificate_pem, key_pem), (certificate.clone(), key.clone()));
    }
}

#[test]
fn a_token_and_harmless_extras_are_accepted_and_never_printed() {
    let mut kubeconfig = kubeconfig();
    kubeconfig["clusters"][0]["cluster"]["extensions"] = json!([{"name": "x", "extension": {"y": 1}}]);
    kubeconfig["clusters"][0]["cluster"]["tls-server-name"] = json!("api.example.com");
    kubeconfig["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = json!(false);
    kubeconfig["clusters"][0]["cluster"]["proxy-url"] = json!("");
    kubeconfig["users"][0]["user"]["exec"] = json!(null);
    kubeconfig["contexts"][0]["context"]["namespace"] = json!("default");
    let judged = judge(&kubeconfig.to_string()).unwrap();
    assert_eq!(judged.credentials, Credentials::Token(TOKEN.to_owned()));
    assert_eq!(judged.tls_server_name.as_deref(), Some("api.example.com"));
    assert!(judged.authority_pem().starts_with("-----BEGIN CERTIFICATE-----\n"));
    let printed = format!("{judged:?} {:?}", judged.credentials);
    assert_eq!(printed, "TargetKubeconfig { .. } Token(…)");
}

#[test]
fn whatever_reaches_beyond_the_document_is_refused_by_field_and_reason() {
    let exec =
        json!({"command": "touch", "args": ["/tmp/SECRET"], "apiVersion": "client.authentication.k8s.io/v1"});
    for (pointer, value, said) in [
        ("/users/0/user/exec", exec, "users[0].user.exec would run a program"),
        (
            "/users/0/user/auth-provider",
            json!({"name": "oidc"}),
            "users[0].user.auth-provider is not accepted: it would fetch",
        ),
        ("/users/0/user/tokenFile", json!("/var/run/SECRET"), "users[0].user.tokenFile would read a file"),
        (
            "/users/0/user/client-certificate",
            json!("/SECRET"),
            "users[0].user.client-certificate would read a file",
        ),
        ("/users/0/user/client-key", json!("/SECRET"), "users[0].user.client-key would read a file"),
        (
            "/users/0/user/username",
            json!("SECRET"),
            "users[0].user.username is not accepted: API servers take no passwords",
        ),
        ("/users/0/user/password", json!("hunter2"), "users[0].user.password is not accepted"),
        ("/users/0/user/as", json!("SECRET"), "users[0].user.as is not accepted: nobody is impersonated"),
        ("/users/0/user/as-groups", json!(["system:masters"]), "users[0].user.as-groups is not accepted"),
        ("/users/0/user/hunter2", json!("x"), "users[0].user holds a field that is not known"),
        (
            "/clusters/0/cluster/certificate-authority",
            json!("/SECRET"),
            "clusters[0].cluster.certificate-authority would read a file",
        ),
        (
            "/clusters/0/cluster/proxy-url",
            json!("http://SECRET:1"),
            "clusters[0].cluster.proxy-url would send the requests",
        ),
        (
            "/clusters/0/cluster/insecure-skip-tls-verify",
            json!(true),
            "clusters[0].cluster.insecure-skip-tls-verify would talk to whoever answers",
        ),
        (
            "/clusters/0/cluster/insecure-skip-tls-verify",
            json!("true"),
            "clusters[0].cluster.insecure-skip-tls-verify",
        ),
        ("/clusters/0/cluster/hunter2", json!("x"), "clusters[0].cluster holds a field that is not known"),
        (
            "/clusters/0/cluster/tls-server-name",
            json!("a b SECRET"),
            "clusters[0].cluster.tls-server-name is not a name",
        ),
        ("/contexts/0/context/hunter2", json!("x"), "contexts[0].context holds a field that is not known"),
        ("/hunter2", json!("x"), "holds a field that is not known"),
        ("/kind", json!("SECRET"), "kind does not say that this is a kubeconfig"),
        ("/users/0/user/token", json!(["SECRET"]), "users[0].user.token is not text"),
        ("/users/0/user/token", json!("SECRET TOKEN"), "users[0].user.token is not a token"),
        ("/users/0/user/token", json!("SECRET\nX: y"), "users[0].user.token is not a token"),
        ("/users/0/user/token", json!("S".repeat(20_000)), "users[0].user.token is not a token"),
        ("/users/0/user", json!({}), "users[0].user holds neither token nor"),
        (
            "/users/0/user",
            json!({"client-key-data": "SECRET"}),
            "users[0].user.client-certificate-data is missing",
        ),
        (
            "/users/0/user",
            json!({"client-certificate-data": "SECRET"}),
            "users[0].user.client-key-data is missing",
        ),
        (
            "/users/0/user",
            json!({"client-key-data": "!", "client-certificate-data": "SECRET!"}),
            "users[0].user.client-certificate-data is not text in base64",
        ),
        ("/users/0/user", json!("SECRET"), "users[0].user is not a map"),
        ("/users", json!("SECRET"), "users is not a list"),
        ("/current-context", json!("SECRET"), "current-context names an entry that is not there"),
        ("/current-context", json!(null), "current-context is missing"),
        (
            "/contexts/0/context/user",
            json!("SECRET"),
            "contexts[0].context.user names an entry that is not there",
        ),
        (
            "/contexts/0/context/cluster",
            json!("SECRET"),
            "contexts[0].context.cluster names an entry that is not there",
        ),
    ] {
        let text = refused(&with(pointer, value));
        assert!(text.starts_with(said), "{pointer}: {text}");
    }
}

#[test]
fn an_entry_that_no_context_names_is_judged_too() {
    let mut kubeconfig = kubeconfig();
    let users = kubeconfig["users"].as_array_mut().unwrap();
    users.push(json!({"name": "other", "user": {"exec": {"command": "SECRET"}}}));
    assert!(refused(&kubeconfig.to_string()).starts_with("users[1].user.exec would run a program"));
    let mut kubeconfig = self::kubeconfig();
    let first = kubeconfig["users"][0].clone();
    kubeconfig["users"].as_array_mut().unwrap().push(first);
    assert_eq!(refused(&kubeconfig.to_string()), "users[1].name has the name of an earlier entry");
}

#[test]
fn a_server_is_https_with_a_host_and_no_more() {
    for server in [
        "http://secret-host:6443",
        "https://",
        "https://admin:hunter2@secret-host",
        "https://admin@secret-host",
        "https://secret-host/?x=SECRET",
        "https://secret-host/#SECRET",
        "secret-host:6443",
        "//secret-host",
        "file:///SECRET",
        "unix:///SECRET",
        "ftp://secret-host",
        "https://secret-host:99999",
        "https://secret-host:",
        "https://secret host",
        "https:secret-host",
        "https://\\secret-host",
    ] {
        let said = refused(&with("/clusters/0/cluster/server", json!(server)));
        assert!(said.starts_with("clusters[0].cluster.server is not https://"), "{server}: {said}");
    }
    for server in [
        "https://a",
        "https://10.0.0.1:6443",
        "https://[fd00::1]:6443",
        "https://rancher.example.com/k8s/clusters/c-1",
    ] {
        assert_eq!(judge(&with("/clusters/0/cluster/server", json!(server))).unwrap().server, server);
    }
}

#[test]
fn certificates_are_pem_with_certificates_alone() {
    let field = "/clusters/0/cluster/certificate-authority-data";
    let key = KeyPair::generate().unwrap().serialize_pem();
    for (data, said) in [
        ("!".to_owned(), "is not text in base64"),
        (STANDARD.encode("SECRET"), "does not hold certificates"),
        (STANDARD.encode(format!("{}{key}", authority())), "does not hold certificates"),
        (STANDARD.encode(authority().repeat(33)), "does not hold certificates"),
        (
            STANDARD.encode("-----BEGIN CERTIFICATE-----\nU0VDUkVU\n-----END CERTIFICATE-----\n"),
            "does not hold certificates",
        ),
        (String::new(), "is missing"),
    ] {
        let text = refused(&with(field, json!(data)));
        assert!(
            text.starts_with(&format!("clusters[0].cluster.certificate-authority-data {said}")),
            "{text}"
        );
    }
}

#[test]
fn a_text_that_is_no_single_document_is_refused_by_its_place() {
    assert_eq!(refused("a: b\n---\nc: SECRET\n"), "it holds several YAML documents; one is wanted");
    assert_eq!(
        refused(&format!("{}\n---\n{}", kubeconfig(), kubeconfig())),
        "it holds several YAML documents; one is wanted"
    );
    let said =
        refused(&format!("apiVersion: v1\nusers:\n- name: x\n  user:\n    token: {TOKEN}\n   bad: SECRET\n"));
    assert!(said.starts_with("it can't be read as YAML: see line "), "{said}");
    let twice = refused(&format!("apiVersion: v1\ntoken: {TOKEN}\ntoken: {TOKEN}\n"));
    assert!(twice.starts_with("it can't be read as YAML"), "{twice}");
    for nothing in ["", "SECRET", "- SECRET", "null", "42"] {
        refused(nothing);
    }
    assert!(refused(&format!("# {}\n", "S".repeat(MAX_BYTES))).contains("longer than"));
    // A bomb of aliases.
    let mut bomb = "a0: &a0 [SECRET]\n".to_owned();
    for n in 1..40 {
        writeln!(bomb, "a{n}: &a{n} [*a{p}, *a{p}, *a{p}, *a{p}]", p = n - 1).unwrap();
    }
    assert!(refused(&bomb).starts_with("it can't be read as YAML"));
}

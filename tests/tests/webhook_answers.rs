//! What a real API server answers to a TokenReview with a token that only the authenticator can judge: from the text
//! alone one tells whether its webhook is there, answers, and is trusted. The stored answers are what the operator's
//! condition ApiServerConfigured rests on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use awsiam_tests::authenticator::{Process, Serving};
use awsiam_tests::control_plane::ControlPlane;
use kube::client::Body;
use serde_json::{Value, json};

/// The authenticator's prefix and `not-a-url` in base64: it refuses that without asking anybody.
const MALFORMED: &str = "k8s-aws-v1.bm90LWEtdXJs";
/// Whatever isn't the authenticator's at all.
const FOREIGN: &str = "not-a-token";
const DEADLINE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn each_state_of_the_webhook_has_an_answer_of_its_own() {
    let mut plane = ControlPlane::start().await.unwrap();
    let version = plane.client().apiserver_version().await.unwrap().git_version;
    let serving = Serving::new().unwrap();
    let kubeconfig = plane.kubeconfig_path().to_owned();
    // It would look for EC2's metadata service before it answers.
    let no_metadata = [("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned())];
    let process = Process::start(&plane, &kubeconfig, "answers", &serving, &no_metadata).await.unwrap();
    let url = process.url().to_owned();
    let mut seen = BTreeMap::new();

    seen.insert("no webhook", review(&plane, MALFORMED).await);
    seen.insert("no webhook, foreign token", review(&plane, FOREIGN).await);

    plane.use_webhook(&ControlPlane::webhook_kubeconfig(&url, &serving.authority)).await.unwrap();
    becomes_refused(&plane).await;
    seen.insert("webhook refuses", review(&plane, MALFORMED).await);
    seen.insert("webhook refuses, foreign token", review(&plane, FOREIGN).await);

    let nothing_there = url.replace("/authenticate", "/nothing");
    plane.use_webhook(&ControlPlane::webhook_kubeconfig(&nothing_there, &serving.authority)).await.unwrap();
    seen.insert("something else answers", review(&plane, MALFORMED).await);

    // The authority was made anew under its old name, or it is somebody else's.
    let remade = Serving::new().unwrap().authority;
    plane.use_webhook(&ControlPlane::webhook_kubeconfig(&url, &remade)).await.unwrap();
    seen.insert("certificate not trusted, authority made anew", review(&plane, MALFORMED).await);
    let another = std::fs::read_to_string(plane.folder().join("ca.crt")).unwrap();
    plane.use_webhook(&ControlPlane::webhook_kubeconfig(&url, &another)).await.unwrap();
    seen.insert("certificate not trusted, another authority", review(&plane, MALFORMED).await);

    drop(process);
    plane.use_webhook(&ControlPlane::webhook_kubeconfig(&url, &serving.authority)).await.unwrap();
    seen.insert("connection refused", review(&plane, MALFORMED).await);

    // Somebody listens and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("https://{}/authenticate", silent.local_addr().unwrap());
    plane.use_webhook(&ControlPlane::webhook_kubeconfig(&silent_url, &serving.authority)).await.unwrap();
    seen.insert("no answer", review(&plane, MALFORMED).await);

    let seen = without_ports(&serde_json::to_string_pretty(&json!(seen)).unwrap());
    let file = stored(&version);
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file.file_name().unwrap());
    std::fs::write(&copy, seen.clone() + "\n").unwrap();
    assert_eq!(
        seen,
        expected.trim_end(),
        "{version} doesn't answer what {} says; what it answers is in {}",
        file.display(),
        copy.display()
    );
}

/// What an administrator is answered: HTTP status, and `status` of the TokenReview (or the whole Status of an error).
/// How long it took is told, but not part of the answer.
async fn review(plane: &ControlPlane, token: &str) -> Value {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": token },
    });
    let request = http::Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
        .header("content-type", "application/json")
        .body(Body::from(review.to_string().into_bytes()))
        .unwrap();
    let asked = Instant::now();
    let answer = plane.client().send(request).await.unwrap();
    let code = answer.status().as_u16();
    let body: Value = serde_json::from_slice(&answer.into_body().collect_bytes().await.unwrap()).unwrap();
    eprintln!("answered after {:.1?}", asked.elapsed());
    json!({ "code": code, "kind": body["kind"], "status": body["status"] })
}

/// The authenticator listens before it can answer.
async fn becomes_refused(plane: &ControlPlane) {
    let started = Instant::now();
    while review(plane, MALFORMED).await["status"].get("error").is_none() {
        assert!(started.elapsed() < DEADLINE, "the webhook never answers");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn stored(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("webhook-answers/{version}.json"))
}

/// Ports are another one each time.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| {
        text + "127.0.0.1:PORT" + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

//! Kubeconfigs and API servers that mean harm: each is refused or bounded, its neighbour is served as ever, and the secret is
//! nowhere to be read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

mod server;

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use awsiam_controller::Options;
use awsiam_tests::fleet::{self, put_kubeconfig};
use awsiam_tests::stage::{Running, Stage};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use server::{Hostile, TOKEN, answer, begin, chunk, harmless, kubeconfig};

/// Everything that was logged.
static LOGS: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Logs;

impl Write for Logs {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        LOGS.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A namespace of one's own, with everything that is logged kept: ours and kube's at any level.
async fn set() -> Stage {
    let filter = tracing_subscriber::EnvFilter::new(
        "info,awsiam_controller=trace,kube_client=trace,kube_runtime=debug",
    );
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| Logs);
    // Only the first test of the program sets it.
    let _ = logs.try_init();
    fleet::namespace().await
}

async fn operator(stage: &Stage) -> Running {
    fleet::operator(stage.plane, fleet::options(&[stage])).await
}

/// A Cluster `bad` with this kubeconfig, and an operator.
async fn serve(stage: &Stage, kubeconfig: &str) -> Running {
    make(stage, kubeconfig).await;
    operator(stage).await
}

async fn make(stage: &Stage, kubeconfig: &str) {
    stage.config("team", &[("Dev", "dev", &["viewers"])]).await;
    put_kubeconfig(stage, "bad", kubeconfig).await;
    fleet::cluster(stage, "bad", &["team"], json!({})).await;
}

/// That nothing shows the token: no object in the namespace but the Secret, no Event, no log.
async fn nothing_shows(stage: &Stage, secret: &str) {
    let cluster = serde_json::to_string(&stage.clusters().get("bad").await.unwrap()).unwrap();
    assert!(!cluster.contains(secret), "{cluster}");
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let events = serde_json::to_string(&events.list(&ListParams::default()).await.unwrap().items).unwrap();
    assert!(!events.contains(secret), "{events}");
    let logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    let logs = String::from_utf8_lossy(&logs);
    let shown = logs.lines().find(|line| line.contains(secret));
    assert_eq!(shown.map(|line| line.chars().take(400).collect::<String>()), None);
}

/// Serves a hostile server until it is reported as unreachable for this reason.
async fn is_unreachable(hostile: &Hostile, why: &str) {
    let stage = set().await;
    let operator = serve(&stage, &hostile.kubeconfig().to_string()).await;
    let message = stage.condition_of("bad", "TargetReachable", "False", "Unreachable").await;
    assert!(message.contains(why), "{message}");
    assert!(message.contains("can't be used since 20"), "{message}");
    nothing_shows(&stage, TOKEN).await;
    operator.stop().await;
}

#[tokio::test]
async fn kubeconfigs_that_reach_beyond_themselves_are_refused_by_field() {
    let stage = set().await;
    let touched = std::env::temp_dir().join(format!("awsiam-exec-{}", std::process::id()));
    let good = kubeconfig("https://127.0.0.1:1", "-").to_string();
    make(&stage, &good).await;
    // It looks again three times a second, for the many cases.
    let options = Options { resync: Duration::from_millis(300), ..fleet::options(&[&stage]) };
    let operator = fleet::operator(stage.plane, options).await;
    let said = stage.condition_of("bad", "TargetReachable", "False", "KubeconfigRefused").await;
    assert!(
        said.contains("clusters[0].cluster.certificate-authority-data does not hold certificates"),
        "{said}"
    );

    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "interactiveMode": "Never",
        "args": [touched.to_str().unwrap()],
    });
    let hostile = Hostile::start(harmless);
    let cases = [
        ("/users/0/user/exec", exec, "users[0].user.exec would run a program"),
        (
            "/users/0/user/auth-provider",
            json!({"name": "oidc", "config": {"id-token": TOKEN}}),
            "users[0].user.auth-provider",
        ),
        (
            "/users/0/user/tokenFile",
            json!("/var/run/secrets/kubernetes.io/serviceaccount/token"),
            "users[0].user.tokenFile would read a file",
        ),
        (
            "/users/0/user/client-certificate",
            json!("/etc/passwd"),
            "users[0].user.client-certificate would read a file",
        ),
        ("/users/0/user/client-key", json!("/etc/passwd"), "users[0].user.client-key would read a file"),
        (
            "/clusters/0/cluster/certificate-authority",
            json!("/etc/passwd"),
            "clusters[0].cluster.certificate-authority would read a file",
        ),
        (
            "/clusters/0/cluster/proxy-url",
            json!("http://127.0.0.1:1"),
            "clusters[0].cluster.proxy-url would send",
        ),
        (
            "/clusters/0/cluster/insecure-skip-tls-verify",
            json!(true),
            "clusters[0].cluster.insecure-skip-tls-verify would talk",
        ),
        (
            "/clusters/0/cluster/server",
            json!(format!("http://127.0.0.1:{}", hostile.port)),
            "clusters[0].cluster.server is not https",
        ),
        (
            "/clusters/0/cluster/server",
            json!(format!("https://{TOKEN}@127.0.0.1")),
            "clusters[0].cluster.server is not https",
        ),
    ];
    for (pointer, value, said) in cases {
        let mut bad = hostile.kubeconfig();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[field] = value;
        refused(&stage, &bad.to_string(), said).await;
    }
    let good = hostile.kubeconfig();
    refused(&stage, &format!("{good}\n---\n{good}"), "it holds several YAML documents").await;
    refused(&stage, &format!("token: {TOKEN}\n  x: ["), "it can't be read as YAML").await;
    assert!(!touched.exists(), "the program of the kubeconfig was run");
    assert_eq!(hostile.asked(), 0, "no request was sent for any of them");

    // Put right, it is used at once.
    put_kubeconfig(&stage, "bad", &good.to_string()).await;
    stage.condition_of("bad", "TargetReachable", "True", "Reachable").await;
    assert!(hostile.asked() > 0);
    operator.stop().await;
}

async fn refused(stage: &Stage, kubeconfig: &str, said: &str) {
    put_kubeconfig(stage, "bad", kubeconfig).await;
    stage
        .eventually(said, async || {
            let message = stage.condition_of("bad", "TargetReachable", "False", "KubeconfigRefused").await;
            if message.contains(said) { Ok(()) } else { Err(message) }
        })
        .await;
    nothing_shows(stage, TOKEN).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = hits.clone();
    std::thread::spawn(move || {
        elsewhere.incoming().for_each(|_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
    });
    for code in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let hostile = Hostile::start(move |_, connection| {
            let head = format!(
                "HTTP/1.1 {code}\r\nlocation: https://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n"
            );
            connection.write_all(head.as_bytes())?;
            Ok(true)
        });
        is_unreachable(&hostile, "redirect").await;
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let hostile = Hostile::start(|_, connection| {
        begin(connection)?;
        loop {
            chunk(connection, &vec![b' '; 65536])?;
        }
    });
    is_unreachable(&hostile, "the answer is larger than 4 MiB").await;
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let hostile = Hostile::start(|_, connection| {
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n{\"items\":[")?;
        loop {
            connection.write_all(&vec![b'x'; 65536])?;
        }
    });
    is_unreachable(&hostile, "the answer is larger than 4 MiB").await;
}

#[tokio::test]
async fn a_server_that_never_begins_to_answer_is_given_up() {
    let hostile = Hostile::start(|_, connection| {
        // A head that never ends, byte by byte.
        for byte in b"HTTP/1.1 200 OK\r\nx: ".iter().chain(std::iter::repeat(&b'y')) {
            connection.write_all(&[*byte])?;
            connection.flush()?;
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(false)
    });
    is_unreachable(&hostile, "no answer within 10 s").await;
}

#[tokio::test]
async fn an_answer_that_trickles_is_given_up() {
    let hostile = Hostile::start(|_, connection| {
        begin(connection)?;
        loop {
            chunk(connection, b" ")?;
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    is_unreachable(&hostile, "the answer was not complete after 20 s").await;
}

#[tokio::test]
async fn a_server_that_never_speaks_tls_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    let authority = Hostile::start(harmless).kubeconfig();
    let mut silent = authority;
    silent["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{port}"));
    let stage = set().await;
    let operator = serve(&stage, &silent.to_string()).await;
    stage.condition_of("bad", "TargetReachable", "False", "Unreachable").await;
    nothing_shows(&stage, TOKEN).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_server_with_another_certificate_is_not_talked_to() {
    let (hostile, other) = (Hostile::start(harmless), Hostile::start(harmless));
    let mut mixed = other.kubeconfig();
    mixed["clusters"][0]["cluster"]["server"] =
        hostile.kubeconfig()["clusters"][0]["cluster"]["server"].clone();
    let stage = set().await;
    let operator = serve(&stage, &mixed.to_string()).await;
    let message = stage.condition_of("bad", "TargetReachable", "False", "Unreachable").await;
    assert!(message.contains("certificate"), "{message}");
    assert_eq!(hostile.asked(), 0);
    nothing_shows(&stage, TOKEN).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_credential_that_comes_back_goes_no_further() {
    // In a refusal, in an answer that is no JSON, in an object, and in a watch.
    type Say = fn(&str) -> (&'static str, String);
    let ways: [Say; 3] = [
        |said| ("403 Forbidden", status(403, said)),
        |said| ("200 OK", format!("not json: {said}")),
        |said| ("200 OK", json!({"metadata": {"name": "kube-system", "uid": said}}).to_string()),
    ];
    for way in ways {
        let hostile = Hostile::start(move |asked, connection| {
            let (code, body) = way(&asked.authorization());
            answer(connection, code, &body)
        });
        is_unreachable(&hostile, "the answer repeats the credential").await;
    }
    let hostile = Hostile::start(|asked, connection| {
        if !asked.is_watch() {
            return harmless(asked, connection);
        }
        begin(connection)?;
        let error = json!({"type": "ERROR", "object": serde_json::from_str::<Value>(&status(500, &asked.authorization())).unwrap()});
        chunk(connection, format!("{error}\n").as_bytes())?;
        Ok(false)
    });
    let stage = set().await;
    let operator = serve(&stage, &hostile.kubeconfig().to_string()).await;
    stage
        .eventually("several watches", async || {
            if hostile.asked() > 5 { Ok(()) } else { Err(hostile.asked().to_string()) }
        })
        .await;
    nothing_shows(&stage, TOKEN).await;
    operator.stop().await;
}

fn status(code: u16, message: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Status", "code": code, "reason": "Forbidden", "message": message})
        .to_string()
}

#[tokio::test]
async fn a_page_of_somebody_else_is_not_quoted() {
    let hostile = Hostile::start(|_, connection| {
        answer(connection, "404 Not Found", "<html>the intranet's own page</html>")
    });
    let stage = set().await;
    let operator = serve(&stage, &hostile.kubeconfig().to_string()).await;
    let message = stage.condition_of("bad", "TargetReachable", "False", "Unreachable").await;
    assert!(message.contains("HTTP 404 Not Found") && !message.contains("intranet"), "{message}");
    nothing_shows(&stage, "the intranet").await;
    operator.stop().await;
}

#[tokio::test]
async fn servers_that_never_stop_talking_take_little_and_delay_nobody() {
    // A watch that floods, one that ends at once each time, and one whose event never ends.
    let config_map = |version: usize| {
        json!({"type": "MODIFIED", "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": "aws-auth", "namespace": "kube-system", "uid": "u", "resourceVersion": version.to_string(),
        }}})
    };
    let flood = Hostile::start(move |asked, connection| {
        if !asked.is_watch() {
            return harmless(asked, connection);
        }
        begin(connection)?;
        for version in 2.. {
            chunk(connection, format!("{}\n", config_map(version)).as_bytes())?;
        }
        Ok(false)
    });
    let closing = Hostile::start(|asked, connection| {
        if !asked.is_watch() {
            return harmless(asked, connection);
        }
        begin(connection)?;
        connection.write_all(b"0\r\n\r\n")?;
        Ok(true)
    });
    let endless = Hostile::start(|asked, connection| {
        if !asked.is_watch() {
            return harmless(asked, connection);
        }
        begin(connection)?;
        loop {
            chunk(connection, &vec![b'x'; 65536])?;
        }
    });
    let stage = set().await;
    let workload = fleet::Workload::shared().await;
    for (name, hostile) in [("bad", &flood), ("closing", &closing), ("endless", &endless)] {
        put_kubeconfig(&stage, name, &hostile.kubeconfig().to_string()).await;
    }
    let operator = serve(&stage, &flood.kubeconfig().to_string()).await;
    for name in ["closing", "endless"] {
        fleet::cluster(&stage, name, &["team"], json!({})).await;
    }
    put_kubeconfig(&stage, "good", &workload.kubeconfig()).await;
    fleet::cluster(&stage, "good", &["team"], json!({})).await;
    stage
        .eventually("the good cluster's entry", async || {
            let roles = workload.roles().await;
            if roles.contains("role/Dev") { Ok(()) } else { Err(roles) }
        })
        .await;
    let begun = Instant::now();
    let slowest = slowest_of_5(&stage, &workload).await;
    println!("beside three floods: the slowest of 5 changes took {slowest:?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    // Watches that end or break at once are taken up with backoff: a few in this time, not hundreds.
    println!(
        "in {:?}: {} requests to the one that ends watches, {} to the endless",
        begun.elapsed(),
        closing.asked(),
        endless.asked()
    );
    assert!(closing.asked() < 200 && endless.asked() < 200);
    nothing_shows(&stage, TOKEN).await;
    operator.stop().await;
}

#[tokio::test]
async fn many_servers_that_hang_on_every_request_delay_nobody() {
    // They list and watch, so they look alive; and then every other request waits for ever.
    let hostile = Hostile::start(|asked, connection| {
        if asked.is_watch() || asked.line.contains("fieldSelector=") || asked.line.contains("kube-system ") {
            return harmless(asked, connection);
        }
        std::thread::sleep(Duration::from_mins(1));
        Ok(false)
    });
    let stage = set().await;
    let workload = fleet::Workload::shared().await;
    put_kubeconfig(&stage, "good", &workload.kubeconfig()).await;
    let operator = serve(&stage, &hostile.kubeconfig().to_string()).await;
    fleet::cluster(&stage, "good", &["team"], json!({})).await;
    stage.condition_of("good", "TargetReachable", "True", "Reachable").await;
    for number in 0..40 {
        put_kubeconfig(&stage, &format!("hanging-{number}"), &hostile.kubeconfig().to_string()).await;
        fleet::cluster(&stage, &format!("hanging-{number}"), &["team"], json!({})).await;
    }
    let slowest = slowest_of_5(&stage, &workload).await;
    println!("beside 41 clusters that hang: the slowest of 5 changes took {slowest:?}");
    // Much less than the ten seconds after which one that hangs is given up.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let message = stage.condition_of("bad", "TargetReachable", "False", "Unreachable").await;
    assert!(message.contains("no answer within 10 s"), "{message}");
    operator.stop().await;
}

/// How long the slowest of five changes takes until it is in `aws-auth` of a workload cluster.
async fn slowest_of_5(stage: &Stage, workload: &fleet::Workload) -> Duration {
    let mut slowest = Duration::ZERO;
    for round in 0..5 {
        let (name, start) = (format!("Round{round}"), Instant::now());
        stage.config("team", &[(&name, "dev", &["viewers"])]).await;
        stage
            .eventually(&name, async || {
                let roles = workload.roles().await;
                if roles.contains(&name) { Ok(()) } else { Err(roles) }
            })
            .await;
        slowest = slowest.max(start.elapsed());
    }
    slowest
}

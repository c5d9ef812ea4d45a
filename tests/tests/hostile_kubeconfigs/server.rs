//! An API server that means harm, on loopback with real TLS: what it does with each request is the test's to say.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// The token of its kubeconfig: nothing may ever show it.
pub(crate) const TOKEN: &str = "SECRET-TOKEN-5f2c8e71d0";

/// A connection, after TLS.
pub(crate) type Connection = StreamOwned<ServerConnection, TcpStream>;

/// A request: the first line, and the whole head.
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) head: String,
}

impl Asked {
    pub(crate) fn is_watch(&self) -> bool {
        self.line.contains("watch=true")
    }

    pub(crate) fn authorization(&self) -> String {
        let header = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"));
        header.unwrap_or_default().to_owned()
    }
}

/// The server. Its threads end with the test program.
pub(crate) struct Hostile {
    pub(crate) port: u16,
    authority: String,
    /// How many requests there were.
    asked: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

impl Hostile {
    /// Starts one; `answer` writes what it likes, and the connection is closed when it returns false or fails.
    pub(crate) fn start(
        answer: impl Fn(&Asked, &mut Connection) -> std::io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let (config, authority) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop, answer) = (asked.clone(), stopped.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (config, count, answer) = (config.clone(), count.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut connection = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                    while let Some(asked) = request(&mut connection) {
                        count.fetch_add(1, Ordering::SeqCst);
                        if !matches!(answer(&asked, &mut connection), Ok(true)) {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, authority, asked, stopped }
    }

    /// How many requests there were so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self) -> Value {
        kubeconfig(&format!("https://127.0.0.1:{}", self.port), &self.authority)
    }
}

/// A kubeconfig with [`TOKEN`].
pub(crate) fn kubeconfig(server: &str, authority: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {
            "server": server, "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{"name": "x", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    })
}

/// TLS for 127.0.0.1, and the authority's certificate, PEM.
fn tls() -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (Arc::new(config), authority.pem())
}

/// The next request; its body is read away.
fn request(connection: &mut Connection) -> Option<Asked> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if connection.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or_default()];
    connection.read_exact(&mut body).ok()?;
    Some(Asked { line: head.lines().next()?.to_owned(), head })
}

/// A whole answer.
pub(crate) fn answer(connection: &mut Connection, status: &str, body: &str) -> std::io::Result<bool> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(body.as_bytes())?;
    connection.flush()?;
    Ok(true)
}

/// The head of an answer that has no length.
pub(crate) fn begin(connection: &mut Connection) -> std::io::Result<()> {
    connection.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    connection.flush()
}

/// A part of it.
pub(crate) fn chunk(connection: &mut Connection, data: &[u8]) -> std::io::Result<()> {
    connection.write_all(format!("{:x}\r\n", data.len()).as_bytes())?;
    connection.write_all(data)?;
    connection.write_all(b"\r\n")?;
    connection.flush()
}

/// Answers as a harmless API server would: `kube-system`, no `aws-auth`, no history, a watch without a word.
pub(crate) fn harmless(asked: &Asked, connection: &mut Connection) -> std::io::Result<bool> {
    if asked.is_watch() {
        begin(connection)?;
        std::thread::sleep(Duration::from_mins(1));
        return Ok(false);
    }
    if asked.line.contains("/namespaces/kube-system ") {
        let body = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "kube-system", "uid": "6f1b6b0e-8a53-4d4d-9a55-0f6a3f2f5e11"},
        });
        return answer(connection, "200 OK", &body.to_string());
    }
    if asked.line.contains("fieldSelector=metadata.name") {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "1"}, "items": [],
        });
        return answer(connection, "200 OK", &body.to_string());
    }
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound",
        "message": "not found",
    });
    answer(connection, "404 Not Found", &body.to_string())
}

//! A stand-in for the API server of a workload cluster: https on loopback, a port, a certificate authority and a token of its own,
//! so that a thousand targets fit on one computer. It has what the operator asks of a target whose authenticator
//! somebody else runs: namespace `kube-system` with a uid, and its ConfigMaps: get, list and watch by name, create,
//! update that is conditional on the resourceVersion, and server-side apply of a whole object.
//!
//! What it does not do: it checks no object and fills in no field but uid and resourceVersion; it knows no managed fields,
//! no rights beyond its token, no deletion, no other kind (404) and no other namespace; its history of changes has no beginning that is too
//! old, a watch gets no bookmarks, and all is lost with it. What depends on any of that is tested with real API servers.

mod answers;
mod objects;
mod served;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::served::Load;

use self::served::Served;
use crate::control_plane::certificates::Authority;

type Anything = Box<dyn std::error::Error + Send + Sync>;

/// How a stand-in treats those who ask it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It answers at once.
    #[default]
    Prompt,
    /// It answers requests on a single ConfigMap this much later; what a watch needs comes at once.
    Slow(Duration),
    /// It never answers requests on a single ConfigMap; what a watch needs comes at once.
    Silent,
}

/// A stand-in. It ends with this value.
pub struct StandIn {
    served: Arc<Served>,
    port: u16,
    authority: String,
    _end: DropGuard,
}

impl StandIn {
    /// Starts one, whose requests count in `load`.
    ///
    /// # Errors
    /// Where no certificate can be made or no port is left.
    pub async fn start(load: &Arc<Load>) -> Result<Self, Anything> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let authority = Authority::new(&format!("stand-in-{port}"))?;
        let identity = authority.server("stand-in", &["127.0.0.1"])?;
        let served = Arc::new(Served::new(port, load.clone()));
        let end = CancellationToken::new();
        let acceptor = served::acceptor(&identity)?;
        let accepting = served::accept(listener, acceptor, served.clone(), end.clone());
        tokio::spawn(end.clone().run_until_cancelled_owned(accepting));
        Ok(Self { served, port, authority: authority.certificate().to_owned(), _end: end.drop_guard() })
    }

    /// A kubeconfig that leads here, with this stand-in's own token and authority.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        kubeconfig(self.port, &self.authority, &self.served.token).to_string()
    }

    /// How it treats those who ask it from now on.
    pub fn set_manner(&self, manner: Manner) {
        self.served.set_manner(manner);
    }

    /// A ConfigMap of `kube-system`.
    #[must_use]
    pub fn config_map(&self, name: &str) -> Option<Value> {
        self.served.objects.get(name)
    }

    /// `mapRoles` of `aws-auth`; empty where there is none.
    #[must_use]
    pub fn roles(&self) -> String {
        let aws_auth = self.config_map("aws-auth");
        let roles = aws_auth.as_ref().and_then(|aws_auth| aws_auth.pointer("/data/mapRoles")?.as_str());
        roles.unwrap_or_default().to_owned()
    }

    /// How many requests there were, by verb and what they were about, such as `get configmaps/aws-auth`.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.served.requests()
    }

    /// How many of the requests were writes.
    #[must_use]
    pub fn writes(&self) -> u64 {
        let is_write = |asked: &str| {
            ["create ", "update ", "patch ", "delete "].iter().any(|verb| asked.starts_with(verb))
        };
        self.requests().iter().filter(|(asked, _)| is_write(asked)).map(|(_, count)| count).sum()
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.served.connections.load(Ordering::SeqCst)
    }
}

/// A port on which connections are taken and nobody ever says a word: a server that hangs before its TLS. Gives its kubeconfig;
/// it ends with the listener.
///
/// # Errors
/// As [`StandIn::start`].
pub async fn deaf() -> Result<(TcpListener, String), Anything> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let authority = Authority::new("deaf")?;
    let kubeconfig = kubeconfig(listener.local_addr()?.port(), authority.certificate(), "token-of-nobody");
    Ok((listener, kubeconfig.to_string()))
}

fn kubeconfig(port: u16, authority: &str, token: &str) -> Value {
    use base64::Engine;
    let authority = base64::engine::general_purpose::STANDARD.encode(authority);
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "stand-in",
        "clusters": [{"name": "stand-in", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": authority,
        }}],
        "users": [{"name": "stand-in", "user": {"token": token}}],
        "contexts": [{"name": "stand-in", "context": {"cluster": "stand-in", "user": "stand-in"}}],
    })
}

/// Counts what is under way, and how much there was at most.
#[derive(Debug, Default)]
pub struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    /// How much is under way.
    #[must_use]
    pub fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    /// How much there was at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn begin(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

//! Connections of a stand-in: TLS, HTTP/1.1 and what is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::objects::Objects;
use super::{Anything, Gauge, Manner, answers};
use crate::control_plane::certificates::Identity;

/// How long a connection without a request is kept, as kube-apiserver does.
const IDLE: Duration = Duration::from_secs(90);

/// What all stand-ins together have to do.
#[derive(Debug, Default)]
pub struct Load {
    /// Requests on a single ConfigMap: what passes send.
    pub passes: Gauge,
    /// Requests by which watches begin: namespace and list.
    pub openings: Gauge,
}

/// A request that is under way.
pub(super) struct Busy<'a>(&'a Gauge);

impl<'a> Busy<'a> {
    pub(super) fn with(gauge: &'a Gauge) -> Self {
        gauge.begin();
        Self(gauge)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What the connections of one stand-in share.
pub(super) struct Served {
    pub(super) token: String,
    pub(super) objects: Objects,
    pub(super) load: Arc<Load>,
    pub(super) connections: AtomicUsize,
    requests: Mutex<BTreeMap<String, u64>>,
    manner: Mutex<Manner>,
}

impl Served {
    pub(super) fn new(port: u16, load: Arc<Load>) -> Self {
        Self {
            token: format!("token-of-stand-in-{port}"),
            objects: Objects::new(port),
            load,
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
            manner: Mutex::default(),
        }
    }

    pub(super) fn count(&self, asked: String) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(asked).or_default() += 1;
    }

    pub(super) fn requests(&self) -> BTreeMap<String, u64> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn manner(&self) -> Manner {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_manner(&self, manner: Manner) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }
}

pub(super) fn acceptor(identity: &Identity) -> Result<TlsAcceptor, Anything> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Takes connections for ever.
pub(super) async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    served: Arc<Served>,
    end: CancellationToken,
) {
    loop {
        // A connection that was given up before it was taken is no reason to end.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let one = serve(acceptor.clone(), stream, served.clone());
        tokio::spawn(end.clone().run_until_cancelled_owned(one));
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, served: Arc<Served>) {
    let _open = Open::count(&served.connections);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let answering = served.clone();
    let answer = service_fn(move |request| answers::answer(answering.clone(), request));
    // A client that goes away is nobody's fault.
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE);
    drop(http.serve_connection(TokioIo::new(stream), answer).await);
}

/// An open connection.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn count(connections: &'a AtomicUsize) -> Self {
        connections.fetch_add(1, Ordering::SeqCst);
        Self(connections)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

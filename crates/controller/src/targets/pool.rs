//! The connections to one remote target: besides its watch one is kept, and that only for a while. kube's own client keeps as
//! many as there ever were at a time, until the server closes them: with a thousand targets that is memory and files.
//! Needs a network; bounds nothing of what is answered.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Builder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::{Body, ConfigExt};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceBuilder, ServiceExt};

use crate::connection::tcp;

/// How long a connection that is not used is kept: a pass sends its requests one right after the other. When a whole fleet
/// is worked on, many targets have one at the same time, some 45 KB each.
const IDLE: Duration = Duration::from_millis(500);

/// Sends requests to one API server.
pub(super) type Pool = BoxCloneService<Request<Body>, Response<Answer>, BoxError>;
/// The body of an answer, as it comes in.
pub(super) type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// Connections as `config` says; no proxy.
///
/// # Errors
/// When certificates and key are not whole or don't belong together.
pub(super) fn pool(config: &Config) -> Result<Pool, BoxError> {
    let mut connector = TimeoutConnector::new(https(config, tcp())?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_write_timeout(config.write_timeout);
    let client = Builder::new(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client)
        .map_response(|response: Response<Incoming>| {
            response.map(|body| body.map_err(BoxError::from).boxed_unsync())
        });
    Ok(service.boxed_clone())
}

/// TLS as kube sets it up, but nothing is kept to resume a session by: 25 KB for each target, to
/// save a signature now and then.
fn https(config: &Config, tcp: HttpConnector) -> Result<HttpsConnector<HttpConnector>, BoxError> {
    let mut tls = config.rustls_client_config()?;
    tls.resumption = Resumption::disabled();
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = ServerName::try_from(name.clone())?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_http1().wrap_connector(tcp))
}

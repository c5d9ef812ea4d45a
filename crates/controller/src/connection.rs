//! Connections to API servers, and the operator's own client. A peer that goes without a word (a node that loses power, a
//! load balancer that forgets the connection) leaves a watch on which nothing ever comes: what changes meanwhile, and what
//! is to be taken away, would wait for five minutes. Decides nothing about objects.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Builder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;
use kube::client::retry::RetryPolicy;
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

/// After so long without a word the peer is asked whether it is there.
const QUIET: Duration = Duration::from_secs(15);
/// Between two such questions.
const ASKED_AGAIN: Duration = Duration::from_secs(5);
/// So many without an answer end the connection: half a minute in all, as with client-go's pings of HTTP/2.
const UNANSWERED: u32 = 3;
/// How long what was sent may stay unacknowledged: meanwhile the kernel asks nothing.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// TCP to an API server.
pub(crate) fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(QUIET));
    tcp.set_keepalive_interval(Some(ASKED_AGAIN));
    tcp.set_keepalive_retries(Some(UNANSWERED));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp
}

/// The operator's own client: as kube makes it, with connections of ours, and without its log lines about requests.
///
/// # Errors
/// When certificates and key are not whole or don't belong together, or the kubeconfig asks for a proxy.
pub fn client(config: Config) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        // kube's own refuses that, and says how.
        return Client::try_from(config);
    }
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp())?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let retry = config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(Builder::new(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, config.default_namespace))
}

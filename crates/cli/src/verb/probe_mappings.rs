//! `awsiam probe-mappings`: runs beside an authenticator, on its node and with its identity, and tells the kubelet
//! whether the authenticator can have loaded the mappings (docs/adr/0011). Writes nothing.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::{Client, Config};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::connection::{self, ConnectionError};

/// The authenticator's address: on loopback of its node.
const AUTHENTICATOR: &str = "https://127.0.0.1:21362";
/// How long each answer may take; the kubelet waits 5 s for both.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two looks at the authenticator's counter: it counts a watch that failed and waits 5 s.
const COUNTER: &str = "aws_iam_authenticator_configmap_watch_failures_total";

/// Tell whether the authenticator on this node can load the mappings
///
/// With --once: exit code 0 if aws-auth can be watched from here with this pod's identity, which is the
/// authenticator's own, and the authenticator answers and is not failing at the same thing; else 1. Without it,
/// waits until it is told to end.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Look once
    #[arg(long)]
    once: bool,

    /// The CA certificate of the authenticator, PEM
    #[arg(long, value_name = "FILE")]
    authority: PathBuf,

    /// The authenticator's backends
    #[arg(long, value_name = "MODE,…", value_delimiter = ',')]
    backend_mode: Vec<String>,
}

/// Why the mappings can't have been loaded.
#[derive(Debug, Error)]
enum ProbeError {
    #[error("no connection to the API server: {0}")]
    Connection(#[from] ConnectionError),
    #[error("no connection to the API server: {0}")]
    InCluster(#[from] kube::config::InClusterError),
    #[error("can't read the authenticator's CA: {0}")]
    Authority(std::io::Error),
    #[error("the authenticator's CA is no PEM")]
    NoPem,
    #[error("aws-auth can't be watched from this node: {0}")]
    Watch(String),
    #[error("the authenticator does not answer: {0}")]
    Authenticator(String),
    #[error("the authenticator could not watch aws-auth")]
    Failing,
    #[error("can't wait: {0}")]
    Wait(std::io::Error),
}

/// Looks, or waits.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let done = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Err(error) => Err(ProbeError::Wait(error)),
        Ok(runtime) if arguments.once => runtime.block_on(look(arguments)),
        Ok(runtime) => runtime.block_on(wait()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("awsiam probe-mappings: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn wait() -> Result<(), ProbeError> {
    let mut end = signal(SignalKind::terminate()).map_err(ProbeError::Wait)?;
    end.recv().await;
    Ok(())
}

async fn look(arguments: &Arguments) -> Result<(), ProbeError> {
    if arguments.backend_mode.iter().any(|mode| mode == "EKSConfigMap") {
        watch().await?;
    }
    let metrics = metrics(&arguments.authority).await?;
    if failures(&metrics) > 0.0 && is_failing(&arguments.authority, &metrics).await? {
        return Err(ProbeError::Failing);
    }
    Ok(())
}

/// The same request as the authenticator's: a bare watch, whose first event is what is there. Where there is no
/// `aws-auth`, being let in is all there is to see.
async fn watch() -> Result<(), ProbeError> {
    let mut config = Config::incluster()?;
    config.connect_timeout = Some(ANSWER);
    let client = connection::client(config)?;
    let config_maps: Api<ConfigMap> = Api::namespaced(client, "kube-system");
    let only = WatchParams::default().fields("metadata.name=aws-auth");
    let failed = |error: &kube::Error| ProbeError::Watch(connection::words(error));
    let opened = tokio::time::timeout(ANSWER, config_maps.watch(&only, "0"));
    let events = opened.await.map_err(|_| ProbeError::Watch("no answer".to_owned()))?;
    let mut events = events.map_err(|error| failed(&error))?.boxed();
    match tokio::time::timeout(ANSWER, events.next()).await {
        Ok(Some(Ok(WatchEvent::Error(status)))) => Err(ProbeError::Watch(status.message.clone())),
        Ok(Some(Err(error))) => Err(failed(&error)),
        Ok(None) => Err(ProbeError::Watch("the watch ended at once".to_owned())),
        Ok(Some(Ok(_))) | Err(_) => Ok(()),
    }
}

/// Whether the counter of failed watches grows: one that stands still is of an outage that is over.
async fn is_failing(authority: &PathBuf, before: &str) -> Result<bool, ProbeError> {
    tokio::time::sleep(ANSWER).await;
    Ok(failures(&metrics(authority).await?) > failures(before))
}

async fn metrics(authority: &PathBuf) -> Result<String, ProbeError> {
    let pem = fs::read(authority).map_err(ProbeError::Authority)?;
    let der = awsiam_authenticator::certificate::to_der(&pem).ok_or(ProbeError::NoPem)?;
    let url = AUTHENTICATOR.parse().map_err(|_| ProbeError::NoPem)?;
    let mut config = Config::new(url);
    config.root_cert = Some(vec![der]);
    config.connect_timeout = Some(ANSWER);
    config.read_timeout = Some(ANSWER);
    let client: Client = connection::client(config)?;
    let request = Request::get("/metrics").body(Vec::new());
    let request = request.map_err(|error| ProbeError::Authenticator(error.to_string()))?;
    let answer = client.request_text(request).await;
    answer.map_err(|error| ProbeError::Authenticator(connection::words(&error)))
}

/// The counter's value in a text of metrics; 0 where it has not been counted yet.
fn failures(metrics: &str) -> f64 {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(COUNTER));
    lines.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_watches_are_counted() {
        let text = "# HELP aws_iam_authenticator_configmap_watch_failures_total EKS Configmap watch failures\n# TYPE aws_iam_authenticator_configmap_watch_failures_total counter\naws_iam_authenticator_configmap_watch_failures_total 3\nother 4\n";
        assert!((failures(text) - 3.0).abs() < f64::EPSILON);
        assert!(failures("") < 1.0);
    }
}

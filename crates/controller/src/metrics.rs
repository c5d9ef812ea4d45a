//! What `/metrics` answers: counters that grow where something happens, and gauges that are worked out when they are asked
//! for. Nothing is done for them in between. `docs/metrics.md` lists them all.
//!
//! Labels are bounded: no ARN, no username, no message ever becomes one. A Cluster does, where there is one series for it.

mod clusters;
mod process;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use awsiam_api::{Cluster, ClusterStatus};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use kube::ResourceExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use self::clusters::Clusters;
use crate::error::Error;
use crate::gateway;
use crate::health::Health;
use crate::lease::Term;
use crate::report;
use crate::reporter::PassReport;

/// How the text is written: <https://prometheus.io/docs/specs/om/open_metrics_spec/>
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds: a pass without a request takes less than the first, one over a hanging target is ended after the last.
const DURATIONS: [f64; 11] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 120.0];

/// Label names with their values.
type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

/// What is counted and measured in this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<Labels<2>, Counter>,
    durations: Histogram,
    waiting: Gauge,
    writes: Family<Labels<2>, Counter>,
    changes: Family<Labels<2>, Counter>,
    clusters: Arc<Clusters>,
    leads: Arc<Leads>,
}

/// Whether this process leads.
#[derive(Debug, Default)]
struct Leads(Mutex<Standing>);

#[derive(Debug, Default)]
enum Standing {
    /// It waits, or has not begun.
    #[default]
    Waits,
    /// There is no election.
    Always,
    /// As long as this goes on.
    For(Arc<Term>),
}

impl Leads {
    fn now(&self) -> bool {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Standing::Waits => false,
            Standing::Always => true,
            Standing::For(term) => term.goes_on(),
        }
    }
}

impl Metrics {
    /// Metrics of a program of this version and commit, with the passes that `health` knows to be under way.
    #[must_use]
    pub fn new(version: &'static str, commit: &'static str, health: &Arc<Health>) -> Self {
        let leads = Arc::new(Leads::default());
        let clusters = Arc::new(Clusters::default());
        let (passes, writes, changes) = (Family::default(), Family::default(), Family::default());
        let (durations, waiting) = (Histogram::new(DURATIONS), Gauge::default());
        let mut registry = Registry::default();
        // The library adds a full stop to each text, and `_total` and `_info` to names.
        registry.register(
            "awsiam_build",
            "Version and commit",
            Info::new([("version", version), ("commit", commit)]),
        );
        registry.register(
            "awsiam_passes",
            "Passes over Clusters, by what came of them and by its reason",
            passes.clone(),
        );
        registry.register("awsiam_pass_duration_seconds", "How long passes took", durations.clone());
        registry.register(
            "awsiam_passes_waiting",
            "Passes that wait for a place among remote targets",
            waiting.clone(),
        );
        registry.register(
            "awsiam_writes",
            "Writes, by kind of object and result; conflict: somebody was faster (409)",
            writes.clone(),
        );
        registry.register(
            "awsiam_entry_changes",
            "Entries and objects that were changed, by list and change",
            changes.clone(),
        );
        registry.register_collector(Box::new(Now {
            leads: leads.clone(),
            clusters: clusters.clone(),
            health: health.clone(),
        }));
        registry.register_collector(Box::new(process::Process));
        Self { registry, passes, durations, waiting, writes, changes, clusters, leads }
    }

    /// Everything as OpenMetrics text.
    ///
    /// # Errors
    /// When it can't be put into words, which is a bug.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// `is_there` tells of a Cluster, by namespace and name, whether it still exists.
    pub(crate) fn clusters_of(&self, is_there: impl Fn(&str, &str) -> bool + Send + Sync + 'static) {
        self.clusters.known_by(is_there);
    }

    /// This process works from now on, until the term ends; `None`: there is no election.
    pub(crate) fn leads(&self, term: Option<Arc<Term>>) {
        *self.leads.0.lock().unwrap_or_else(PoisonError::into_inner) =
            term.map_or(Standing::Always, Standing::For);
    }

    /// Counts passes that wait for a place.
    pub(crate) fn waiting(&self) -> Gauge {
        self.waiting.clone()
    }

    /// A pass took so long.
    pub(crate) fn took(&self, duration: Duration) {
        self.durations.observe(duration.as_secs_f64());
    }

    /// A pass came to this end.
    pub(crate) fn ended(&self, cluster: &impl ResourceExt, pass: &PassReport) {
        let (result, reason) = report::result(pass);
        let labels = [("result", result.into()), ("reason", reason.into())];
        self.passes.get_or_create(&labels).inc();
        let PassReport::Planned(planned) = pass else { return };
        if !planned.pending {
            for outcome in planned.plan.changes() {
                let kind = clusters::kind(outcome.key.list);
                let labels = [("kind", kind.into()), ("change", clusters::change(outcome.state).into())];
                self.changes.get_or_create(&labels).inc();
            }
        }
        self.clusters.planned(cluster, planned);
    }

    /// A Cluster has this status.
    pub(crate) fn said(&self, cluster: &impl ResourceExt, status: &ClusterStatus) {
        self.clusters.said(cluster, status);
    }

    /// Nothing but this is said of a Cluster, and not in its status.
    pub(crate) fn set_aside(&self, cluster: &impl ResourceExt, reason: &str) {
        self.clusters.set_aside(cluster, reason);
    }

    /// The last seconds, Unix time, of what an authenticator serves with; `None`: it does not serve.
    pub(crate) fn certificates(&self, cluster: &Cluster, until: Option<Until>) {
        self.clusters.certificates(cluster, until);
    }

    /// A write to objects of this kind was answered, or not.
    pub(crate) fn wrote<T>(&self, kind: &str, result: &Result<T, Error>) {
        let result = match result {
            Ok(_) => "ok",
            Err(error) if gateway::is_race(error) => "conflict",
            Err(error) if gateway::is_gone(error) => "gone",
            Err(error) if gateway::is_refused(error) => "refused",
            Err(_) => "failed",
        };
        let labels = [("kind", Cow::Owned(kind.to_owned())), ("result", result.into())];
        self.writes.get_or_create(&labels).inc();
    }

    /// Drops what is known of Clusters that are gone.
    pub(crate) fn forget_gone(&self) {
        self.clusters.forget_gone();
    }
}

/// The last seconds of certificates, Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Until {
    /// Of what the authenticator serves with.
    pub(crate) serving: i64,
    /// Of the CA that signed it.
    pub(crate) authority: i64,
}

/// What is worked out when it is asked for.
#[derive(Debug)]
struct Now {
    leads: Arc<Leads>,
    clusters: Arc<Clusters>,
    health: Arc<Health>,
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let leads = self.leads.now();
        gauge(
            &mut encoder,
            "awsiam_leader",
            "1 where this process works, 0 where it waits",
            i64::from(leads),
        )?;
        let (under_way, age) = self.health.under_way();
        let under_way = i64::try_from(under_way).unwrap_or(i64::MAX);
        gauge(
            &mut encoder,
            "awsiam_passes_under_way",
            "Passes that are under way, waiting or not",
            under_way,
        )?;
        gauge(
            &mut encoder,
            "awsiam_oldest_pass_age_seconds",
            "Since when the oldest pass is under way; 0 where there is none",
            age.as_secs_f64(),
        )?;
        // What a process that waits once knew of Clusters is the leader's to say.
        if leads { self.clusters.encode(&mut encoder) } else { Ok(()) }
    }
}

/// One gauge without labels.
fn gauge<N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: N,
) -> Result<(), std::fmt::Error>
where
    N: prometheus_client::encoding::EncodeGaugeValue,
{
    let text = format!("{help}.");
    let described = encoder.encode_descriptor(name, &text, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(described)
}

/// One gauge with a series for each of these labels; nothing at all where there are none.
fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (L, i64)>,
) -> Result<(), std::fmt::Error> {
    let mut series = series.into_iter().peekable();
    if series.peek().is_none() {
        return Ok(());
    }
    let text = format!("{help}.");
    let mut described = encoder.encode_descriptor(name, &text, None, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(described.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Answers `/metrics`. Ends with the process.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let answer = async move || match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    };
    axum::serve(listener, Router::new().route("/metrics", get(answer))).await
}

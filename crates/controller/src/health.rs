//! Whether this process lives and is of use: what `/livez` and `/readyz` answer.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// A pass that goes on for so long never ends: everything in it has limits that are much shorter.
const STUCK: Duration = Duration::from_mins(15);

/// What is known of this process's health.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// It waits for the lease that somebody else holds.
    stands_by: bool,
    /// What the CRDs in the cluster lack, without which nothing is written.
    lacking: Option<String>,
    /// The Clusters that were there at the start and have had no pass yet; none before they are known.
    awaited: Option<HashSet<String>>,
    /// The passes that are under way, and since when.
    under_way: HashMap<u64, (String, Instant)>,
    passes: u64,
}

/// A pass that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    health: Arc<Health>,
    number: u64,
}

impl Health {
    /// It waits for the lease: ready to take over.
    pub(crate) fn stands_by(&self) {
        self.state().stands_by = true;
    }

    /// It has the lease: ready when each Cluster has had its first pass.
    pub(crate) fn leads(&self) {
        self.state().stands_by = false;
    }

    /// What the CRDs lack, in words; none: nothing that is known of.
    pub(crate) fn crds_lack(&self, lacking: Option<String>) {
        self.state().lacking = lacking;
    }

    /// These Clusters, each `NAMESPACE/NAME`, are there. What comes in a later list is not waited for, what went is no more.
    pub(crate) fn listed(&self, clusters: impl IntoIterator<Item = String>) {
        let clusters: HashSet<String> = clusters.into_iter().collect();
        let awaited = &mut self.state().awaited;
        match awaited {
            Some(awaited) => awaited.retain(|cluster| clusters.contains(cluster)),
            None => *awaited = Some(clusters),
        }
    }

    /// A pass over a Cluster, `NAMESPACE/NAME`, begins.
    pub(crate) fn begins(self: &Arc<Self>, cluster: String) -> UnderWay {
        let mut state = self.state();
        state.passes += 1;
        let number = state.passes;
        state.under_way.insert(number, (cluster, Instant::now()));
        drop(state);
        UnderWay { health: self.clone(), number }
    }

    /// How many passes are under way, and since when the oldest one is.
    pub(crate) fn under_way(&self) -> (usize, Duration) {
        let (state, now) = (self.state(), Instant::now());
        let ages = state.under_way.values().map(|(_, since)| now.saturating_duration_since(*since));
        (state.under_way.len(), ages.max().unwrap_or_default())
    }

    /// A pass over a Cluster has come to an end at which something can be said of it, or nothing need be.
    pub(crate) fn looked_at(&self, cluster: &str) {
        if let Some(awaited) = &mut self.state().awaited {
            awaited.remove(cluster);
        }
    }

    /// Why it is not ready; none: it is.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        let state = self.state();
        if state.stands_by {
            return None;
        }
        if let Some(lacking) = &state.lacking {
            return Some(format!("{lacking}; nothing is written until it has that"));
        }
        match &state.awaited {
            None => Some("the Clusters are not listed yet".to_owned()),
            Some(awaited) => {
                let first = awaited.iter().min()?;
                Some(format!("{} Clusters have not had their first pass, among them {first}", awaited.len()))
            }
        }
    }

    /// Why it does not live; none: it does.
    #[must_use]
    pub fn stuck(&self) -> Option<String> {
        self.stuck_at(Instant::now())
    }

    fn stuck_at(&self, now: Instant) -> Option<String> {
        let state = self.state();
        let (cluster, since) = state.under_way.values().min_by_key(|(_, since)| *since)?;
        let age = now.saturating_duration_since(*since);
        (age >= STUCK).then(|| format!("a pass over {cluster} has not ended for {} s", age.as_secs()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.health.state().under_way.remove(&self.number);
    }
}

/// Answers `/livez` and `/readyz`: 200 and `ok`, or 503 and why not. Ends with the process.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, health: Arc<Health>) -> std::io::Result<()> {
    let answer = |trouble: Option<String>| match trouble {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    let (live, ready) = (health.clone(), health);
    let routes = Router::new()
        .route("/livez", get(async move || answer(live.stuck())))
        .route("/readyz", get(async move || answer(ready.not_ready())));
    axum::serve(listener, routes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_stands_by_or_has_looked_at_every_cluster_once() {
        let health = Arc::new(Health::default());
        assert!(health.not_ready().is_some_and(|why| why.contains("not listed")));
        health.stands_by();
        assert_eq!(health.not_ready(), None);
        health.leads();
        assert!(health.not_ready().is_some());
        health.listed(["a/one".to_owned(), "a/two".to_owned()]);
        health.looked_at("a/one");
        assert!(health.not_ready().is_some_and(|why| why.contains("1 Clusters") && why.contains("a/two")));
        health.looked_at("a/two");
        assert_eq!(health.not_ready(), None);
        // A list that is read again, with new Clusters in it.
        health.listed(["a/three".to_owned()]);
        assert_eq!(health.not_ready(), None);
    }

    #[test]
    fn a_leader_without_its_crds_is_not_ready_and_one_that_waits_for_the_lease_is() {
        let health = Health::default();
        health.listed([]);
        health.crds_lack(Some("CRD x lacks spec.suspend".to_owned()));
        assert!(health.not_ready().is_some_and(|why| why.contains("CRD x lacks spec.suspend")));
        health.stands_by();
        assert_eq!(health.not_ready(), None);
        health.leads();
        health.crds_lack(None);
        assert_eq!(health.not_ready(), None);
    }

    #[test]
    fn a_cluster_that_went_before_its_first_pass_is_not_waited_for() {
        let health = Health::default();
        health.listed(["a/one".to_owned()]);
        health.listed([]);
        assert_eq!(health.not_ready(), None);
    }

    #[test]
    fn who_serves_no_cluster_is_ready_when_that_is_known() {
        let health = Health::default();
        health.listed([]);
        assert_eq!(health.not_ready(), None);
    }

    #[test]
    fn a_pass_that_never_ends_is_the_end_of_the_process() {
        let health = Arc::new(Health::default());
        assert_eq!(health.stuck(), None);
        let pass = health.begins("a/one".into());
        assert_eq!(health.stuck(), None);
        let later = Instant::now() + STUCK;
        assert!(health.stuck_at(later).is_some_and(|why| why.contains("a/one")));
        drop(pass);
        assert_eq!(health.stuck_at(later), None);
    }
}

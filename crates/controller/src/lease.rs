//! Leader election by a Lease: of several replicas one works at a time. After client-go's `tools/leaderelection`: a
//! rival's lease runs out by our own clock, counted from when we saw it change; every take and renewal is a PUT that is
//! conditional on what was read; and whoever has not renewed for a while stands down by itself, answer or not.
//!
//! What a leader may do hangs on its [`Term`], which the gateway asks before every write to any cluster. A write that was
//! on its way when the term ended can still arrive; for `aws-auth` it is conditional and gets a 409.

mod terms;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{StartError, words};
use crate::health::Health;
use crate::operator::run;
use crate::options::Options;
pub use terms::Term;
use terms::{Rival, held_by, released};

/// Which Lease, and its times.
#[derive(Clone, Debug)]
pub struct Election {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// What this process is called in it; unlike any other's.
    pub identity: String,
    /// After so long without a renewal others may take the lease. Whole seconds, at least one.
    pub duration: Duration,
    /// After so long without a renewal we stand down; shorter than `duration`.
    pub renew_deadline: Duration,
    /// How often it is renewed or asked for; shorter than `renew_deadline`.
    pub retry_period: Duration,
}

impl Election {
    /// Usual times: those of client-go, with which a leader that dies is replaced within 19 s.
    pub const DURATION: Duration = Duration::from_secs(15);
    /// See [`Election::DURATION`].
    pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
    /// See [`Election::DURATION`].
    pub const RETRY_PERIOD: Duration = Duration::from_secs(2);

    /// A name for this process that no other has: `HOST_PID_RANDOM`.
    #[must_use]
    pub fn identity(host: &str) -> String {
        // Seeded anew in each process.
        let random = RandomState::new().hash_one(host);
        format!("{host}_{}_{random:016x}", std::process::id())
    }
}

/// Why an elected operator ended.
#[derive(Debug, Error)]
pub enum ElectionError {
    /// The lease could not be renewed in time, or somebody else has it.
    #[error(
        "lost the lease {namespace}/{name}: {why}. Nothing more is written; another replica goes on, and this one ends to start afresh"
    )]
    Lost {
        /// Of the Lease.
        namespace: String,
        /// Of the Lease.
        name: String,
        /// What happened.
        why: String,
    },
    /// The operator did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Waits for the lease, then runs the operator until `stop` and gives the lease back. `lease_client` is a client of the
/// elector's own, so that no other request holds a renewal up.
///
/// # Errors
/// [`ElectionError::Lost`]: the process has to end, whatever is still under way. [`ElectionError::Start`] as
/// [`crate::run`].
pub async fn run_elected(
    client: Client,
    lease_client: Client,
    options: Options,
    election: Election,
    stop: CancellationToken,
) -> Result<(), ElectionError> {
    let mut elector = Elector::new(lease_client, election);
    if stop.run_until_cancelled(elector.acquire(&options.health)).await.is_none() {
        return Ok(());
    }
    options.health.leads();
    let term = elector.term.clone();
    let options = Options { term: Some(term.clone()), ..options };
    let done = tokio::select! {
        // A lease that is lost ends everything, even in the moment in which the operator ends.
        biased;
        why = elector.hold() => {
            term.end();
            let Election { namespace, name, .. } = elector.election;
            return Err(ElectionError::Lost { namespace, name, why });
        }
        done = run(client, options, stop) => done,
    };
    term.end();
    elector.give_back().await;
    Ok(done?)
}

struct Elector {
    api: Api<Lease>,
    reviews: Api<SelfSubjectReview>,
    election: Election,
    term: Arc<Term>,
    /// The lease as last read or written.
    lease: Option<Lease>,
    rival: Rival,
}

impl Elector {
    fn new(client: Client, election: Election) -> Self {
        let reviews = Api::all(client.clone());
        let api = Api::namespaced(client, &election.namespace);
        Self { api, reviews, election, term: Arc::new(Term::ended()), lease: None, rival: Rival::default() }
    }

    /// Asks again and again until the lease is ours.
    async fn acquire(&mut self, health: &Health) {
        let mut told = None;
        loop {
            let pause = match self.attempt(self.election.renew_deadline).await {
                Ok(true) => {
                    tracing::info!(identity = self.election.identity, "leading");
                    return;
                }
                Ok(false) => {
                    health.stands_by();
                    let holder = self.lease.as_ref().and_then(held_by).map(str::to_owned);
                    if told != holder {
                        tracing::info!(holder, "waiting for the lease");
                        told = holder;
                    }
                    // Not later than it runs out, should it not be renewed.
                    self.soon().min(self.rival.left(&self.election, Instant::now()))
                }
                Err(why) => {
                    tracing::warn!(why, "can't take the lease; trying again");
                    self.soon()
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Renews the lease as long as that works; then says why it no longer does.
    async fn hold(&mut self) -> String {
        loop {
            tokio::time::sleep(self.election.retry_period.min(self.term.left())).await;
            let left = self.term.left();
            if left.is_zero() {
                let seconds = self.election.renew_deadline.as_secs_f64();
                return format!("it could not be renewed for {seconds} s");
            }
            match self.attempt(left).await {
                Ok(true) => {}
                Ok(false) => {
                    let holder = self.lease.as_ref().and_then(held_by).unwrap_or("somebody");
                    return format!("{holder} has it");
                }
                Err(why) => tracing::warn!(why, "can't renew the lease; trying again"),
            }
        }
    }

    /// Takes or renews the lease. False: somebody else has it.
    async fn attempt(&mut self, within: Duration) -> Result<bool, String> {
        let begun = Instant::now();
        let attempt = tokio::time::timeout(within, self.take_or_renew()).await;
        let is_ours = attempt.unwrap_or_else(|_| Err("the API server does not answer".to_owned()))?;
        if is_ours {
            // Others count from when they saw it, which is later.
            self.term.lasts_until(begun + self.election.renew_deadline);
        }
        Ok(is_ours)
    }

    async fn take_or_renew(&mut self) -> Result<bool, String> {
        let known = self.lease.take();
        let is_ours = known.as_ref().and_then(held_by) == Some(self.election.identity.as_str());
        // What we wrote last is written again without a look; whoever came between shows by a 409.
        let there = match known.filter(|_| is_ours) {
            Some(lease) => Some(lease),
            None => self.api.get_opt(&self.election.name).await.map_err(|error| words(&error))?,
        };
        let Some(lease) = there else { return self.make().await };
        if !self.rival.lets_go(&lease, &self.election, Instant::now()) {
            self.lease = Some(lease);
            return Ok(false);
        }
        let spec = terms::taken(lease.spec.clone(), &self.election, Timestamp::now());
        self.write(Lease { spec: Some(spec), ..lease }).await
    }

    async fn make(&mut self) -> Result<bool, String> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.election.name.clone()),
                owner_references: self.owner().await.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(terms::taken(None, &self.election, Timestamp::now())),
        };
        match self.api.create(&PostParams::default(), &lease).await {
            Ok(made) => {
                self.lease = Some(made);
                Ok(true)
            }
            Err(error) => Err(words(&error)),
        }
    }

    /// Our ServiceAccount, with which the Lease goes: nothing else would take it away when the operator is uninstalled.
    /// None where we are somebody else, or are not told who we are.
    async fn owner(&self) -> Option<OwnerReference> {
        let asked = self.reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
        match asked {
            Ok(review) => terms::owner(&self.election.namespace, &review.status?.user_info?),
            Err(error) => {
                tracing::debug!(
                    why = words(&error),
                    "can't see whose ServiceAccount this is; the Lease has no owner"
                );
                None
            }
        }
    }

    /// Writes it if it is as it was read. Who was faster is looked at the next time.
    async fn write(&mut self, lease: Lease) -> Result<bool, String> {
        let params = PostParams::default();
        match self.api.replace(&self.election.name, &params, &lease).await {
            Ok(written) => {
                self.lease = Some(written);
                Ok(true)
            }
            Err(error) => Err(words(&error)),
        }
    }

    /// Lets the next one take it at once.
    async fn give_back(mut self) {
        let Some(lease) = self.lease.take() else { return };
        let spec = released(lease.spec.clone().unwrap_or_default(), MicroTime(Timestamp::now()));
        let write = self.write(Lease { spec: Some(spec), ..lease });
        match tokio::time::timeout(Duration::from_secs(1), write).await {
            Ok(Ok(_)) => tracing::info!("gave the lease back"),
            Ok(Err(why)) => tracing::warn!(why, "can't give the lease back; it runs out by itself"),
            Err(_) => tracing::warn!("can't give the lease back in time; it runs out by itself"),
        }
    }

    /// The retry period and up to as much again, so that those who wait don't ask in step.
    fn soon(&self) -> Duration {
        let spread = Timestamp::now().subsec_nanosecond().unsigned_abs() % 1000;
        self.election.retry_period.mul_f64(1.0 + f64::from(spread) / 1000.0)
    }
}

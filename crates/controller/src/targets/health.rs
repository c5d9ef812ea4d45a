//! Whether a target answers: a circuit breaker with two sides. While the watch can't be opened nothing else is sent, and
//! the watch itself tries again. Where the watch is there and requests fail all the same, a pass tries again after a wait
//! that grows. No I/O.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// Waits between trials, while requests fail.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// What keeps a target from being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Since when.
    pub(crate) since: Timestamp,
    /// Why, as last heard.
    pub(crate) why: String,
}

/// The health of one target.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The watch can't be opened.
    watch: Option<Trouble>,
    /// Requests fail.
    requests: Option<Trouble>,
    /// How many failed since one pass went through.
    failures: u32,
    /// When a pass may try again.
    until: Option<Instant>,
    /// A pass went through at some time.
    proven: bool,
}

/// What is to be expected of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is known of it.
    New,
    /// It has answered, and still does as far as is known.
    Proven,
    /// Requests to it failed lately.
    Suspect,
}

impl Health {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The watch can't be opened. Whether that is new, or for another reason than before.
    pub(super) fn unreachable(&self, why: String) -> bool {
        self.with(|state| {
            let before = state.watch.take();
            let since = before.as_ref().map_or_else(Timestamp::now, |trouble| trouble.since);
            let is_news = before.is_none_or(|trouble| trouble.why != why);
            state.watch = Some(Trouble { since, why });
            is_news
        })
    }

    /// The watch is open. Whether it could not be opened before.
    pub(super) fn watched(&self) -> bool {
        self.with(|state| state.watch.take().is_some())
    }

    /// A request was not answered.
    pub(crate) fn failed(&self, why: String) {
        self.failed_at(Instant::now(), why);
    }

    fn failed_at(&self, now: Instant, why: String) {
        self.with(|state| {
            let since = state.requests.take().map_or_else(Timestamp::now, |trouble| trouble.since);
            state.requests = Some(Trouble { since, why });
            let wait = FIRST.saturating_mul(2_u32.saturating_pow(state.failures.min(16))).min(LONGEST);
            // Requests that were under way together fail together: that is one failure.
            if state.until.is_none_or(|until| until <= now) {
                state.failures = state.failures.saturating_add(1);
                state.until = now.checked_add(wait);
            }
        });
    }

    /// How many failures there were; see [`Health::passed`].
    pub(crate) fn failures(&self) -> u32 {
        self.with(|state| state.failures)
    }

    /// A pass went through that began when there were so many failures. If there were more since, it did not.
    pub(crate) fn passed(&self, failures_before: u32) {
        self.with(|state| {
            if state.failures == failures_before {
                (state.requests, state.failures, state.until) = (None, 0, None);
                state.proven = true;
            }
        });
    }

    /// What is wrong now.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.with(|state| state.watch.clone().or_else(|| state.requests.clone()))
    }

    /// Why no request may be sent now, and when one may; no time: the watch tells.
    pub(crate) fn closed(&self) -> Option<(Trouble, Option<Duration>)> {
        self.closed_at(Instant::now())
    }

    fn closed_at(&self, now: Instant) -> Option<(Trouble, Option<Duration>)> {
        self.with(|state| {
            if let Some(trouble) = &state.watch {
                return Some((trouble.clone(), None));
            }
            let wait = state.until?.saturating_duration_since(now);
            if wait.is_zero() {
                return None;
            }
            Some((state.requests.clone()?, Some(wait)))
        })
    }

    /// What is to be expected of the next pass.
    pub(crate) fn standing(&self) -> Standing {
        self.with(|state| match state {
            State { requests: Some(_), .. } => Standing::Suspect,
            State { proven: true, .. } => Standing::Proven,
            State { .. } => Standing::New,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_fails_is_left_alone_longer_and_longer_up_to_half_a_minute() {
        let (health, mut now) = (Health::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..9 {
            let before = health.failures();
            health.failed_at(now, "no answer".to_owned());
            health.failed_at(now, "no answer".to_owned());
            health.passed(before);
            let wait = health.closed_at(now).and_then(|(_, wait)| wait).unwrap();
            waits.push(wait.as_millis());
            now += wait;
            assert_eq!(health.closed_at(now), None, "a trial is due");
            assert_eq!(health.standing(), Standing::Suspect);
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        health.passed(health.failures());
        assert_eq!((health.trouble(), health.standing()), (None, Standing::Proven));
        assert_eq!(Health::default().standing(), Standing::New);
    }

    #[test]
    fn while_the_watch_cannot_be_opened_only_the_watch_tries() {
        let health = Health::default();
        assert!(health.unreachable("connection refused".to_owned()));
        assert!(!health.unreachable("connection refused".to_owned()), "that is no news");
        let (trouble, wait) = health.closed().unwrap();
        assert_eq!((trouble.why.as_str(), wait), ("connection refused", None));
        assert!(health.unreachable("timed out".to_owned()));
        assert_eq!(health.trouble().map(|now| now.since), Some(trouble.since), "it is still the same outage");
        assert!(health.watched());
        assert_eq!(health.closed(), None);
    }
}

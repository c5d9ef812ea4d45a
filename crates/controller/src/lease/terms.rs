//! What a Lease says and until when it binds whom. Pure but for the term's clock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::Election;

/// Until when this process leads, by its own clock: a process that slept through its end does not lead when it wakes up.
#[derive(Debug)]
pub struct Term {
    until: Mutex<Instant>,
}

impl Term {
    /// One that is over.
    pub(crate) fn ended() -> Self {
        Self { until: Mutex::new(Instant::now()) }
    }

    /// Whether it goes on.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.left().is_zero()
    }

    /// How much of it is left.
    pub(super) fn left(&self) -> Duration {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.saturating_duration_since(Instant::now())
    }

    pub(crate) fn lasts_until(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Ends it now.
    pub(crate) fn end(&self) {
        self.lasts_until(Instant::now());
    }
}

/// Who has the lease; none where it was given back.
pub(super) fn held_by(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

/// The spec by which we take or renew it.
pub(super) fn taken(before: Option<LeaseSpec>, election: &Election, now: Timestamp) -> LeaseSpec {
    let before = before.unwrap_or_default();
    let is_ours = before.holder_identity.as_deref() == Some(election.identity.as_str());
    let changes = before.lease_transitions.unwrap_or_default();
    LeaseSpec {
        acquire_time: if is_ours { before.acquire_time.clone() } else { Some(MicroTime(now)) },
        lease_transitions: Some(if is_ours { changes } else { changes.saturating_add(1) }),
        holder_identity: Some(election.identity.clone()),
        lease_duration_seconds: Some(i32::try_from(election.duration.as_secs()).unwrap_or(i32::MAX).max(1)),
        renew_time: Some(MicroTime(now)),
        ..before
    }
}

/// The spec by which it is given back, as client-go does it.
pub(super) fn released(ours: LeaseSpec, now: MicroTime) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: Some(now.clone()),
        acquire_time: Some(now),
        ..ours
    }
}

/// The ServiceAccount that a user is, as owner of a Lease in its namespace. Only there: an owner in another namespace counts
/// for gone, and the Lease would be collected at once.
pub(super) fn owner(namespace: &str, user: &UserInfo) -> Option<OwnerReference> {
    let name = user.username.as_deref()?.strip_prefix("system:serviceaccount:")?;
    let (_, name) = name.split_once(':').filter(|(of, _)| *of == namespace)?;
    let uid = user.uid.clone().filter(|uid| !uid.is_empty())?;
    let (api_version, kind) = ("v1".to_owned(), "ServiceAccount".to_owned());
    Some(OwnerReference { api_version, kind, name: name.to_owned(), uid, ..OwnerReference::default() })
}

/// Somebody else's lease, and since when by our clock it stands as it does. No clock is compared with another one's.
#[derive(Debug, Default)]
pub(super) struct Rival {
    seen: Option<(LeaseSpec, Instant)>,
}

impl Rival {
    /// Whether the lease is ours, free, or has not been renewed for its whole duration while we looked.
    pub(super) fn lets_go(&mut self, lease: &Lease, election: &Election, now: Instant) -> bool {
        let spec = lease.spec.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == spec => *since,
            _ => now,
        };
        self.seen = Some((spec, since));
        match held_by(lease) {
            None => true,
            Some(holder) => holder == election.identity || self.left(election, now).is_zero(),
        }
    }

    /// How long it stands yet if it is not renewed, as far as we have looked.
    pub(super) fn left(&self, election: &Election, now: Instant) -> Duration {
        let Some((spec, since)) = &self.seen else { return Duration::ZERO };
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let duration = seconds.map_or(election.duration, Duration::from_secs);
        duration.saturating_sub(now.saturating_duration_since(*since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn election(identity: &str) -> Election {
        Election {
            namespace: "ns".into(),
            name: "lease".into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }

    fn lease(spec: LeaseSpec) -> Lease {
        Lease { spec: Some(spec), ..Lease::default() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_rival_is_waited_for_by_our_own_clock_whatever_its_clock_says() {
        let (us, start) = (election("us"), Instant::now());
        // Renewed long ago, or in the future: it counts from when we saw it.
        for second in [0, 10_000_000_000] {
            let mut rival = Rival::default();
            let theirs = lease(taken(None, &election("them"), at(second)));
            assert!(!rival.lets_go(&theirs, &us, start));
            assert!(!rival.lets_go(&theirs, &us, start + Duration::from_secs(14)));
            assert_eq!(rival.left(&us, start + Duration::from_secs(14)), Duration::from_secs(1));
            assert!(rival.lets_go(&theirs, &us, start + Duration::from_secs(15)));
        }
    }

    #[test]
    fn every_renewal_begins_the_wait_anew() {
        let (us, start) = (election("us"), Instant::now());
        let mut rival = Rival::default();
        let first = taken(None, &election("them"), at(1));
        assert!(!rival.lets_go(&lease(first.clone()), &us, start));
        let second = taken(Some(first), &election("them"), at(2));
        assert!(!rival.lets_go(&lease(second.clone()), &us, start + Duration::from_secs(14)));
        assert!(!rival.lets_go(&lease(second.clone()), &us, start + Duration::from_secs(28)));
        assert!(rival.lets_go(&lease(second), &us, start + Duration::from_secs(29)));
    }

    #[test]
    fn a_rival_with_a_longer_lease_is_waited_for_as_long() {
        let (us, start) = (election("us"), Instant::now());
        let mut rival = Rival::default();
        let long = Election { duration: Duration::from_mins(1), ..election("them") };
        let theirs = lease(taken(None, &long, at(1)));
        assert!(!rival.lets_go(&theirs, &us, start));
        assert!(!rival.lets_go(&theirs, &us, start + Duration::from_secs(59)));
        assert!(rival.lets_go(&theirs, &us, start + Duration::from_mins(1)));
    }

    #[test]
    fn ours_and_one_that_was_given_back_are_free_at_once() {
        let (us, now) = (election("us"), Instant::now());
        let ours = taken(None, &us, at(1));
        assert!(Rival::default().lets_go(&lease(ours.clone()), &us, now));
        let free = released(taken(None, &election("them"), at(1)), MicroTime(at(2)));
        assert_eq!(held_by(&lease(free.clone())), None);
        assert!(Rival::default().lets_go(&lease(free), &us, now));
        assert!(Rival::default().lets_go(&Lease::default(), &us, now));
    }

    #[test]
    fn transitions_count_changes_of_the_holder_and_foreign_fields_stay() {
        let strategy = Some("OldestEmulationVersion".to_owned());
        let before = LeaseSpec { strategy: strategy.clone(), ..LeaseSpec::default() };
        let first = taken(Some(before), &election("them"), at(1));
        let renewed = taken(Some(first.clone()), &election("them"), at(2));
        let second = taken(Some(renewed.clone()), &election("us"), at(3));
        let counts = [&first, &renewed, &second].map(|spec| spec.lease_transitions);
        assert_eq!(counts, [Some(1), Some(1), Some(2)]);
        assert_eq!(renewed.acquire_time, first.acquire_time);
        assert_eq!(second.acquire_time, Some(MicroTime(at(3))));
        assert_eq!(second.strategy, strategy);
    }

    #[test]
    fn a_lease_belongs_to_a_service_account_of_its_own_namespace_alone() {
        let user = |name: &str, uid: &str| UserInfo {
            username: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            ..UserInfo::default()
        };
        let ours = owner("ns", &user("system:serviceaccount:ns:awsiam", "1-2")).unwrap();
        assert_eq!(
            (ours.kind.as_str(), ours.name.as_str(), ours.uid.as_str()),
            ("ServiceAccount", "awsiam", "1-2")
        );
        for (name, uid) in [
            ("system:serviceaccount:other:awsiam", "1-2"),
            ("system:serviceaccount:ns:awsiam", ""),
            ("system:serviceaccount:ns", "1-2"),
            ("admin", "1-2"),
        ] {
            assert_eq!(owner("ns", &user(name, uid)), None, "{name}");
        }
        assert_eq!(owner("ns", &UserInfo::default()), None);
    }

    #[test]
    fn a_term_ends_by_the_clock() {
        let term = Term::ended();
        assert!(!term.goes_on());
        term.lasts_until(Instant::now() + Duration::from_mins(1));
        assert!(term.goes_on());
        term.end();
        assert!(!term.goes_on());
    }
}

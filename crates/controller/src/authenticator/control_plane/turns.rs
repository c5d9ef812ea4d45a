//! Whose control plane may be rolled out now: no more than so many at a time. Pure; the time is a parameter.

use std::collections::BTreeMap;
use std::time::Duration;

use awsiam_authenticator::kubeadm_control_plane::Progress;
use tokio::time::Instant;

/// A rollout in which nothing moved for so long keeps nobody waiting any more.
pub(crate) const STALLED: Duration = Duration::from_mins(30);

/// Who is being rolled out, each named by its object. Rollouts that were going on before this process started are
/// taken in before the first place is given away.
#[derive(Debug)]
pub(crate) struct Turns {
    most: usize,
    rolling: BTreeMap<String, Rolling>,
}

#[derive(Debug)]
struct Rolling {
    /// As last seen; `None` until then.
    progress: Option<Progress>,
    moved: Instant,
}

impl Rolling {
    fn is_moving(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.moved) < STALLED
    }
}

/// Whether a rollout may begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Yes; it has a place until it leaves or stalls.
    Taken,
    /// Not while these go on.
    After(Vec<String>),
}

impl Turns {
    /// Nobody is rolled out; `most` at a time, at least one.
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), rolling: BTreeMap::new() }
    }

    /// Takes a place if one is free, or keeps the one it has.
    pub(crate) fn take(&mut self, who: &str, now: Instant) -> Turn {
        let others: Vec<String> = self
            .rolling
            .iter()
            .filter(|(other, rolling)| *other != who && rolling.is_moving(now))
            .map(|(other, _)| other.clone())
            .collect();
        if others.len() >= self.most {
            return Turn::After(others);
        }
        self.rolling.insert(who.to_owned(), Rolling { progress: None, moved: now });
        Turn::Taken
    }

    /// Takes in how far a rollout is, whoever began it. False: nothing has moved in it for [`STALLED`].
    pub(crate) fn saw(&mut self, who: &str, progress: &Progress, now: Instant) -> bool {
        let rolling = self.rolling.entry(who.to_owned()).or_insert(Rolling { progress: None, moved: now });
        if rolling.progress.as_ref() != Some(progress) {
            *rolling = Rolling { progress: Some(*progress), moved: now };
        }
        rolling.is_moving(now)
    }

    /// Whether this one is being rolled out, as far as is known.
    pub(crate) fn has(&self, who: &str) -> bool {
        self.rolling.contains_key(who)
    }

    /// Its rollout is done, or never began.
    pub(crate) fn leave(&mut self, who: &str) {
        self.rolling.remove(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(up_to_date: i64) -> Progress {
        Progress { observed_generation: 2, generation: 2, wanted: 3, total: 3, up_to_date, ready: 3 }
    }

    fn names() -> Vec<String> {
        (0..10).map(|number| format!("default/cluster-{number}")).collect()
    }

    #[test]
    fn of_ten_clusters_one_is_rolled_out_after_the_other() {
        let (mut turns, mut now) = (Turns::new(1), Instant::now());
        let mut waiting = names();
        while !waiting.is_empty() {
            let taken: Vec<String> =
                waiting.iter().filter(|who| turns.take(who, now) == Turn::Taken).cloned().collect();
            let [only] = taken.as_slice() else { panic!("{taken:?} at a time") };
            for machine in 1..=3 {
                now += Duration::from_mins(20);
                assert!(turns.saw(only, &progress(machine), now));
                let others = waiting.iter().filter(|who| *who != only);
                assert!(others.clone().all(|who| turns.take(who, now) == Turn::After(vec![only.clone()])));
            }
            turns.leave(only);
            waiting.retain(|who| who != only);
        }
    }

    #[test]
    fn as_many_are_rolled_out_at_a_time_as_is_asked_for_and_one_at_least() {
        let now = Instant::now();
        for (most, expected) in [(0, 1), (1, 1), (3, 3), (20, 10)] {
            let mut turns = Turns::new(most);
            let taken = names().iter().filter(|who| turns.take(who, now) == Turn::Taken).count();
            assert_eq!(taken, expected);
            // Who has a place keeps it.
            assert_eq!(turns.take("default/cluster-0", now), Turn::Taken);
        }
    }

    #[test]
    fn one_without_progress_is_told_and_frees_its_place() {
        let (mut turns, start) = (Turns::new(1), Instant::now());
        assert_eq!(turns.take("a", start), Turn::Taken);
        assert!(turns.saw("a", &progress(1), start));
        let almost = start + STALLED - Duration::from_secs(1);
        assert!(turns.saw("a", &progress(1), almost));
        assert_eq!(turns.take("b", almost), Turn::After(vec!["a".to_owned()]));
        let late = start + STALLED;
        assert!(!turns.saw("a", &progress(1), late));
        assert_eq!(turns.take("b", late), Turn::Taken);
        // It moves again, beside the other: both go on, and nobody else begins.
        assert!(turns.saw("a", &progress(2), late));
        assert_eq!(turns.take("c", late), Turn::After(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn a_rollout_from_before_the_start_counts() {
        let (mut turns, now) = (Turns::new(1), Instant::now());
        assert!(turns.saw("a", &progress(0), now) && turns.has("a"));
        assert_eq!(turns.take("b", now), Turn::After(vec!["a".to_owned()]));
        turns.leave("a");
        assert_eq!(turns.take("b", now), Turn::Taken);
    }
}

//! How many remote targets are worked on at a time. Those that are known to answer, those of which nothing is known yet and
//! those whose requests failed lately wait for their own kind alone, in the order in which they came. Who is slow makes
//! room for the others after a while. No I/O.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::health::{Health, Standing};

/// Passes at a time, by the standing of their target.
const PROVEN: usize = 64;
const NEW: usize = 32;
const SUSPECTS: usize = 4;
/// Watches that are begun at a time: for the first time or again, and where that failed before.
const BEGINNING: usize = 64;
const BEGINNING_AGAIN: usize = 16;
/// How much of all that may be slow.
const SLOW: usize = 256;
/// What takes longer is slow: an API server far away answers a request in a tenth of it.
const PROMPT: Duration = Duration::from_secs(1);

/// The lanes, each with its places.
pub(crate) struct Lanes {
    proven: Semaphore,
    new: Semaphore,
    suspects: Semaphore,
    beginning: Semaphore,
    beginning_again: Semaphore,
    slow: Semaphore,
    /// How many passes wait for a place.
    waiting: Gauge,
}

/// One that waits, until this is dropped.
struct Waiting<'a>(&'a Gauge);

impl<'a> Waiting<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            proven: Semaphore::new(PROVEN),
            new: Semaphore::new(NEW),
            suspects: Semaphore::new(SUSPECTS),
            beginning: Semaphore::new(BEGINNING),
            beginning_again: Semaphore::new(BEGINNING_AGAIN),
            slow: Semaphore::new(SLOW),
            waiting: Gauge::default(),
        }
    }
}

impl Lanes {
    /// The same, with a gauge that counts passes while they wait.
    pub(crate) fn counting(waiting: Gauge) -> Self {
        Self { waiting, ..Self::default() }
    }

    /// Does what a pass has to do on a target of this health, when there is a place for it.
    pub(crate) async fn pass<T>(&self, health: &Health, work: impl Future<Output = T>) -> T {
        let lane = match health.standing() {
            Standing::Proven => &self.proven,
            Standing::New => &self.new,
            Standing::Suspect => &self.suspects,
        };
        let waiting = Waiting::new(&self.waiting);
        let work = async {
            drop(waiting);
            work.await
        };
        self.within(lane, work).await
    }

    /// Does what a watch has to do before it is open, when there is a place for it.
    pub(super) async fn begin_watch<T>(&self, health: &Health, work: impl Future<Output = T>) -> T {
        let lane = if health.trouble().is_some() { &self.beginning_again } else { &self.beginning };
        self.within(lane, work).await
    }

    async fn within<T>(&self, lane: &Semaphore, work: impl Future<Output = T>) -> T {
        // The semaphores are never closed.
        let place: Option<SemaphorePermit<'_>> = lane.acquire().await.ok();
        let mut work = std::pin::pin!(work);
        if let Ok(done) = tokio::time::timeout(PROMPT, &mut work).await {
            return done;
        }
        let slow = tokio::select! {
            biased;
            done = &mut work => return done,
            slow = self.slow.acquire() => slow,
        };
        drop(place);
        let done = work.await;
        drop(slow);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::join_all;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Lets every task that was started come to where it waits.
    async fn settle() {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }

    /// Takes so long on each of so many new targets; gives when the last of `prompt` others that came later was done.
    async fn beside(slow: usize, takes: Duration, prompt: usize) -> Duration {
        let (lanes, health) = (Arc::new(Lanes::default()), Arc::new(Health::default()));
        let hanging: Vec<_> = (0..slow)
            .map(|_| {
                let (lanes, health) = (lanes.clone(), health.clone());
                tokio::spawn(async move { lanes.pass(&health, sleep(takes)).await })
            })
            .collect();
        settle().await;
        let start = Instant::now();
        let short = async || sleep(Duration::from_millis(10)).await;
        join_all((0..prompt).map(|_| lanes.pass(&health, short()))).await;
        let took = start.elapsed();
        hanging.iter().for_each(tokio::task::JoinHandle::abort);
        took
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_has_so_many_places_and_no_more() {
        let took = beside(0, Duration::ZERO, 10 * NEW).await;
        assert!((Duration::from_millis(100)..Duration::from_millis(150)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_holds_its_place_for_seconds_and_not_for_minutes() {
        let took = beside(4 * NEW, Duration::from_mins(2), NEW).await;
        assert!(took < 5 * PROMPT, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_may_be_slow() {
        let took = beside(SLOW + 2 * NEW, Duration::from_mins(2), 1).await;
        assert!(took >= Duration::from_mins(2), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_waits_for_its_own_alone() {
        let (lanes, suspect) = (Arc::new(Lanes::default()), Arc::new(Health::default()));
        suspect.failed("no answer".to_owned());
        for _ in 0..SUSPECTS {
            let (lanes, suspect) = (lanes.clone(), suspect.clone());
            tokio::spawn(async move { lanes.pass(&suspect, sleep(Duration::from_mins(2))).await });
        }
        settle().await;
        let start = Instant::now();
        lanes.pass(&Health::default(), async {}).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        lanes.pass(&suspect, async {}).await;
        assert!((PROMPT..2 * PROMPT).contains(&start.elapsed()));
    }
}

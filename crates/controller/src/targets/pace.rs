//! How fast events of one remote target are taken in: a few at once, then five a second, so that a server that never
//! stops talking takes no more of the operator than any other.

use std::time::Duration;

use tokio::time::Instant;

/// So many events may come at once.
const BURST: u32 = 20;
/// After that, one in this time.
const EACH: Duration = Duration::from_millis(200);

/// The pace of one watch.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the events so far would have come at an even pace.
    even: Option<Instant>,
}

impl Pace {
    /// Waits until the next event may be taken in.
    pub(super) async fn keep(&mut self) {
        let wait = self.wait(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn wait(&mut self, now: Instant) -> Duration {
        let even = self.even.map_or(now, |even| even.max(now)) + EACH;
        self.even = Some(even);
        even.saturating_duration_since(now).saturating_sub(EACH * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_is_slowed_down() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut now = start;
        for _ in 0..20 {
            now += pace.wait(now);
        }
        assert_eq!(now, start);
        for _ in 0..50 {
            now += pace.wait(now);
        }
        assert_eq!(now - start, Duration::from_secs(10));
    }
}

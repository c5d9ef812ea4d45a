//! Fights with other writers: who undid our entries, how often, and when to stop hitting back. No I/O;
//! the time is the caller's.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// So many repairs against one field manager in [`WINDOW`] are a fight.
const REPAIRS: usize = 3;
const WINDOW: Duration = Duration::from_mins(10);
/// In a fight a repair waits this long after the last one.
const PAUSE: Duration = Duration::from_mins(5);

/// The repairs of late, by field manager. Lost at a restart, which costs three more repairs.
#[derive(Debug, Default)]
pub(crate) struct Fights {
    repairs: HashMap<String, Vec<Instant>>,
}

impl Fights {
    /// How long the next repair against `manager` has to wait; `None`: not at all.
    pub(crate) fn pause(&self, manager: &str, now: Instant) -> Option<Duration> {
        let repairs = self.repairs.get(manager)?;
        let recent = repairs.iter().filter(|at| now.saturating_duration_since(**at) < WINDOW).count();
        let last = repairs.iter().max()?;
        let waited = now.saturating_duration_since(*last);
        (recent >= REPAIRS && waited < PAUSE).then(|| PAUSE.saturating_sub(waited))
    }

    /// Takes note of a repair.
    pub(crate) fn repaired(&mut self, manager: &str, now: Instant) {
        let repairs = self.repairs.entry(manager.to_owned()).or_default();
        repairs.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        repairs.push(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_repair_in_ten_minutes_waits_five_minutes_after_the_third() {
        let mut fights = Fights::default();
        let start = Instant::now();
        for minute in 0..3 {
            let now = start + Duration::from_mins(minute);
            assert_eq!(fights.pause("terraform", now), None);
            fights.repaired("terraform", now);
        }
        let later = start + Duration::from_mins(3);
        assert_eq!(fights.pause("terraform", later), Some(Duration::from_mins(4)));
        assert_eq!(fights.pause("kubectl", later), None);
        assert_eq!(fights.pause("terraform", start + Duration::from_mins(7)), None);
    }

    #[test]
    fn repairs_that_are_far_apart_are_no_fight() {
        let mut fights = Fights::default();
        let start = Instant::now();
        for hour in 0..5 {
            let now = start + Duration::from_hours(hour);
            assert_eq!(fights.pause("kubectl", now), None);
            fights.repaired("kubectl", now);
        }
    }
}

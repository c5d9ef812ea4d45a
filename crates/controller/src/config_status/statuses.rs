//! What was written to AWSIamConfigs, and how often they are looked at and written: as seldom for a thousand Clusters as for one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use awsiam_api::{AWSIamConfig, AWSIamConfigStatus};
use tokio::time::Instant;

/// A status is written at most so often.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// An AWSIamConfig is looked at at most so often: each look goes through all Clusters that refer to it, and each of them
/// brings one with every change.
const LOOK: Duration = Duration::from_millis(100);

/// What was last written, by uid: newer than what the cache may hold.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    written: Mutex<HashMap<String, (AWSIamConfigStatus, Instant)>>,
    /// When a status that differs from the written one was first seen, by uid.
    differs: Mutex<HashMap<String, Instant>>,
    /// When an AWSIamConfig was last looked at, by uid.
    looked: Mutex<HashMap<String, Instant>>,
}

impl Statuses {
    pub(super) fn last(&self, config: &AWSIamConfig) -> AWSIamConfigStatus {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(config.metadata.uid.as_deref().unwrap_or_default()) {
            Some((status, _)) => status.clone(),
            None => config.status.clone().unwrap_or_default(),
        }
    }

    /// How long to wait before the status may be written again.
    pub(super) fn just_written(&self, config: &AWSIamConfig) -> Option<Duration> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, at) = written.get(config.metadata.uid.as_deref().unwrap_or_default())?;
        Some(INTERVAL.saturating_sub(at.elapsed())).filter(|wait| !wait.is_zero())
    }

    /// How long to wait before the next look; none: this is it.
    pub(super) fn just_looked(&self, config: &AWSIamConfig) -> Option<Duration> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = config.metadata.uid.clone().unwrap_or_default();
        let wait =
            looked.get(&uid).map(|at| LOOK.saturating_sub(at.elapsed())).filter(|wait| !wait.is_zero());
        if wait.is_none() {
            looked.insert(uid, Instant::now());
        }
        wait
    }

    /// How long to wait before saying that a Cluster has not been looked at: up to [`INTERVAL`] after the
    /// status first differed, however often the config changes meanwhile.
    pub(super) fn first_look(&self, config: &AWSIamConfig) -> Option<Duration> {
        let mut differs = self.differs.lock().unwrap_or_else(PoisonError::into_inner);
        let first =
            differs.entry(config.metadata.uid.clone().unwrap_or_default()).or_insert_with(Instant::now);
        Some(INTERVAL.saturating_sub(first.elapsed())).filter(|wait| !wait.is_zero())
    }

    /// The status is as it should be.
    pub(super) fn settled(&self, config: &AWSIamConfig) {
        let mut differs = self.differs.lock().unwrap_or_else(PoisonError::into_inner);
        differs.remove(config.metadata.uid.as_deref().unwrap_or_default());
    }

    pub(super) fn wrote(&self, config: &AWSIamConfig, status: AWSIamConfigStatus) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(config.metadata.uid.clone().unwrap_or_default(), (status, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks again and again for a minute; gives how often the answer was that it may be done.
    async fn how_often(statuses: &Statuses, may: impl Fn(&Statuses, &AWSIamConfig) -> bool) -> usize {
        let config = serde_json::json!({
            "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "AWSIamConfig",
            "metadata": {"name": "one", "uid": "one"},
            "spec": {"awsRegion": "eu-west-1", "backendMode": ["EKSConfigMap"]},
        });
        let config: AWSIamConfig = serde_json::from_value(config).unwrap();
        let (end, mut times) = (Instant::now() + Duration::from_mins(1), 0);
        while Instant::now() < end {
            times += usize::from(may(statuses, &config));
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_clusters_change_it_is_written_once_a_second_and_looked_at_ten_times() {
        let write = |statuses: &Statuses, config: &AWSIamConfig| {
            let may = statuses.just_written(config).is_none();
            if may {
                statuses.wrote(config, AWSIamConfigStatus::default());
            }
            may
        };
        let writes = how_often(&Statuses::default(), write).await;
        assert!((58..=60).contains(&writes), "{writes}");
        let looks = how_often(&Statuses::default(), |s, config| s.just_looked(config).is_none()).await;
        assert!((550..=600).contains(&looks), "{looks}");
    }
}

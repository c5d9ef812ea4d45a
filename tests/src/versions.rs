//! Every version of `aws-auth` that a watch shows while a test goes on, and what none of them may lose.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use awsiam_core::mapping::List;
use awsiam_core::reader;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use tokio::task::JoinHandle;

/// A watch on `aws-auth`.
pub struct Versions {
    until: Arc<AtomicBool>,
    watching: JoinHandle<Vec<ConfigMap>>,
}

impl Versions {
    /// Begins to watch.
    #[must_use]
    pub fn follow(api: Api<ConfigMap>) -> Self {
        let until = Arc::new(AtomicBool::new(false));
        Self { until: until.clone(), watching: tokio::spawn(versions(api, until)) }
    }

    /// All that came, once no more come.
    ///
    /// # Panics
    /// When `aws-auth` was deleted or the watch ended.
    #[expect(clippy::unwrap_used, reason = "only tests call this")]
    pub async fn all(self) -> Vec<ConfigMap> {
        self.until.store(true, Ordering::SeqCst);
        self.watching.await.unwrap()
    }
}

#[expect(clippy::panic, reason = "only tests call this")]
async fn versions(api: Api<ConfigMap>, until: Arc<AtomicBool>) -> Vec<ConfigMap> {
    let config = watcher::Config::default().fields("metadata.name=aws-auth");
    let mut events = watcher::watcher(api, config).boxed();
    let mut seen: Vec<ConfigMap> = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(300), events.try_next()).await {
            Ok(Ok(Some(Event::Apply(config_map) | Event::InitApply(config_map)))) => seen.push(config_map),
            Ok(Ok(Some(Event::Delete(_)))) => panic!("aws-auth was deleted"),
            Ok(Ok(Some(_))) => {}
            Ok(other) => panic!("the watch ended: {other:?}"),
            // Quiet for a while after the last write: all versions have come.
            Err(_) if until.load(Ordering::SeqCst) => return seen,
            Err(_) => {}
        }
    }
}

/// The ARNs of `mapRoles`.
///
/// # Panics
/// When the text can't be read.
#[expect(clippy::panic, reason = "only tests call this")]
#[must_use]
pub fn arns(config_map: &ConfigMap) -> BTreeSet<String> {
    let text = config_map.data.as_ref().and_then(|data| data.get("mapRoles")).cloned().unwrap_or_default();
    let block = reader::read(List::Roles, &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    block.entries.iter().map(|read| read.entry.arn.clone()).collect()
}

/// The ARNs that `is_meant` means and that stood in some version.
///
/// # Panics
/// When a later version lacks one of them.
#[must_use]
pub fn never_lost(versions: &[ConfigMap], is_meant: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for version in versions {
        let now = arns(version);
        let gone: Vec<_> = known.difference(&now).collect();
        let at = version.resource_version();
        assert!(gone.is_empty(), "at resourceVersion {at:?} these were lost: {gone:?}");
        known.extend(now.into_iter().filter(|arn| is_meant(arn)));
    }
    known
}

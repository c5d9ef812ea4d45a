//! A fleet of Clusters whose targets are stand-ins for API servers: as many as a test likes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::{cluster, put_kubeconfig};
use crate::stage::Stage;
use crate::stand_in::{Load, StandIn};

/// So many objects are made at a time.
const AT_ONCE: usize = 16;

/// Stand-ins, by the name of their Cluster.
pub struct StandIns {
    /// Each of them.
    pub all: BTreeMap<String, StandIn>,
    /// What they have to do together.
    pub load: Arc<Load>,
}

impl StandIns {
    /// Starts so many; their Clusters are called `PREFIX-NNNN`.
    ///
    /// # Panics
    /// When one can't be started.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn start(prefix: &str, count: usize) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // Where that is refused, a small fleet can do without.
        let _ = setrlimit(Resource::Nofile, most);
        let load = Arc::new(Load::default());
        let mut all = BTreeMap::new();
        for number in 0..count {
            let one = StandIn::start(&load).await.expect("a stand-in for an API server");
            all.insert(format!("{prefix}-{number:04}"), one);
        }
        Self { all, load }
    }

    /// Makes their Secrets and Clusters; each refers to this AWSIamConfig.
    ///
    /// # Panics
    /// When the API server refuses.
    pub async fn register(&self, stage: &Stage, config: &str) {
        let each = self.all.iter().map(async |(name, one)| {
            put_kubeconfig(stage, name, &one.kubeconfig()).await;
            cluster(stage, name, &[config], json!({})).await;
        });
        stream::iter(each).buffer_unordered(AT_ONCE).for_each(async |()| {}).await;
    }

    /// How many have this in `mapRoles` of `aws-auth`.
    #[must_use]
    pub fn with(&self, part: &str) -> usize {
        self.all.values().filter(|one| one.roles().contains(part)).count()
    }

    /// How many writes all of them were sent.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.all.values().map(StandIn::writes).sum()
    }

    /// How many requests all of them were sent, by verb and what they were about.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (asked, count) in self.all.values().flat_map(StandIn::requests) {
            *all.entry(asked).or_default() += count;
        }
        all
    }

    /// The open connections of each, in no order.
    #[must_use]
    pub fn connections(&self) -> Vec<usize> {
        self.all.values().map(StandIn::connections).collect()
    }
}

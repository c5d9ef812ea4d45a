//! Which AWSIamConfigs a change of a Cluster concerns: of hundreds that it refers to often only one.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use awsiam_api::conditions;
use awsiam_api::names::AWS_IAM_CONFIG_KIND;
use awsiam_api::{AWSIamConfig, Cluster, ConfigStatus};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;

type ClusterRef = ObjectRef<DeserializeGuard<Cluster>>;
type ConfigRef = ObjectRef<DeserializeGuard<AWSIamConfig>>;

/// By name of an AWSIamConfig: a hash of what a Cluster says about it.
type Said = BTreeMap<String, u64>;

/// What was last seen of each Cluster, as far as the status of an AWSIamConfig is made of it.
#[derive(Debug, Default)]
pub(crate) struct Concerned {
    seen: HashMap<ClusterRef, Said>,
    /// The list that is being read; it counts when it is whole.
    listing: HashMap<ClusterRef, Said>,
}

impl Concerned {
    /// The AWSIamConfigs whose status may change with an event on Clusters: those about which a Cluster, which refers
    /// to them or did when its status was last written, says something else than before. To be asked when the event
    /// is in the store already.
    pub(crate) fn changed(&mut self, event: &Event<DeserializeGuard<Cluster>>) -> Vec<ConfigRef> {
        match event {
            Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            Event::InitApply(cluster) => {
                self.listing.insert(ObjectRef::from_obj(cluster), said_of_each(cluster));
                Vec::new()
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.seen, std::mem::take(&mut self.listing));
                let nothing = Said::new();
                let came = self.seen.iter().flat_map(|(cluster, now)| {
                    different(cluster, before.get(cluster).unwrap_or(&nothing), now)
                });
                let went = before.iter().filter(|(cluster, _)| !self.seen.contains_key(*cluster));
                came.chain(went.flat_map(|(cluster, said)| different(cluster, said, &nothing))).collect()
            }
            Event::Apply(cluster) => {
                let (object, now) = (ObjectRef::from_obj(cluster), said_of_each(cluster));
                let before = self.seen.insert(object.clone(), now.clone()).unwrap_or_default();
                different(&object, &before, &now)
            }
            Event::Delete(cluster) => {
                let object = ObjectRef::from_obj(cluster);
                let before = self.seen.remove(&object).unwrap_or_default();
                different(&object, &before, &Said::new())
            }
        }
    }
}

/// The AWSIamConfigs about which a Cluster says something else now.
fn different(cluster: &ClusterRef, before: &Said, now: &Said) -> Vec<ConfigRef> {
    let came = now.iter().filter(|(name, said)| before.get(*name) != Some(*said)).map(|(name, _)| name);
    let went = before.keys().filter(|name| !now.contains_key(*name));
    let namespace = cluster.namespace.as_deref().unwrap_or_default();
    came.chain(went).map(|name| ObjectRef::new(name).within(namespace)).collect()
}

/// For each AWSIamConfig that a Cluster concerns, a hash of what the AWSIamConfig's status and finalizer depend on.
fn said_of_each(guard: &DeserializeGuard<Cluster>) -> Said {
    let Ok(cluster) = &guard.0 else { return Said::new() };
    let refs = cluster.spec.identity_provider_refs.iter().flatten();
    let named = refs.filter(|r| r.kind == AWS_IAM_CONFIG_KIND).map(|r| (r.name.as_str(), None));
    let reported = cluster.status.iter().flat_map(|status| &status.configs);
    let all: BTreeMap<&str, Option<&ConfigStatus>> =
        named.chain(reported.map(|config| (config.name.as_str(), Some(config)))).collect();
    let mut common = DefaultHasher::new();
    let metadata = &cluster.metadata;
    (&metadata.uid, metadata.generation, &metadata.finalizers, metadata.deletion_timestamp.is_some())
        .hash(&mut common);
    for kind in [conditions::TARGET_REACHABLE, conditions::AWS_AUTH_SYNCED] {
        let status = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        if let Some(bad) = conditions::condition(status, kind).filter(|found| found.status == "False") {
            (kind, &bad.reason, &bad.message).hash(&mut common);
        }
    }
    let each = all.into_iter().map(|(name, said)| {
        let mut hasher = common.clone();
        said.hash(&mut hasher);
        (name.to_owned(), hasher.finish())
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(status: &Value) -> DeserializeGuard<Cluster> {
        let refs =
            [json!({"kind": "AWSIamConfig", "name": "one"}), json!({"kind": "AWSIamConfig", "name": "two"})];
        let object = json!({
            "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "c", "namespace": "n", "generation": 1},
            "spec": {"identityProviderRefs": refs}, "status": status,
        });
        DeserializeGuard(Ok(serde_json::from_value(object).unwrap()))
    }

    fn names(found: Vec<ConfigRef>) -> Vec<String> {
        found.into_iter().map(|config| config.name).collect()
    }

    fn about(name: &str, generation: i64) -> Value {
        json!({"name": name, "generation": generation, "state": "Usable"})
    }

    #[test]
    fn only_the_configs_are_looked_at_of_which_a_cluster_says_something_else() {
        let mut concerned = Concerned::default();
        let first = cluster(&json!({"conditions": [], "configs": [about("one", 1), about("two", 1)]}));
        assert_eq!(names(concerned.changed(&Event::Apply(first.clone()))), ["one", "two"]);
        assert!(concerned.changed(&Event::Apply(first)).is_empty());
        let second = cluster(&json!({"conditions": [], "configs": [about("one", 1), about("two", 2)]}));
        assert_eq!(names(concerned.changed(&Event::Apply(second))), ["two"]);
    }

    #[test]
    fn all_are_looked_at_when_the_target_is_lost_or_the_cluster_goes() {
        let mut concerned = Concerned::default();
        let fine = json!({"conditions": [], "configs": [about("one", 1), about("gone", 1)]});
        assert_eq!(names(concerned.changed(&Event::Apply(cluster(&fine)))), ["gone", "one", "two"]);
        let lost = json!([{"type": "TargetReachable", "status": "False", "reason": "Unreachable", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let lost = cluster(&json!({"conditions": lost, "configs": [about("one", 1)]}));
        assert_eq!(names(concerned.changed(&Event::Apply(lost.clone()))), ["one", "two", "gone"]);
        assert_eq!(names(concerned.changed(&Event::Delete(lost))), ["one", "two"]);
    }

    #[test]
    fn a_list_counts_when_it_is_whole_and_says_what_went_meanwhile() {
        let mut concerned = Concerned::default();
        let object = cluster(&json!({"conditions": [], "configs": []}));
        assert!(concerned.changed(&Event::Init).is_empty());
        assert!(concerned.changed(&Event::InitApply(object.clone())).is_empty());
        assert_eq!(names(concerned.changed(&Event::InitDone)), ["one", "two"]);
        concerned.changed(&Event::Init);
        concerned.changed(&Event::InitApply(object));
        assert!(concerned.changed(&Event::InitDone).is_empty());
        concerned.changed(&Event::Init);
        assert_eq!(names(concerned.changed(&Event::InitDone)), ["one", "two"]);
    }
}

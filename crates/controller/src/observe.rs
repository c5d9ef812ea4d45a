//! Step one of a pass: wire types become core's plain values, once. Needs no client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use awsiam_api::names::{FIELD_MANAGER, TAKE_OVER};
use awsiam_api::{AWSIamConfig, Cluster, ConfigLookup, FoundConfig, Judged, Resolution, resolve};
use awsiam_authenticator::image::has_forgeable_access_key;
use awsiam_core::desired::Backend;
use awsiam_core::history::Record;
use awsiam_core::identity_mappings::IdentityMapping;
use awsiam_core::ledger::{self, Writer};
use awsiam_core::observed::Observed;
use awsiam_core::places::Places;
use awsiam_core::plan::{ConflictPolicy, LastAdminAllowance, Request};
use awsiam_core::privilege::Policy;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use kube::core::DeserializeGuard;

/// `aws-auth` as a plan sees it; `None`: there is none.
#[must_use]
pub fn observed(config_map: Option<&ConfigMap>) -> Observed {
    let Some(config_map) = config_map else { return Observed::default() };
    let annotations = config_map.metadata.annotations.as_ref();
    let other = annotations.into_iter().flatten().filter(|(key, _)| *key != ledger::ANNOTATION);
    let binary = || config_map.binary_data.iter().flatten();
    Observed {
        present: true,
        data: config_map.data.clone().unwrap_or_default(),
        binary_keys: binary().map(|(key, _)| key.clone()).collect(),
        binary_bytes: binary().map(|(_, value)| value.0.len()).sum(),
        ledger: annotations.and_then(|a| a.get(ledger::ANNOTATION)).cloned(),
        other_annotation_bytes: other.map(|(key, value)| key.len() + value.len()).sum(),
        immutable: config_map.immutable == Some(true),
        deleting: config_map.metadata.deletion_timestamp.is_some(),
    }
}

/// Specs that were looked at before, so that a pass looks only at those that changed. A cache and nothing
/// more: what it gives is what looking again would give.
#[derive(Debug, Default)]
pub struct JudgedConfigs {
    /// By namespace and name.
    known: Mutex<HashMap<(Option<String>, String), Known>>,
}

#[derive(Debug)]
struct Known {
    uid: String,
    generation: i64,
    judged: Arc<Judged>,
}

impl JudgedConfigs {
    fn lookup(&self, config: &AWSIamConfig) -> ConfigLookup {
        let (name, metadata) = (config.name_any(), &config.metadata);
        let (uid, generation) =
            (metadata.uid.clone().unwrap_or_default(), metadata.generation.unwrap_or_default());
        // Without both there is no telling whether a spec is the one that was looked at.
        let identified = !uid.is_empty() && generation > 0;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let object = (config.namespace(), name.clone());
        let judged = match known.get(&object) {
            Some(known) if identified && known.uid == uid && known.generation == generation => {
                known.judged.clone()
            }
            _ => Arc::new(Judged::of(&name, &config.spec)),
        };
        known.insert(object, Known { uid: uid.clone(), generation, judged: judged.clone() });
        let deleting = metadata.deletion_timestamp.is_some();
        ConfigLookup::Found(Box::new(FoundConfig { name, uid, generation, judged, deleting }))
    }
}

/// What the Cluster's references ask for. `lookup` finds an AWSIamConfig of the Cluster's namespace.
#[must_use]
pub fn desired(
    cluster: &Cluster,
    judged: &JudgedConfigs,
    lookup: impl Fn(&str) -> Option<Arc<DeserializeGuard<AWSIamConfig>>>,
) -> Resolution {
    resolve(cluster.spec.identity_provider_refs.as_deref(), |name| match lookup(name) {
        None => ConfigLookup::NotFound,
        Some(guard) => match &guard.0 {
            Ok(config) => judged.lookup(config),
            Err(invalid) => ConfigLookup::Undecodable(invalid.error.clone()),
        },
    })
}

/// The backends that references ask for; the default where nobody says.
#[must_use]
pub fn backends(resolution: &Resolution) -> &[Backend] {
    let settings = resolution.settings.as_ref();
    settings.map_or(Places::default().backends, |settings| settings.backends.as_slice())
}

/// Who may take away the last administrator, from the Cluster's annotation and its references.
#[must_use]
pub fn last_admin_allowance(cluster: &Cluster) -> Option<LastAdminAllowance> {
    if cluster.spec.identity_provider_refs.as_ref().is_some_and(Vec::is_empty) {
        return Some(LastAdminAllowance::All);
    }
    let value = cluster.annotations().get(awsiam_api::names::ALLOW_LAST_ADMIN_REMOVAL)?;
    let (name, generation) = value.split_once('/')?;
    let generation = generation.parse().ok()?;
    Some(match name {
        "cluster" => LastAdminAllowance::Cluster { generation },
        name => LastAdminAllowance::Config { name: name.to_owned(), generation },
    })
}

/// The field manager, other than ours, that wrote one of these data keys last; where nobody has one of
/// them (any more), the one that changed `aws-auth` last.
#[must_use]
pub fn other_writer(config_map: &ConfigMap, data_keys: &[&str]) -> Option<String> {
    let others = config_map.managed_fields().iter().filter(|e| e.manager.as_deref() != Some(FIELD_MANAGER));
    // Times are by the second: who owns the data key says more.
    let latest = others.max_by_key(|e| (owns(e, data_keys), e.time.as_ref().map(|time| time.0)));
    latest.and_then(|entry| entry.manager.clone())
}

/// The field manager, other than ours, that changed an object's own fields last.
#[must_use]
pub fn other_manager(object: &impl ResourceExt) -> Option<String> {
    let is_other = |e: &&ManagedFieldsEntry| {
        e.manager.as_deref() != Some(FIELD_MANAGER) && e.subresource.as_deref().unwrap_or_default().is_empty()
    };
    let others = object.managed_fields().iter().filter(is_other);
    others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?.manager.clone()
}

fn owns(entry: &ManagedFieldsEntry, data_keys: &[&str]) -> bool {
    let data = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:data"));
    data.is_some_and(|data| data_keys.iter().any(|key| data.get(format!("f:{key}")).is_some()))
}

/// The field manager that changed `aws-auth` last; of several in one second rather another one than us,
/// because what we write ourselves we know without asking.
#[must_use]
pub fn last_writer(config_map: &ConfigMap) -> Option<String> {
    let entries = config_map.managed_fields().iter();
    let is_other = |entry: &ManagedFieldsEntry| entry.manager.as_deref() != Some(FIELD_MANAGER);
    let latest = entries.max_by_key(|e| (e.time.as_ref().map(|time| time.0), is_other(e)));
    latest.and_then(|entry| entry.manager.clone())
}

/// The operator's privilege flags, with what follows from the image that a Cluster names.
#[must_use]
pub fn policy_for(cluster: &Cluster, flags: &Policy) -> Policy {
    let image = cluster.spec.iam_authenticator.as_ref().and_then(|block| block.image.as_deref());
    Policy { forgeable_access_key: image.is_some_and(has_forgeable_access_key), ..flags.clone() }
}

/// Everything a plan is made from, owned: what one pass read.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// `aws-auth`.
    pub observed: Observed,
    /// The references, resolved.
    pub resolution: Resolution,
    /// Who we are.
    pub writer: Writer,
    /// The Cluster's generation.
    pub cluster_generation: i64,
    /// The Cluster's `conflictPolicy`.
    pub conflicts: ConflictPolicy,
    /// The Cluster is being deleted with `deletionPolicy: Delete`.
    pub remove_all: bool,
    /// Who may take away the last administrator.
    pub last_admin: Option<LastAdminAllowance>,
    /// An administrator told us to take over another writer's ledger.
    pub take_over: bool,
    /// The status says that we owned entries before.
    pub owned_before: bool,
    /// The readable history records.
    pub history: Arc<Vec<Record>>,
    /// The places beside `aws-auth`; none where it is the only one: backend `CRD` has nothing to do with the target.
    pub places: Option<KnownPlaces>,
}

/// What was read of the `IAMIdentityMapping` objects and of who asks them.
#[derive(Clone, Debug)]
pub struct KnownPlaces {
    /// The objects; none: they could not be read.
    pub objects: Option<Vec<IdentityMapping>>,
    /// Every authenticator that answers runs with the backends that are asked for.
    pub ready: bool,
}

impl Inputs {
    /// What a pass over `cluster` reads, put together. `management` is the uid of the management
    /// cluster's namespace `kube-system`.
    #[must_use]
    pub fn of(
        cluster: &Cluster,
        management: &str,
        config_map: Option<&ConfigMap>,
        resolution: Resolution,
        history: Arc<Vec<Record>>,
    ) -> Self {
        let block = cluster.spec.iam_authenticator.as_ref();
        let adopt = block.is_some_and(|b| b.conflict_policy == awsiam_api::ConflictPolicy::Adopt);
        let delete = block.is_some_and(|b| b.deletion_policy == awsiam_api::DeletionPolicy::Delete);
        let owned = cluster.status.as_ref().and_then(|s| s.entries.as_ref()).map_or(0, |e| e.owned);
        Self {
            observed: observed(config_map),
            resolution,
            writer: Writer {
                management: Some(management.to_owned()),
                namespace: cluster.namespace().unwrap_or_default(),
                name: cluster.name_any(),
                uid: cluster.uid(),
            },
            cluster_generation: cluster.metadata.generation.unwrap_or_default(),
            conflicts: if adopt { ConflictPolicy::Adopt } else { ConflictPolicy::Refuse },
            remove_all: delete && cluster.metadata.deletion_timestamp.is_some(),
            last_admin: last_admin_allowance(cluster),
            take_over: cluster.annotations().get(TAKE_OVER).is_some_and(|value| value == "true"),
            owned_before: owned > 0,
            history,
            places: None,
        }
    }

    /// The backends that the Cluster's first AWSIamConfig asks for, in their order; the default where nobody says.
    #[must_use]
    pub fn backends(&self) -> &[Backend] {
        backends(&self.resolution)
    }

    /// The request that the plan is made from.
    #[must_use]
    pub fn request<'a>(&'a self, policy: &'a Policy) -> Request<'a> {
        Request {
            observed: &self.observed,
            places: self.places.as_ref().map_or_else(Places::default, |known| Places {
                backends: self.backends(),
                objects: known.objects.as_deref(),
                ready: known.ready,
            }),
            refs: &self.resolution.refs,
            writer: &self.writer,
            cluster_generation: self.cluster_generation,
            policy,
            conflicts: self.conflicts,
            remove_all: self.remove_all,
            last_admin: self.last_admin.as_ref(),
            take_over: self.take_over,
            history: &self.history,
            owned_before: self.owned_before,
        }
    }
}

//! The references of a Cluster looked up and turned into what `awsiam-core` plans with. The one place
//! where rows of a spec become mappings; the controller and the command line both come through here.
//! Pure: the caller says what a name stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use awsiam_core::arn::Partition;
pub use awsiam_core::desired::Backend;
use awsiam_core::desired::{ConfigState, DesiredConfig, DesiredMapping, Refs, RefusedRow};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::cluster::IdentityProviderRef;
use crate::finding::{Finding, Severity};
use crate::iam_config::{AWSIamConfig, AWSIamConfigSpec};
use crate::names::AWS_IAM_CONFIG_KIND;
use crate::validate::{judge_rows, settings_of, validate};

/// What a name in `identityProviderRefs` stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigLookup {
    /// An AWSIamConfig.
    Found(Box<FoundConfig>),
    /// There is none of that name in the Cluster's namespace.
    NotFound,
    /// There is one and it cannot be read; the text says why.
    Undecodable(String),
}

/// An AWSIamConfig, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundConfig {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`; empty if it comes from a file.
    pub uid: String,
    /// `metadata.generation`; 0 if it comes from a file.
    pub generation: i64,
    /// Its spec, looked at.
    pub judged: Arc<Judged>,
    /// Whether it is being deleted. It counts all the same: our finalizer holds it while a Cluster
    /// refers to it.
    pub deleting: bool,
}

impl From<AWSIamConfig> for ConfigLookup {
    fn from(config: AWSIamConfig) -> Self {
        let metadata = config.metadata;
        let name = metadata.name.unwrap_or_default();
        Self::Found(Box::new(FoundConfig {
            judged: Arc::new(Judged::of(&name, &config.spec)),
            name,
            uid: metadata.uid.unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
        }))
    }
}

impl ConfigLookup {
    /// Reads an object whose CRD may be somebody else's: what does not fit is `Undecodable`, and no
    /// reason for the watch to end.
    #[must_use]
    pub fn of_object(object: &DynamicObject) -> Self {
        let spec = object.data.get("spec").cloned().unwrap_or(Value::Null);
        match serde_json::from_value(spec) {
            Ok(spec) => Self::from(AWSIamConfig { metadata: object.metadata.clone(), spec, status: None }),
            Err(error) => Self::Undecodable(format!("spec cannot be read as an AWSIamConfig: {error}")),
        }
    }
}

/// What a Cluster's first AWSIamConfig says for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The AWSIamConfig that says it.
    pub config: String,
    /// Region of the logins.
    pub region: String,
    /// Partition of every ARN.
    pub partition: Partition,
    /// Backends, in the order in which they are asked.
    pub backends: Vec<Backend>,
}

/// The references of a Cluster, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// What is asked for, ready for the plan.
    pub refs: Refs,
    /// What is wrong with each AWSIamConfig, by its name; those without findings are absent.
    pub findings: BTreeMap<String, Vec<Finding>>,
    /// The settings of the first reference; `None` while it does not resolve, or where there is none.
    pub settings: Option<Settings>,
}

/// Looks up `refs` (`None`: the field is absent) and turns rows into mappings.
///
/// Only kind AWSIamConfig is looked at. The first of them, resolved or not, decides about region,
/// partition and backends; one that says otherwise is `Disagrees`. A name that comes twice counts once.
#[must_use]
pub fn resolve(refs: Option<&[IdentityProviderRef]>, lookup: impl Fn(&str) -> ConfigLookup) -> Resolution {
    let mut resolution = Resolution { refs: Refs::Absent, findings: BTreeMap::new(), settings: None };
    let Some(refs) = refs else { return resolution };
    let mut configs: Vec<DesiredConfig> = Vec::new();
    for name in refs.iter().filter(|r| r.kind == AWS_IAM_CONFIG_KIND).map(|r| r.name.as_str()) {
        if configs.iter().any(|config| config.name == name) {
            continue;
        }
        let config = match lookup(name) {
            ConfigLookup::NotFound => unresolved(name, ConfigState::NotFound),
            ConfigLookup::Undecodable(why) => unresolved(name, ConfigState::Undecodable(why)),
            ConfigLookup::Found(found) => resolve_one(name, &found, configs.is_empty(), &mut resolution),
        };
        configs.push(config);
    }
    resolution.refs = Refs::Listed(configs);
    resolution
}

fn unresolved(name: &str, state: ConfigState) -> DesiredConfig {
    DesiredConfig {
        name: name.to_owned(),
        uid: String::new(),
        generation: 0,
        state,
        mappings: Arc::default(),
        refused: vec![],
    }
}

fn resolve_one(
    name: &str,
    found: &FoundConfig,
    is_first: bool,
    resolution: &mut Resolution,
) -> DesiredConfig {
    let judged = &found.judged;
    if !judged.findings.is_empty() {
        resolution.findings.insert(name.to_owned(), judged.findings.clone());
    }
    let mut config = DesiredConfig {
        uid: found.uid.clone(),
        generation: found.generation,
        ..unresolved(name, ConfigState::Usable)
    };
    match &judged.settings {
        Err(why) => {
            config.state = ConfigState::Undecodable(why.clone());
            return config;
        }
        Ok(settings) if is_first => resolution.settings = Some(settings.clone()),
        Ok(settings) => config.state = agreement(resolution.settings.as_ref(), settings),
    }
    if config.state == ConfigState::Usable && judged.suspend {
        config.state = ConfigState::Suspended;
    }
    config.mappings = judged.mappings.clone();
    config.refused.clone_from(&judged.refused);
    config
}

/// A spec looked at by itself, whoever refers to it. Worth keeping as long as the object's generation
/// stays: 1,000 rows take some milliseconds to judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    settings: Result<Settings, String>,
    suspend: bool,
    mappings: Arc<[DesiredMapping]>,
    refused: Vec<RefusedRow>,
    findings: Vec<Finding>,
}

impl Judged {
    /// Looks at the spec of the AWSIamConfig `name`.
    #[must_use]
    pub fn of(name: &str, spec: &AWSIamConfigSpec) -> Self {
        let (mut mappings, mut refused) = (Vec::new(), Vec::new());
        for row in judge_rows(spec) {
            match row.mapping {
                Some(mapping) => {
                    mappings.push(DesiredMapping { mapping: mapping.into(), field: row.field.into() });
                }
                None => refused.push(RefusedRow { key: row.key, field: row.field }),
            }
        }
        // A row that repeats an ARN does not count, and the first one speaks for it.
        let keys: BTreeSet<_> = mappings.iter().map(|row| row.mapping.key()).collect();
        refused.retain(|row| row.key.as_ref().is_none_or(|key| !keys.contains(key)));
        Self {
            settings: read_settings(name, spec),
            suspend: spec.suspend,
            mappings: mappings.into(),
            refused,
            findings: validate(spec),
        }
    }
}

/// The settings of one AWSIamConfig, or what is wrong with them.
fn read_settings(name: &str, spec: &AWSIamConfigSpec) -> Result<Settings, String> {
    if let Some(finding) = settings_of(spec).into_iter().find(|finding| finding.severity == Severity::Refused)
    {
        return Err(finding.to_string());
    }
    let backends = spec.backend_mode.iter().map(|mode| match mode.as_str() {
        "CRD" => Backend::Crd,
        _ => Backend::EksConfigMap,
    });
    Ok(Settings {
        config: name.to_owned(),
        region: spec.aws_region.clone(),
        partition: spec.partition.parse().map_err(|error| format!("spec.partition: {error}"))?,
        backends: backends.collect(),
    })
}

/// Whether settings are those of the first reference. While that does not resolve, nobody can say; then
/// nothing is added or removed anyway.
fn agreement(first: Option<&Settings>, settings: &Settings) -> ConfigState {
    let Some(first) = first else { return ConfigState::Usable };
    let fields = [
        ("awsRegion", first.region == settings.region),
        ("partition", first.partition == settings.partition),
        ("backendMode", first.backends == settings.backends),
    ];
    let differing: Vec<String> =
        fields.into_iter().filter(|(_, same)| !same).map(|(field, _)| field.to_owned()).collect();
    if differing.is_empty() { ConfigState::Usable } else { ConfigState::Disagrees(differing) }
}

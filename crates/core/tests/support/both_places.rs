//! A make-believe target with both places: `aws-auth`, objects behind an API server that checks versions, and the
//! authenticators that run. Every step of every write is looked at: was there an administrator before, there is one
//! after it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeSet;

use awsiam_core::desired::Backend;
use awsiam_core::effective::Effective;
use awsiam_core::identity_mappings::{IdentityMapping, Version, Write, canonical_arn};
use awsiam_core::mapping::{Entry, Key, List, Mapping};
use awsiam_core::places::Places;
use awsiam_core::plan::{self, Outcome, Plan, Request, State};

use crate::support::{MASTERS, Target, role_arn};

pub(crate) const CONFIG_MAP: &[Backend] = &[Backend::EksConfigMap];
pub(crate) const CRD: &[Backend] = &[Backend::Crd];
pub(crate) const CRD_FIRST: &[Backend] = &[Backend::Crd, Backend::EksConfigMap];
pub(crate) const CONFIG_MAP_FIRST: &[Backend] = &[Backend::EksConfigMap, Backend::Crd];

/// A target, its objects and its authenticators.
#[derive(Clone, Debug)]
pub(crate) struct Both {
    pub(crate) target: Target,
    pub(crate) objects: Vec<IdentityMapping>,
    /// What the Cluster asks for.
    pub(crate) backends: &'static [Backend],
    /// What the authenticators that answer run with.
    pub(crate) running: &'static [Backend],
    /// Whether somebody was allowed to take the last administrator away.
    pub(crate) may_lose_administrators: bool,
    versions: u64,
}

impl Both {
    pub(crate) fn new(backends: &'static [Backend]) -> Self {
        Self {
            target: Target::new(),
            objects: Vec::new(),
            backends,
            running: backends,
            may_lose_administrators: false,
            versions: 0,
        }
    }

    /// The same with an object that somebody else made and the authenticator has read.
    pub(crate) fn with_object(mut self, name: &str, arn: &str, username: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let spec = Entry { arn: arn.to_owned(), username: username.to_owned(), groups, ..Entry::default() };
        let version = self.version();
        let canonical_arn = canonical_arn(arn);
        let name = name.to_owned();
        self.objects.push(IdentityMapping {
            name,
            version,
            spec,
            canonical_arn,
            ..IdentityMapping::default()
        });
        self
    }

    fn version(&mut self) -> Version {
        self.versions += 1;
        Version { uid: format!("uid-{}", self.versions), resource_version: self.versions.to_string() }
    }

    pub(crate) fn request(&self) -> Request<'_> {
        let ready = self.running == self.backends;
        let places = Places { backends: self.backends, objects: Some(&self.objects), ready };
        Request { places, ..self.target.request() }
    }

    pub(crate) fn plan(&self) -> Plan {
        plan::plan(&self.request())
    }

    /// Writes in the order that is prescribed, and looks after each step.
    pub(crate) fn write(&mut self, plan: &Plan) {
        let had = !self.administrators().is_empty() && !self.may_lose_administrators;
        for write in &plan.objects.changes.write {
            self.put(write);
            assert!(!had || !self.administrators().is_empty(), "nobody is left after {write:?}: {plan:#?}");
        }
        if plan.has_write() {
            self.target.write(plan);
            assert!(!had || !self.administrators().is_empty(), "nobody is left by aws-auth: {plan:#?}");
        }
        for deletion in &plan.objects.changes.delete {
            let at = self.objects.iter().position(|object| object.name == deletion.name).unwrap();
            assert_eq!(self.objects.remove(at).version, deletion.version);
            assert!(
                !had || !self.administrators().is_empty(),
                "nobody is left after {deletion:?}: {plan:#?}"
            );
        }
    }

    fn put(&mut self, write: &Write) {
        let version = self.version();
        let found = self.objects.iter_mut().find(|object| object.name == write.name);
        match (found, &write.replaces) {
            (Some(object), Some(replaced)) => {
                assert_eq!(object.version, *replaced);
                object.version.resource_version = version.resource_version;
                (object.cluster, object.mark) = (Some(write.cluster.clone()), Some(write.mark.clone()));
                object.spec = write.spec.clone();
            }
            (None, None) => self.objects.push(IdentityMapping {
                name: write.name.clone(),
                version,
                cluster: Some(write.cluster.clone()),
                mark: Some(write.mark.clone()),
                spec: write.spec.clone(),
                canonical_arn: None,
                deleting: false,
            }),
            (found, _) => panic!("{write:?} meets {found:?}"),
        }
    }

    /// Plans and writes once.
    pub(crate) fn pass(&mut self) -> Plan {
        let plan = self.plan();
        self.write(&plan);
        plan
    }

    /// The authenticators read all objects and write their status, if they run with that backend.
    pub(crate) fn load(&mut self) {
        if !self.running.contains(&Backend::Crd) {
            return;
        }
        for object in &mut self.objects {
            object.canonical_arn = canonical_arn(&object.spec.arn).or(object.canonical_arn.take());
        }
    }

    /// The rollout to the backends that the Cluster asks for is over.
    pub(crate) fn roll_out(&mut self) {
        let had = !self.administrators().is_empty();
        self.running = self.backends;
        self.load();
        assert!(!had || !self.administrators().is_empty(), "nobody is left by the rollout");
    }

    /// The same, as it goes on a cluster: one server of the new kind has read the objects before the last old one goes.
    pub(crate) fn roll_out_after_loading(&mut self) {
        if self.backends.contains(&Backend::Crd) {
            for object in &mut self.objects {
                object.canonical_arn = canonical_arn(&object.spec.arn);
            }
        }
        self.roll_out();
    }

    /// Passes and reads in turn until nothing changes any more; gives the first plan.
    pub(crate) fn settle(&mut self) -> Plan {
        let first = self.pass();
        for _ in 0..6 {
            self.load();
            let plan = self.pass();
            if !plan.has_write() && !plan.has_object_writes() {
                assert!(plan.changes().next().is_none(), "changes are named: {:#?}", plan.outcomes);
                return first;
            }
        }
        panic!("it never settles: {:#?}", self.plan().outcomes);
    }

    /// Whom the running authenticators let in for an ARN, and as what; several: by chance.
    pub(crate) fn logins(&self, arn: &str) -> BTreeSet<(String, Vec<String>)> {
        let arn = arn.to_lowercase();
        let entries = plan::entries(&self.target.observed.data);
        let said = |entry: &Entry| (entry.username.clone(), entry.groups.clone());
        for backend in self.running {
            let found: BTreeSet<_> = match backend {
                Backend::EksConfigMap => {
                    let effective = Effective::of(&entries);
                    effective.answers(&arn).iter().filter_map(|at| effective.entry(*at)).map(said).collect()
                }
                Backend::Crd => {
                    let found = self.objects.iter().filter(|object| object.is_loaded_for(&arn));
                    found.map(|object| said(&object.spec)).collect()
                }
            };
            if !found.is_empty() {
                return found;
            }
            let accounts = entries.get(&List::Accounts).into_iter().flatten();
            if *backend == Backend::EksConfigMap
                && accounts.into_iter().any(|account| arn.split(':').nth(4) == Some(account.arn.as_str()))
            {
                return BTreeSet::from([(arn, Vec::new())]);
            }
        }
        BTreeSet::new()
    }

    /// Whether a mapping is what everybody with its ARN gets.
    pub(crate) fn gives(&self, mapping: &Mapping) -> bool {
        self.logins(&mapping.arn) == BTreeSet::from([(mapping.username.clone(), mapping.groups.clone())])
    }

    /// The ARNs whose logins are administrators.
    pub(crate) fn administrators(&self) -> BTreeSet<String> {
        let entries = plan::entries(&self.target.observed.data);
        let arns = entries.values().flatten().map(|entry| entry.arn.to_lowercase());
        let loaded = self.objects.iter().filter_map(|object| object.canonical_arn.clone());
        let is_masters = |groups: &Vec<String>| groups.iter().any(|group| group == MASTERS);
        arns.chain(loaded)
            .filter(|arn| {
                let logins = self.logins(arn);
                !logins.is_empty() && logins.iter().all(|(_, groups)| is_masters(groups))
            })
            .collect()
    }

    /// Our objects.
    pub(crate) fn ours(&self) -> Vec<&IdentityMapping> {
        self.objects.iter().filter(|object| object.mark.is_some()).collect()
    }

    /// The object of this name.
    pub(crate) fn object(&mut self, name: &str) -> &mut IdentityMapping {
        self.objects.iter_mut().find(|object| object.name == name).unwrap()
    }

    /// The name of our only object.
    pub(crate) fn only_name(&self) -> String {
        let [only] = self.ours()[..] else { panic!("not one object: {:#?}", self.objects) };
        only.name.clone()
    }
}

/// What a plan says of a role in a place.
pub(crate) fn said_in(plan: &Plan, place: Backend, name: &str) -> Option<(State, &'static str)> {
    outcome(plan, place, name).map(|outcome| (outcome.state, outcome.reason.name()))
}

/// The outcome for a role in a place.
pub(crate) fn outcome<'p>(plan: &'p Plan, place: Backend, name: &str) -> Option<&'p Outcome> {
    let key = Key::new(List::Roles, &role_arn(name));
    plan.outcomes.iter().find(|outcome| outcome.place == place && outcome.key == key)
}

//! Mappings as `IAMIdentityMapping` objects, the authenticator's backend `CRD`: what an object means, whose it is and
//! what a plan does with it. No Kubernetes types and no requests; the controller carries [`Changes`] out.
//!
//! How the authenticator treats them (aws-iam-authenticator v0.7.18, files of that repository):
//! - It watches all objects of the cluster and keeps them in memory (`pkg/mapper/crd/mapper.go`, `NewCRDMapper`), so
//!   its rights must be cluster-wide: get, list, watch on `iamidentitymappings`. Without them, or without the CRD, it
//!   runs on and knows no mapping, and the next backend is asked. (`deploy/example.yaml` grants them by a RoleBinding
//!   in `kube-system`, which is not enough.)
//! - A login is found by `status.canonicalARN` alone, which must equal the caller's canonical ARN in lower case, to
//!   the byte (`Map`, `IndexIAMIdentityMappingByCanonicalArn`). `spec.arn` is not looked at then. An object without
//!   that status answers for nobody; whoever may write the status decides for whom an object answers.
//! - Every server runs a controller that writes the status: `spec.arn` in lower case, a session
//!   (`sts … assumed-role/NAME/SESSION`) turned into its role, everything else as it is (`syncHandler` in
//!   `pkg/mapper/crd/controller/controller.go`, `Canonicalize` in `pkg/arn/arn.go`). A role's path stays, and such an
//!   object never matches. So the status means that one server has read the object; as the status is part of the
//!   object, all others find it as soon as their watch brings it. For that each server may update
//!   `iamidentitymappings/status`; it also makes Events, in namespace `default`, as the objects have none.
//! - After a change of `spec.arn` the old status answers until the controller has come round, and for ever if the new
//!   text is no ARN of an identity in a known partition: then the status is left alone. A change of username or groups
//!   counts at once. Hence an object's ARN is never changed here but to put it back.
//! - Several objects with one canonical ARN: the first of a Go map, so chance decides at every login (`ByIndex` in
//!   client-go's `tools/cache/thread_safe_store.go`).
//! - Of the status `userID` is never filled. There are no accounts (`IsAccountAllowed` is false) and no `sso`.
//! - The backends are asked in order. In front of this one, an account in `mapAccounts` of `aws-auth` answers for all
//!   its identities (`doMapping` in `pkg/server/server.go`). Reserved username prefixes count here from v0.7.17.

mod claims;
mod mark;
mod objects;
mod remainder;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use crate::desired::Backend;
use crate::ledger::{KeyHash, Ledger};
use crate::mapping::{Entry, Key, List, Mapping, fold};
use crate::merge::wishes::Wishes;
use crate::merge::{Lists, Overrides};
use crate::plan::{Counts, Note, Outcome, Reason, Request, State};

pub use mark::{Mark, MarkError, cluster_label, object_name};
pub(crate) use objects::Said;
pub use objects::{Objects, canonical_arn};

/// An object as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityMapping {
    /// `metadata.name`
    pub name: String,
    /// Which version of which object.
    pub version: Version,
    /// The value of our label, if it has one.
    pub cluster: Option<String>,
    /// The value of our annotation, if it has one: a [`Mark`].
    pub mark: Option<String>,
    /// `spec.arn`, `spec.username` and `spec.groups`; its other fields are not used.
    pub spec: Entry,
    /// `status.canonicalARN`, empty or absent while no authenticator has read the object.
    pub canonical_arn: Option<String>,
    /// Whether it has a deletionTimestamp: a finalizer still holds it.
    pub deleting: bool,
}

impl IdentityMapping {
    /// Whether an authenticator has read it and finds it for a canonical ARN, given in lower case.
    #[must_use]
    pub fn is_loaded_for(&self, arn: &str) -> bool {
        !arn.is_empty() && self.canonical_arn.as_deref() == Some(arn)
    }

    /// Whether it gives whoever has the ARN of `mapping` what that says.
    #[must_use]
    pub fn grants(&self, mapping: &Mapping) -> bool {
        let arn = fold(&mapping.arn);
        let is_meant = canonical_arn(&self.spec.arn).as_deref() == Some(arn.as_str());
        (is_meant || self.is_loaded_for(&arn))
            && self.spec.username == mapping.username
            && self.spec.groups == mapping.groups
    }
}

impl IdentityMapping {
    /// Why a mapping is refused where nodes join by this object.
    pub(crate) fn node_message(&self) -> String {
        format!(
            "nodes join by IAMIdentityMapping {}, which has this ARN; use another role for people",
            self.name
        )
    }
}

/// What a conditional write or delete names: it fails if somebody was faster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Version {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
}

/// An object as it is to be. What it does not name (labels and annotations of others, finalizers) stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Write {
    /// `metadata.name`
    pub name: String,
    /// The version it replaces; none: it is made, by a plain POST.
    pub replaces: Option<Version>,
    /// The whole spec: arn, username and groups.
    pub spec: Entry,
    /// The value of our label.
    pub cluster: String,
    /// The value of our annotation.
    pub mark: String,
}

/// An object that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deletion {
    /// `metadata.name`
    pub name: String,
    /// The version that may be deleted, both parts as preconditions.
    pub version: Version,
}

/// What changes among the objects, in the order in which it is written: `write` before `aws-auth`, `delete` after it,
/// and not at all when a write before it failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Objects that are made or replaced.
    pub write: Vec<Write>,
    /// Objects that go.
    pub delete: Vec<Deletion>,
}

impl Changes {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.write.is_empty() && self.delete.is_empty()
    }

    /// The writes and deletions by the object's name.
    pub(crate) fn by_name(&self) -> (HashMap<&str, &Write>, HashSet<&str>) {
        let writes = self.write.iter().map(|write| (write.name.as_str(), write));
        (writes.collect(), self.delete.iter().map(|deletion| deletion.name.as_str()).collect())
    }
}

/// What a plan says about the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// What changes.
    pub changes: Changes,
    /// The objects afterwards.
    pub counts: Counts,
    /// Names of objects of ours, those that are made now included, that no authenticator has read yet: their
    /// mappings are written and give nobody a login so far.
    pub unloaded: Vec<String>,
}

/// What was decided about the objects.
#[derive(Debug, Default)]
pub(crate) struct Decided<'r> {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) changes: Changes,
    pub(crate) note: Option<Note>,
    /// Mappings that every object with their ARN must give afterwards.
    admitted: Vec<&'r Mapping>,
}

/// What all decisions share.
struct Context<'r, 'l> {
    wishes: Wishes<'r>,
    /// None: the objects were not read.
    objects: Option<&'l Objects<'r>>,
    lists: &'l Lists<'l>,
    ledger: &'l Ledger,
    overrides: &'l Overrides,
}

impl<'r> Decided<'r> {
    /// Decides every mapping that is written as an object, and every object that is ours.
    pub(crate) fn of(
        request: &'r Request<'r>,
        objects: Option<&Objects<'r>>,
        lists: &Lists<'_>,
        ledger: &Ledger,
        overrides: &Overrides,
    ) -> Self {
        let mut decided = Decided::default();
        if objects.is_none() && request.places.home(List::Roles) != Backend::Crd {
            // Nothing is an object's: most targets are so, and need not pay for the others.
            return decided;
        }
        let context = Context { wishes: Wishes::of(request), objects, lists, ledger, overrides };
        let claimed = claims::decide(&context, &mut decided);
        if let Some(objects) = objects {
            remainder::decide(&context, objects, &claimed, &mut decided);
            decided.note = remainder::orphans(&context, objects, &claimed);
        }
        decided
    }

    /// Looks at the objects as they would be: every admitted mapping must be what all objects with its ARN say, for
    /// one that says otherwise would answer at random. False when a mapping is left out and planning starts again.
    pub(crate) fn verify(&self, objects: Option<&Objects<'_>>, overrides: &mut Overrides) -> bool {
        let Some(objects) = objects else { return true };
        let afterwards = objects.afterwards(&self.changes);
        let mut as_planned = true;
        for mapping in &self.admitted {
            let arn = fold(&mapping.arn);
            let gives = |entry: &&Entry| entry.username == mapping.username && entry.groups == mapping.groups;
            let answers = afterwards.get(arn.as_str()).map(Vec::as_slice).unwrap_or_default();
            if answers.is_empty() || !answers.iter().all(gives) {
                let message = "another IAMIdentityMapping would answer for this ARN as well and say something else; it is left out. Look at the objects with this ARN in spec.arn or status.canonicalARN";
                let held = (Reason::VerificationFailed, message.to_owned());
                as_planned &= overrides.held_objects.insert(mapping.key(), held).is_some();
            }
        }
        as_planned
    }

    /// What the plan says.
    pub(crate) fn into_planned(self, objects: Option<&Objects<'_>>) -> Planned {
        let (writes, deletes) = self.changes.by_name();
        let made = self.changes.write.iter().filter(|write| write.replaces.is_none());
        let mut unloaded: Vec<String> = made.map(|write| write.name.clone()).collect();
        let mut counts = Counts { owned: unloaded.len(), ..Counts::default() };
        let stay = objects.into_iter().flat_map(Objects::all);
        for found in stay.filter(|found| !deletes.contains(found.object.name.as_str())) {
            let is_ours = found.mark.is_some() || writes.contains_key(found.object.name.as_str());
            if is_ours {
                counts.owned += 1;
            } else {
                counts.foreign += 1;
            }
            counts.nodes += usize::from(found.object.spec.is_node());
            if found.mark.as_ref().is_some_and(|mark| !found.object.is_loaded_for(&mark.arn)) {
                unloaded.push(found.object.name.clone());
            }
        }
        Planned { changes: self.changes, counts, unloaded }
    }

    fn say(&mut self, subject: Subject<'r>, state: State, reason: Reason, message: impl Into<String>) {
        self.outcomes.push(Outcome {
            place: Backend::Crd,
            key: subject.key,
            config: subject.config,
            field: subject.field,
            state,
            reason,
            message: message.into(),
            before: subject.before,
            after: subject.mapping.cloned(),
        });
    }
}

/// What a decision is about.
struct Subject<'r> {
    key: Key,
    config: Option<Arc<str>>,
    field: Option<Arc<str>>,
    mapping: Option<&'r Arc<Mapping>>,
    /// The object that changes or goes.
    before: Option<Entry>,
}

/// The keys that mappings claimed.
type Claimed = HashSet<KeyHash>;

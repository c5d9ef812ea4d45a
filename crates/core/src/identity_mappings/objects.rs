//! The objects as read, found by the ARN they answer for and by the mapping they were written for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Changes, IdentityMapping, Mark, MarkError, cluster_label, object_name};
use crate::arn::Partition;
use crate::ledger::{Relation, Writer};
use crate::mapping::{Entry, Key, List, Mapping, fold};
use crate::plan::{Blocked, Note, Request};

/// What the authenticator's controller writes to `status.canonicalARN` of an object; none: nothing, and the status
/// stays as it is (`syncHandler` of its `pkg/mapper/crd/controller`, `Canonicalize` of its `pkg/arn`).
#[must_use]
pub fn canonical_arn(spec_arn: &str) -> Option<String> {
    let arn: String = spec_arn.chars().flat_map(char::to_lowercase).collect();
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, service, _region, account, resource] = parts.as_slice() else { return None };
    partition.parse::<Partition>().ok()?;
    let (kind, rest) = resource.split_once('/').unwrap_or((resource, ""));
    match (*service, kind) {
        ("iam", "role" | "user" | "root") | ("sts", "federated-user") => Some(arn),
        ("sts", "assumed-role") => {
            let (role, _session) = rest.rsplit_once('/')?;
            Some(format!("arn:{partition}:iam::{account}:role/{role}"))
        }
        _ => None,
    }
}

/// One object.
#[derive(Debug)]
pub struct Found<'r> {
    /// As it was read.
    pub object: &'r IdentityMapping,
    /// Its mark, if it is ours.
    pub mark: Option<Mark>,
}

/// All objects of a target.
#[derive(Debug)]
pub struct Objects<'r> {
    /// By name, so that a plan does not depend on the order in which they were read.
    all: Vec<Found<'r>>,
    /// Foreign ones by each ARN that they answer for, or will when the authenticator has read them.
    foreign: HashMap<String, Vec<usize>>,
    /// Ours by key.
    ours: BTreeMap<Key, Vec<usize>>,
}

impl<'r> Objects<'r> {
    /// Sorts the objects of a request; none if they were not read. Tells whom objects are taken over from.
    ///
    /// # Errors
    /// [`Blocked::LedgerNewer`] when an object of ours has a mark of a newer version.
    pub fn of(request: &Request<'r>, notes: &mut Vec<Note>) -> Result<Option<Self>, Blocked> {
        let Some(read) = request.places.objects else { return Ok(None) };
        let label = cluster_label(request.writer);
        let mut read: Vec<&IdentityMapping> = read.iter().collect();
        read.sort_by(|one, other| one.name.cmp(&other.name));
        let mut objects = Self { all: Vec::new(), foreign: HashMap::new(), ours: BTreeMap::new() };
        for object in read {
            let mark = match object.mark.as_deref().map(Mark::parse) {
                Some(Err(MarkError::Newer(version))) if object.cluster.as_ref() == Some(&label) => {
                    let message =
                        format!("IAMIdentityMapping {}: {}", object.name, MarkError::Newer(version));
                    return Err(Blocked::LedgerNewer { message });
                }
                Some(Ok(mark)) => ours(request, object, mark, notes),
                _ => None,
            };
            objects.add(Found { object, mark });
        }
        Ok(Some(objects))
    }

    fn add(&mut self, found: Found<'r>) {
        let index = self.all.len();
        if let Some(mark) = &found.mark {
            self.ours.entry(mark.key()).or_default().push(index);
        } else {
            for arn in answers_for(&found.object.spec, found.object.canonical_arn.as_deref()) {
                self.foreign.entry(arn).or_default().push(index);
            }
        }
        self.all.push(found);
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Found<'r>> {
        self.all.iter()
    }

    /// Whether some are ours.
    #[must_use]
    pub fn any_ours(&self) -> bool {
        !self.ours.is_empty()
    }

    /// The keys of ours.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.ours.keys()
    }

    /// Ours that were written for a key, with their marks: normally one, more after an adoption.
    pub fn ours(&self, key: &Key) -> impl Iterator<Item = (&'r IdentityMapping, &Mark)> {
        let found = self.ours.get(key).into_iter().flatten().filter_map(|index| self.all.get(*index));
        found.filter_map(|found| Some((found.object, found.mark.as_ref()?)))
    }

    /// Whether one of ours was written for a key.
    #[must_use]
    pub fn has_ours(&self, key: &Key) -> bool {
        self.ours.contains_key(key)
    }

    /// Foreign ones that answer, or soon will, for an ARN in lower case.
    pub fn foreign(&self, arn: &str) -> impl Iterator<Item = &'r IdentityMapping> {
        let found = self.foreign.get(arn).into_iter().flatten();
        found.filter_map(|index| self.all.get(*index)).map(|found| found.object)
    }

    /// Those that answer, or soon will, for an identity of an account, but for the ARNs of which `is_known` says so.
    pub(crate) fn of_account(
        &self,
        account: &str,
        is_known: impl Fn(&str) -> bool,
    ) -> Vec<&'r IdentityMapping> {
        let is_meant = |arn: &String| arn.split(':').nth(4) == Some(account) && !is_known(arn);
        let objects = self.all.iter().map(|found| found.object).filter(|object| !object.deleting);
        objects.filter(|o| answers_for(&o.spec, o.canonical_arn.as_deref()).iter().any(is_meant)).collect()
    }

    /// A foreign one by which nodes with this ARN join.
    #[must_use]
    pub fn node_object(&self, arn: &str) -> Option<&'r IdentityMapping> {
        self.foreign(arn).find(|object| object.spec.is_node())
    }

    /// The object of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Found<'r>> {
        let index = self.all.binary_search_by(|found| found.object.name.as_str().cmp(name)).ok()?;
        self.all.get(index)
    }

    /// Whether objects of ours give the mapping with this key to everybody who logs in with its ARN now, as far as
    /// objects are asked.
    #[must_use]
    pub fn gives(&self, key: &Key, mapping: &Mapping) -> bool {
        let answers = |object: &IdentityMapping| {
            !object.deleting && object.is_loaded_for(&key.arn) && object.grants(mapping)
        };
        self.ours(key).any(|(object, _)| answers(object))
            && self.ours(key).all(|(object, _)| object.grants(mapping))
            && self.foreign(&key.arn).all(|object| object.grants(mapping))
    }

    /// What the objects say for each ARN when `changes` are carried out and the authenticator has read them. One
    /// that is changed may answer for its old ARN for a moment.
    pub(super) fn afterwards<'a>(&'a self, changes: &'a Changes) -> Said<'a> {
        let (writes, deletes) = changes.by_name();
        let mut afterwards = Said::new();
        let stay =
            self.all.iter().filter(|f| !f.object.deleting && !deletes.contains(f.object.name.as_str()));
        for Found { object, .. } in stay {
            let write = writes.get(object.name.as_str());
            let spec = write.map_or(&object.spec, |write| &write.spec);
            // The status of what is written follows its spec.
            let status = object.canonical_arn.as_deref().filter(|_| write.is_none());
            for arn in answers_for(spec, status) {
                afterwards.entry(arn).or_default().push(spec);
            }
        }
        for made in changes.write.iter().filter(|write| write.replaces.is_none()) {
            for arn in answers_for(&made.spec, None) {
                afterwards.entry(arn).or_default().push(&made.spec);
            }
        }
        afterwards
    }
}

/// What objects say, by canonical ARN.
pub(crate) type Said<'a> = HashMap<String, Vec<&'a Entry>>;

/// What the objects that an authenticator has read say, before and after each step of the writes. An object that is
/// made answers for nobody until it has been read, and does so in `made` alone.
#[derive(Debug, Default)]
pub(crate) struct Steps<'a> {
    /// As they were read.
    pub(crate) read: Said<'a>,
    /// Objects are made and replaced.
    pub(crate) written: Said<'a>,
    /// And then deleted.
    pub(crate) deleted: Said<'a>,
    /// And then an authenticator reads all there are.
    pub(crate) made: Said<'a>,
}

impl Objects<'_> {
    /// What the objects say at each step of `changes`. What is being deleted counts no more.
    pub(crate) fn steps<'a>(&'a self, changes: &'a Changes) -> Steps<'a> {
        let (writes, deletes) = changes.by_name();
        let mut steps = Steps { made: self.afterwards(changes), ..Steps::default() };
        for object in self.all.iter().map(|found| found.object).filter(|object| !object.deleting) {
            let Some(arn) = object.canonical_arn.as_ref().filter(|arn| !arn.is_empty()) else { continue };
            let written = writes.get(object.name.as_str()).map_or(&object.spec, |write| &write.spec);
            steps.read.entry(arn.clone()).or_default().push(&object.spec);
            steps.written.entry(arn.clone()).or_default().push(written);
            if !deletes.contains(object.name.as_str()) {
                steps.deleted.entry(arn.clone()).or_default().push(written);
            }
        }
        steps
    }
}

fn answers_for(spec: &Entry, status: Option<&str>) -> BTreeSet<String> {
    let status = status.filter(|arn| !arn.is_empty()).map(str::to_owned);
    canonical_arn(&spec.arn).into_iter().chain(status).collect()
}

/// The mark of an object if that makes it ours.
fn ours(request: &Request<'_>, object: &IdentityMapping, mark: Mark, notes: &mut Vec<Note>) -> Option<Mark> {
    if mark.name != object.name {
        return None;
    }
    let note = match mark.writer.relation_to(request.writer) {
        Relation::Same => None,
        Relation::Other if !request.take_over => return None,
        Relation::Predecessor | Relation::Other => Some(Note::LedgerTakenOver { from: mark.writer.clone() }),
    };
    notes.extend(note.filter(|note| !notes.contains(note)));
    Some(mark)
}

/// The writer of a mark that is somebody else's.
pub(super) fn other_writer(object: &IdentityMapping) -> Option<Writer> {
    let mark = Mark::parse(object.mark.as_deref()?).ok()?;
    (mark.name == object.name).then_some(mark.writer)
}

/// Whether an object without a usable mark has the name that we give to its own ARN: it was ours, and somebody took
/// the mark away.
pub(super) fn lost_key(writer: &Writer, object: &IdentityMapping) -> Option<Key> {
    let keys = [List::Roles, List::Users].map(|list| Key { list, arn: fold(&object.spec.arn) });
    keys.into_iter().find(|key| object_name(writer, key) == object.name)
}

#[cfg(test)]
mod tests {
    use super::canonical_arn;

    #[test]
    fn arns_become_what_the_authenticator_writes_to_the_status() {
        for (spec, status) in [
            ("arn:aws:iam::111122223333:user/Path/Bob", Some("arn:aws:iam::111122223333:user/path/bob")),
            ("arn:aws:iam::111122223333:role/Path/Admin", Some("arn:aws:iam::111122223333:role/path/admin")),
            ("arn:aws:sts::111122223333:assumed-role/A/me", Some("arn:aws:iam::111122223333:role/a")),
            ("arn:aws:sts::111122223333:assumed-role/p/A/me", Some("arn:aws:iam::111122223333:role/p/a")),
            ("arn:aws:sts::111122223333:assumed-role/A", None),
            (
                "arn:aws:sts::111122223333:federated-user/F",
                Some("arn:aws:sts::111122223333:federated-user/f"),
            ),
            ("arn:aws:iam::111122223333:root", Some("arn:aws:iam::111122223333:root")),
            ("arn:aws:iam::111122223333:instance-profile/x", None),
            ("arn:mars:iam::111122223333:role/x", None),
            ("arn:aws:iam", None),
            ("", None),
        ] {
            assert_eq!(canonical_arn(spec).as_deref(), status, "{spec}");
        }
    }
}

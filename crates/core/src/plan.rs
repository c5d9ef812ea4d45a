//! One pass over a target as a pure value: what would change, why, and what would be written.
//! Shown by `awsiam diff`, carried out by the controller, which adds nothing of its own.

mod admin;
mod outcome;
mod recovery;
mod result;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::desired::{Backend, ConfigState, Refs};
use crate::history::Record;
use crate::identity_mappings::{Decided, Mark, Objects, Planned};
use crate::ledger::{ConfigVersion, Ledger, LedgerError, Relation, Writer};
use crate::mapping::{Entry, Key, List};
use crate::merge::{Lists, Merge, Overrides};
use crate::observed::Observed;
use crate::places::Places;
use crate::privilege::Policy;
use crate::reader::Unreadable;

pub use outcome::{Outcome, Reason, State};

/// What to do with a foreign, non-node entry that has the key of a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// Leave it and report.
    #[default]
    Refuse,
    /// Make it ours: by the ledger alone when it is equal, in place when it differs.
    Adopt,
}

/// Who may take away the last administrator in this pass: the value of the annotation
/// `awsiam-operator.dev/allow-last-admin-removal`, as far as it fits the current generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastAdminAllowance {
    /// Everything: an explicit `identityProviderRefs: []`, or deletion with `Delete`.
    All,
    /// `<config>/<generation>`: entries of this config, at this generation.
    Config {
        /// Name of the AWSIamConfig.
        name: String,
        /// Its generation.
        generation: i64,
    },
    /// `cluster/<generation>`: entries whose ref has left the Cluster, at this generation of it.
    Cluster {
        /// The Cluster's generation.
        generation: i64,
    },
}

/// Everything a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `aws-auth` as read.
    pub observed: &'a Observed,
    /// The places where mappings can stand, and the objects as read; the default is `aws-auth` alone.
    pub places: Places<'a>,
    /// What the Cluster refers to.
    pub refs: &'a Refs,
    /// Who we are.
    pub writer: &'a Writer,
    /// The Cluster's generation; 0 offline.
    pub cluster_generation: i64,
    /// The operator's privilege flags.
    pub policy: &'a Policy,
    /// The Cluster's `conflictPolicy`.
    pub conflicts: ConflictPolicy,
    /// The Cluster is being deleted with `deletionPolicy: Delete`: all our entries go, and the ledger.
    pub remove_all: bool,
    /// Who may take away the last administrator.
    pub last_admin: Option<&'a LastAdminAllowance>,
    /// An administrator has told us to take over another writer's ledger.
    pub take_over: bool,
    /// The readable history records, in any order.
    pub history: &'a [Record],
    /// The Cluster's status says that we owned entries of `aws-auth` before: a ledger that is absent is a lost one.
    pub owned_before: bool,
}

impl Request<'_> {
    /// Whether nothing is to be ours any more: by deletion, or by an explicit empty list of references. With our
    /// last entry the ledger goes, too.
    pub(crate) fn gives_up(&self) -> bool {
        self.remove_all || matches!(self.refs, Refs::Listed(configs) if configs.is_empty())
    }
}

/// Why nothing at all is written to the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Blocked {
    /// Another Cluster's ledger.
    TargetClaimed {
        /// Its writer.
        owner: Writer,
    },
    /// A ledger of a newer version.
    LedgerNewer {
        /// What the ledger's reader said.
        message: String,
    },
    /// `immutable: true`.
    Immutable,
    /// `aws-auth` is being deleted.
    BeingDeleted,
    /// The result would not fit into a ConfigMap.
    TooLarge {
        /// Bytes of data, or of annotations.
        bytes: usize,
        /// The API server's limit.
        limit: usize,
        /// `data` or `annotations`.
        what: &'static str,
    },
}

/// Something worth saying about the target as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Note {
    /// The ledger, or the objects, of an earlier Cluster of the same name, or rendered offline, were taken over.
    LedgerTakenOver {
        /// Its writer.
        from: Writer,
    },
    /// The ledger was lost or unreadable and was rebuilt.
    LedgerRebuilt {
        /// The history record's revision, or none: by equality.
        revision: Option<u64>,
        /// What was wrong with it; none: it was absent.
        error: Option<LedgerError>,
    },
    /// Entries that may have been ours before the ledger was lost, and objects that lost their mark.
    PossiblyOrphaned {
        /// Their keys.
        keys: Vec<Key>,
    },
    /// `aws-auth` is made (again).
    Recreated {
        /// The history record whose node entries and owned entries come back; none: there is none.
        revision: Option<u64>,
        /// Entries of that record that do not come back.
        left_out: Vec<Key>,
    },
    /// `aws-auth` holds entries that are not ours, and `backendMode` does not name it: whoever relies on them can't log
    /// in, and nodes can't join, once the authenticator runs with it.
    NotAsked {
        /// Foreign entries, those of nodes included.
        foreign: usize,
        /// Entries by which nodes join.
        nodes: usize,
    },
    /// Earlier contents had node entries, this one has none.
    NodeEntriesLost {
        /// The newest record that has some.
        revision: u64,
    },
    /// An object's generation is older than the ledger recorded: a stale read or a restored backup.
    OlderGeneration {
        /// `Cluster` or the AWSIamConfig's name.
        object: String,
        /// The generation that the ledger recorded.
        recorded: i64,
        /// The generation that was read.
        read: i64,
    },
}

/// A content of `aws-auth`, as far as a plan touches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The `data` of the ConfigMap.
    pub data: BTreeMap<String, String>,
    /// The ledger annotation.
    pub ledger: Option<String>,
}

/// How many entries the readable lists hold when the plan is carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Ours, frozen ones included.
    pub owned: usize,
    /// Everybody else's, node entries included.
    pub foreign: usize,
    /// Those by which nodes join.
    pub nodes: usize,
}

/// What one pass would change on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What happens to each entry and mapping, in the order of the lists and references.
    pub outcomes: Vec<Outcome>,
    /// What is worth saying about the target.
    pub notes: Vec<Note>,
    /// Data keys that can't be read and are left as they are.
    pub unreadable: Vec<Unreadable>,
    /// Why nothing is written although something would change.
    pub blocked: Option<Blocked>,
    /// The content that was read.
    pub before: Content,
    /// The content that is wanted; equal to `before` when nothing is to be written.
    pub after: Content,
    /// The entries of `aws-auth` afterwards.
    pub counts: Counts,
    /// What happens to `IAMIdentityMapping` objects.
    pub objects: Planned,
    /// Whether `aws-auth` exists: a change is a conditional PUT, otherwise a POST.
    pub present: bool,
}

impl Plan {
    /// Whether something is to be written to `aws-auth` (and nothing blocks it).
    #[must_use]
    pub fn has_write(&self) -> bool {
        self.blocked.is_none() && self.before != self.after
    }

    /// Whether objects are to be written or deleted. What blocks `aws-auth` does not block them, but for another
    /// writer's ledger or a newer one, with which nothing is planned; nothing is deleted then.
    #[must_use]
    pub fn has_object_writes(&self) -> bool {
        !self.objects.changes.is_empty()
    }

    /// The objects that were read at an older generation than the ledger or a mark recorded for the same uid:
    /// suspected stale reads. `Cluster` is the Cluster, everything else an AWSIamConfig. The controller reads them
    /// directly and plans again with what it got. None where a ledger forbids to plan.
    pub fn suspected_stale(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().filter_map(|note| match note {
            Note::OlderGeneration { object, .. } => Some(object.as_str()),
            _ => None,
        })
    }

    /// The outcomes by which something changes.
    pub fn changes(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|o| o.state.is_change())
    }

    fn nothing(observed: &Observed) -> Self {
        let content = Content { data: observed.data.clone(), ledger: observed.ledger.clone() };
        Self {
            outcomes: Vec::new(),
            notes: Vec::new(),
            unreadable: Vec::new(),
            blocked: None,
            before: content.clone(),
            after: content,
            counts: Counts::default(),
            objects: Planned::default(),
            present: observed.present,
        }
    }
}

/// Notes of objects whose generation is older than the one that the ledger or a mark recorded for the same uid.
fn older_than_recorded(request: &Request<'_>, ledger: Option<&Ledger>) -> Vec<Note> {
    let mut recorded = Recorded::default();
    let is_other = |writer: &Writer| writer.relation_to(request.writer) == Relation::Other;
    if let Some(ledger) = ledger.filter(|ledger| !is_other(&ledger.writer)) {
        recorded.cluster(request, &ledger.writer, ledger.cluster_generation);
        for (name, version) in &ledger.configs {
            recorded.config(name, &version.uid, version.generation);
        }
    }
    for object in request.places.objects.unwrap_or_default() {
        let mark = object.mark.as_deref().and_then(|text| Mark::parse(text).ok());
        let Some(mark) = mark.filter(|mark| !is_other(&mark.writer)) else { continue };
        recorded.cluster(request, &mark.writer, mark.generation);
        recorded.config(&mark.config, &mark.config_uid, mark.config_generation);
    }
    recorded.older(request)
}

/// The newest generations that ledger and marks name.
#[derive(Default)]
struct Recorded {
    cluster: i64,
    /// By name and uid.
    configs: BTreeMap<(String, String), i64>,
}

impl Recorded {
    fn cluster(&mut self, request: &Request<'_>, writer: &Writer, generation: i64) {
        if writer.uid == request.writer.uid {
            self.cluster = self.cluster.max(generation);
        }
    }

    fn config(&mut self, name: &str, uid: &str, generation: i64) {
        let known = self.configs.entry((name.to_owned(), uid.to_owned())).or_default();
        *known = generation.max(*known);
    }

    fn older(&self, request: &Request<'_>) -> Vec<Note> {
        let mut older = Vec::new();
        let read = request.cluster_generation;
        if read != 0 && read < self.cluster {
            let recorded = self.cluster;
            older.push(Note::OlderGeneration { object: "Cluster".into(), recorded, read });
        }
        let Refs::Listed(configs) = request.refs else { return older };
        for config in configs.iter().filter(|c| c.state.is_resolved() && !c.uid.is_empty()) {
            let recorded = self.configs.get(&(config.name.clone(), config.uid.clone())).copied();
            if let Some(recorded) = recorded.filter(|recorded| config.generation < *recorded) {
                let (object, read) = (config.name.clone(), config.generation);
                older.push(Note::OlderGeneration { object, recorded, read });
            }
        }
        older
    }
}

/// Decides what one pass changes on a target.
#[must_use]
pub fn plan(request: &Request<'_>) -> Plan {
    let (ownership, mut notes) = match recovery::ownership(request) {
        Ok(found) => found,
        Err(blocked) => return Plan { blocked: Some(blocked), ..Plan::nothing(request.observed) },
    };
    notes.extend(older_than_recorded(request, ownership.written.as_ref()));
    let objects = match Objects::of(request, &mut notes) {
        Ok(objects) => objects,
        Err(blocked) => return Plan { blocked: Some(blocked), ..Plan::nothing(request.observed) },
    };
    let base = recovery::base(request, &ownership, &mut notes);
    let lists = Lists::of(&base, &request.observed.binary_keys);
    let ownership = recovery::by_equality(request, &lists, ownership, &mut notes);
    if request.observed.present {
        notes.extend(recovery::lost_nodes(request, &lists));
    }

    let mut overrides = Overrides::default();
    let objects = objects.as_ref();
    let (merge, data, mut decided) = loop {
        let merge = Merge::of(request, &lists, &ownership.ledger, objects, &overrides);
        let decided = Decided::of(request, objects, &lists, &ownership.ledger, &overrides);
        if admin::hold_last(request, &lists, objects, &merge, &decided, &mut overrides) {
            continue;
        }
        let data = result::texts(&base, &lists, &merge, &ownership.ledger);
        let are_objects_right = decided.verify(objects, &mut overrides);
        if result::verify(&lists, &merge, &data, &mut overrides) && are_objects_right {
            break (merge, data, decided);
        }
    };
    notes.extend(decided.note.take());
    let outcomes = std::mem::take(&mut decided.outcomes);
    let planned = decided.into_planned(objects);
    let mut plan = finish(request, &lists, &ownership, merge, data, notes);
    plan.outcomes.extend(outcomes);
    plan.objects = planned;
    if plan.blocked.is_some() {
        // What goes may rely on what can't be written.
        plan.objects.changes.delete.clear();
    }
    plan
}

fn finish(
    request: &Request<'_>,
    lists: &Lists<'_>,
    ownership: &recovery::Ownership,
    merge: Merge<'_>,
    result: result::Texts,
    notes: Vec<Note>,
) -> Plan {
    let counts = count(lists, &merge);
    let mut ledger = Ledger::new(request.writer.clone(), request.cluster_generation);
    ledger.blanks = result.blanks;
    ledger.configs = config_versions(request, &ownership.ledger, &merge);
    ledger.owned = merge.owned;
    let unreadable = merge.unreadable;
    let before = Content { data: request.observed.data.clone(), ledger: request.observed.ledger.clone() };
    let after_ledger = match ownership.written.as_ref() {
        _ if request.gives_up() && ledger.owned.is_empty() => None,
        Some(written) if written.same_but_for_generations(&ledger) && result.data == before.data => {
            before.ledger.clone()
        }
        // Never owned anything, and still nothing: no trace is left on somebody else's object.
        None if ledger.owned.is_empty() && before.ledger.is_none() => None,
        _ => Some(ledger.render()),
    };
    let after = Content { data: result.data, ledger: after_ledger };
    let creates_nothing = !request.observed.present && after.data.is_empty();
    let after = if creates_nothing { before.clone() } else { after };
    // What is not written need not be said at every pass.
    let written = |note: &Note| !matches!(note, Note::Recreated { .. } | Note::LedgerRebuilt { .. });
    let mut notes: Vec<Note> =
        if after == before { notes.into_iter().filter(written).collect() } else { notes };
    if !request.places.asks(Backend::EksConfigMap) && counts.foreign > 0 {
        notes.push(Note::NotAsked { foreign: counts.foreign, nodes: counts.nodes });
    }
    let mut plan = Plan {
        outcomes: merge.outcomes,
        notes,
        unreadable,
        blocked: None,
        after,
        before,
        counts,
        objects: Planned::default(),
        present: request.observed.present,
    };
    if plan.has_write() {
        plan.blocked = result::blocked(request.observed, &plan.after);
    }
    plan
}

fn count(lists: &Lists<'_>, merge: &Merge<'_>) -> Counts {
    let after = |side| crate::verify::after(side, merge.edits.get(&side.list));
    let (mut total, mut nodes) = (0, 0);
    for entry in lists.sides().flat_map(after) {
        total += 1;
        nodes += usize::from(entry.is_node());
    }
    let owned = merge.owned.len().min(total);
    Counts { owned, foreign: total - owned, nodes }
}

/// The generations of all configs that were read or still own entries.
fn config_versions(
    request: &Request<'_>,
    old: &Ledger,
    merge: &Merge<'_>,
) -> BTreeMap<String, ConfigVersion> {
    let owners: BTreeSet<&str> = merge.owned.values().map(|o| &*o.config).collect();
    let mut versions: BTreeMap<String, ConfigVersion> = old
        .configs
        .iter()
        .filter(|(name, _)| owners.contains(name.as_str()))
        .map(|(name, version)| (name.clone(), version.clone()))
        .collect();
    if let Refs::Listed(configs) = request.refs {
        for config in configs.iter().filter(|c| matches!(c.state, ConfigState::Usable)) {
            let version = ConfigVersion { uid: config.uid.clone(), generation: config.generation };
            versions.insert(config.name.clone(), version);
        }
    }
    if request.remove_all {
        versions.retain(|name, _| owners.contains(name.as_str()));
    }
    versions
}

/// The lists of a plan's data, as the authenticator would read them; unreadable ones are left out.
#[must_use]
pub fn entries(data: &BTreeMap<String, String>) -> BTreeMap<List, Vec<Entry>> {
    let read = |list: List| {
        let block = crate::reader::read(list, data.get(list.data_key())?).ok()?;
        Some((list, block.entries.into_iter().map(|e| e.entry).collect()))
    };
    List::ALL.into_iter().filter_map(read).collect()
}

//! Decides for every mapping and every owned entry what happens to it: the heart of the operator.
//! It reads the lists once and writes nothing; texts are made in `plan::result`.

mod claims;
mod lists;
mod remainder;
pub(crate) mod wishes;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::desired::Backend;
use crate::identity_mappings::Objects;
use crate::ledger::{KeyHash, Ledger, MeaningHash, Owned};
use crate::mapping::{Entry, Key, List, Mapping};
use crate::plan::{Outcome, Reason, Request, State};
use crate::reader::Unreadable;
use crate::text::Edits;

pub use lists::{Lists, Side};
use wishes::Wishes;

/// Decisions that later steps of a plan put on top: planning starts again with them.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Changes in `aws-auth` that are kept back, and why.
    pub held: HashMap<Key, (Reason, String)>,
    /// Changes of `IAMIdentityMapping` objects that are kept back, and why.
    pub held_objects: HashMap<Key, (Reason, String)>,
    /// Lists in which nothing is changed, and why.
    pub held_lists: BTreeMap<List, String>,
}

/// What the merge decided.
#[derive(Debug)]
pub struct Merge<'r> {
    /// One for each mapping and each owned entry.
    pub outcomes: Vec<Outcome>,
    /// What happens to the texts.
    pub edits: BTreeMap<List, Edits>,
    /// The owned entries afterwards.
    pub owned: BTreeMap<KeyHash, Owned>,
    /// The lists that have some of them, as far as they can be read.
    pub owned_lists: BTreeSet<List>,
    /// Mappings that must be the effective answer for their ARN afterwards.
    pub admitted: Vec<&'r Mapping>,
    /// Lists that can't be read.
    pub unreadable: Vec<Unreadable>,
}

/// What all decisions of one merge share.
struct Context<'r, 'l> {
    wishes: Wishes<'r>,
    lists: &'l Lists<'l>,
    ledger: &'l Ledger,
    objects: Option<&'l Objects<'r>>,
    overrides: &'l Overrides,
}

/// What a decision is about.
struct Subject<'r> {
    key: Key,
    hash: KeyHash,
    /// The config and the row in it.
    config: Option<Arc<str>>,
    field: Option<Arc<str>>,
    mapping: Option<&'r Arc<Mapping>>,
}

/// One decision, before it is carried into texts and ledger.
struct Decision {
    state: State,
    reason: Reason,
    message: String,
    /// What the ledger says of the key afterwards.
    owned: Option<Owned>,
    replace: Option<usize>,
    remove: Option<usize>,
    append: bool,
    /// Whether the mapping must be the effective answer afterwards.
    admitted: bool,
}

impl Decision {
    fn of(state: State, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            state,
            reason,
            message: message.into(),
            owned: None,
            replace: None,
            remove: None,
            append: false,
            admitted: false,
        }
    }

    fn owned(mut self, owned: Option<Owned>) -> Self {
        self.owned = owned;
        self
    }
}

impl<'r> Merge<'r> {
    /// Decides everything.
    #[must_use]
    pub fn of(
        request: &'r Request<'r>,
        lists: &Lists<'_>,
        ledger: &Ledger,
        objects: Option<&Objects<'r>>,
        overrides: &Overrides,
    ) -> Self {
        let context = Context { wishes: Wishes::of(request), lists, ledger, objects, overrides };
        let mut merge = Merge {
            outcomes: Vec::new(),
            edits: BTreeMap::new(),
            owned: BTreeMap::new(),
            owned_lists: BTreeSet::new(),
            admitted: Vec::new(),
            unreadable: lists.unreadable(),
        };
        let claimed = claims::decide(&context, &mut merge);
        remainder::decide(&context, &claimed, &mut merge);
        merge
    }

    fn carry_out(&mut self, lists: &Lists<'_>, subject: Subject<'r>, decision: Decision) {
        let Subject { key, hash, config, field, mapping } = subject;
        let edits = self.edits.entry(key.list).or_default();
        let before = decision.replace.or(decision.remove).and_then(|index| lists.entry(key.list, index));
        if let (Some(index), Some(mapping)) = (decision.replace, mapping)
            && let Some(item) = lists.item(key.list, index)
        {
            edits.replace.insert(item, Mapping::clone(mapping));
        }
        if let Some(item) = decision.remove.and_then(|index| lists.item(key.list, index)) {
            edits.remove.insert(item);
        }
        if decision.append
            && let Some(mapping) = mapping
        {
            edits.append.push(Mapping::clone(mapping));
        }
        if let Some(owned) = decision.owned {
            self.owned.insert(hash, owned);
            self.owned_lists.insert(key.list);
        }
        if decision.admitted {
            self.admitted.extend(mapping.map(AsRef::as_ref));
        }
        self.outcomes.push(Outcome {
            place: Backend::EksConfigMap,
            key,
            config,
            field,
            state: decision.state,
            reason: decision.reason,
            message: decision.message,
            before: before.cloned(),
            after: mapping.cloned(),
        });
    }
}

impl<'l> Context<'_, 'l> {
    /// Whether mappings of a list are written to `aws-auth`; else what is ours there only waits to go.
    fn is_home(&self, list: List) -> bool {
        self.wishes.request.places.home(list) == Backend::EksConfigMap
    }

    fn owned(&self, key: &Key) -> Option<&'l Owned> {
        self.ledger.owned.get(&KeyHash::of(key))
    }

    /// Our entry among those with its key: the one as we wrote it, else the last.
    fn ours(&self, key: &Key, owned: &Owned, found: &[usize]) -> Option<usize> {
        if let [only] = found {
            return Some(*only);
        }
        let as_written = |index: &&usize| {
            self.entry(key, **index).is_some_and(|e| MeaningHash::of(key.list, e) == owned.meaning)
        };
        found.iter().rev().find(as_written).or(found.last()).copied()
    }

    fn entry(&self, key: &Key, index: usize) -> Option<&'l Entry> {
        self.lists.entry(key.list, index)
    }

    /// Why nothing of a list is edited, if so.
    fn locked(&self, list: List) -> Option<(Reason, String)> {
        if let Some(message) = self.overrides.held_lists.get(&list) {
            return Some((Reason::VerificationFailed, message.clone()));
        }
        self.lists.side(list).edit_error().map(|message| (Reason::TextNotEditable, message))
    }
}

/// The keys that mappings claimed.
type Claimed = HashSet<KeyHash>;

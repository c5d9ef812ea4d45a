//! Decides for every mapping and every owned entry what happens to it: the heart of the operator.
//! It reads the lists once and writes nothing; texts are made in `plan::result`.

mod claims;
mod lists;
mod remainder;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::desired::{DesiredConfig, Refs};
use crate::ledger::{KeyHash, Ledger, MeaningHash, Owned};
use crate::mapping::{Entry, Key, List, Mapping};
use crate::plan::{Outcome, Reason, Request, State};
use crate::reader::Unreadable;
use crate::text::Edits;

pub use lists::{Lists, Side};

/// Decisions that later steps of a plan put on top: planning starts again with them.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Changes that are kept back, and why.
    pub held: HashMap<Key, (Reason, String)>,
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
    request: &'r Request<'r>,
    lists: &'l Lists<'l>,
    ledger: &'l Ledger,
    overrides: &'l Overrides,
    /// Configs by name.
    configs: HashMap<&'r str, &'r DesiredConfig>,
    /// Why nothing of the whole Cluster changes, if so.
    frozen: Option<(Reason, &'static str)>,
    /// Whether some reference does not resolve: nothing is removed.
    unresolved: Option<&'r str>,
}

/// What a decision is about.
struct Subject<'r> {
    key: Key,
    hash: KeyHash,
    /// The config and the row in it.
    config: Option<String>,
    field: Option<String>,
    mapping: Option<&'r Mapping>,
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
    pub fn of(request: &'r Request<'r>, lists: &Lists<'_>, ledger: &Ledger, overrides: &Overrides) -> Self {
        let context = Context::of(request, lists, ledger, overrides);
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
            edits.replace.insert(item, mapping.clone());
        }
        if let Some(item) = decision.remove.and_then(|index| lists.item(key.list, index)) {
            edits.remove.insert(item);
        }
        if decision.append
            && let Some(mapping) = mapping
        {
            edits.append.push(mapping.clone());
        }
        if let Some(owned) = decision.owned {
            self.owned.insert(hash, owned);
            self.owned_lists.insert(key.list);
        }
        if decision.admitted {
            self.admitted.extend(mapping);
        }
        self.outcomes.push(Outcome {
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

impl<'r, 'l> Context<'r, 'l> {
    fn of(
        request: &'r Request<'r>,
        lists: &'l Lists<'l>,
        ledger: &'l Ledger,
        overrides: &'l Overrides,
    ) -> Self {
        let configs: &[DesiredConfig] = match request.refs {
            Refs::Absent => &[],
            Refs::Listed(configs) => configs,
        };
        let frozen = match request.refs {
            _ if request.remove_all => None,
            Refs::Absent => Some((
                Reason::NoIdentityProviderRefs,
                "the Cluster has no identityProviderRefs; write identityProviderRefs: [] to remove our entries, or name an AWSIamConfig",
            )),
            Refs::Listed(configs) => configs.first().filter(|first| !first.state.is_resolved()).map(|_| {
                (
                    Reason::FirstRefUnresolved,
                    "the first AWSIamConfig of identityProviderRefs does not resolve, and it sets region, partition and backendMode; create or mend it",
                )
            }),
        };
        Self {
            request,
            lists,
            ledger,
            overrides,
            configs: configs.iter().map(|c| (c.name.as_str(), c)).collect(),
            frozen,
            unresolved: configs.iter().find(|c| !c.state.is_resolved()).map(|c| c.name.as_str()),
        }
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

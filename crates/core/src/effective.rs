//! Which entry answers for an identity, over all lists: roles before users, and within a list as
//! [`crate::reader::Answers`] says. Accounts answer for nobody by name.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};

use crate::arn;
use crate::mapping::{Entry, List, Mapping, fold};
use crate::privilege::MASTERS;
use crate::reader::Answers;

/// Where an entry stands: its list and its index in it.
pub type Place = (List, usize);

/// Who answers, over all entries of the readable lists.
#[derive(Debug)]
pub struct Effective<'e, E> {
    lists: &'e BTreeMap<List, Vec<E>>,
    /// Where entries with an ARN (folded) stand: the first, and the others.
    roles: HashMap<String, (usize, Vec<usize>)>,
    users: HashMap<String, (usize, Vec<usize>)>,
}

impl<'e, E: Borrow<Entry>> Effective<'e, E> {
    /// Indexes `lists`.
    #[must_use]
    pub fn of(lists: &'e BTreeMap<List, Vec<E>>) -> Self {
        let places = |list| {
            let entries: &[E] = lists.get(&list).map(Vec::as_slice).unwrap_or_default();
            let mut places: HashMap<String, (usize, Vec<usize>)> = HashMap::with_capacity(entries.len());
            for (index, entry) in entries.iter().map(Borrow::borrow).enumerate() {
                if entry.sso.is_none() {
                    let others = places.entry(fold(&entry.arn)).and_modify(|(_, others)| others.push(index));
                    others.or_insert((index, Vec::new()));
                }
            }
            places
        };
        Self { lists, roles: places(List::Roles), users: places(List::Users) }
    }

    /// The entries that may answer for the identity `arn` (canonical form): none, one, or several
    /// between which the authenticator chooses at random.
    #[must_use]
    pub fn answers(&self, arn: &str) -> Vec<Place> {
        let folded = fold(arn);
        let of = |list, places: &HashMap<String, (usize, Vec<usize>)>| {
            let (first, others) = places.get(&folded)?;
            Some(self.among(list, arn, *first, others)).filter(|answers| !answers.is_empty())
        };
        of(List::Roles, &self.roles).or_else(|| of(List::Users, &self.users)).unwrap_or_default()
    }

    /// Which of several entries with one ARN answer.
    fn among(&self, list: List, arn: &str, first: usize, others: &[usize]) -> Vec<Place> {
        // Beyond ASCII there are characters that we hold to be equal and Go does not.
        let is_plain = || arn.is_ascii() && self.entry((list, first)).is_some_and(|e| e.arn.is_ascii());
        if others.is_empty() && is_plain() {
            return vec![(list, first)];
        }
        let found: Vec<(Place, &Entry)> = [first]
            .iter()
            .chain(others)
            .filter_map(|index| Some(((list, *index), self.entry((list, *index))?)))
            .collect();
        let answers = Answers::new(list, found.iter().map(|(_, entry)| *entry));
        answers.of(arn).iter().filter_map(|number| Some(found.get(*number)?.0)).collect()
    }

    /// The entry at a place.
    #[must_use]
    pub fn entry(&self, (list, index): Place) -> Option<&'e Entry> {
        self.lists.get(&list).and_then(|entries| entries.get(index)).map(Borrow::borrow)
    }

    /// Whether whoever has the ARN of `mapping` gets what it says, whichever of several entries answers.
    #[must_use]
    pub fn gives(&self, mapping: &Mapping) -> bool {
        let answers = self.answers(&mapping.arn);
        !answers.is_empty()
            && answers
                .into_iter()
                .filter_map(|place| self.entry(place))
                .all(|answer| answer.username == mapping.username && answer.groups == mapping.groups)
    }

    /// The places of entries that make somebody an administrator, in order: `system:masters` is among
    /// the groups, somebody can have that ARN, and they answer for it.
    #[must_use]
    pub fn administrators(&self) -> Vec<Place> {
        let places = [List::Roles, List::Users].into_iter().flat_map(|list| {
            let entries = self.lists.get(&list).into_iter().flatten().map(Borrow::borrow);
            entries.enumerate().map(move |(index, entry)| ((list, index), entry))
        });
        places
            .filter(|(place, entry): &(Place, &Entry)| {
                entry.groups.iter().any(|group| group == MASTERS)
                    && arn::can_never_match(place.0, &entry.arn).is_none()
                    && self.answers(&entry.arn).contains(place)
            })
            .map(|(place, _)| place)
            .collect()
    }
}

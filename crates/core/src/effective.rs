//! Which entry answers for an identity, over all lists: roles before users, and within a list as
//! [`crate::reader::Answers`] says. Accounts answer for nobody by name.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use crate::arn;
use crate::mapping::{Entry, List, Mapping};
use crate::privilege::MASTERS;
use crate::reader::Answers;

/// Where an entry stands: its list and its index in it.
pub type Place = (List, usize);

/// Who answers, over all entries of the readable lists.
#[derive(Debug)]
pub struct Effective<'e, E> {
    lists: &'e BTreeMap<List, Vec<E>>,
    roles: Answers,
    users: Answers,
}

impl<'e, E: Borrow<Entry>> Effective<'e, E> {
    /// Indexes `lists`.
    #[must_use]
    pub fn of(lists: &'e BTreeMap<List, Vec<E>>) -> Self {
        let entries = |list| lists.get(&list).into_iter().flatten().map(Borrow::borrow);
        let answers = |list| Answers::new(list, entries(list));
        Self { lists, roles: answers(List::Roles), users: answers(List::Users) }
    }

    /// The entries that may answer for the identity `arn` (canonical form): none, one, or several
    /// between which the authenticator chooses at random.
    #[must_use]
    pub fn answers(&self, arn: &str) -> Vec<Place> {
        let places = |list, found: &[usize]| found.iter().map(|index| (list, *index)).collect::<Vec<_>>();
        let roles = places(List::Roles, self.roles.of(arn));
        if roles.is_empty() { places(List::Users, self.users.of(arn)) } else { roles }
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

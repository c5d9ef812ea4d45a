//! Watches on several namespaces as one: what is listed and what changes in each of them, in the form that a store takes.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};

/// The events of one watch.
type Watch<K> = BoxStream<'static, Result<Event<K>, watcher::Error>>;

/// The events of all these watches as those of one. It has listed when all of them have. `store` is where the events go:
/// an object that vanished between two lists is taken from there, to be told as deleted.
pub(super) fn merged<K>(
    watches: Vec<Watch<K>>,
    store: Store<K>,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut merger = Merger::new(watches.len());
    let tagged = watches.into_iter().enumerate().map(|(index, watch)| watch.map(move |event| (index, event)));
    stream::select_all(tagged).flat_map(move |(index, event)| {
        let events = match event {
            Err(error) => vec![Err(error)],
            Ok(event) => {
                let events = merger.take(index, event, ObjectRef::from_obj, |key| store.get(key));
                events.into_iter().map(Ok).collect()
            }
        };
        stream::iter(events)
    })
}

/// What is known of the objects, by watch.
struct Merger<R> {
    /// What was there after the last list, and since.
    known: Vec<HashSet<R>>,
    /// What a list that is under way has told so far.
    listing: Vec<HashSet<R>>,
    /// Watches that have not listed yet.
    unlisted: HashSet<usize>,
    begun: bool,
    /// Objects that went before everything was listed.
    gone: HashSet<R>,
}

impl<R: Clone + Eq + Hash> Merger<R> {
    fn new(watches: usize) -> Self {
        let sets = || (0..watches).map(|_| HashSet::new()).collect();
        Self {
            known: sets(),
            listing: sets(),
            unlisted: (0..watches).collect(),
            begun: false,
            gone: HashSet::new(),
        }
    }

    fn take<K: Clone>(
        &mut self,
        index: usize,
        event: Event<K>,
        key: impl Fn(&K) -> R,
        stored: impl Fn(&R) -> Option<Arc<K>>,
    ) -> Vec<Event<K>> {
        let was_listed = self.unlisted.is_empty();
        let (Some(known), Some(listing)) = (self.known.get_mut(index), self.listing.get_mut(index)) else {
            return Vec::new();
        };
        let there = |object| if was_listed { Event::Apply(object) } else { Event::InitApply(object) };
        let mut events = Vec::new();
        match event {
            Event::Init => {
                listing.clear();
                if !std::mem::replace(&mut self.begun, true) {
                    events.push(Event::Init);
                }
            }
            Event::InitApply(object) => {
                self.gone.remove(&key(&object));
                listing.insert(key(&object));
                events.push(there(object));
            }
            Event::Apply(object) => {
                self.gone.remove(&key(&object));
                known.insert(key(&object));
                events.push(there(object));
            }
            Event::Delete(object) => {
                known.remove(&key(&object));
                if was_listed {
                    events.push(Event::Delete(object));
                } else {
                    self.gone.insert(key(&object));
                }
            }
            Event::InitDone => {
                let new = std::mem::take(listing);
                self.gone.extend(known.difference(&new).cloned());
                *known = new;
                self.unlisted.remove(&index);
                if !was_listed && self.unlisted.is_empty() {
                    events.push(Event::InitDone);
                }
            }
        }
        // The store holds what went before everything was listed from the event after that on.
        if was_listed {
            let gone = std::mem::take(&mut self.gone);
            let gone = gone.iter().filter_map(stored).map(|object| Event::Delete(K::clone(&object)));
            events.extend(gone);
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a store would hold after these events, and whether it was ever told that the list is complete.
    fn replay(events: &[(usize, Event<u8>)]) -> (Vec<u8>, bool) {
        let (mut merger, mut store, mut listing, mut done) =
            (Merger::new(2), HashSet::new(), HashSet::new(), false);
        for (index, event) in events {
            let stored = store.clone();
            let told =
                merger.take(*index, event.clone(), |k| *k, |k| stored.get(k).map(|k: &u8| Arc::new(*k)));
            for event in told {
                match event {
                    Event::Init => assert!(!done, "a store would be emptied"),
                    Event::InitApply(k) => drop(listing.insert(k)),
                    Event::InitDone => (store, done) = (std::mem::take(&mut listing), true),
                    Event::Apply(k) => drop(store.insert(k)),
                    Event::Delete(k) => drop(store.remove(&k)),
                }
            }
        }
        let mut store: Vec<u8> = store.into_iter().collect();
        store.sort_unstable();
        (store, done)
    }

    use Event::{Apply, Delete, Init, InitApply, InitDone};

    #[test]
    fn it_has_listed_when_every_namespace_has() {
        let mut events = vec![(0, Init), (0, InitApply(1)), (0, InitDone), (1, Init), (0, Apply(2))];
        assert!(!replay(&events).1);
        events.extend([(1, InitApply(9)), (1, InitDone)]);
        assert_eq!(replay(&events), (vec![1, 2, 9], true));
    }

    #[test]
    fn a_new_list_of_one_namespace_leaves_the_others_alone() {
        let mut events = vec![(0, Init), (0, InitApply(1)), (0, InitApply(2)), (0, InitDone)];
        events.extend([
            (1, Init),
            (1, InitApply(9)),
            (1, InitDone),
            (0, Init),
            (0, InitApply(2)),
            (0, InitDone),
        ]);
        assert_eq!(replay(&events), (vec![2, 9], true));
        events.extend([(1, Delete(9)), (0, Apply(3))]);
        assert_eq!(replay(&events), (vec![2, 3], true));
    }

    #[test]
    fn what_went_before_everything_was_listed_goes_afterwards() {
        let events =
            [(0, Init), (0, InitApply(1)), (0, InitApply(2)), (0, InitDone), (0, Delete(1)), (1, Init)];
        let events: Vec<_> = events.into_iter().chain([(1, InitDone), (1, Apply(9))]).collect();
        assert_eq!(replay(&events), (vec![2, 9], true));
    }
}

//! The three lists as read, with what is needed to find and edit entries. Reads each text once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::mapping::{Entry, Key, List, fold};
use crate::reader::{self, Block, Unreadable};
use crate::text::{EditError, Layout};
use crate::yaml::Position;

/// One list.
#[derive(Debug)]
pub struct Side<'t> {
    /// Which one.
    pub list: List,
    /// Its text; none when the data key is absent.
    pub text: Option<&'t str>,
    read: Result<Readable<'t>, Unreadable>,
    /// Indexes of entries by their folded ARN.
    by_key: HashMap<String, Indexes>,
}

/// Indexes in order. Nearly always it is one, which is not worth an allocation.
#[derive(Debug)]
enum Indexes {
    One([usize; 1]),
    Several(Vec<usize>),
}

impl Indexes {
    fn as_slice(&self) -> &[usize] {
        match self {
            Self::One(index) => index,
            Self::Several(indexes) => indexes,
        }
    }

    fn push(&mut self, index: usize) {
        match self {
            Self::One([first]) => *self = Self::Several(vec![*first, index]),
            Self::Several(indexes) => indexes.push(index),
        }
    }
}

#[derive(Debug)]
struct Readable<'t> {
    /// None when the data key is absent.
    block: Option<Block<'t>>,
    layout: Result<Layout<'t>, EditError>,
}

impl<'t> Side<'t> {
    fn of(list: List, text: Option<&'t str>, in_binary_data: bool) -> Self {
        let read = match text {
            _ if in_binary_data => Err(Unreadable {
                list,
                message: format!(
                    "{list} stands under binaryData, where the authenticator does not look; move it to data"
                ),
                position: Position { offset: 0, line: 1, column: 1 },
            }),
            None => Ok(Readable { block: None, layout: Ok(Layout::absent()) }),
            Some(text) => reader::read(list, text).map(|block| {
                let layout = Layout::of(text, &block);
                Readable { block: Some(block), layout }
            }),
        };
        let mut by_key: HashMap<String, Indexes> = HashMap::new();
        if let Ok(Readable { block: Some(block), .. }) = &read {
            by_key.reserve(block.entries.len());
            for (index, read) in block.entries.iter().enumerate() {
                if !read.entry.arn.is_empty() {
                    let found = by_key.entry(fold(&read.entry.arn));
                    found.and_modify(|found| found.push(index)).or_insert(Indexes::One([index]));
                }
            }
        }
        Self { list, text, read, by_key }
    }

    /// How its text can be edited, if it can.
    #[must_use]
    pub fn layout(&self) -> Option<&Layout<'t>> {
        self.read.as_ref().ok()?.layout.as_ref().ok()
    }

    /// Why its text can't be edited although it can be read.
    #[must_use]
    pub fn edit_error(&self) -> Option<String> {
        let error = self.read.as_ref().ok()?.layout.as_ref().err()?;
        Some(format!("{}: {error}", self.list))
    }

    /// Whether it can be read; an absent one can.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.read.is_ok()
    }

    /// Its entries in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.block().into_iter().flat_map(|block| block.entries.iter().map(|read| &read.entry))
    }

    /// The items that its entries stand in, in order.
    pub fn items(&self) -> impl Iterator<Item = usize> {
        self.block().into_iter().flat_map(|block| block.entries.iter().map(|read| read.item))
    }

    /// What the authenticator complains about in it.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.block()
            .into_iter()
            .flat_map(|block| block.problems.iter().map(|problem| problem.message.as_str()))
    }

    fn block(&self) -> Option<&Block<'t>> {
        self.read.as_ref().ok()?.block.as_ref()
    }
}

/// All three.
#[derive(Debug)]
pub struct Lists<'t> {
    roles: Side<'t>,
    users: Side<'t>,
    accounts: Side<'t>,
}

impl<'t> Lists<'t> {
    /// Reads the lists of `data`; those in `binary_keys` count as unreadable.
    #[must_use]
    pub fn of(data: &'t BTreeMap<String, String>, binary_keys: &BTreeSet<String>) -> Self {
        let side = |list: List| {
            let text = data.get(list.data_key()).map(String::as_str);
            Side::of(list, text, binary_keys.contains(list.data_key()))
        };
        Self { roles: side(List::Roles), users: side(List::Users), accounts: side(List::Accounts) }
    }

    /// One of them.
    #[must_use]
    pub fn side(&self, list: List) -> &Side<'t> {
        match list {
            List::Roles => &self.roles,
            List::Users => &self.users,
            List::Accounts => &self.accounts,
        }
    }

    /// All of them.
    pub fn sides(&self) -> impl Iterator<Item = &Side<'t>> {
        [&self.roles, &self.users, &self.accounts].into_iter()
    }

    /// Why those that can't be read can't be.
    #[must_use]
    pub fn unreadable(&self) -> Vec<Unreadable> {
        self.sides().filter_map(|side| side.read.as_ref().err().cloned()).collect()
    }

    /// The indexes of the entries with a key, in order.
    #[must_use]
    pub fn with_key(&self, key: &Key) -> &[usize] {
        self.with_arn(key.list, &key.arn)
    }

    /// The indexes of the entries with a folded ARN, in order.
    #[must_use]
    pub fn with_arn(&self, list: List, folded: &str) -> &[usize] {
        self.side(list).by_key.get(folded).map(Indexes::as_slice).unwrap_or_default()
    }

    /// The entry at an index of a list.
    #[must_use]
    pub fn entry(&self, list: List, index: usize) -> Option<&Entry> {
        self.side(list).block()?.entries.get(index).map(|read| &read.entry)
    }

    /// The item of the text that an entry stands in.
    #[must_use]
    pub fn item(&self, list: List, index: usize) -> Option<usize> {
        self.side(list).block()?.entries.get(index).map(|read| read.item)
    }

    /// Whether the entry's anchor is used outside of it.
    #[must_use]
    pub fn is_anchored(&self, list: List, index: usize) -> bool {
        let item = self.item(list, index);
        self.side(list).layout().zip(item).is_some_and(|(layout, item)| layout.is_anchored(item))
    }

    /// All keys that stand in readable lists, in order of first appearance.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.sides().flat_map(|side| {
            side.entries().enumerate().filter_map(|(index, entry)| {
                let arn = fold(&entry.arn);
                let first = side.by_key.get(&arn).and_then(|found| found.as_slice().first());
                (first == Some(&index)).then_some(Key { list: side.list, arn })
            })
        })
    }

    /// Whether all lists can be read.
    #[must_use]
    pub fn all_readable(&self) -> bool {
        self.sides().all(Side::is_readable)
    }

    /// The entries of the readable lists.
    #[must_use]
    pub fn to_entries(&self) -> BTreeMap<List, Vec<Entry>> {
        self.sides()
            .filter(|side| side.is_readable())
            .map(|side| (side.list, side.entries().cloned().collect()))
            .collect()
    }
}

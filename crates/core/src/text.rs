//! Edits the text of a data key: our items go in and out, every other byte stays.
//! It knows where items stand and how lists are written, not whose they are.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use thiserror::Error;

use crate::mapping::Mapping;
use crate::reader::{Block, Tree};
use crate::render;
use crate::yaml::{Document, NodeId, Value};

/// What is to happen to a list, by item index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Items that get a new text in place.
    pub replace: BTreeMap<usize, Mapping>,
    /// Items that go.
    pub remove: BTreeSet<usize>,
    /// Items that come, in order, after the last one.
    pub append: Vec<Mapping>,
}

impl Edits {
    /// Whether nothing is to happen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replace.is_empty() && self.remove.is_empty() && self.append.is_empty()
    }
}

/// Why a text can't be edited without touching what is not ours.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// A bare null beside comments or markers.
    #[error("the text holds a bare null beside comments; replace it by [] or take it out")]
    BareNull,
    /// Something other than spaces stands in front of an item's dash.
    #[error("item {0} does not start on a line of its own; put each item on its own line")]
    NotOnItsOwnLine(usize),
}

/// Where the items of a text stand and how the list is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout<'t> {
    /// The text, with a final line break where it had none (`borrowed_break`).
    text: Cow<'t, str>,
    /// Whether the final line break is lent by us and taken back after the edit.
    borrowed_break: bool,
    line_break: &'static str,
    shape: Shape,
    /// Items whose anchor is used outside of them: neither replaced nor removed.
    anchored: BTreeSet<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// Nothing worth keeping in place (`''`, `[]`, blanks): our list replaces the whole text.
    Blank,
    /// No list yet, but comments or markers: ours starts at this offset.
    Comments(usize),
    /// Items on lines of their own.
    Block { indent: String, items: Vec<Range<usize>>, append_at: usize },
    /// Items in brackets; `open` is the offset after `[`, `close` that of `]`.
    Flow { items: Vec<Range<usize>>, open: usize, close: usize },
}

/// Texts that stand for no entries and hold nothing else; with the reader's own (blanks, two quotes,
/// two back-ticks) these are replaced whole.
const BLANKS: [&str; 5] = ["[]", "null", "Null", "NULL", "~"];

impl<'t> Layout<'t> {
    /// The layout of `text`, of which `block` was read.
    ///
    /// # Errors
    /// When the list can't be edited without touching other bytes.
    pub fn of(text: &'t str, block: &Block<'_>) -> Result<Self, EditError> {
        let line_break = match text.find('\n') {
            Some(at) if text.get(..at).is_some_and(|t| t.ends_with('\r')) => "\r\n",
            _ => "\n",
        };
        let borrowed_break = !text.is_empty() && !text.ends_with('\n');
        let whole =
            if borrowed_break { Cow::Owned(format!("{text}{line_break}")) } else { Cow::Borrowed(text) };
        let (shape, anchored) = match &block.tree {
            Tree::Nothing => (Shape::Blank, BTreeSet::new()),
            Tree::Document(_) if BLANKS.contains(&text.trim()) => (Shape::Blank, BTreeSet::new()),
            Tree::Lines(items) => (Shape::block(&whole, items, whole.len())?, BTreeSet::new()),
            Tree::Document(document) => {
                // The marker line's offset, or the end including the lent break.
                let end = if document.end == text.len() { whole.len() } else { document.end };
                (Shape::of(&whole, document, end)?, anchored_items(document))
            }
        };
        Ok(Self { text: whole, borrowed_break, line_break, shape, anchored })
    }

    /// The layout of a data key that is not there.
    #[must_use]
    pub fn absent() -> Self {
        Self {
            text: Cow::Borrowed(""),
            borrowed_break: false,
            line_break: "\n",
            shape: Shape::Blank,
            anchored: BTreeSet::new(),
        }
    }

    /// Whether our first entry replaces the text whole, so that the ledger must keep it.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        matches!(self.shape, Shape::Blank)
    }

    /// Whether the item's anchor is used outside of it.
    #[must_use]
    pub fn is_anchored(&self, item: usize) -> bool {
        self.anchored.contains(&item)
    }

    /// How many items the list has, those included that are no entries.
    #[must_use]
    pub fn items(&self) -> usize {
        match &self.shape {
            Shape::Block { items, .. } | Shape::Flow { items, .. } => items.len(),
            Shape::Blank | Shape::Comments(_) => 0,
        }
    }

    /// The bytes of an item: whole lines in a block list.
    #[must_use]
    pub fn item_text(&self, item: usize) -> Option<&str> {
        match &self.shape {
            Shape::Block { items, .. } | Shape::Flow { items, .. } => {
                items.get(item).and_then(|range| self.text.get(range.clone()))
            }
            Shape::Blank | Shape::Comments(_) => None,
        }
    }

    /// The text after the edits.
    #[must_use]
    pub fn apply(&self, edits: &Edits) -> String {
        if edits.is_empty() {
            let kept = if self.borrowed_break { self.text.strip_suffix(self.line_break) } else { None };
            return kept.unwrap_or(&self.text).to_owned();
        }
        let appended = |indent: &str| -> String {
            edits.append.iter().map(|m| render::block_item(m, indent, self.line_break)).collect()
        };
        let splices = match &self.shape {
            Shape::Blank => return appended(""),
            Shape::Comments(at) => vec![(*at..*at, appended(""))],
            Shape::Block { indent, items, append_at } => {
                let mut splices: Vec<_> = edits
                    .remove
                    .iter()
                    .filter_map(|item| Some((items.get(*item)?.clone(), String::new())))
                    .collect();
                splices.extend(edits.replace.iter().filter_map(|(item, mapping)| {
                    Some((items.get(*item)?.clone(), render::block_item(mapping, indent, self.line_break)))
                }));
                splices.push((*append_at..*append_at, appended(indent)));
                splices
            }
            Shape::Flow { items, open, close } => flow_splices(&self.text, items, *open, *close, edits),
        };
        let mut text = splice(&self.text, splices);
        if self.borrowed_break && text.ends_with(self.line_break) {
            text.truncate(text.len() - self.line_break.len());
        }
        text
    }
}

impl Shape {
    fn of(text: &str, document: &Document<'_>, end: usize) -> Result<Self, EditError> {
        let Some(root) = document.root.map(|id| document.node(id)) else {
            return Ok(Shape::Comments(end));
        };
        match &root.value {
            Value::Sequence { items, flow: true } => {
                let ranges = items.iter().map(|i| i.dash..document.node(i.node).end).collect();
                let from = root.start.offset;
                let open = text.get(from..).and_then(|t| t.find('[')).map_or(from, |at| from + at + 1);
                Ok(Shape::Flow { items: ranges, open, close: root.end.saturating_sub(1) })
            }
            Value::Sequence { items, flow: false } => {
                let dashes: Vec<(usize, usize)> =
                    items.iter().map(|i| (i.dash, document.node(i.node).end)).collect();
                Self::block(text, &dashes, end)
            }
            Value::Scalar { text: value, .. } if value.is_empty() && root.end <= root.start.offset => {
                Ok(Shape::Comments(end))
            }
            _ => Err(EditError::BareNull),
        }
    }

    /// An item runs from the start of its dash's line to the end of the line of its last token.
    fn block(text: &str, dashes: &[(usize, usize)], end: usize) -> Result<Self, EditError> {
        let mut indent = String::new();
        let mut items = Vec::with_capacity(dashes.len());
        let starts = dashes.iter().map(|(dash, _)| line_start(text, *dash)).collect::<Vec<_>>();
        for (index, (dash, last)) in dashes.iter().enumerate() {
            let start = starts.get(index).copied().unwrap_or(*dash);
            let before = text.get(start..*dash).unwrap_or_default();
            if before.bytes().any(|b| b != b' ') {
                return Err(EditError::NotOnItsOwnLine(index));
            }
            if index == 0 {
                before.clone_into(&mut indent);
            }
            let limit = starts.get(index + 1).copied().unwrap_or(end);
            let stop = line_end(text, (*last).max(*dash + 1)).min(limit);
            items.push(start..stop);
        }
        let after = items.last().map_or(end, |range| range.end);
        let rest = text.get(after..end).unwrap_or_default();
        let only_comments = rest.lines().all(|line| {
            let line = line.trim_start();
            line.is_empty() || line.starts_with('#')
        });
        // After anything else the authenticator has stopped reading.
        let append_at = if only_comments { end.max(after) } else { after };
        Ok(Shape::Block { indent, items, append_at })
    }
}

const BYTE_ORDER_MARK: &str = "\u{FEFF}";

fn line_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    match before.rfind('\n') {
        Some(newline) => newline + 1,
        None if before.starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len(),
        None => 0,
    }
}

/// The offset after the line break of the line in which the token that ends at `at` ends.
fn line_end(text: &str, at: usize) -> usize {
    if text.get(..at).is_some_and(|t| t.ends_with('\n')) {
        return at;
    }
    text.get(at..).and_then(|t| t.find('\n')).map_or(text.len(), |newline| at + newline + 1)
}

fn splice(text: &str, mut splices: Vec<(Range<usize>, String)>) -> String {
    splices.sort_by_key(|(range, _)| (range.start, range.end));
    let mut result =
        String::with_capacity(text.len() + splices.iter().map(|(_, new)| new.len()).sum::<usize>());
    let mut at = 0;
    for (range, new) in splices {
        result.push_str(text.get(at..range.start).unwrap_or_default());
        result.push_str(&new);
        at = range.end.max(at);
    }
    result.push_str(text.get(at..).unwrap_or_default());
    result
}

/// Removals take a comma each, so that removing what was appended gives back the same bytes.
fn flow_splices(
    text: &str,
    items: &[Range<usize>],
    open: usize,
    close: usize,
    edits: &Edits,
) -> Vec<(Range<usize>, String)> {
    let mut splices: Vec<(Range<usize>, String)> = edits
        .replace
        .iter()
        .filter_map(|(item, mapping)| Some((items.get(*item)?.clone(), render::flow_item(mapping))))
        .collect();
    let appended = edits.append.iter().map(render::flow_item).collect::<Vec<_>>().join(", ");
    let last_kept = (0..items.len()).rev().find(|item| !edits.remove.contains(item));
    if !appended.is_empty() {
        splices.push(match last_kept.and_then(|item| items.get(item)) {
            Some(item) => (item.end..item.end, format!(", {appended}")),
            None => (open..open, appended.clone()),
        });
    }
    for item in &edits.remove {
        let Some(range) = items.get(*item) else { continue };
        splices.push((range.clone(), String::new()));
        let next = items.get(item + 1);
        let gap = match (last_kept, next) {
            // Everything behind the last kept item goes with the comma in front.
            (Some(kept), _) if *item > kept => {
                items.get(item.saturating_sub(1)).map_or(open, |before| before.end)..range.start
            }
            (_, Some(next)) => range.end..next.start,
            // The only items there were: a comma that trails must not stay alone.
            (None, None) => range.end..comma(text, range.end..close).map_or(range.end, |at| at + 1),
            (Some(_), None) => continue,
        };
        splices.extend(gap_removal(text, gap));
    }
    splices
}

/// What of the gap between two items goes: all of it, or with a comment in it the comma alone.
fn gap_removal(text: &str, gap: Range<usize>) -> Option<(Range<usize>, String)> {
    let between = text.get(gap.clone())?;
    if between.contains('#') {
        comma(text, gap).map(|at| (at..at + 1, String::new()))
    } else {
        Some((gap, String::new()))
    }
}

/// The offset of the first comma outside of comments.
fn comma(text: &str, within: Range<usize>) -> Option<usize> {
    let mut in_comment = false;
    let between = text.get(within.clone())?;
    between.bytes().enumerate().find_map(|(at, byte)| {
        match byte {
            b'#' => in_comment = true,
            b'\n' => in_comment = false,
            b',' if !in_comment => return Some(within.start + at),
            _ => {}
        }
        None
    })
}

/// The items that define an anchor which something outside of them refers to.
fn anchored_items(document: &Document<'_>) -> BTreeSet<usize> {
    let Some(root) = document.root else { return BTreeSet::new() };
    let Value::Sequence { items, .. } = &document.node(root).value else { return BTreeSet::new() };
    let mut owner: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut aliases: Vec<(usize, NodeId)> = Vec::new();
    let mut open: Vec<NodeId> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        open.push(item.node);
        while let Some(id) = open.pop() {
            let node = document.node(id);
            if node.anchor.is_some() {
                owner.insert(id, index);
            }
            match &node.value {
                Value::Scalar { .. } => {}
                Value::Sequence { items, .. } => open.extend(items.iter().map(|i| i.node)),
                Value::Mapping { pairs, .. } => open.extend(pairs.iter().flat_map(|(k, v)| [*k, *v])),
                Value::Alias { target, .. } => aliases.push((index, *target)),
            }
        }
    }
    aliases
        .into_iter()
        .filter_map(|(user, target)| owner.get(&target).copied().filter(|defined| *defined != user))
        .collect()
}

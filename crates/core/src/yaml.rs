//! A YAML 1.1 reader with the grammar and the limits of Go's yaml.v2: text becomes a tree with byte positions.
//! It must not be stricter or laxer than that reader, because the authenticator and kubectl read with it.

mod budget;
mod collections;
mod composer;
mod data;
mod json;
mod names;
mod resolve;
mod scalars;
mod scanner;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod timestamp;
mod token;

use std::borrow::Cow;

pub use json::to_json;
pub use stream::{documents, first_document};

pub(crate) use budget::Budget;
pub(crate) use data::{Data, Datum, Key, data};
pub(crate) use resolve::{Meaning, meaning};

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Bytes before it.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Why a text is not YAML for Go, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {message}", position.line, position.column)]
pub struct YamlError {
    /// What is wrong, in lower case.
    pub message: String,
    /// Where the reader stopped.
    pub position: Position,
}

/// The number of a node in its [`Document`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarStyle {
    /// `text`
    Plain,
    /// `'text'`
    SingleQuoted,
    /// `"text"`
    DoubleQuoted,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// One item of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its node.
    pub node: NodeId,
    /// Byte offset of its `-`; in a flow list that of its first character.
    pub dash: usize,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'t> {
    /// A scalar, its escapes and folded lines resolved.
    Scalar {
        /// The text it stands for.
        text: Cow<'t, str>,
        /// How it is written.
        style: ScalarStyle,
    },
    /// A list.
    Sequence {
        /// Its items.
        items: Vec<Item>,
        /// Whether it stands in brackets.
        flow: bool,
    },
    /// A map, its pairs as written: duplicates and merge keys included.
    Mapping {
        /// Keys and values.
        pairs: Vec<(NodeId, NodeId)>,
        /// Whether it stands in braces.
        flow: bool,
    },
    /// `*name`
    Alias {
        /// The anchor's name.
        name: Cow<'t, str>,
        /// The node that the anchor names at this place.
        target: NodeId,
    },
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<'t> {
    /// What it holds.
    pub value: Value<'t>,
    /// Its first character, its anchor or tag included.
    pub start: Position,
    /// Byte offset just after its last token: closing quote or bracket, the break that ends the last line of a
    /// block scalar, the end of the last child of a block collection.
    pub end: usize,
    /// `&name` in front of it.
    pub anchor: Option<Cow<'t, str>>,
    /// Its tag, handles resolved (`tag:yaml.org,2002:str` for `!!str`).
    pub tag: Option<Cow<'t, str>>,
}

/// One document of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document<'t> {
    nodes: Vec<Node<'t>>,
    nothing: Node<'t>,
    /// The root node; none when the text has no document at all (blanks and comments alone).
    pub root: Option<NodeId>,
    /// Byte offset where content may start: after a byte order mark, directives and `---`.
    pub start: usize,
    /// Byte offset of the line of a `---` or `...` that follows, else the text's length.
    pub end: usize,
}

impl Node<'_> {
    /// A null that nobody wrote.
    fn empty(start: Position) -> Self {
        let value = Value::Scalar { text: Cow::Borrowed(""), style: ScalarStyle::Plain };
        Self { value, start, end: start.offset, anchor: None, tag: None }
    }
}

impl<'t> Document<'t> {
    fn new(nodes: Vec<Node<'t>>, root: Option<NodeId>, start: usize, end: usize) -> Self {
        Self { nodes, nothing: Node::empty(Position::default()), root, start, end }
    }

    /// The node of that number; an empty scalar for a number of another document.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node<'t> {
        self.nodes.get(id.0).unwrap_or(&self.nothing)
    }
}

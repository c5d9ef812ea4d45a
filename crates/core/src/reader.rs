//! Reads a data key of `aws-auth` exactly as aws-iam-authenticator does (`configmap.ParseMap` of v0.7.18), with
//! positions. It must never be cleverer than that: what it returns is who can log in.

mod accounts;
mod answers;
mod fields;
mod plain;
mod rules;
#[cfg(test)]
mod tests;

pub use answers::Answers;

use crate::mapping::{Entry, List};
use crate::yaml::{self, Data, Document, Meaning, NodeId, Position, YamlError};

/// A data key of which the authenticator reads nothing, or that awsiam does not touch because readers differ on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{list}, line {}, column {}: {message}", position.line, position.column)]
pub struct Unreadable {
    /// The data key.
    pub list: List,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub position: Position,
}

/// Something that the authenticator logs as an error while it keeps the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub position: Position,
}

/// An entry and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadEntry {
    /// What it says.
    pub entry: Entry,
    /// Its index among the items of the root list.
    pub item: usize,
    /// Where the item's node starts.
    pub position: Position,
}

/// What the authenticator reads in one data key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block<'t> {
    /// Its entries in order, duplicates included.
    pub entries: Vec<ReadEntry>,
    /// What the authenticator complains about; non-empty exactly when it reports an error.
    pub problems: Vec<Problem>,
    /// What it was read from.
    pub tree: Tree<'t>,
}

/// What the entries of a data key were read from: as much as it takes to edit its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree<'t> {
    /// Nothing: the empty forms that the authenticator skips (blanks, two quotes, two back-ticks).
    Nothing,
    /// Lines of the plain shape alone, no anchor, no flow: for each item the byte offset of its dash and that behind
    /// its last line, without the line break.
    Lines(Vec<(usize, usize)>),
    /// YAML.
    Document(Document<'t>),
}

/// Reads one data key.
///
/// # Errors
/// When the authenticator reads nothing of it (no YAML, no list, no JSON, a wrong tag), and for texts that awsiam
/// does not touch by its own decision: those with characters on which readers differ, and very deep nesting
/// ([`yaml::first_document`]).
pub fn read(list: List, text: &str) -> Result<Block<'_>, Unreadable> {
    match plain::read(list, text) {
        Some(block) => Ok(block),
        None => read_yaml(list, text),
    }
}

/// The same, by way of YAML whatever the shape: slower, and what [`read`] is held to.
///
/// # Errors
/// As [`read`].
pub fn read_yaml(list: List, text: &str) -> Result<Block<'_>, Unreadable> {
    let refused = |error: YamlError| Unreadable { list, message: error.message, position: error.position };
    if is_skippable(text) {
        return Ok(Block { entries: Vec::new(), problems: Vec::new(), tree: Tree::Nothing });
    }
    let document = yaml::first_document(text).map_err(refused)?;
    let mut found = Found::default();
    match list {
        List::Accounts => accounts::read(&document, &mut found),
        List::Roles | List::Users => mappings(list, text, &document, &mut found),
    }
    .map_err(refused)?;
    Ok(Block { entries: found.entries, problems: found.problems, tree: Tree::Document(document) })
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Found {
    entries: Vec<ReadEntry>,
    problems: Vec<Problem>,
}

impl Found {
    fn problem(&mut self, message: String, position: Position) {
        self.problems.push(Problem { message, position });
    }
}

/// The forms of "nothing" that the authenticator does not even parse.
fn is_skippable(text: &str) -> bool {
    matches!(text.trim(), "" | "``" | "\"\"" | "''")
        && !text.contains(['\u{85}', '\u{2028}', '\u{2029}'])
        && !text.replace("\r\n", "").contains('\r')
}

/// `mapRoles` and `mapUsers` become JSON and then Go structs.
fn mappings(list: List, text: &str, document: &Document<'_>, found: &mut Found) -> Result<(), YamlError> {
    let Some(root) = yaml::data(document)? else { return Ok(()) };
    let items = match root.data {
        // A text that starts with a brace is taken for JSON; an object it would be, or an error.
        Data::List(items) if !text.trim_start().starts_with('{') => items,
        Data::Scalar(Meaning::Null) => return Ok(()),
        _ => return Err(no_list(document, root.node)),
    };
    for (item, datum) in items.into_iter().enumerate() {
        let position = document.node(datum.node).start;
        let entry = fields::entry(list, document, datum, found);
        match rules::check(list, &entry) {
            Ok(()) => found.entries.push(ReadEntry { entry, item, position }),
            Err(message) => found.problem(message, position),
        }
    }
    Ok(())
}

fn no_list(document: &Document<'_>, node: NodeId) -> YamlError {
    YamlError {
        message: "the text must be a list, each item starting with '- '".into(),
        position: document.node(node).start,
    }
}

//! Where a field such as `spec.mapRoles[3].roleARN` stands in a file. Looks at the YAML tree alone and
//! judges nothing.

use std::fmt;

use awsiam_core::yaml::{Document, NodeId, Position, Value};

/// How many aliases are followed in a row: one that names itself has no end.
const MAX_ALIASES: usize = 64;

/// One step into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a map.
    Field(String),
    /// Into a list, from 0.
    Index(usize),
}

/// The way to a field, printed as `spec.mapRoles[3].roleARN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldPath(Vec<Step>);

impl FieldPath {
    /// Reads what `Display` writes, for names without dots and brackets, as all of ours are.
    pub(crate) fn parse(text: &str) -> Self {
        let steps = text.split('.').filter(|part| !part.is_empty()).flat_map(|part| {
            let (name, indices) = part.split_once('[').unwrap_or((part, ""));
            let indices = indices.split(['[', ']']).filter_map(|index| index.parse().ok()).map(Step::Index);
            std::iter::once(Step::Field(name.to_owned())).chain(indices).collect::<Vec<_>>()
        });
        Self(steps.collect())
    }

    /// The way to a field in what this leads to.
    pub(crate) fn field(&self, name: &str) -> Self {
        self.then(Step::Field(name.to_owned()))
    }

    /// The way to an item of the list that this leads to.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// The same with `other` behind it.
    pub(crate) fn join(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if number > 0 => write!(f, ".{name}")?,
                Step::Field(name) => f.write_str(name)?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its first character.
    pub(crate) start: Position,
    /// Byte offset behind its last one.
    pub(crate) end: usize,
}

/// Where `path` stands under `root`: the scalar or flow collection itself, the key of a block collection or
/// of nothing, and for a field that is missing the innermost thing that is there.
pub(crate) fn find(document: &Document<'_>, root: NodeId, path: &FieldPath) -> Place {
    let mut reached = Reached { key: None, node: root };
    for step in &path.0 {
        match reached.step(document, step) {
            Some(next) => reached = next,
            None => return reached.or_its_key(document),
        }
    }
    reached.place(document)
}

/// Where the name of the field stands that `path` leads to; else what [`find`] says.
pub(crate) fn find_key(document: &Document<'_>, root: NodeId, path: &FieldPath) -> Place {
    let mut reached = Some(Reached { key: None, node: root });
    for step in &path.0 {
        reached = reached.and_then(|reached| reached.step(document, step));
    }
    match reached.and_then(|reached| reached.key) {
        Some(key) => whole(document, key),
        None => find(document, root, path),
    }
}

/// The node that `path` leads to.
pub(crate) fn node(document: &Document<'_>, root: NodeId, path: &FieldPath) -> Option<NodeId> {
    let start = Reached { key: None, node: root };
    path.0.iter().try_fold(start, |reached, step| reached.step(document, step)).map(|reached| reached.node)
}

/// The node behind aliases.
pub(crate) fn resolved(document: &Document<'_>, node: NodeId) -> NodeId {
    let mut node = node;
    for _ in 0..MAX_ALIASES {
        match &document.node(node).value {
            Value::Alias { target, .. } => node = *target,
            _ => break,
        }
    }
    node
}

/// The text of a scalar.
pub(crate) fn scalar<'d>(document: &'d Document<'_>, node: NodeId) -> Option<&'d str> {
    match &document.node(resolved(document, node)).value {
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// What a step led to.
#[derive(Clone, Copy)]
struct Reached {
    /// The key in front of it, in a map.
    key: Option<NodeId>,
    node: NodeId,
}

impl Reached {
    fn step(self, document: &Document<'_>, step: &Step) -> Option<Self> {
        match step {
            Step::Field(name) => field(document, self.node, name, MAX_ALIASES),
            Step::Index(index) => match &document.node(resolved(document, self.node)).value {
                Value::Sequence { items, .. } => {
                    items.get(*index).map(|i| Reached { key: None, node: i.node })
                }
                _ => None,
            },
        }
    }

    fn place(self, document: &Document<'_>) -> Place {
        let node = document.node(self.node);
        let is_block =
            matches!(&node.value, Value::Sequence { flow: false, .. } | Value::Mapping { flow: false, .. });
        match self.key {
            Some(key) if is_block || node.end <= node.start.offset => whole(document, key),
            _ if is_block => first_key(document, self.node),
            _ => whole(document, self.node),
        }
    }

    /// For something missing in it.
    fn or_its_key(self, document: &Document<'_>) -> Place {
        match self.key {
            Some(key) => whole(document, key),
            None => self.place(document),
        }
    }
}

/// The last pair of that name, as of keys that come twice the last counts; else one that is merged in.
fn field(document: &Document<'_>, node: NodeId, name: &str, depth: usize) -> Option<Reached> {
    let Value::Mapping { pairs, .. } = &document.node(resolved(document, node)).value else { return None };
    let named =
        |wanted: &str| pairs.iter().rev().find(|(key, _)| scalar(document, *key) == Some(wanted)).copied();
    if let Some((key, node)) = named(name) {
        return Some(Reached { key: Some(key), node });
    }
    let (_, merged) = named("<<").filter(|_| depth > 0)?;
    match &document.node(resolved(document, merged)).value {
        Value::Sequence { items, .. } => {
            items.iter().find_map(|item| field(document, item.node, name, depth - 1))
        }
        _ => field(document, merged, name, depth - 1),
    }
}

/// The first key of a block map, which says enough of where it stands.
fn first_key(document: &Document<'_>, node: NodeId) -> Place {
    match &document.node(node).value {
        Value::Mapping { pairs, .. } => {
            pairs.first().map_or_else(|| whole(document, node), |(key, _)| whole(document, *key))
        }
        _ => Place { start: document.node(node).start, end: document.node(node).start.offset + 1 },
    }
}

fn whole(document: &Document<'_>, node: NodeId) -> Place {
    let node = document.node(node);
    Place { start: node.start, end: node.end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use awsiam_core::yaml;

    /// The text that a path is found at.
    fn at(text: &str, path: &str) -> String {
        let document = yaml::first_document(text).unwrap();
        let place = find(&document, document.root.unwrap(), &FieldPath::parse(path));
        text[place.start.offset..place.end].to_owned()
    }

    #[test]
    fn a_path_is_printed_as_it_is_read() {
        for path in ["", "spec", "spec.mapRoles[3].roleARN", "spec.mapRoles[0].groups[12]"] {
            assert_eq!(FieldPath::parse(path).to_string(), path);
        }
    }

    #[test]
    fn scalars_and_flow_collections_are_found_themselves_and_block_collections_by_their_key() {
        let text = "spec:\n  region: x\n  modes: [A, 'b']\n  roles:\n  - arn: one\n    groups:\n    - g\n  - arn: two\n";
        assert_eq!(at(text, "spec.region"), "x");
        assert_eq!(at(text, "spec.modes"), "[A, 'b']");
        assert_eq!(at(text, "spec.modes[1]"), "'b'");
        assert_eq!(at(text, "spec.roles"), "roles");
        assert_eq!(at(text, "spec.roles[1]"), "arn");
        assert_eq!(at(text, "spec.roles[1].arn"), "two");
        assert_eq!(at(text, "spec.roles[0].groups[0]"), "g");
    }

    #[test]
    fn what_is_missing_is_shown_where_it_should_be() {
        let text = "spec:\n  roles:\n  - arn: one\n  empty:\n";
        assert_eq!(at(text, "spec.roles[0].username"), "arn");
        assert_eq!(at(text, "spec.region"), "spec");
        assert_eq!(at(text, "spec.empty"), "empty");
        assert_eq!(at(text, "status.x"), "spec");
    }

    #[test]
    fn aliases_and_merges_are_followed_and_the_last_of_two_keys_counts() {
        let text = "base: &b {arn: one}\nrows:\n- <<: *b\n  user: u\n- *b\ntwice: 1\ntwice: 2\n";
        assert_eq!(at(text, "rows[0].arn"), "one");
        assert_eq!(at(text, "rows[1].arn"), "one");
        assert_eq!(at(text, "twice"), "2");
    }

    #[test]
    fn an_alias_to_itself_has_an_end() {
        assert_eq!(at("a: &a\n  <<: *a\n  b: 1\n", "a.c"), "a");
    }
}

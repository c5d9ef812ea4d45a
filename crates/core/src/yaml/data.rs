//! What a document says once scalars are resolved, aliases followed, mappings merged and duplicate keys settled:
//! what Go's `yaml.Unmarshal` puts into an empty interface, with the nodes that it came from.

use std::borrow::Cow;
use std::collections::HashMap;

use super::budget::Budget;
use super::resolve::{Meaning, is_merge_key, meaning};
use super::{Document, NodeId, Value, YamlError};

/// A value and the node that it was read from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Datum<'d> {
    pub(crate) node: NodeId,
    pub(crate) data: Data<'d>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data<'d> {
    Scalar(Meaning<'d>),
    List(Vec<Datum<'d>>),
    /// Each key once.
    Map(Vec<(Key<'d>, Datum<'d>)>),
}

/// A key, compared as Go compares interfaces: type and value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key<'d> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// The bits of a number that is not NaN.
    Float(u64),
    Nan,
    Text(Cow<'d, str>),
}

/// Reads a document; none if it has no root.
///
/// # Errors
/// Whatever makes Go refuse the whole document, or its conversion to JSON.
pub(crate) fn data<'d>(document: &'d Document<'_>) -> Result<Option<Datum<'d>>, YamlError> {
    let Some(root) = document.root else { return Ok(None) };
    let mut reader = Reader { document, budget: Budget::new() };
    let datum = reader.datum(root)?;
    reader.check_json(&datum)?;
    Ok(Some(datum))
}

/// Above this many keys a map is searched by hash.
const SHORT_MAP: usize = 16;

#[derive(Default)]
struct Pairs<'d> {
    pairs: Vec<(Key<'d>, Datum<'d>)>,
    places: HashMap<Key<'d>, usize>,
}

impl<'d> Pairs<'d> {
    fn set(&mut self, key: Key<'d>, value: Datum<'d>) {
        match self.place(&key).and_then(|place| self.pairs.get_mut(place)) {
            Some(pair) => pair.1 = value,
            None => self.pairs.push((key, value)),
        }
    }

    fn place(&mut self, key: &Key<'d>) -> Option<usize> {
        if *key == Key::Nan {
            return None;
        }
        if self.pairs.len() <= SHORT_MAP {
            return self.pairs.iter().position(|(known, _)| known == key);
        }
        for (place, (key, _)) in self.pairs.iter().enumerate().skip(self.places.len()) {
            self.places.insert(key.clone(), place);
        }
        self.places.get(key).copied()
    }
}

struct Reader<'d, 't> {
    document: &'d Document<'t>,
    budget: Budget,
}

impl<'d> Reader<'d, '_> {
    fn datum(&mut self, id: NodeId) -> Result<Datum<'d>, YamlError> {
        let node = self.document.node(id);
        self.budget.enter(node)?;
        let data = match &node.value {
            Value::Scalar { .. } => Data::Scalar(meaning(node)?),
            Value::Sequence { items, .. } => {
                Data::List(items.iter().map(|item| self.datum(item.node)).collect::<Result<_, _>>()?)
            }
            Value::Mapping { pairs, .. } => {
                let mut map = Pairs { pairs: Vec::with_capacity(pairs.len()), places: HashMap::new() };
                self.fill(pairs, &mut map)?;
                Data::Map(map.pairs)
            }
            Value::Alias { target, .. } => {
                self.budget.enter_alias(id, node)?;
                let datum = self.datum(*target)?;
                self.budget.leave_alias();
                datum.data
            }
        };
        self.budget.leave();
        Ok(Datum { node: id, data })
    }

    fn fill(&mut self, pairs: &'d [(NodeId, NodeId)], map: &mut Pairs<'d>) -> Result<(), YamlError> {
        for &(key, value) in pairs {
            if is_merge_key(self.document.node(key)) {
                self.merge(value, map)?;
                continue;
            }
            let key = self.key(key)?;
            map.set(key, self.datum(value)?);
        }
        Ok(())
    }

    fn key(&mut self, id: NodeId) -> Result<Key<'d>, YamlError> {
        Ok(match self.datum(id)?.data {
            Data::Scalar(Meaning::Null) => Key::Null,
            Data::Scalar(Meaning::Bool(value)) => Key::Bool(value),
            Data::Scalar(Meaning::Int(value)) => Key::Int(value),
            Data::Scalar(Meaning::Uint(value)) => Key::Uint(value),
            Data::Scalar(Meaning::Float(value)) if value.is_nan() => Key::Nan,
            Data::Scalar(Meaning::Float(value)) => Key::Float(value.to_bits()),
            Data::Scalar(Meaning::Text(text)) => Key::Text(text),
            Data::List(_) | Data::Map(_) => {
                return Err(self.error(
                    id,
                    "a list or a map may not be a key: quote a value that starts with '{' or '['",
                ));
            }
        })
    }

    /// Sets what another mapping says, at once and over what stands here already.
    fn merge(&mut self, id: NodeId, map: &mut Pairs<'d>) -> Result<(), YamlError> {
        match &self.document.node(id).value {
            Value::Sequence { items, .. } => {
                for item in items.iter().rev() {
                    self.merge_one(item.node, map)?;
                }
                Ok(())
            }
            _ => self.merge_one(id, map),
        }
    }

    fn merge_one(&mut self, id: NodeId, map: &mut Pairs<'d>) -> Result<(), YamlError> {
        let node = self.document.node(id);
        let pairs = match &node.value {
            Value::Mapping { pairs, .. } => {
                self.budget.enter(node)?;
                pairs
            }
            Value::Alias { target, .. } => {
                let named = self.document.node(*target);
                let Value::Mapping { pairs, .. } = &named.value else { return Err(self.no_map(id)) };
                self.budget.enter(node)?;
                self.budget.enter_alias(id, node)?;
                self.budget.enter(named)?;
                pairs
            }
            _ => return Err(self.no_map(id)),
        };
        self.fill(pairs, map)?;
        self.budget.leave();
        if matches!(node.value, Value::Alias { .. }) {
            self.budget.leave_alias();
            self.budget.leave();
        }
        Ok(())
    }

    fn no_map(&self, id: NodeId) -> YamlError {
        self.error(id, "'<<' must be followed by a map, an alias of a map, or a list of these")
    }

    fn error(&self, id: NodeId, message: &str) -> YamlError {
        YamlError { message: message.into(), position: self.document.node(id).start }
    }

    /// JSON knows no infinity, and sigs.k8s.io/yaml no null and no number above 2^63 as a key.
    fn check_json(&self, datum: &Datum<'d>) -> Result<(), YamlError> {
        match &datum.data {
            Data::Scalar(Meaning::Float(value)) if !value.is_finite() => {
                Err(self.error(datum.node, "JSON has no such number: quote it"))
            }
            Data::Scalar(_) => Ok(()),
            Data::List(items) => items.iter().try_for_each(|item| self.check_json(item)),
            Data::Map(pairs) => pairs.iter().try_for_each(|(key, value)| match key {
                Key::Null | Key::Uint(_) => {
                    Err(self.error(value.node, "the key of this value must be a text: quote it"))
                }
                _ => self.check_json(value),
            }),
        }
    }
}

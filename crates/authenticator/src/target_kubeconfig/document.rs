//! A kubeconfig as a tree whose fields know where they stand.

use serde_json::Value;

use super::refusal::{Reason, Refusal};
use super::{MAX_BYTES, is_nothing};

/// Reads one YAML document.
pub(super) fn parse(text: &str) -> Result<Value, Refusal> {
    let refuse = |reason| Refusal { field: String::new(), reason };
    if text.len() > MAX_BYTES {
        return Err(refuse(Reason::TooLong { max: MAX_BYTES }));
    }
    // Without the snippet, which would show the lines around a mistake, tokens among them. Even so only the place is taken
    // from an error: its words may quote a value.
    let options = serde_saphyr::options! { with_snippet: false };
    let value: Value = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        if matches!(error.without_snippet(), serde_saphyr::Error::MultipleDocuments { .. }) {
            return refuse(Reason::SeveralDocuments);
        }
        let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
        refuse(Reason::NotYaml { line, column })
    })?;
    if value.is_object() { Ok(value) } else { Err(refuse(Reason::NotAKubeconfig)) }
}

/// Where a field stands.
#[derive(Clone, Debug)]
pub(super) struct Place(String);

impl Place {
    /// A refusal of what stands there.
    pub(super) fn refuse(&self, reason: Reason) -> Refusal {
        Refusal { field: self.0.clone(), reason }
    }
}

/// A map in the tree.
pub(super) struct Node<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        Place(self.path.clone())
    }

    /// Where a field of it stands.
    pub(super) fn field(&self, name: &str) -> Place {
        Place(if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) })
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    /// That it is a map with no fields but these.
    pub(super) fn only(&self, fields: &[&str]) -> Result<(), Refusal> {
        let Value::Object(map) = self.value else { return Err(self.place().refuse(Reason::NotA("a map"))) };
        if map.keys().all(|key| fields.contains(&key.as_str())) {
            return Ok(());
        }
        Err(self.place().refuse(Reason::UnknownField(fields.join(", "))))
    }

    /// That none of these fields says anything.
    pub(super) fn none_of(&self, fields: &[(&str, Reason)]) -> Result<(), Refusal> {
        let set = fields.iter().find(|(name, _)| self.get(name).is_some_and(|value| !is_nothing(value)));
        set.map_or(Ok(()), |(name, reason)| Err(self.field(name).refuse(reason.clone())))
    }

    /// A text, if it is there.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.field(name).refuse(Reason::NotA("text"))),
        }
    }

    /// A text that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<&'a str, Refusal> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| self.field(name).refuse(Reason::Missing))
    }

    /// A list of entries with a name and a map, such as `clusters` with `cluster`.
    pub(super) fn named<T>(
        &self,
        list: &str,
        kind: &str,
        read: impl Fn(&Node<'a>) -> Result<T, Refusal>,
    ) -> Result<Vec<(String, T)>, Refusal> {
        let items = match self.get(list) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(self.field(list).refuse(Reason::NotA("a list"))),
        };
        let mut entries: Vec<(String, T)> = Vec::new();
        for (index, value) in items.iter().enumerate() {
            let entry = Node { path: format!("{list}[{index}]"), value };
            entry.only(&["name", kind])?;
            let name = entry.required("name")?;
            if entries.iter().any(|(earlier, _)| earlier == name) {
                return Err(entry.field("name").refuse(Reason::Twice));
            }
            let value = entry.get(kind).ok_or_else(|| entry.field(kind).refuse(Reason::Missing))?;
            let node = Node { path: format!("{}.{kind}", entry.path), value };
            entries.push((name.to_owned(), read(&node)?));
        }
        Ok(entries)
    }
}

//! One item of `mapRoles` or `mapUsers` as Go's `encoding/json` fills `RoleMapping` and `UserMapping`.
//!
//! Keys come in byte order, because they were sorted when YAML became JSON; those that are equal but for case set
//! the same field one after the other. A value of a wrong type is complained about and leaves the field as it was.

use std::borrow::Cow;

use super::Found;
use crate::mapping::{Entry, List, Sso};
use crate::yaml::{Data, Datum, Document, Key, Meaning};

/// Reads `item`; what is missing or of a wrong type stays empty.
pub(super) fn entry(list: List, document: &Document<'_>, item: Datum<'_>, found: &mut Found) -> Entry {
    let mut decoder = Decoder { document, found };
    let mut entry = Entry::default();
    let mut groups = Groups::default();
    let names = match list {
        List::Users => &["userarn", "username", "groups", "userid"][..],
        List::Roles | List::Accounts => &["rolearn", "username", "groups", "userid", "sso"],
    };
    for (name, datum) in decoder.fields(item, names, "an entry") {
        match name {
            "username" => decoder.text(name, datum, &mut entry.username),
            "groups" => decoder.groups(datum, &mut groups),
            "userid" => decoder.text(name, datum, &mut entry.user_id),
            "sso" => decoder.sso(datum, &mut entry.sso),
            _ => decoder.text(name, datum, &mut entry.arn),
        }
    }
    entry.groups = groups.into_names();
    entry
}

/// The names of a list of groups. Like a Go slice it keeps what stood behind its end, where a later list under
/// another spelling of the key may uncover it again by nulls.
#[derive(Default)]
struct Groups {
    names: Vec<String>,
    length: usize,
}

impl Groups {
    fn into_names(mut self) -> Vec<String> {
        self.names.truncate(self.length);
        self.names
    }
}

struct Decoder<'a, 't> {
    document: &'a Document<'t>,
    found: &'a mut Found,
}

impl Decoder<'_, '_> {
    /// The pairs of a map whose keys stand for one of `names` (lower case), sorted by key.
    fn fields<'d>(
        &mut self,
        datum: Datum<'d>,
        names: &[&'static str],
        what: &str,
    ) -> Vec<(&'static str, Datum<'d>)> {
        let pairs = match datum.data {
            Data::Map(pairs) => pairs,
            Data::Scalar(Meaning::Null) => return Vec::new(),
            _ => {
                self.wrong_type(what, "a map of keys and values", &datum);
                return Vec::new();
            }
        };
        let field_of = |key: &str| names.iter().copied().find(|name| is_spelling_of(key, name));
        let mut fields: Vec<(Cow<'d, str>, &'static str, Datum<'d>)> = pairs
            .into_iter()
            .filter_map(|(key, datum)| match key {
                Key::Text(key) => field_of(&key).map(|name| (key, name, datum)),
                _ => None,
            })
            .collect();
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        fields.into_iter().map(|(_, name, datum)| (name, datum)).collect()
    }

    fn text(&mut self, name: &str, datum: Datum<'_>, field: &mut String) {
        match datum.data {
            Data::Scalar(Meaning::Text(text)) => *field = text.into_owned(),
            Data::Scalar(Meaning::Null) => {}
            _ => self.wrong_type(name, "a text", &datum),
        }
    }

    fn groups(&mut self, datum: Datum<'_>, groups: &mut Groups) {
        let items = match datum.data {
            Data::List(items) => items,
            Data::Scalar(Meaning::Null) => {
                *groups = Groups::default();
                return;
            }
            _ => return self.wrong_type("groups", "a list", &datum),
        };
        groups.length = items.len();
        if items.is_empty() {
            groups.names.clear();
        }
        for (index, item) in items.into_iter().enumerate() {
            if groups.names.len() <= index {
                groups.names.push(String::new());
            }
            if let Some(name) = groups.names.get_mut(index) {
                self.text("a group", item, name);
            }
        }
    }

    fn sso(&mut self, datum: Datum<'_>, field: &mut Option<Box<Sso>>) {
        if datum.data == Data::Scalar(Meaning::Null) {
            *field = None;
            return;
        }
        let sso = field.get_or_insert_default();
        for (name, datum) in self.fields(datum, &["permissionsetname", "accountid", "partition"], "sso") {
            match name {
                "permissionsetname" => self.text("permissionSetName", datum, &mut sso.permission_set_name),
                "accountid" => self.text("accountID", datum, &mut sso.account_id),
                _ => self.text(name, datum, &mut sso.partition),
            }
        }
    }

    fn wrong_type(&mut self, name: &str, wanted: &str, datum: &Datum<'_>) {
        let (what, hint) = match &datum.data {
            Data::Scalar(Meaning::Null) => ("nothing", ""),
            Data::Scalar(Meaning::Bool(_)) => ("true or false", "; quote it"),
            Data::Scalar(Meaning::Int(_) | Meaning::Uint(_) | Meaning::Float(_)) => {
                ("a number", "; quote it")
            }
            Data::Scalar(Meaning::Text(_)) => ("a text", ""),
            Data::List(_) => ("a list", ""),
            Data::Map(_) => ("a map", ""),
        };
        let hint = if wanted == "a text" { hint } else { "" };
        let position = self.document.node(datum.node).start;
        self.found.problem(format!("{name} must be {wanted}, but is {what}{hint}"), position);
    }
}

/// Whether Go's `encoding/json` takes `key` for the field `name` (lower case): it folds case, and to it U+017F is
/// an s and U+212A a k.
fn is_spelling_of(key: &str, name: &str) -> bool {
    let folded = key.chars().map(|character| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => character.to_ascii_lowercase(),
    });
    folded.eq(name.chars())
}

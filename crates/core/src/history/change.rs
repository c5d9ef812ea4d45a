//! What changed from one content of `aws-auth` to the next, by the entries that the authenticator reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::mapping::{Entry, Key, List};
use crate::reader;

/// The differences between two contents, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Keys that have entries now and had none.
    pub added: Vec<Key>,
    /// Keys that had entries and have none now.
    pub removed: Vec<Key>,
    /// Keys whose entries say something else now.
    pub changed: Vec<Key>,
    /// Data keys that can't be read now.
    pub unreadable: Vec<List>,
    /// Whether texts differ although the entries say the same.
    pub is_text_alone: bool,
    /// Whether the ledger differs.
    pub ledger: bool,
}

/// A content of `aws-auth`: its data, and the ledger.
pub type Held<'a> = (&'a BTreeMap<String, String>, Option<&'a str>);

impl Change {
    /// From `before` (none: there was none) to `after`.
    #[must_use]
    pub fn between(before: Option<Held<'_>>, after: Held<'_>) -> Self {
        let nothing = BTreeMap::new();
        let (old, old_ledger) = before.unwrap_or((&nothing, None));
        let (new, new_ledger) = after;
        let (was, is) = (by_key(old), by_key(new));
        let keys: BTreeSet<&Key> = was.keys().chain(is.keys()).collect();
        let mut change = Self { ledger: old_ledger != new_ledger, ..Self::default() };
        for key in keys {
            match (was.get(key), is.get(key)) {
                (None, Some(_)) => change.added.push(key.clone()),
                (Some(_), None) => change.removed.push(key.clone()),
                (was, is) if was != is => change.changed.push(key.clone()),
                _ => {}
            }
        }
        let refused = |list: &List| new.get(list.data_key()).is_some_and(|t| reader::read(*list, t).is_err());
        change.unreadable = List::ALL.into_iter().filter(refused).collect();
        let same = change.added.is_empty() && change.removed.is_empty() && change.changed.is_empty();
        change.is_text_alone = same && old != new;
        change
    }
}

/// What each key says: all entries with it, in order, `sso` entries under an empty ARN.
fn by_key(data: &BTreeMap<String, String>) -> BTreeMap<Key, Vec<Entry>> {
    let mut found: BTreeMap<Key, Vec<Entry>> = BTreeMap::new();
    for list in List::ALL {
        let Some(text) = data.get(list.data_key()) else { continue };
        let Ok(block) = reader::read(list, text) else { continue };
        for read in block.entries {
            found.entry(read.entry.key(list)).or_default().push(read.entry);
        }
    }
    found
}

impl fmt::Display for Change {
    /// One line, such as `2 added, 1 removed: arn:aws:iam::111122223333:role/dev and 2 more`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [(&self.added, "added"), (&self.changed, "changed"), (&self.removed, "removed")];
        let mut parts: Vec<String> = counts
            .iter()
            .filter(|(keys, _)| !keys.is_empty())
            .map(|(keys, word)| format!("{} {word}", keys.len()))
            .collect();
        if self.is_text_alone {
            parts.push("text alone".to_owned());
        }
        if parts.is_empty() {
            parts.push(if self.ledger { "ledger alone" } else { "nothing" }.to_owned());
        }
        parts.extend(self.unreadable.iter().map(|list| format!("{list} unreadable")));
        f.write_str(&parts.join(", "))?;
        let mut keys = counts.iter().flat_map(|(keys, _)| keys.iter()).filter(|key| !key.arn.is_empty());
        let Some(first) = keys.next() else { return Ok(()) };
        match keys.count() {
            0 => write!(f, ": {}", first.arn),
            more => write!(f, ": {} and {more} more", first.arn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(before: Option<&str>, after: &str) -> String {
        let data = |text: &str| BTreeMap::from([("mapRoles".to_owned(), text.to_owned())]);
        let (before, after) = (before.map(data), data(after));
        Change::between(before.as_ref().map(|data| (data, None)), (&after, Some("ledger"))).to_string()
    }

    #[test]
    fn a_change_is_said_in_one_line() {
        let entry =
            |name: &str, user: &str| format!("- rolearn: arn:aws:iam::1:role/{name}\n  username: {user}\n");
        let one = entry("a", "x");
        assert_eq!(said(None, &one), "1 added: arn:aws:iam::1:role/a");
        assert_eq!(said(Some(&one), &one), "ledger alone");
        assert_eq!(said(Some(&one), &format!("# hello\n{one}")), "text alone");
        let two = entry("a", "y") + &entry("b", "b");
        assert_eq!(said(Some(&one), &two), "1 added, 1 changed: arn:aws:iam::1:role/b and 1 more");
        assert_eq!(said(Some(&two), &entry("b", "b")), "1 removed: arn:aws:iam::1:role/a");
        assert_eq!(said(Some(&one), "- {"), "1 removed, mapRoles unreadable: arn:aws:iam::1:role/a");
    }
}

//! What is odd about entries and data keys that are not ours: reported, never changed.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::arn;
use crate::mapping::{Key, List};
use crate::reader;

/// One oddity of an `aws-auth`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Oddity {
    /// The data key.
    pub data_key: String,
    /// The entry, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Its line in the data key's text, from 1; 0 when it is about the key itself.
    pub line: usize,
    /// `NeverMatches`, `Duplicate`, `WrongCaseDataKey` or `Malformed`.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// Looks through the data of an `aws-auth`.
#[must_use]
pub fn oddities(data: &BTreeMap<String, String>) -> Vec<Oddity> {
    let mut found: Vec<Oddity> = data.keys().filter_map(|key| wrong_case(key)).collect();
    for list in List::ALL {
        let Some(text) = data.get(list.data_key()) else { continue };
        let Ok(block) = reader::read(list, text) else { continue };
        let data_key = list.data_key().to_owned();
        let mut seen: HashMap<Key, (usize, &str)> = HashMap::new();
        for read in &block.entries {
            let key = read.entry.key(list);
            let line = read.position.line;
            let mut say = |reason, message| {
                found.push(Oddity {
                    data_key: data_key.clone(),
                    key: Some(key.clone()),
                    line,
                    reason,
                    message,
                });
            };
            if list != List::Accounts
                && !read.entry.arn.is_empty()
                && let Some(why) = arn::can_never_match(list, &read.entry.arn)
            {
                say("NeverMatches", format!("nobody can log in by this entry: {why}"));
            }
            let earlier = seen.insert(key.clone(), (line, read.entry.arn.as_str()));
            if let Some((first, spelling)) = earlier.filter(|_| !key.arn.is_empty()) {
                let which = if list == List::Users && spelling != read.entry.arn {
                    "spelt otherwise, so which of the two answers is left to chance at every login; remove one"
                } else {
                    "and the earlier entry never counts; remove it"
                };
                say("Duplicate", format!("the ARN stands already on line {first}, {which}"));
            }
        }
        found.extend(block.problems.iter().map(|problem| Oddity {
            data_key: data_key.clone(),
            key: None,
            line: problem.position.line,
            reason: "Malformed",
            message: problem.message.clone(),
        }));
    }
    found
}

fn wrong_case(data_key: &str) -> Option<Oddity> {
    let list = List::ALL.into_iter().find(|l| l.data_key().eq_ignore_ascii_case(data_key))?;
    (list.data_key() != data_key).then(|| Oddity {
        data_key: data_key.to_owned(),
        key: None,
        line: 0,
        reason: "WrongCaseDataKey",
        message: format!("the authenticator ignores this key, because its case is wrong; write {list}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(data_key: &str, text: &str) -> Vec<(&'static str, usize)> {
        let data = BTreeMap::from([(data_key.to_owned(), text.to_owned())]);
        oddities(&data).into_iter().map(|oddity| (oddity.reason, oddity.line)).collect()
    }

    #[test]
    fn a_role_with_a_path_never_matches() {
        let text = "- rolearn: arn:aws:iam::111122223333:role/team/dev\n";
        assert_eq!(reasons("mapRoles", text), [("NeverMatches", 1)]);
        assert!(reasons("mapRoles", &text.replace("team/", "")).is_empty());
    }

    #[test]
    fn a_duplicate_is_named_with_what_it_does() {
        let text =
            "- userarn: arn:aws:iam::111122223333:user/bob\n- userarn: arn:aws:iam::111122223333:user/BOB\n";
        let data = BTreeMap::from([("mapUsers".to_owned(), text.to_owned())]);
        let found = oddities(&data);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("line 1") && found[0].message.contains("chance"), "{found:?}");
        let twice = text.replace("BOB", "bob");
        let data = BTreeMap::from([("mapUsers".to_owned(), twice)]);
        assert!(oddities(&data)[0].message.contains("never counts"));
    }

    #[test]
    fn a_data_key_in_the_wrong_case_and_a_malformed_entry_are_named() {
        assert_eq!(reasons("maproles", "[]"), [("WrongCaseDataKey", 0)]);
        assert_eq!(reasons("mapRoles", "- username: x\n"), [("Malformed", 1)]);
    }
}

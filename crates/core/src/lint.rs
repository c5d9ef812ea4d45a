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
        let mut seen: HashMap<Key, usize> = HashMap::new();
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
            if let Some(first) = seen.insert(key.clone(), line).filter(|_| !key.arn.is_empty()) {
                say(
                    "Duplicate",
                    format!(
                        "the ARN stands already on line {first}; of two entries with one ARN one never counts"
                    ),
                );
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

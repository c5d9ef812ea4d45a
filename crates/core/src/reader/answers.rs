//! Which entry answers for an identity (`MapStore` of the authenticator's `pkg/mapper/configmap`).

use std::collections::HashMap;

use crate::mapping::{Entry, List};

/// The entries of one list that can answer, found by ARN.
///
/// The authenticator keeps entries in a Go map: roles by their ARN in lower case and users by their ARN as written,
/// the last one staying. It then looks for any one of them whose ARN equals the caller's but for case. So two users
/// that differ in case alone both stay, and which of them answers is left to chance at every login.
///
/// `sso` entries never answer, as the feature gate for them is off by default.
#[derive(Clone, Debug)]
pub struct Answers {
    list: List,
    by_subject: HashMap<String, Vec<usize>>,
}

impl Answers {
    /// The answers that `entries`, the whole list in order, give.
    #[must_use]
    pub fn new<'e>(list: List, entries: impl IntoIterator<Item = &'e Entry>) -> Self {
        let mut kept: HashMap<String, (usize, Option<String>)> = HashMap::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let subject = entry.sso.is_none().then(|| subject(list, &entry.arn));
            kept.insert(key(list, entry), (index, subject));
        }
        let mut by_subject: HashMap<String, Vec<usize>> = HashMap::with_capacity(kept.len());
        for (index, subject) in kept.into_values() {
            if let Some(subject) = subject {
                by_subject.entry(subject).or_default().push(index);
            }
        }
        for indexes in by_subject.values_mut() {
            indexes.sort_unstable();
        }
        Self { list, by_subject }
    }

    /// The indexes of the entries that may answer for this ARN (or account id), ascending. None: nobody maps it.
    /// More than one: chance decides.
    #[must_use]
    pub fn of(&self, arn: &str) -> &[usize] {
        self.by_subject.get(&subject(self.list, arn)).map_or(&[], Vec::as_slice)
    }
}

/// `Key()` of an entry, under which the last one stays.
fn key(list: List, entry: &Entry) -> String {
    match (list, &entry.sso) {
        (List::Roles, Some(sso)) => {
            // With a partition given the authenticator leaves it out.
            let partition = if sso.partition.is_empty() { "aws" } else { "" };
            let (account, name) = (&sso.account_id, &sso.permission_set_name);
            lower(&format!("arn:{partition}:iam::{account}:role/AWSReservedSSO_{name}_*"))
        }
        (List::Roles, None) => lower(&entry.arn),
        (List::Users | List::Accounts, _) => entry.arn.clone(),
    }
}

/// What all ARNs have in common that `strings.EqualFold` holds to be equal. Accounts are compared as they are.
fn subject(list: List, arn: &str) -> String {
    match list {
        List::Accounts => arn.into(),
        List::Roles | List::Users => arn.chars().map(fold).collect(),
    }
}

/// Go's `strings.ToLower` maps each character to one other.
fn lower(text: &str) -> String {
    text.chars().map(lower_character).collect()
}

fn lower_character(character: char) -> char {
    // U+0130 is the only one whose lower case has more than one character; the first is Go's.
    character.to_lowercase().next().unwrap_or(character)
}

/// One character for all that differ in case alone. Some have several lower or upper cases (σ and ς, s and ſ), so
/// the way leads over upper case.
fn fold(character: char) -> char {
    // The dotted capital and the dotless small i are nobody else's other case.
    if matches!(character, '\u{130}' | '\u{131}') {
        return character;
    }
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => lower_character(upper),
        _ => lower_character(character),
    }
}

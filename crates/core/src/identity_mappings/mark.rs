//! Whose an object is: the annotation by which we know ours, the label by which people find them, their names.
//! There is no ledger beside the objects: each carries its own line of it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ledger::{MeaningHash, Writer, hex_hash};
use crate::mapping::{Entry, Key, List, Mapping};

/// The format that this version writes.
const VERSION: u32 = 1;

/// The most characters of a role's or user's name that an object's name shows.
const READABLE: usize = 40;

/// What the annotation on an object of ours says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    v: u32,
    /// The object's name: a copy under another name is not ours.
    pub name: String,
    /// Who wrote it.
    pub writer: Writer,
    /// The Cluster's generation at that time.
    pub generation: i64,
    /// The AWSIamConfig that it comes from.
    pub config: String,
    /// uid of the AWSIamConfig; empty offline.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config_uid: String,
    /// Its generation at that time.
    pub config_generation: i64,
    /// The list that the mapping stands in.
    pub list: List,
    /// The ARN of the mapping's key.
    pub arn: String,
    /// Hash of the meaning that we wrote.
    meaning: String,
}

/// Why a mark can't be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MarkError {
    /// Written by a newer version.
    #[error("the mark has format {0}, newer than this version of awsiam knows ({VERSION}); upgrade awsiam")]
    Newer(u32),
    /// Not what we write.
    #[error("the mark can't be read: {0}")]
    Unreadable(String),
}

impl Mark {
    /// The mark of an object that is written for `mapping`.
    #[must_use]
    pub fn of(
        name: &str,
        writer: &Writer,
        generation: i64,
        config: &crate::desired::DesiredConfig,
        mapping: &Mapping,
    ) -> Self {
        let key = mapping.key();
        let meaning = MeaningHash::of_mapping(&key, mapping).to_string();
        Self {
            v: VERSION,
            name: name.to_owned(),
            writer: writer.clone(),
            generation,
            config: config.name.clone(),
            config_uid: config.uid.clone(),
            config_generation: config.generation,
            list: key.list,
            arn: key.arn,
            meaning,
        }
    }

    /// Reads the annotation's value.
    ///
    /// # Errors
    /// [`MarkError::Newer`] for a format of a later version, [`MarkError::Unreadable`] for anything else that this
    /// version does not write.
    pub fn parse(text: &str) -> Result<Self, MarkError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let unreadable = |error: serde_json::Error| MarkError::Unreadable(error.to_string());
        let version: Version = serde_json::from_str(text).map_err(unreadable)?;
        if version.v > VERSION {
            return Err(MarkError::Newer(version.v));
        }
        serde_json::from_str(text).map_err(unreadable)
    }

    /// The annotation's value.
    #[must_use]
    pub fn render(&self) -> String {
        // Strings and numbers always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The key of the mapping.
    #[must_use]
    pub fn key(&self) -> Key {
        Key { list: self.list, arn: self.arn.clone() }
    }

    /// Whether a spec is as we wrote it.
    #[must_use]
    pub fn is_as_written(&self, spec: &Entry) -> bool {
        MeaningHash::of(self.list, spec).to_string() == self.meaning
    }

    /// Whether it says the same but for generations, which are not worth a write.
    #[must_use]
    pub fn same_but_for_generations(&self, other: &Mark) -> bool {
        let generations = (other.generation, other.config_generation);
        let (generation, config_generation) = generations;
        Mark { generation, config_generation, ..self.clone() } == *other
    }
}

/// The value of our label: who writes an object, whatever the uid of its Cluster. A Cluster that is made again under
/// the same name finds its objects.
#[must_use]
pub fn cluster_label(writer: &Writer) -> String {
    let management = writer.management.as_deref().unwrap_or_default();
    hex_hash(["cluster", management, &writer.namespace, &writer.name])
}

/// The name of the object for a mapping: what it is for, readable, and a hash of writer and key, so that two
/// installations never want the same. A DNS label of at most 64 characters.
#[must_use]
pub fn object_name(writer: &Writer, key: &Key) -> String {
    let last = key.arn.rsplit(['/', ':']).next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let readable: String = last.chars().map(plain).take(READABLE).collect();
    let hash = hex_hash(["object", &cluster_label(writer), key.list.data_key(), &key.arn]);
    match readable.trim_matches('-') {
        "" => format!("awsiam-{hash}"),
        readable => format!("awsiam-{readable}-{hash}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(name: &str, uid: Option<&str>) -> Writer {
        let uid = uid.map(str::to_owned);
        Writer { management: Some("m".into()), namespace: "default".into(), name: name.into(), uid }
    }

    fn name_of(arn: &str) -> String {
        object_name(&writer("prod", None), &Key::new(List::Roles, arn))
    }

    #[test]
    fn names_are_dns_labels_that_show_the_role() {
        let name = name_of("arn:aws:iam::111122223333:role/Team_A.Admin+x=@");
        assert!(name.starts_with("awsiam-team-a-admin-x-"), "{name}");
        let long = name_of(&format!("arn:aws:iam::111122223333:role/{}", "x".repeat(64)));
        assert_eq!(long.len(), "awsiam-".len() + READABLE + 1 + 16);
        for name in [name, long, name_of("arn:aws:iam::111122223333:root"), name_of("é"), name_of("")] {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!(name.len() <= 64 && name.bytes().all(plain) && !name.ends_with('-'), "{name}");
        }
    }

    #[test]
    fn names_differ_by_writer_list_and_whole_arn_and_not_by_case_or_uid() {
        let (role, arn) = (List::Roles, "arn:aws:iam::111122223333:role/A");
        let ours = object_name(&writer("prod", Some("1")), &Key::new(role, arn));
        assert_eq!(ours, object_name(&writer("prod", Some("2")), &Key::new(role, &arn.to_uppercase())));
        let others = [
            object_name(&writer("test", None), &Key::new(role, arn)),
            object_name(&writer("prod", None), &Key::new(List::Users, arn)),
            object_name(&writer("prod", None), &Key::new(role, "arn:aws:iam::999922223333:role/A")),
        ];
        assert!(others.iter().all(|other| *other != ours));
    }

    #[test]
    fn a_newer_mark_is_told_apart_from_an_unreadable_one() {
        assert_eq!(Mark::parse(r#"{"v":2,"new":1}"#), Err(MarkError::Newer(2)));
        for text in ["", "{}", r#"{"v":1}"#, "[]"] {
            assert!(matches!(Mark::parse(text), Err(MarkError::Unreadable(_))), "{text}");
        }
    }
}

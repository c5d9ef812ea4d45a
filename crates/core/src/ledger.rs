//! The ledger: the annotation on `aws-auth` that says which entries are ours and who wrote them.
//! Encoding, decoding and comparison only; what follows from it is decided in [`crate::plan`].

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::mapping::{Entry, Key, List, Mapping, fold};

/// The annotation that holds the ledger.
pub const ANNOTATION: &str = "awsiam-operator.dev/ledger";

/// The format that this version writes; a newer one is never overwritten.
const VERSION: u32 = 1;

/// Bytes of SHA-256 that are kept of a key and of a meaning: together 16, in base64 about 22 an entry,
/// so that 10,000 entries fit in the 256 KiB that all annotations of an object share.
const HASH_BYTES: usize = 8;

/// Hash of an entry's key: the first bytes of SHA-256, as a number that is compared at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(u64);

/// Hash of what an entry means: key, username, groups in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeaningHash(u64);

fn short_hash<'t>(parts: impl IntoIterator<Item = &'t str>) -> u64 {
    let mut sha = Sha256::new();
    for part in parts {
        // The length in front keeps ("ab", "c") and ("a", "bc") apart.
        sha.update((part.len() as u64).to_le_bytes());
        sha.update(part);
    }
    let mut short = [0; HASH_BYTES];
    short.iter_mut().zip(sha.finalize()).for_each(|(to, from)| *to = from);
    u64::from_be_bytes(short)
}

impl std::fmt::Display for MeaningHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// 16 hexadecimal digits of SHA-256 over `parts`.
pub(crate) fn hex_hash<'t>(parts: impl IntoIterator<Item = &'t str>) -> String {
    MeaningHash(short_hash(parts)).to_string()
}

impl KeyHash {
    /// The hash of `key`.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        Self(short_hash([key.list.data_key(), &key.arn]))
    }
}

impl MeaningHash {
    /// The hash of what `entry` means in `list`.
    #[must_use]
    pub fn of(list: List, entry: &Entry) -> Self {
        Self::of_parts(list, &fold(&entry.arn), &entry.username, &entry.groups)
    }

    /// The hash of what `mapping` means once it is an entry. `key` is the mapping's.
    #[must_use]
    pub(crate) fn of_mapping(key: &Key, mapping: &Mapping) -> Self {
        Self::of_parts(key.list, &key.arn, &mapping.username, &mapping.groups)
    }

    fn of_parts(list: List, folded: &str, username: &str, groups: &[String]) -> Self {
        let head = [list.data_key(), folded, username];
        Self(short_hash(head.into_iter().chain(groups.iter().map(String::as_str))))
    }
}

/// Who writes a ledger: one Cluster object in one management cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// uid of the management cluster's `kube-system` namespace; absent when rendered offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management: Option<String>,
    /// Namespace of the Cluster object.
    pub namespace: String,
    /// Name of the Cluster object.
    pub name: String,
    /// uid of the Cluster object; absent when rendered offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// How a ledger's writer relates to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is us.
    Same,
    /// The same namespace and name with another uid or none: the object was made again, or the
    /// ledger was rendered offline. Taken over, with an Event.
    Predecessor,
    /// Somebody else: nothing is written.
    Other,
}

impl Writer {
    /// How the writer of a ledger, `self`, relates to `us`.
    #[must_use]
    pub fn relation_to(&self, us: &Writer) -> Relation {
        let same_object = self.namespace == us.namespace && self.name == us.name;
        let same_management = match (&self.management, &us.management) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        };
        match (same_object && same_management, self.uid == us.uid && self.management == us.management) {
            (true, true) => Relation::Same,
            (true, false) => Relation::Predecessor,
            (false, _) => Relation::Other,
        }
    }
}

impl std::fmt::Display for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster {}/{}", self.namespace, self.name)?;
        if let Some(management) = &self.management {
            write!(f, " of the management cluster with kube-system uid {management}")?;
        }
        Ok(())
    }
}

/// The generation at which a config was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigVersion {
    /// uid of the AWSIamConfig; empty offline.
    pub uid: String,
    /// Its generation; 0 when it was not read.
    pub generation: i64,
}

/// One owned entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Name of the AWSIamConfig it comes from; one text for all of its entries.
    pub config: Arc<str>,
    /// Hash of the meaning that we wrote.
    pub meaning: MeaningHash,
}

/// What the annotation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Who wrote it.
    pub writer: Writer,
    /// Generation of the Cluster it was made from; 0 offline.
    pub cluster_generation: i64,
    /// The configs it was made from, by name.
    pub configs: BTreeMap<String, ConfigVersion>,
    /// The owned entries.
    pub owned: BTreeMap<KeyHash, Owned>,
    /// The text of a block that held nothing before our first entry, to put back after our last one;
    /// `None`: there was no such data key.
    pub blanks: BTreeMap<List, Option<String>>,
}

/// Why a ledger can't be used.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize)]
pub enum LedgerError {
    /// Written by a newer version.
    #[error(
        "the annotation {ANNOTATION} has format {0}, newer than this version of awsiam knows ({VERSION}); upgrade awsiam"
    )]
    Newer(u32),
    /// Not what we write.
    #[error("the annotation {ANNOTATION} can't be read: {0}")]
    Unreadable(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: u32,
    writer: Writer,
    generation: i64,
    configs: Vec<WireConfig>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    blank: BTreeMap<List, Option<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireConfig {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    uid: String,
    generation: i64,
    /// Key hash and meaning hash of each owned entry, one after the other.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    entries: String,
}

impl Ledger {
    /// An empty ledger of `writer`.
    #[must_use]
    pub fn new(writer: Writer, cluster_generation: i64) -> Self {
        Self {
            writer,
            cluster_generation,
            configs: BTreeMap::new(),
            owned: BTreeMap::new(),
            blanks: BTreeMap::new(),
        }
    }

    /// Reads the annotation's value.
    ///
    /// # Errors
    /// [`LedgerError::Newer`] for a format of a later version, [`LedgerError::Unreadable`] for anything
    /// that this version does not write.
    pub fn parse(text: &str) -> Result<Self, LedgerError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let unreadable = |error: serde_json::Error| LedgerError::Unreadable(error.to_string());
        let version: Version = serde_json::from_str(text).map_err(unreadable)?;
        if version.v > VERSION {
            return Err(LedgerError::Newer(version.v));
        }
        let wire: Wire = serde_json::from_str(text).map_err(unreadable)?;
        let mut ledger = Ledger::new(wire.writer, wire.generation);
        ledger.blanks = wire.blank;
        for config in wire.configs {
            let name: Arc<str> = config.name.as_str().into();
            for (key, meaning) in unpack(&config.entries)? {
                ledger.owned.insert(key, Owned { config: Arc::clone(&name), meaning });
            }
            let version = ConfigVersion { uid: config.uid, generation: config.generation };
            ledger.configs.insert(config.name, version);
        }
        Ok(ledger)
    }

    /// The annotation's value. Equal ledgers give equal text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut packed: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (key, owned) in &self.owned {
            let bytes = packed.entry(&owned.config).or_default();
            bytes.extend(key.0.to_be_bytes());
            bytes.extend(owned.meaning.0.to_be_bytes());
        }
        let names = self.configs.keys().map(String::as_str).chain(packed.keys().copied());
        let configs = names.collect::<std::collections::BTreeSet<_>>().into_iter().map(|name| {
            let version = self.configs.get(name).cloned().unwrap_or_default();
            WireConfig {
                name: name.to_owned(),
                uid: version.uid,
                generation: version.generation,
                entries: packed.get(name).map(|bytes| BASE64.encode(bytes)).unwrap_or_default(),
            }
        });
        let wire = Wire {
            v: VERSION,
            writer: self.writer.clone(),
            generation: self.cluster_generation,
            configs: configs.collect(),
            blank: self.blanks.clone(),
        };
        // Strings, numbers and maps with string keys always serialize.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Whether two ledgers differ in generations at most: not worth a write.
    #[must_use]
    pub fn same_but_for_generations(&self, other: &Ledger) -> bool {
        let uids = |l: &Ledger| l.configs.iter().map(|(n, v)| (n.clone(), v.uid.clone())).collect::<Vec<_>>();
        self.writer == other.writer
            && self.owned == other.owned
            && self.blanks == other.blanks
            && uids(self) == uids(other)
    }
}

fn unpack(entries: &str) -> Result<Vec<(KeyHash, MeaningHash)>, LedgerError> {
    let bytes = BASE64.decode(entries).map_err(|e| LedgerError::Unreadable(e.to_string()))?;
    let (records, rest) = bytes.as_chunks::<{ 2 * HASH_BYTES }>();
    if !rest.is_empty() {
        return Err(LedgerError::Unreadable("a list of owned entries is cut off".into()));
    }
    let halves = records.iter().map(|record| {
        let (mut key, mut meaning) = ([0; HASH_BYTES], [0; HASH_BYTES]);
        key.iter_mut().zip(record).for_each(|(to, from)| *to = *from);
        meaning.iter_mut().zip(record.iter().skip(HASH_BYTES)).for_each(|(to, from)| *to = *from);
        (KeyHash(u64::from_be_bytes(key)), MeaningHash(u64::from_be_bytes(meaning)))
    });
    Ok(halves.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(uid: Option<&str>) -> Writer {
        Writer {
            management: uid.map(|_| "m".into()),
            namespace: "default".into(),
            name: "c".into(),
            uid: uid.map(str::to_owned),
        }
    }

    fn ledger(entries: usize) -> Ledger {
        let mut ledger = Ledger::new(writer(Some("u")), 3);
        ledger.configs.insert("team".into(), ConfigVersion { uid: "cu".into(), generation: 7 });
        ledger.blanks.insert(List::Users, Some("''".into()));
        ledger.blanks.insert(List::Accounts, None);
        for i in 0..entries {
            let entry = Entry { arn: format!("arn:aws:iam::111122223333:role/r{i}"), ..Entry::default() };
            let owned = Owned { config: "team".into(), meaning: MeaningHash::of(List::Roles, &entry) };
            ledger.owned.insert(KeyHash::of(&entry.key(List::Roles)), owned);
        }
        ledger
    }

    #[test]
    fn what_is_rendered_is_read_back() {
        let ledger = ledger(3);
        assert_eq!(Ledger::parse(&ledger.render()), Ok(ledger));
    }

    /// As other programs compute it: 8 bytes of SHA-256 of key and of meaning, in the order of the digest.
    #[test]
    fn an_entry_is_packed_the_same_in_every_version() {
        assert!(
            ledger(1).render().contains(r#""entries":"FG8nxmrNaKtEf7nerbai4g""#),
            "{}",
            ledger(1).render()
        );
    }

    #[test]
    fn ten_thousand_entries_fit_in_the_annotations_of_an_object() {
        assert!(ledger(10_000).render().len() < 250 * 1024);
    }

    #[test]
    fn a_newer_format_is_told_apart_from_an_unreadable_one() {
        assert_eq!(Ledger::parse(r#"{"v":2,"what":"ever"}"#), Err(LedgerError::Newer(2)));
        for text in ["", "{}", "{\"v\":1}", "null", "[1]"] {
            assert!(matches!(Ledger::parse(text), Err(LedgerError::Unreadable(_))), "{text}");
        }
        let cut = ledger(2).render().replace("==", "");
        let cut = cut.replacen("\"entries\":\"", "\"entries\":\"AAAA", 1);
        assert!(matches!(Ledger::parse(&cut), Err(LedgerError::Unreadable(_))));
    }

    #[test]
    fn a_remade_cluster_and_an_offline_ledger_are_predecessors_and_others_are_not() {
        let us = writer(Some("u"));
        assert_eq!(us.relation_to(&us), Relation::Same);
        assert_eq!(writer(Some("old")).relation_to(&us), Relation::Predecessor);
        assert_eq!(writer(None).relation_to(&us), Relation::Predecessor);
        let elsewhere = Writer { management: Some("x".into()), ..us.clone() };
        assert_eq!(elsewhere.relation_to(&us), Relation::Other);
        let other_name = Writer { name: "d".into(), ..us.clone() };
        assert_eq!(other_name.relation_to(&us), Relation::Other);
    }

    #[test]
    fn generations_alone_are_no_difference() {
        let a = ledger(2);
        let mut b = a.clone();
        b.cluster_generation += 1;
        b.configs.values_mut().for_each(|v| v.generation += 1);
        assert!(a.same_but_for_generations(&b));
        b.owned.pop_first();
        assert!(!a.same_but_for_generations(&b));
    }

    #[test]
    fn equal_meanings_hash_alike_and_others_do_not() {
        let entry = |arn: &str, groups: &[&str]| Entry {
            arn: arn.into(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            ..Entry::default()
        };
        let of = |e: &Entry| MeaningHash::of(List::Roles, e);
        assert_eq!(of(&entry("arn:A", &["x"])), of(&entry("ARN:a", &["x"])));
        assert_ne!(of(&entry("arn:a", &["ab", "c"])), of(&entry("arn:a", &["a", "bc"])));
        assert_ne!(KeyHash::of(&Key::new(List::Roles, "a")), KeyHash::of(&Key::new(List::Users, "a")));
    }
}

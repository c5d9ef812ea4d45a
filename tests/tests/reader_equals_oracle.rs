//! awsiam's readers against the authenticator's and kubectl's own, over stored texts and thousands of mutations of them, before
//! and after a merge.
//!
//! `AWSIAM_ORACLE_CASES` sets the number of mutations, `AWSIAM_ORACLE_SEED` another row of them. What differs once
//! belongs into `tests/texts`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

#[path = "../../crates/core/tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::{env, fs};

use awsiam_core::mapping::{Entry, List};
use awsiam_core::reader::{self, Answers, Block, Unreadable};
use awsiam_core::yaml;
use awsiam_tests::oracle::{Answer, Manifest, Oracle};
use serde_json::Value;

use support::Target;

/// Mutations of a run unless told otherwise.
const CASES: u64 = 6_000;

/// How many are asked about at once.
const BATCH: u64 = 20_000;

#[test]
fn stored_texts_are_read_like_the_authenticator_reads_them() {
    let texts = stored_texts();
    let questions: Vec<(List, &str)> =
        texts.iter().flat_map(|text| List::ALL.map(|list| (list, text.as_str()))).collect();
    compare(&questions);
}

#[test]
fn mutated_texts_are_read_like_the_authenticator_reads_them() {
    let stored = stored_texts();
    let cases = setting("AWSIAM_ORACLE_CASES", CASES);
    let seed = setting("AWSIAM_ORACLE_SEED", 0);
    for start in (0..cases).step_by(usize::try_from(BATCH).unwrap()) {
        let mutated: Vec<(List, String)> = (start..cases.min(start + BATCH))
            .map(|case| {
                let mut dice = Dice::new(seed, case);
                let list = *dice.choose(&[List::Roles, List::Roles, List::Users, List::Accounts]);
                (list, mutation(&stored, &mut dice))
            })
            .collect();
        let questions: Vec<(List, &str)> =
            mutated.iter().map(|(list, text)| (*list, text.as_str())).collect();
        compare(&questions);
    }
}

#[test]
fn merged_texts_are_read_like_the_authenticator_reads_them() {
    let stored = stored_texts();
    let cases = setting("AWSIAM_ORACLE_CASES", CASES) / 2;
    let seed = setting("AWSIAM_ORACLE_SEED", 0);
    let mut dice = Dice::new(seed, u64::MAX);
    let mutated: Vec<String> = (0..cases).map(|case| mutation(&stored, &mut Dice::new(seed, case))).collect();
    let texts: Vec<String> = stored.into_iter().chain(mutated).collect();
    let mut changed = 0;
    for texts in texts.chunks(usize::try_from(BATCH).unwrap()) {
        let merges: Vec<Merge> = texts
            .iter()
            .flat_map(|text| List::ALL.map(|list| (list, text)))
            .filter_map(|(list, text)| {
                let byte = u8::try_from(dice.below(256)).unwrap();
                Merge::of(list, text, byte)
            })
            .collect();
        changed += merges.len();
        let after: Vec<(List, &str)> =
            merges.iter().map(|merge| (merge.list, merge.after.as_str())).collect();
        compare(&after);
        let before: Vec<(List, &str)> = merges.iter().map(|merge| (merge.list, merge.before)).collect();
        for ((merge, before), after) in merges.iter().zip(ask(&before)).zip(ask(&after)) {
            let mut left = after.entries.iter();
            let all_there = before.entries.iter().all(|entry| left.any(|other| other == entry));
            let count = after.entries.len() == before.entries.len() + merge.ours;
            assert!(all_there && count, "{merge:#?}\nbefore: {before:?}\nafter:  {after:?}");
        }
    }
    assert!(changed > texts.len() / 4, "{changed} of {} texts were changed", texts.len());
}

/// A text, and what a pass made of it.
#[derive(Debug)]
struct Merge<'t> {
    list: List,
    before: &'t str,
    after: String,
    /// How many entries of the new text the ledger says are ours.
    ours: usize,
}

impl<'t> Merge<'t> {
    /// None where nothing is written: always where the text can't be read.
    fn of(list: List, before: &'t str, wishes: u8) -> Option<Self> {
        let mut target = Target::holding(list, before);
        target.refs = support::checks::wish(list, wishes);
        target.apply();
        let after = target.text(list).to_owned();
        if after == before {
            return None;
        }
        assert!(reader::read(list, before).is_ok(), "written although it can't be read: {list}: {before:?}");
        Some(Self { list, before, after, ours: target.owned() })
    }
}

#[test]
fn manifests_are_read_like_kubectl_reads_them() {
    let stored = stored_texts();
    let cases = setting("AWSIAM_ORACLE_CASES", CASES) / 2;
    let seed = setting("AWSIAM_ORACLE_SEED", 0);
    let mutated = (0..cases).map(|case| mutation(&stored, &mut Dice::new(!seed, case)));
    let texts: Vec<String> = stored.iter().cloned().chain(mutated).collect();
    for texts in texts.chunks(usize::try_from(BATCH).unwrap()) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for (text, theirs) in texts.iter().zip(ask_manifests(&texts)) {
            assert!(same_manifest(text, &theirs), "{text:?}\nours:   {:?}\ntheirs: {theirs:?}", json(text));
        }
    }
}

#[test]
fn a_control_character_behind_the_first_document_makes_a_text_unreadable() {
    let text = format!("- a\n---\n{}\u{7}\n", "# filler\n".repeat(200));
    assert!(reader::read(List::Accounts, &text).is_err());
    // Go does not get that far, which is why the comparison leaves such texts out.
    assert_eq!(ask(&[(List::Accounts, &text)])[0].error, None);
}

fn setting(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

fn stored_texts() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("texts");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(paths.len() > 60, "stored texts are missing");
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn ask(questions: &[(List, &str)]) -> Vec<Answer> {
    Oracle::build().and_then(|oracle| oracle.ask(questions)).unwrap_or_else(|error| panic!("{error}"))
}

fn ask_manifests(texts: &[&str]) -> Vec<Manifest> {
    Oracle::build().and_then(|oracle| oracle.ask_manifests(texts)).unwrap_or_else(|error| panic!("{error}"))
}

fn json(text: &str) -> Result<Vec<Value>, yaml::YamlError> {
    yaml::documents(text)?.iter().map(yaml::to_json).collect()
}

fn same_manifest(text: &str, theirs: &Manifest) -> bool {
    let Ok(ours) = json(text) else { return theirs.error.is_some() || readers_differ(text) };
    let documents = |all: &[Value]| all.iter().filter(|document| !document.is_null()).map(rounded).collect();
    let ours: Vec<Value> = documents(&ours);
    // Of keys that are equal once they are texts (`1` and `"1"`) Go takes any: another time it may be ours.
    let same = |theirs: &Manifest| theirs.error.is_none() && ours == documents(&theirs.documents);
    same(theirs) || (0..6).any(|_| same(&ask_manifests(&[text])[0]))
}

/// serde_json may read the last digit of a float otherwise than it was written.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => format!("{:.12e}", number.as_f64().unwrap()).into(),
        Value::Array(items) => items.iter().map(rounded).collect(),
        Value::Object(pairs) => pairs.iter().map(|(key, value)| (key.clone(), rounded(value))).collect(),
        _ => value.clone(),
    }
}

fn compare(questions: &[(List, &str)]) {
    let answers = ask(questions);
    let differences: Vec<String> = questions
        .iter()
        .zip(&answers)
        .filter_map(|((list, text), answer)| {
            let what = difference(reader::read(*list, text), *list, text, answer)
                .or_else(|| difference(reader::read_yaml(*list, text), *list, text, answer))?;
            let ours = reader::read(*list, text).map(|block| (block.entries, block.problems));
            Some(format!("{what}\n{list}: {text:?}\nours:   {ours:?}\ntheirs: {answer:?}\n"))
        })
        .collect();
    let count = differences.len();
    assert_eq!(count, 0, "{}", differences.into_iter().take(10).collect::<Vec<_>>().join("\n"));
}

/// What differs, if anything does.
fn difference(
    ours: Result<Block<'_>, Unreadable>,
    list: List,
    text: &str,
    theirs: &Answer,
) -> Option<&'static str> {
    if readers_differ(text) {
        return ours.is_ok().then_some("a text on which readers differ was read");
    }
    let Ok(block) = ours else {
        let kept = list != List::Accounts && !theirs.entries.is_empty();
        return (theirs.error.is_none() || kept)
            .then_some("what the authenticator reads is unreadable to us");
    };
    if theirs.panicked || theirs.error.as_deref().is_some_and(is_refusal) {
        return Some("what the authenticator refuses was read");
    }
    let entries: Vec<&Entry> = block.entries.iter().map(|read| &read.entry).collect();
    if !entries.iter().copied().eq(&theirs.entries) {
        return Some("the entries differ");
    }
    if block.problems.is_empty() != theirs.error.is_none() {
        return Some("one of the two sees a problem");
    }
    let answers = Answers::new(list, entries);
    let same = theirs.winners.iter().all(|(arn, indexes)| arn.is_empty() || answers.of(arn) == indexes);
    (!same).then_some("other entries answer")
}

/// Characters for which awsiam does not touch a text, whatever Go makes of it.
fn readers_differ(text: &str) -> bool {
    let skipped = matches!(text.trim(), "" | "``" | "\"\"" | "''");
    text.contains(['\u{85}', '\u{2028}', '\u{2029}'])
        || text.replace("\r\n", "").contains('\r')
        || !skipped && text.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
        || text.chars().skip(1).any(|c| c == '\u{feff}')
}

/// Whether YAML itself, its conversion to JSON or the kind of the root is what Go complains about.
fn is_refusal(error: &str) -> bool {
    let whole =
        error.starts_with("error parsing config map: [yaml: ") && !error.contains("yaml: unmarshal errors");
    whole || error.contains("json: unsupported value") || error.contains("into Go value of type []config.")
}

// Mutations.

/// Small and always the same: SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
struct Dice(u64);

impl Dice {
    fn new(seed: u64, case: u64) -> Self {
        let mut dice =
            Self(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ case.wrapping_mul(0x2545_f491_4f6c_dd1d));
        dice.roll();
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn choose<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// What is put in: YAML's own characters, and pieces that change the meaning of what is around them.
const PIECES: &[&str] = &[
    "-",
    ":",
    "?",
    "[",
    "]",
    "{",
    "}",
    ",",
    "#",
    "&",
    "*",
    "!",
    "|",
    ">",
    "'",
    "\"",
    "%",
    "@",
    "`",
    "\\",
    "\t",
    "\n",
    " ",
    "  ",
    "\r\n",
    ": ",
    "- ",
    "? ",
    " #",
    "\n---\n",
    "\n...\n",
    "---",
    "...",
    "\n\n",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "!!int ",
    "!!null ",
    "!!float ",
    "!!binary ",
    "!!timestamp ",
    "! ",
    "!<x> ",
    "!e!x ",
    "|-\n",
    ">+\n  ",
    "|2\n",
    "~",
    "null",
    "yes",
    "0o17",
    "0x1F",
    "1_000",
    "1e3",
    ".5",
    ".inf",
    ".nan",
    "-0b11",
    "0b-1",
    "012",
    "2001-12-14",
    "[]",
    "{}",
    "[a, b]",
    "{a: b}",
    "[[",
    "}}",
    "{{",
    "groups:",
    "GROUPS:",
    "rolearn:",
    "roleARN: x",
    "userarn: ",
    "\u{17f}so: ",
    "uſername: ",
    "sso: {accountID: '123456789012', permissionSetName: P}",
    "username: ",
    "é",
    "\u{feff}",
    "\u{2028}",
    "\u{85}",
    "\r",
    "\u{7f}",
    "%YAML 1.1\n---\n",
    "%TAG !e! tag:e,2000:\n---\n",
    "\\x41",
    "\\u00e9",
    "\\N",
    "''",
    "\"\"",
    "``",
    "- - ",
    "\n  ",
    "\n    ",
    "\n- ",
    "😀",
];

fn mutation(stored: &[String], dice: &mut Dice) -> String {
    if dice.below(8) == 0 {
        return (0..dice.below(24)).map(|_| *dice.choose(PIECES)).collect();
    }
    let mut text: Vec<char> = dice.choose(stored).chars().collect();
    if text.len() > 1_500 {
        let from = dice.below(text.len() - 1_500);
        text = text[from..from + 1_500].to_vec();
    }
    for _ in 0..=dice.below(4) {
        mutate(&mut text, stored, dice);
    }
    text.into_iter().collect()
}

fn mutate(text: &mut Vec<char>, stored: &[String], dice: &mut Dice) {
    let at = dice.below(text.len() + 1);
    match dice.below(12) {
        0 => {
            let end = (at + 1 + dice.below(4)).min(text.len());
            text.drain(at..end);
        }
        1..=4 => drop(text.splice(at..at, dice.choose(PIECES).chars())),
        5 => {
            let end = (at + 1).min(text.len());
            text.splice(at..end, dice.choose(PIECES).chars());
        }
        6 => text.truncate(at),
        7 => {
            let other: Vec<char> = dice.choose(stored).chars().collect();
            let from = dice.below(other.len() + 1);
            text.truncate(at);
            text.extend(other.into_iter().skip(from).take(600));
        }
        _ => mutate_lines(text, dice),
    }
}

fn mutate_lines(text: &mut Vec<char>, dice: &mut Dice) {
    let mut lines: Vec<Vec<char>> =
        text.split_inclusive(|&character| character == '\n').map(<[char]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
    match dice.below(6) {
        0 => drop(lines.remove(one)),
        1 => lines.insert(one, lines[other].clone()),
        2 => lines.swap(one, other),
        3 => lines[one].insert(0, *dice.choose(&[' ', '\t', '#', '-'])),
        4 => lines[one].insert(0, ' '),
        _ => {
            let count = lines[one].len().min(1 + dice.below(2));
            lines[one].drain(..count);
        }
    }
    *text = lines.concat();
}

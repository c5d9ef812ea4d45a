//! That the runbook has a section for each reason of a condition or of a mapping's outcome, docs/conditions.md a row for each
//! other reason, and neither has one that is gone. Reasons are words in sources of several shapes, so they are read from there.

use std::collections::BTreeSet;

use crate::{read, sections};

type Words = BTreeSet<String>;

const PAGE: &str = "docs/conditions.md";
const RUNBOOK: &str = "docs/runbook.md";

/// What stands in quotation marks behind each `before`.
fn behind(text: &str, before: &str) -> Words {
    let open = format!("{before}\"");
    text.split(&open).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

/// The source without its tests, from `start` to the first line that is `end`.
fn part(name: &str, start: &str, end: &str) -> String {
    let text = read(name);
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{name} has no {start:?} any more"));
    rest.split(end).next().unwrap().split("#[cfg(test)]").next().unwrap().to_owned()
}

/// What is not there is not compared.
fn some(words: Words, what: &str) -> Words {
    assert!(!words.is_empty(), "the sources of {what} have another shape now");
    words
}

/// Reasons of conditions, and of outcomes that become one.
fn of_conditions() -> Words {
    let conditions = part("crates/api/src/conditions.rs", "pub mod reasons {", "\n}\n");
    let outcomes = part("crates/core/src/plan/outcome.rs", "pub fn name(&self)", "\n    }\n");
    let errors = part("crates/controller/src/error.rs", "fn reason(&self)", "\n    }\n");
    let outcomes = some(behind(&outcomes, "=> "), "outcomes");
    assert!(why_an_entry_changes().is_subset(&outcomes), "{:?} are no more", why_an_entry_changes());
    let outcomes = &outcomes - &why_an_entry_changes();
    let conditions = &some(behind(&conditions, "&str = "), "conditions") | &outcomes;
    &conditions | &some(behind(&errors, "=> "), "errors")
}

/// Outcomes that say why something is written: they are no conditions.
fn why_an_entry_changes() -> Words {
    let words = ["Listed", "Drift", "NoLongerListed", "RefLeft", "RemoveAll"];
    words.map(str::to_owned).into()
}

/// Reasons of rejected rows, of what is odd about entries, and of Events alone.
fn of_others() -> Words {
    let findings = part("crates/api/src/finding.rs", "pub enum Reason {", "\n}\n");
    let findings = findings.lines().filter_map(|line| line.trim().strip_suffix(','));
    let findings: Words =
        findings.filter(|word| word.chars().all(char::is_alphanumeric)).map(str::to_owned).collect();
    let lint = part("crates/core/src/lint.rs", "pub fn oddities", "\nmod tests");
    let lint = &behind(&lint, "say(") | &behind(&lint, "reason: ");
    let changes = part("crates/controller/src/events.rs", "const CHANGES:", "];");
    let changes: Words =
        changes.lines().filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect();
    let notes = part("crates/controller/src/events.rs", "fn note(note: &Note)", "\n}\n");
    let notes = &behind(&notes, "(") | &behind(&notes, "\n            ");
    let notes: Words = notes.into_iter().filter(|word| !word.contains(' ')).collect();
    let reported =
        behind(&part("crates/controller/src/report/findings.rs", "fn note_finding", "\n}\n"), "reason: ");
    let all = [
        (findings, "rejected rows"),
        (lint, "oddities"),
        (changes, "Events of changes"),
        (notes, "notes"),
        (reported, "findings of a pass"),
        (why_an_entry_changes(), "changes"),
    ];
    all.into_iter().flat_map(|(words, what)| some(words, what)).collect()
}

/// The reasons in the first cells of the page's tables.
fn on_page() -> Words {
    let page = read(PAGE);
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split(['|', '(']).next().unwrap());
    // The first word lost its quote above.
    cells
        .flat_map(|cell| cell.split('`').step_by(2))
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The reasons that the page links to sections of the runbook.
fn linked() -> Words {
    let page = read(PAGE);
    let links = page.split("[`").skip(1).filter_map(|link| {
        let (name, rest) = link.split_once("`](runbook.md#")?;
        let (anchor, _) = rest.split_once(')')?;
        assert_eq!(anchor, name.to_lowercase());
        Some(name.to_owned())
    });
    links.collect()
}

fn are_the_same(what: &str, sources: &Words, page: &Words) {
    let missing: Vec<&String> = sources.difference(page).collect();
    let stale: Vec<&String> = page.difference(sources).collect();
    assert_eq!((missing, stale), (vec![], vec![]), "{what}: reasons that it lacks; reasons that are gone");
}

#[test]
fn each_reason_of_a_condition_has_a_section_of_the_runbook_and_each_section_a_reason() {
    let (sources, sections) = (of_conditions(), sections(RUNBOOK, "Reasons"));
    are_the_same(RUNBOOK, &sources, &sections);
    are_the_same("the list in docs/conditions.md", &sections, &linked());
    assert!(sources.len() > 90, "{}", sources.len());
}

#[test]
fn each_other_reason_has_a_row_and_each_row_a_reason() {
    // Some are both: what an Event says of a mapping, a condition says too.
    let others = &of_others() - &of_conditions();
    are_the_same(PAGE, &others, &on_page());
    assert!(others.len() > 40, "{}", others.len());
}

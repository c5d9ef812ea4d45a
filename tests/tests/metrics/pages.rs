//! That docs/conditions.md has a row for each reason that the sources know, and no row for one that is gone. Reasons are words
//! in sources of five shapes, so they are read from there.

use std::collections::BTreeSet;

use crate::read;

type Words = BTreeSet<String>;

const PAGE: &str = "docs/conditions.md";

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

/// Reasons of conditions and findings, and those of Events alone, as the sources have them.
fn in_sources() -> Words {
    let conditions = part("crates/api/src/conditions.rs", "pub mod reasons {", "\n}\n");
    let outcomes = part("crates/core/src/plan/outcome.rs", "pub fn name(&self)", "\n    }\n");
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
    let notes = notes.into_iter().filter(|word| !word.contains(' ')).collect();
    let others = &behind(&part("crates/controller/src/error.rs", "fn reason(&self)", "\n    }\n"), "=> ")
        | &behind(&part("crates/controller/src/report/findings.rs", "fn note_finding", "\n}\n"), "reason: ");
    let all =
        [behind(&conditions, "&str = "), behind(&outcomes, "=> "), findings, lint, changes, notes, others];
    for (number, words) in all.iter().enumerate() {
        assert!(!words.is_empty(), "the sources of group {number} have another shape now");
    }
    all.into_iter().flatten().collect()
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

#[test]
fn each_reason_has_a_row_and_each_row_a_reason() {
    let (sources, page) = (in_sources(), on_page());
    let without_row: Vec<&String> = sources.difference(&page).collect();
    let stale: Vec<&String> = page.difference(&sources).collect();
    assert_eq!(
        (without_row, stale),
        (vec![], vec![]),
        "{PAGE}: reasons without a row; rows without a reason"
    );
    assert!(sources.len() > 120, "{}", sources.len());
}

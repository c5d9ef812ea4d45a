//! Metrics and what stands on them: alerts, dashboard, runbook and conditions page agree with each other and with what an operator
//! answers, by a real Prometheus and promtool. Where these two are not installed, the tests that need them say so and pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

mod alerts;
mod pages;
mod prometheus;
mod scraped;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The file of this repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// Its text.
fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The titles of a chapter's sections, in a page.
fn sections(page: &str, chapter: &str) -> BTreeSet<String> {
    let text = read(page);
    let (_, rest) =
        text.split_once(&format!("\n## {chapter}\n")).unwrap_or_else(|| panic!("{page} has no {chapter}"));
    let chapter = rest.split("\n## ").next().unwrap_or_default();
    chapter.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect()
}

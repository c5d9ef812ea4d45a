//! How the way to Ready looks: at a terminal one line for each condition, kept up to date, with the time; elsewhere
//! a line each time that a condition says something else.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use awsiam_api::conditions;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::paint::{Paint, harmless};

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);
/// Columns of the longest condition's name.
const NAME: usize = 19;

/// The display, on standard error.
pub(super) struct Progress {
    started: Instant,
    /// What each condition said last.
    said: BTreeMap<String, String>,
    live: Option<Lines>,
}

struct Lines {
    all: MultiProgress,
    lines: BTreeMap<String, ProgressBar>,
}

impl Progress {
    /// A display for standard error as it is.
    pub(super) fn new() -> Self {
        let is_live =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let live = is_live.then(|| Lines { all: MultiProgress::new(), lines: BTreeMap::new() });
        Self { started: Instant::now(), said: BTreeMap::new(), live }
    }

    /// Takes in the conditions as they are now.
    pub(super) fn show(&mut self, conditions: &[Condition]) {
        for condition in conditions.iter().filter(|condition| condition.type_ != conditions::READY) {
            let text = words(condition);
            if self.said.get(&condition.type_) == Some(&text) {
                continue;
            }
            self.line(condition, &text);
            self.said.insert(condition.type_.clone(), text);
        }
    }

    fn line(&mut self, condition: &Condition, text: &str) {
        let name = format!("{:<NAME$}", condition.type_);
        let Some(live) = &mut self.live else {
            eprintln!("[{:>4}s] {name} {text}", self.started.elapsed().as_secs());
            return;
        };
        let bar = live.lines.entry(condition.type_.clone()).or_insert_with(|| {
            let bar = live.all.add(ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {prefix} {elapsed:>4} {wide_msg}"));
            bar.set_prefix(name);
            bar.enable_steady_tick(TURN);
            bar
        });
        let paint = Paint::stderr();
        let dressed = match condition.status.as_str() {
            "True" => paint.green(text),
            "False" => paint.yellow(text),
            _ => text.to_owned(),
        };
        bar.set_message(dressed);
    }

    /// Something to say beside the conditions.
    pub(super) fn say(&self, text: &str) {
        match &self.live {
            // What can't be shown is no reason to stop.
            Some(live) => drop(live.all.println(text)),
            None => eprintln!("{text}"),
        }
    }

    /// Leaves the lines as they are.
    pub(super) fn finish(&self) {
        for line in self.live.iter().flat_map(|live| live.lines.values()) {
            line.set_style(style("  {prefix} {elapsed:>4} {wide_msg}"));
            line.abandon();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// What a condition says, in one line.
fn words(condition: &Condition) -> String {
    let message = harmless(&condition.message).replace('\n', " ");
    let colon = if message.is_empty() { "" } else { ": " };
    format!("{:<7} {}{colon}{message}", condition.status, condition.reason)
}

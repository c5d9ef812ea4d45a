//! A plan as the command line says it: a diff, one line for each outcome worth saying, one for the sum of
//! it; the same for programs. It decides nothing and hides nothing that the controller would report.

use std::io::{self, Write};

use awsiam_core::diff;
use awsiam_core::lint;
use awsiam_core::mapping::{Entry, Key, Mapping};
use awsiam_core::plan::{Blocked, Note, Outcome, Plan, Reason, State};
use serde::Serialize;

use crate::finding::Finding;
use crate::paint::{Paint, harmless};

/// Keys that a note names at most.
const MAX_KEYS: usize = 20;

/// A plan and what stands beside it.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The Cluster, as `NAMESPACE/NAME`.
    pub(crate) cluster: String,
    pub(crate) plan: Plan,
    /// Why the operator would not carry out the plan, as it is now.
    pub(crate) withheld: Vec<String>,
}

impl Planned {
    /// Whether `aws-auth` is not as asked for: something would be written, or cannot be.
    pub(crate) fn differs(&self) -> bool {
        self.plan.before != self.plan.after || self.plan.blocked.is_some()
    }

    /// Writes the diff, then [`Planned::print_words`].
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn print(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        let text = diff::unified(&self.plan.before, &self.plan.after);
        write!(out, "{}", paint.diff(&text))?;
        if !text.is_empty() {
            writeln!(out)?;
        }
        self.print_words(out, paint)
    }

    /// Writes everything but the diff.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn print_words(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        for outcome in self.plan.outcomes.iter().filter(|outcome| is_worth_saying(outcome)) {
            writeln!(out, "{}", line(outcome, paint))?;
        }
        for remark in self.remarks() {
            writeln!(out, "{} {}", paint.yellow("note"), harmless(&remark))?;
        }
        if let Some(blocked) = &self.plan.blocked {
            writeln!(out, "{} {}", paint.red("nothing can be written:"), harmless(&blocked_words(blocked)))?;
        }
        for why in &self.withheld {
            writeln!(out, "{} {}", paint.red("the operator would not write this:"), harmless(why))?;
        }
        writeln!(out, "{}", paint.bold(&self.sum()))
    }

    /// The last line.
    fn sum(&self) -> String {
        let summary = diff::summary(&self.plan);
        match (self.plan.before == self.plan.after, self.plan.before.data == self.plan.after.data) {
            (true, _) if self.plan.blocked.is_some() => "aws-auth stays as it is".to_owned(),
            (true, _) => format!("nothing changes: {summary}"),
            (false, true) => format!("no entry changes, only the ledger: {summary}"),
            (false, false) => summary,
        }
    }

    fn remarks(&self) -> Vec<String> {
        let unreadable = self.plan.unreadable.iter().map(|unreadable| {
            format!("{unreadable}. This data key is left as it is until it is mended; the others go on")
        });
        let notes = self.plan.notes.iter().map(note_words);
        let odd = lint::oddities(&self.plan.after.data).into_iter().map(|odd| {
            let line = if odd.line > 0 { format!(" line {}", odd.line) } else { String::new() };
            let arn = odd.key.map(|key| format!(" {}", key.arn)).unwrap_or_default();
            format!("{}{line}{arn}: {}", odd.data_key, odd.message)
        });
        unreadable.chain(notes).chain(odd).collect()
    }

    /// The same for programs.
    pub(crate) fn for_programs<'p>(&'p self, findings: &'p [Finding], skipped: &'p [String]) -> Report<'p> {
        let plan = &self.plan;
        Report {
            cluster: &self.cluster,
            differs: self.differs(),
            diff: diff::unified(&plan.before, &plan.after),
            outcomes: plan.outcomes.iter().map(Row::from).collect(),
            blocked: plan.blocked.as_ref().map(blocked_words),
            withheld: &self.withheld,
            notes: self.remarks(),
            counts: plan.counts,
            summary: self.sum(),
            findings,
            skipped,
        }
    }
}

/// A plan for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<'p> {
    cluster: &'p str,
    differs: bool,
    diff: String,
    outcomes: Vec<Row<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<String>,
    withheld: &'p [String],
    notes: Vec<String>,
    counts: awsiam_core::plan::Counts,
    summary: String,
    findings: &'p [Finding],
    skipped: &'p [String],
}

/// An outcome for programs: names in place of structures.
#[derive(Debug, Serialize)]
struct Row<'p> {
    list: &'static str,
    arn: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'p str>,
    state: State,
    reason: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Grant<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Grant<'p>>,
}

#[derive(Debug, Serialize)]
struct Grant<'p> {
    username: &'p str,
    groups: &'p [String],
}

impl<'p> From<&'p Outcome> for Row<'p> {
    fn from(outcome: &'p Outcome) -> Self {
        let before = |entry: &'p Entry| Grant { username: &entry.username, groups: &entry.groups };
        let after = |mapping: &'p Mapping| Grant { username: &mapping.username, groups: &mapping.groups };
        Self {
            list: outcome.key.list.data_key(),
            arn: arn(outcome),
            config: outcome.config.as_deref(),
            field: outcome.field.as_deref(),
            state: outcome.state,
            reason: outcome.reason.name(),
            message: &outcome.message,
            before: outcome.before.as_ref().map(before),
            after: outcome.after.as_deref().map(after),
        }
    }
}

/// The ARN as it is written, else as it is compared.
fn arn(outcome: &Outcome) -> &str {
    let written = outcome.after.as_ref().map(|mapping| &mapping.arn);
    let there = outcome.before.as_ref().map(|entry| &entry.arn);
    written.or(there).unwrap_or(&outcome.key.arn)
}

/// What stands as asked for goes without saying; a mapping that a rule or flag refuses has been said as a
/// finding with its line.
fn is_worth_saying(outcome: &Outcome) -> bool {
    let is_said = outcome.state == State::Refused && matches!(outcome.reason, Reason::Privilege(_));
    outcome.state != State::InEffect && !is_said
}

fn line(outcome: &Outcome, paint: Paint) -> String {
    let (word, dress): (&str, fn(Paint, &str) -> String) = match outcome.state {
        State::InEffect => ("as asked for", Paint::green),
        State::Added => ("added", Paint::green),
        State::Changed => ("changed", Paint::yellow),
        State::Repaired => ("repaired", Paint::yellow),
        State::Adopted => ("adopted", Paint::green),
        State::Removed => ("removed", Paint::red),
        State::AlreadyPresent => ("there", Paint::cyan),
        State::Refused => ("refused", Paint::red),
        State::Conflict => ("conflict", Paint::red),
        State::Shadowed => ("shadowed", Paint::yellow),
        State::Frozen => ("frozen", Paint::yellow),
        State::Held => ("held", Paint::yellow),
    };
    let mut line = format!("{:<11} {}", outcome.key.list, arn(outcome));
    let origin: Vec<String> = outcome
        .config
        .iter()
        .map(|config| format!("AWSIamConfig {config}"))
        .chain(outcome.field.as_deref().map(str::to_owned))
        .collect();
    if !origin.is_empty() {
        line = format!("{line} ({})", origin.join(", "));
    }
    let why = if outcome.message.is_empty() { why(&outcome.reason) } else { &outcome.message };
    if !why.is_empty() {
        line += ": ";
        line += why;
    }
    format!("{} {}", dress(paint, &format!("{word:<8}")), harmless(&line))
}

/// Why something changes, where the plan has no sentence for it.
fn why(reason: &Reason) -> &'static str {
    match reason {
        Reason::Drift => "somebody changed or removed it",
        Reason::NoLongerListed => "its AWSIamConfig no longer lists it",
        Reason::RefLeft => "the Cluster no longer refers to its AWSIamConfig",
        Reason::RemoveAll => "the Cluster asks for none of ours any more",
        _ => "",
    }
}

pub(crate) fn blocked_words(blocked: &Blocked) -> String {
    match blocked {
        Blocked::TargetClaimed { owner } => format!(
            "aws-auth is managed for {owner}. Name that Cluster (--cluster), or, if it is gone for good, annotate yours with {}=true",
            awsiam_api::names::TAKE_OVER
        ),
        Blocked::LedgerNewer { message } => message.clone(),
        Blocked::Immutable => {
            "aws-auth has immutable: true; delete it and let it be made again, or make a copy without that field".to_owned()
        }
        Blocked::BeingDeleted => {
            "aws-auth is being deleted and a finalizer holds it; it is made again when it is gone".to_owned()
        }
        Blocked::TooLarge { bytes, limit, what } => format!(
            "the {what} of aws-auth would take {bytes} bytes and the API server allows {limit}; take mappings out, or give users a role in common"
        ),
    }
}

fn note_words(note: &Note) -> String {
    match note {
        Note::LedgerTakenOver { from } => format!("the ledger was written for {from} and is taken over"),
        Note::LedgerRebuilt { revision, error } => {
            let why = error.as_ref().map_or_else(|| "the ledger was lost".to_owned(), ToString::to_string);
            let from = revision.map_or_else(
                || "what is asked for".to_owned(),
                |revision| format!("history revision {revision}"),
            );
            format!("{why}; it is rebuilt from {from}")
        }
        Note::PossiblyOrphaned { keys } => format!(
            "the ledger was lost, and these entries may have been ours: {}. Remove by hand what nobody needs",
            listed(keys)
        ),
        Note::Recreated { revision: Some(revision), left_out } if left_out.is_empty() => {
            format!("aws-auth is gone; it is made again with all entries of history revision {revision}")
        }
        Note::Recreated { revision: Some(revision), left_out } => format!(
            "aws-auth is gone; it is made again with the node entries of history revision {revision}. Not brought back: {}",
            listed(left_out)
        ),
        Note::Recreated { revision: None, .. } => "there is no aws-auth; it is made".to_owned(),
        Note::NodeEntriesLost { revision } => format!(
            "aws-auth has no node entry any more, and history revision {revision} has some: nodes that join by aws-auth can't. Put their entries back"
        ),
        Note::NotAsked { foreign, nodes } => format!(
            "backendMode does not name EKSConfigMap, and aws-auth holds {foreign} entries that are not ours, {nodes} of nodes among them; they count no more"
        ),
        Note::OlderGeneration { object, recorded, read } => format!(
            "{object} has generation {read} and was planned with at generation {recorded} before: a backup was restored. What it says now counts"
        ),
    }
}

fn listed(keys: &[Key]) -> String {
    let shown: Vec<String> = keys.iter().take(MAX_KEYS).map(ToString::to_string).collect();
    match keys.len().saturating_sub(MAX_KEYS) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

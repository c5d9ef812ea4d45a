//! One thing that is wrong with a manifest, with the place in its file: for people and for programs.
//! It carries what others have judged.

use std::io::{self, Write};

use awsiam_api::Severity;
use serde::{Serialize, Serializer};

use crate::files::Source;
use crate::paint::{Paint, harmless};
use crate::place::Place;

/// Most characters of a line that are shown: one line of JSON can hold a whole manifest.
const MAX_SHOWN: usize = 100;

/// A finding and where it stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// The file's name as given, or `stdin`.
    pub(crate) file: String,
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column in characters, from 1.
    pub(crate) column: usize,
    /// Whether it counts against the file.
    #[serde(serialize_with = "severity")]
    pub(crate) severity: Severity,
    /// One word for programs.
    pub(crate) reason: String,
    /// Such as `AWSIamConfig default/platform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// Such as `spec.mapRoles[3].roleARN`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) field: String,
    /// What is wrong and what to write instead.
    pub(crate) message: String,
    /// The line and what of it is meant.
    #[serde(skip)]
    excerpt: Excerpt,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn severity<S: Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(word(*severity))
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Refused => "refused",
        Severity::Warning => "warning",
    }
}

/// What is wrong, before it is known where that stands.
pub(crate) struct Said {
    pub(crate) severity: Severity,
    pub(crate) reason: String,
    pub(crate) object: Option<String>,
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Finding {
    /// What was said, at a place in a file.
    pub(crate) fn new(source: &Source, place: Place, said: Said) -> Self {
        Self {
            file: source.name.clone(),
            line: place.start.line,
            column: place.start.column,
            severity: said.severity,
            reason: said.reason,
            object: said.object,
            field: said.field,
            message: said.message,
            excerpt: Excerpt::of(&source.text, place),
        }
    }

    /// Whether it counts against the file.
    pub(crate) fn is_refusal(&self) -> bool {
        self.severity == Severity::Refused
    }

    /// Writes it for people: place and message, the object, the line and a caret.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(crate) fn print(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        let place = format!("{}:{}:{}", self.file, self.line, self.column);
        let word = match self.severity {
            Severity::Refused => paint.red(word(self.severity)),
            Severity::Warning => paint.yellow(word(self.severity)),
        };
        writeln!(out, "{}: {word}: {}", paint.bold(&harmless(&place)), harmless(&self.message))?;
        let what: Vec<&str> = self
            .object
            .as_deref()
            .into_iter()
            .chain([self.field.as_str()])
            .filter(|s| !s.is_empty())
            .collect();
        if !what.is_empty() {
            writeln!(out, "  in {}", harmless(&what.join(", ")))?;
        }
        self.excerpt.print(out, paint, self.line)?;
        writeln!(out)
    }
}

/// Writes findings for people, one after the other.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn print_all(findings: &[Finding], out: &mut dyn Write, paint: Paint) -> io::Result<()> {
    findings.iter().try_for_each(|finding| finding.print(out, paint))
}

/// Writes notes to standard error, one a line.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn print_notes(notes: &[String]) -> io::Result<()> {
    let mut out = io::stderr().lock();
    notes.iter().try_for_each(|note| writeln!(out, "{}", harmless(note)))
}

/// One line of a file, or the part of it that matters.
#[derive(Clone, Debug, Default)]
struct Excerpt {
    text: String,
    /// What stands in front of the caret: blanks, and tabs where the line has tabs.
    indent: String,
    /// Characters that are meant.
    width: usize,
}

impl Excerpt {
    fn of(text: &str, place: Place) -> Self {
        let line = text.lines().nth(place.start.line.saturating_sub(1)).unwrap_or_default();
        let characters: Vec<char> = line.chars().collect();
        let at = place.start.column.saturating_sub(1).min(characters.len());
        let meant = text.get(place.start.offset..place.end).unwrap_or_default();
        let meant = meant.lines().next().unwrap_or_default().trim_end().chars().count();
        let width = meant.clamp(1, characters.len().saturating_sub(at).max(1));
        let from = if characters.len() <= MAX_SHOWN { 0 } else { at.saturating_sub(MAX_SHOWN / 3) };
        let shown: String = characters.iter().skip(from).take(MAX_SHOWN).collect();
        let before = if from > 0 { "…" } else { "" };
        let behind = if characters.len() > from + MAX_SHOWN { "…" } else { "" };
        let indent = characters.iter().skip(from).take(at - from);
        let indent = indent.map(|c| if *c == '\t' { '\t' } else { ' ' });
        Self {
            text: format!("{before}{}{behind}", shown.trim_end()),
            indent: before.chars().map(|_| ' ').chain(indent).collect(),
            width: width.min(MAX_SHOWN - (at - from).min(MAX_SHOWN - 1)),
        }
    }

    fn print(&self, out: &mut dyn Write, paint: Paint, line: usize) -> io::Result<()> {
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let bar = paint.cyan("|");
        writeln!(out, "{margin} {bar}")?;
        writeln!(out, "{} {bar} {}", paint.cyan(&number), harmless(&self.text))?;
        writeln!(out, "{margin} {bar} {}{}", self.indent, paint.red(&"^".repeat(self.width)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use awsiam_core::yaml::Position;

    fn excerpt(text: &str, line: usize, column: usize, width: usize) -> (String, String) {
        let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let rest = text.split_inclusive('\n').nth(line - 1).unwrap_or_default();
        let inside: usize = rest.chars().take(column - 1).map(char::len_utf8).sum();
        let offset = before + inside;
        let excerpt =
            Excerpt::of(text, Place { start: Position { offset, line, column }, end: offset + width });
        (excerpt.text.clone(), format!("{}{}", excerpt.indent, "^".repeat(excerpt.width)))
    }

    #[test]
    fn the_caret_stands_under_what_is_meant() {
        assert_eq!(excerpt("a: b\nkey: value\n", 2, 6, 5), ("key: value".into(), "     ^^^^^".into()));
        assert_eq!(excerpt("äö: value\n", 1, 5, 5), ("äö: value".into(), "    ^^^^^".into()));
        assert_eq!(excerpt("k:\tvalue\r\nx", 1, 4, 5), ("k:\tvalue".into(), "  \t^^^^^".into()));
    }

    #[test]
    fn the_caret_stays_in_the_first_line() {
        assert_eq!(excerpt("[a,\n b]\n", 1, 1, 6), ("[a,".into(), "^^^".into()));
        assert_eq!(excerpt("x:", 1, 3, 0), ("x:".into(), "  ^".into()));
        assert_eq!(excerpt("", 1, 1, 0), (String::new(), "^".into()));
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let line = format!("{}HERE{}", "-".repeat(500), "-".repeat(500));
        let (text, caret) = excerpt(&line, 1, 501, 4);
        assert!(text.starts_with('…') && text.ends_with('…') && text.chars().count() == MAX_SHOWN + 2);
        assert_eq!(text.chars().position(|c| c == 'H'), caret.find('^'));
    }
}

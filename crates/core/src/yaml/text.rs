//! Which characters a text may hold, and the cursor that walks over them.
//! No grammar here.

use super::{Position, YamlError};

/// Refuses characters that Go's reader refuses or on which YAML readers differ.
///
/// Go's reader looks for control characters in blocks of 512 bytes and so may overlook one behind the first
/// document; here they count wherever they stand. U+FEFF inside a text makes Go skip other characters than that
/// one; U+0085, U+2028, U+2029 and a lone carriage return end a line for YAML 1.1 alone.
pub(super) fn check_characters(text: &str) -> Result<(), YamlError> {
    if is_plain(text) {
        return Ok(());
    }
    let mut characters = text.char_indices().peekable();
    while let Some((offset, character)) = characters.next() {
        let next = characters.peek().map(|&(_, next)| next);
        if let Some(message) = objection(offset, character, next) {
            return Err(YamlError { message, position: position_of(text, offset) });
        }
    }
    Ok(())
}

/// Whether nothing but printable ASCII and line feeds stands in `text`.
fn is_plain(text: &str) -> bool {
    // By blocks, as without an early end in the inner loop it is eight times as fast.
    text.as_bytes()
        .chunks(1024)
        .all(|block| block.iter().fold(true, |plain, &byte| plain & matches!(byte, b' '..=b'~' | b'\n')))
}

fn objection(offset: usize, character: char, next: Option<char>) -> Option<String> {
    let code = u32::from(character);
    match character {
        '\u{85}' | '\u{2028}' | '\u{2029}' => {
            Some(format!("the character U+{code:04X} ends a line for some readers only; replace it by a plain line break"))
        }
        '\r' if next != Some('\n') => Some(
            "a carriage return without a line feed ends a line for some readers only; remove it or use plain line breaks"
                .into(),
        ),
        '\u{feff}' if offset > 0 => {
            Some("a byte order mark (U+FEFF) stands inside the text, where readers differ on it; remove it".into())
        }
        '\t' | '\n' | '\r' | ' '..='~' | '\u{a0}'..='\u{fffd}' | '\u{10000}'.. => None,
        _ => Some(format!("the control character U+{code:04X} is not allowed in YAML; remove it")),
    }
}

/// Line and column of a byte offset.
pub(super) fn position_of(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position {
        offset,
        line: before.bytes().filter(|&byte| byte == b'\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
    }
}

/// A place in a text that moves forward only and knows its line and column.
///
/// Columns count characters, as in libyaml: indentation and the reach of a key are measured in them.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    bytes: &'t [u8],
    /// Byte offset.
    pub(super) at: usize,
    line: usize,
    /// What to take from `at` for the column: the line's start and the continuation bytes since.
    column_zero: usize,
    ascii: bool,
    /// Whether a last line without a line break is read as if it had one.
    closes_last_line: bool,
}

impl<'t> Cursor<'t> {
    /// A cursor at `start`, which ends at `end`; both must lie on character boundaries.
    pub(super) fn new(text: &'t str, start: usize, end: usize) -> Self {
        let text = text.get(..end).unwrap_or(text);
        Self {
            text,
            bytes: text.as_bytes(),
            at: start,
            line: position_of(text, start).line,
            column_zero: start,
            ascii: text.is_ascii(),
            closes_last_line: false,
        }
    }

    /// Reads a last line without a line break as if it had one.
    pub(super) fn closing_last_line(self) -> Self {
        Self { closes_last_line: true, ..self }
    }

    /// Column in characters, from 0.
    pub(super) fn column(&self) -> usize {
        self.at - self.column_zero
    }

    pub(super) fn position(&self) -> Position {
        Position { offset: self.at, line: self.line, column: self.column() + 1 }
    }

    /// The byte `ahead` bytes further on; 0 behind the end (no text holds a NUL).
    pub(super) fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    pub(super) fn rest(&self) -> &'t [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The text between two byte offsets.
    pub(super) fn slice(&self, from: usize, to: usize) -> &'t str {
        self.text.get(from..to).unwrap_or_default()
    }

    pub(super) fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn at_blank(&self) -> bool {
        is_blank(self.byte(0))
    }

    pub(super) fn at_break(&self) -> bool {
        matches!(self.byte(0), b'\n' | b'\r') || self.closes_last_line && self.at_end() && self.column() > 0
    }

    /// Whether a blank, a line break or the end stands `ahead` bytes further on.
    pub(super) fn blank_or_end(&self, ahead: usize) -> bool {
        is_blank_or_end(self.byte(ahead))
    }

    /// Whether a line that starts here is a document marker of three times `mark`.
    pub(super) fn at_marker(&self, mark: u8) -> bool {
        self.byte(0) == mark
            && self.column() == 0
            && self.byte(1) == mark
            && self.byte(2) == mark
            && self.blank_or_end(3)
    }

    /// Moves over `count` bytes of one line.
    pub(super) fn advance(&mut self, count: usize) {
        if !self.ascii {
            let run = self.bytes.get(self.at..self.at + count).unwrap_or_default();
            self.column_zero += run.iter().filter(|&&byte| byte & 0xc0 == 0x80).count();
        }
        self.at += count;
    }

    /// Moves over a line break, if one stands here.
    pub(super) fn advance_break(&mut self) {
        match (self.byte(0), self.byte(1)) {
            (b'\r', b'\n') => self.at += 2,
            (b'\r' | b'\n', _) => self.at += 1,
            _ if self.at_break() => {}
            _ => return,
        }
        self.line += 1;
        self.column_zero = self.at;
    }

    /// Moves over spaces and tabs.
    pub(super) fn advance_blanks(&mut self) {
        self.advance(run(self.rest(), is_blank));
    }

    /// Moves to the end of the line if a comment stands here.
    pub(super) fn advance_comment(&mut self) {
        if self.byte(0) == b'#' {
            self.advance(run(self.rest(), |byte| !matches!(byte, b'\n' | b'\r')));
        }
    }

    /// The start of the next line for tokens that close the text: libyaml acts as if it ended with a break.
    pub(super) fn close_line(&mut self) {
        if self.column() != 0 {
            self.line += 1;
            self.column_zero = self.at;
        }
    }
}

/// How many bytes from the start of `bytes` are of a kind.
pub(super) fn run(bytes: &[u8], of_kind: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !of_kind(byte)).unwrap_or(bytes.len())
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

pub(super) fn is_blank_or_end(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0)
}

/// What names of anchors, handles and directives are made of.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

//! Scans scalars: plain, quoted, and block texts. Their meaning (number, boolean, null) is `resolve`'s affair.

use std::borrow::Cow;

use super::scanner::Scanner;
use super::text::{is_blank_or_end, run};
use super::token::Kind;
use super::{Position, ScalarStyle, YamlError};

/// A scalar's text while it is put together: a slice of the source as long as nothing differs from it.
struct Builder<'t> {
    text: Cow<'t, str>,
}

impl<'t> Builder<'t> {
    fn push(&mut self, piece: &'t str) {
        if self.text.is_empty() {
            self.text = Cow::Borrowed(piece);
        } else {
            self.text.to_mut().push_str(piece);
        }
    }

    fn push_char(&mut self, character: char) {
        self.text.to_mut().push(character);
    }

    /// One line break becomes a space; of several the first vanishes.
    fn fold(&mut self, breaks: usize) {
        if breaks == 1 {
            self.push_char(' ');
        } else {
            self.push_breaks(breaks.saturating_sub(1));
        }
    }

    fn push_breaks(&mut self, count: usize) {
        for _ in 0..count {
            self.push_char('\n');
        }
    }
}

impl<'t> Scanner<'t> {
    fn push_scalar(&mut self, text: Cow<'t, str>, style: ScalarStyle, start: Position, end: usize) {
        self.push_until(Kind::Scalar(text, style), start, end);
    }

    // Plain.

    pub(super) fn fetch_plain(&mut self) -> Result<(), YamlError> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.position();
        let mut content = Builder { text: Cow::Borrowed("") };
        let mut end = self.cursor.at;
        // Line breaks since `end`.
        let mut breaks = 0;
        loop {
            if self.cursor.at_marker(b'-') || self.cursor.at_marker(b'.') || self.cursor.byte(0) == b'#' {
                break;
            }
            let length = self.plain_run();
            if length > 0 {
                self.append_plain(&mut content, start.offset, end, breaks, length);
                breaks = 0;
                end = self.cursor.at;
            }
            if !self.cursor.blank_or_end(0) || self.cursor.at_end() {
                break;
            }
            breaks = self.skip_plain_gap(breaks)?;
            if self.flow_level == 0 && self.column_below_indent() {
                break;
            }
        }
        if breaks > 0 {
            self.simple_key_allowed = true;
        }
        self.push_scalar(content.text, ScalarStyle::Plain, start, end);
        Ok(())
    }

    /// Takes the next `length` bytes as content, joined to what ends at `end`.
    fn append_plain(
        &mut self,
        content: &mut Builder<'t>,
        start: usize,
        end: usize,
        breaks: usize,
        length: usize,
    ) {
        let from = self.cursor.at;
        self.cursor.advance(length);
        match (&mut content.text, breaks) {
            // Still the very text of the source, inner blanks included.
            (Cow::Borrowed(text), 0) => *text = self.cursor.slice(start, from + length),
            (Cow::Owned(text), 0) => text.push_str(self.cursor.slice(end, from + length)),
            _ => {
                content.fold(breaks);
                content.push(self.cursor.slice(from, from + length));
            }
        }
    }

    /// How many bytes from here on are content without a blank.
    fn plain_run(&self) -> usize {
        let rest = self.cursor.rest();
        let flow = self.flow_level > 0;
        let ends = |(at, &byte): (usize, &u8)| match byte {
            b':' => rest.get(at + 1).is_none_or(|&next| is_blank_or_end(next)),
            b',' | b'?' | b'[' | b']' | b'{' | b'}' => flow,
            _ => is_blank_or_end(byte),
        };
        rest.iter().enumerate().position(ends).unwrap_or(rest.len())
    }

    /// Skips blanks and line breaks between two pieces of a plain scalar; returns the breaks since its last piece.
    fn skip_plain_gap(&mut self, mut breaks: usize) -> Result<usize, YamlError> {
        loop {
            if self.cursor.at_blank() {
                if breaks > 0 && self.cursor.byte(0) == b'\t' && self.column_below_indent() {
                    return Err(
                        self.error("a tab stands where only spaces may indent", self.cursor.position())
                    );
                }
                self.cursor.advance(1);
            } else if self.cursor.at_break() {
                self.cursor.advance_break();
                breaks += 1;
            } else {
                return Ok(breaks);
            }
        }
    }

    fn column_below_indent(&self) -> bool {
        isize::try_from(self.cursor.column()).is_ok_and(|column| column < self.indent + 1)
    }

    // Quoted.

    pub(super) fn fetch_quoted(&mut self, quote: u8) -> Result<(), YamlError> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.position();
        self.cursor.advance(1);
        let text = self.quoted_text(quote, start)?;
        self.cursor.advance(1);
        let style = if quote == b'"' { ScalarStyle::DoubleQuoted } else { ScalarStyle::SingleQuoted };
        self.push_scalar(text, style, start, self.cursor.at);
        Ok(())
    }

    /// What stands between the quotes; the cursor stops at the closing one.
    fn quoted_text(&mut self, quote: u8, start: Position) -> Result<Cow<'t, str>, YamlError> {
        let mut content = Builder { text: Cow::Borrowed("") };
        loop {
            if self.cursor.at_marker(b'-') || self.cursor.at_marker(b'.') {
                return Err(self.error("this quote is not closed before the document ends", start));
            }
            if self.cursor.at_end() {
                return Err(self.error("this quote is never closed", start));
            }
            let escaped_break = self.quoted_line(quote, start, &mut content)?;
            if self.cursor.byte(0) == quote {
                return Ok(content.text);
            }
            self.quoted_gap(escaped_break, &mut content);
        }
    }

    /// Content up to a blank, a break, the closing quote, or an escaped line break (then true).
    fn quoted_line(
        &mut self,
        quote: u8,
        start: Position,
        content: &mut Builder<'t>,
    ) -> Result<bool, YamlError> {
        loop {
            let length =
                run(self.cursor.rest(), |byte| byte != quote && byte != b'\\' && !is_blank_or_end(byte));
            if length > 0 {
                let from = self.cursor.at;
                self.cursor.advance(length);
                content.push(self.cursor.slice(from, from + length));
            }
            match (self.cursor.byte(0), self.cursor.byte(1)) {
                (b'\'', b'\'') if quote == b'\'' => {
                    content.push_char('\'');
                    self.cursor.advance(2);
                }
                (b'\\', _) if quote == b'\'' => {
                    content.push_char('\\');
                    self.cursor.advance(1);
                }
                (b'\\', b'\n' | b'\r') => {
                    self.cursor.advance(1);
                    self.cursor.advance_break();
                    return Ok(true);
                }
                (b'\\', _) => content.push_char(self.escape(start)?),
                _ => return Ok(false),
            }
        }
    }

    /// Blanks and breaks inside quotes. Blanks of one line stay; those around a break go.
    fn quoted_gap(&mut self, escaped_break: bool, content: &mut Builder<'t>) {
        let from = self.cursor.at;
        self.cursor.advance_blanks();
        if !escaped_break && !self.cursor.at_break() {
            content.push(self.cursor.slice(from, self.cursor.at));
            return;
        }
        let mut breaks = 0;
        while self.cursor.at_break() {
            self.cursor.advance_break();
            self.cursor.advance_blanks();
            breaks += 1;
        }
        if escaped_break { content.push_breaks(breaks) } else { content.fold(breaks) }
    }

    /// The character that a `\` and what follows stand for.
    fn escape(&mut self, start: Position) -> Result<char, YamlError> {
        let (character, digits) = match self.cursor.byte(1) {
            b'0' => ('\0', 0),
            b'a' => ('\x07', 0),
            b'b' => ('\x08', 0),
            b't' | b'\t' => ('\t', 0),
            b'n' => ('\n', 0),
            b'v' => ('\x0b', 0),
            b'f' => ('\x0c', 0),
            b'r' => ('\r', 0),
            b'e' => ('\x1b', 0),
            byte @ (b' ' | b'"' | b'\'' | b'\\') => (char::from(byte), 0),
            b'N' => ('\u{85}', 0),
            b'_' => ('\u{a0}', 0),
            b'L' => ('\u{2028}', 0),
            b'P' => ('\u{2029}', 0),
            b'x' => ('\0', 2),
            b'u' => ('\0', 4),
            b'U' => ('\0', 8),
            _ => {
                return Err(
                    self.error("this quoted text holds an unknown escape: write \\\\ for a backslash", start)
                );
            }
        };
        self.cursor.advance(2);
        if digits == 0 { Ok(character) } else { self.numeric_escape(digits, start) }
    }

    fn numeric_escape(&mut self, digits: usize, start: Position) -> Result<char, YamlError> {
        let code = self.cursor.slice(self.cursor.at, self.cursor.at + digits);
        let all_digits = code.len() == digits && code.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u32::from_str_radix(code, 16).ok().filter(|_| all_digits);
        let Some(character) = value.and_then(char::from_u32) else {
            return Err(self.error("this quoted text holds an escape that names no character", start));
        };
        self.cursor.advance(digits);
        Ok(character)
    }

    // Block texts.

    pub(super) fn fetch_block_scalar(&mut self, literal: bool) -> Result<(), YamlError> {
        self.remove_key()?;
        self.simple_key_allowed = true;
        let start = self.cursor.position();
        self.cursor.advance(1);
        let (chomping, increment) = self.block_header(start)?;
        let around = usize::try_from(self.indent).unwrap_or(0);
        let indent = increment.map(|increment| around + increment);
        let (text, end) = self.block_text(literal, chomping, indent)?;
        let style = if literal { ScalarStyle::Literal } else { ScalarStyle::Folded };
        self.push_scalar(text, style, start, end);
        Ok(())
    }

    /// Chomping and indentation indicators, and the rest of their line.
    fn block_header(&mut self, start: Position) -> Result<(Chomping, Option<usize>), YamlError> {
        let mut chomping = self.chomping();
        let increment = match self.cursor.byte(0) {
            b'0' => return Err(self.error("the indentation of a block text may not be 0", start)),
            digit @ b'1'..=b'9' => {
                self.cursor.advance(1);
                Some(usize::from(digit - b'0'))
            }
            _ => None,
        };
        if chomping.is_none() && increment.is_some() {
            chomping = self.chomping();
        }
        self.cursor.advance_blanks();
        self.cursor.advance_comment();
        if !self.cursor.at_break() && !self.cursor.at_end() {
            return Err(self.error("after '|' or '>' the text must begin on the next line", start));
        }
        self.cursor.advance_break();
        Ok((chomping.unwrap_or(Chomping::Clip), increment))
    }

    fn chomping(&mut self) -> Option<Chomping> {
        let chomping = match self.cursor.byte(0) {
            b'+' => Chomping::Keep,
            b'-' => Chomping::Strip,
            _ => return None,
        };
        self.cursor.advance(1);
        Some(chomping)
    }

    fn block_text(
        &mut self,
        literal: bool,
        chomping: Chomping,
        indent: Option<usize>,
    ) -> Result<(Cow<'t, str>, usize), YamlError> {
        let mut content = Builder { text: Cow::Borrowed("") };
        let mut end = self.cursor.at;
        let (indent, mut empty_lines) = self.block_gap(indent)?;
        // Whether a break ended the last line (the text's end may instead), and whether that line began with a blank.
        let (mut broken, mut was_indented) = (false, false);
        while self.cursor.column() == indent && !self.cursor.at_end() {
            let is_indented = self.cursor.at_blank();
            if !literal && broken && !was_indented && !is_indented {
                content.fold(empty_lines + 1);
            } else {
                content.push_breaks(empty_lines + usize::from(broken));
            }
            was_indented = is_indented;
            let from = self.cursor.at;
            self.cursor.advance(run(self.cursor.rest(), |byte| !matches!(byte, b'\n' | b'\r')));
            content.push(self.cursor.slice(from, self.cursor.at));
            broken = self.cursor.at_break();
            self.cursor.advance_break();
            end = self.cursor.at;
            (_, empty_lines) = self.block_gap(Some(indent))?;
        }
        if broken && chomping != Chomping::Strip {
            content.push_breaks(1);
        }
        if chomping == Chomping::Keep {
            content.push_breaks(empty_lines);
            end = self.cursor.at - self.cursor.column();
        }
        Ok((content.text, end))
    }

    /// Skips indentation and empty lines; finds out the indentation from them if it is not given.
    fn block_gap(&mut self, indent: Option<usize>) -> Result<(usize, usize), YamlError> {
        let (mut deepest, mut empty_lines) = (0, 0);
        loop {
            while indent.is_none_or(|indent| self.cursor.column() < indent) && self.cursor.byte(0) == b' ' {
                self.cursor.advance(1);
            }
            deepest = deepest.max(self.cursor.column());
            let inside = indent.is_none_or(|indent| self.cursor.column() < indent);
            if inside && self.cursor.byte(0) == b'\t' {
                return Err(self.error("a tab indents this block text; use spaces", self.cursor.position()));
            }
            if !self.cursor.at_break() {
                break;
            }
            self.cursor.advance_break();
            empty_lines += 1;
        }
        let least = usize::try_from(self.indent + 1).unwrap_or(0).max(1);
        Ok((indent.unwrap_or(deepest.max(least)), empty_lines))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chomping {
    /// One final break stays.
    Clip,
    /// No final break stays.
    Strip,
    /// All of them stay.
    Keep,
}

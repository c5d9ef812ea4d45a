//! Cuts a text into tokens as libyaml's port in Go does, simple keys and indentation included.
//! It knows no nodes; `composer` reads the tokens.
//!
//! A key is only known as one when its `:` comes; its token is then put in front of what was already scanned.
//! So tokens wait in a queue while its first one may still turn out to be a key.

use std::collections::VecDeque;

use super::text::Cursor;
use super::token::{Kind, Token};
use super::{Position, YamlError};

/// Indentation of "outside every block collection".
const NO_INDENT: isize = -1;

/// A key without `?` spans at most this many characters.
const LONGEST_SIMPLE_KEY: usize = 1024;

/// Deeper nesting is refused; Go's limit of 10,000 would need more stack than a thread has.
pub(super) const DEEPEST: usize = 500;

/// A place at which a key without `?` may start.
#[derive(Clone, Copy, Debug, Default)]
struct SimpleKey {
    possible: bool,
    /// In block context at the current indentation nothing but a key may stand.
    required: bool,
    /// The number of its first token, counted from the text's start.
    token: usize,
    /// Whether that token waits in the queue until it is known to be a key or not. Go forgets to let an empty
    /// `[]` or `{}` wait, so that `[]: x` is an empty list there, followed by something else.
    waits: bool,
    at: Position,
}

/// The scanner's state; the tokens' grammar lies in `scalars` and `names`.
#[derive(Debug)]
pub(super) struct Scanner<'t> {
    pub(super) cursor: Cursor<'t>,
    queue: VecDeque<Token<'t>>,
    /// Whether the queue's first token is settled.
    ready: bool,
    /// Tokens handed out so far.
    taken: usize,
    /// Where the last of them stands.
    last: (Position, usize),
    pub(super) indent: isize,
    indents: Vec<isize>,
    pub(super) flow_level: usize,
    /// One for the block context and each open bracket; token numbers never fall from first to last.
    simple_keys: Vec<SimpleKey>,
    pub(super) simple_key_allowed: bool,
    ended: bool,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(cursor: Cursor<'t>) -> Self {
        Self {
            cursor,
            queue: VecDeque::with_capacity(16),
            ready: false,
            taken: 0,
            last: Default::default(),
            indent: NO_INDENT,
            indents: Vec::new(),
            flow_level: 0,
            simple_keys: vec![SimpleKey::default()],
            simple_key_allowed: true,
            ended: false,
        }
    }

    /// The next token, which stays.
    pub(super) fn peek(&mut self) -> Result<&Token<'t>, YamlError> {
        while !self.ready {
            if self.ended || !self.needs_more()? {
                self.ready = true;
            } else {
                self.fetch()?;
            }
        }
        // An ended scanner keeps its last token, so the queue is never empty here.
        self.queue.front().ok_or_else(|| self.error("the text ended too early", self.cursor.position()))
    }

    /// Takes the token that [`Self::peek`] has shown.
    pub(super) fn take(&mut self) -> Option<Token<'t>> {
        if self.ended && self.queue.len() == 1 {
            return self.queue.front().cloned();
        }
        self.taken += 1;
        self.ready = false;
        let token = self.queue.pop_front();
        if let Some(token) = &token {
            self.last = (token.start, token.end);
        }
        token
    }

    /// The place behind the token that was taken last.
    pub(super) fn behind_last(&self) -> Position {
        let (start, end) = self.last;
        let text = self.cursor.slice(start.offset, end);
        let line_start = text.rfind('\n').map_or(0, |at| at + 1);
        let column = text.get(line_start..).unwrap_or_default().chars().count();
        Position {
            offset: end,
            line: start.line + text.matches('\n').count(),
            column: if line_start == 0 { start.column + column } else { column + 1 },
        }
    }

    #[allow(clippy::unused_self)]
    pub(super) fn error(&self, message: &str, position: Position) -> YamlError {
        YamlError { message: message.into(), position }
    }

    /// Whether the first token in the queue may still get a key token in front of it.
    fn needs_more(&mut self) -> Result<bool, YamlError> {
        if self.queue.is_empty() {
            return Ok(true);
        }
        let taken = self.taken;
        let from = self.simple_keys.partition_point(|key| key.token < taken);
        // An open bracket's own record starts with the number of the bracket, which may itself be a key.
        for level in from..self.simple_keys.len() {
            match self.simple_keys.get(level) {
                Some(key) if key.token == taken && key.waits => return self.key_still_valid(level),
                Some(key) if key.token == taken => {}
                _ => break,
            }
        }
        Ok(false)
    }

    fn fetch(&mut self) -> Result<(), YamlError> {
        self.skip_to_token();
        self.unroll_indent(self.column());
        if self.cursor.at_end() {
            return self.fetch_end();
        }
        let byte = self.cursor.byte(0);
        if self.cursor.column() == 0 {
            match byte {
                b'%' => return self.fetch_directive(),
                b'-' if self.cursor.at_marker(b'-') => return self.fetch_marker(Kind::DocumentStart),
                b'.' if self.cursor.at_marker(b'.') => return self.fetch_marker(Kind::DocumentEnd),
                _ => {}
            }
        }
        let flow = self.flow_level > 0;
        match byte {
            b'[' => self.open_flow(Kind::FlowSequenceStart),
            b'{' => self.open_flow(Kind::FlowMappingStart),
            b']' => self.close_flow(Kind::FlowSequenceEnd),
            b'}' => self.close_flow(Kind::FlowMappingEnd),
            b',' => self.fetch_flow_entry(),
            b'-' if self.cursor.blank_or_end(1) => self.fetch_block_entry(),
            b'?' if flow || self.cursor.blank_or_end(1) => self.fetch_key(),
            b':' if flow || self.cursor.blank_or_end(1) => self.fetch_value(),
            b'*' | b'&' => self.fetch_named(byte),
            b'!' => self.fetch_tag(),
            b'|' | b'>' if !flow => self.fetch_block_scalar(byte == b'|'),
            b'\'' | b'"' => self.fetch_quoted(byte),
            b'#' | b'|' | b'>' | b'%' | b'@' | b'`' | b'?' | b':' if flow || !matches!(byte, b'?' | b':') => {
                Err(self.error(cannot_start(byte), self.cursor.position()))
            }
            _ if self.cursor.at_blank() => {
                Err(self.error("a tab stands where only spaces may indent", self.cursor.position()))
            }
            _ => self.fetch_plain(),
        }
    }

    /// Skips blanks, comments and line breaks. Tabs count as blanks only where no key may start.
    fn skip_to_token(&mut self) {
        loop {
            let tabs = self.flow_level > 0 || !self.simple_key_allowed;
            let blanks = super::text::run(self.cursor.rest(), |byte| byte == b' ' || tabs && byte == b'\t');
            self.cursor.advance(blanks);
            self.cursor.advance_comment();
            if !self.cursor.at_break() {
                return;
            }
            self.cursor.advance_break();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    /// Appends a token that ends at the cursor.
    pub(super) fn push(&mut self, kind: Kind<'t>, start: Position) {
        self.push_until(kind, start, self.cursor.at);
    }

    pub(super) fn push_until(&mut self, kind: Kind<'t>, start: Position, end: usize) {
        self.queue.push_back(Token { kind, start, end });
    }

    fn column(&self) -> isize {
        signed(self.cursor.column())
    }

    /// Moves over an indicator of `length` bytes and makes a token of it.
    fn push_indicator(&mut self, kind: Kind<'t>, length: usize) {
        let start = self.cursor.position();
        self.cursor.advance(length);
        self.push(kind, start);
    }

    // Simple keys.

    fn key_still_valid(&mut self, level: usize) -> Result<bool, YamlError> {
        let now = self.cursor.position();
        let Some(key) = self.simple_keys.get_mut(level) else { return Ok(false) };
        if !key.possible {
            return Ok(false);
        }
        // Both lie on one line, where columns differ by the characters between them.
        if key.at.line == now.line && key.at.column + LONGEST_SIMPLE_KEY >= now.column {
            return Ok(true);
        }
        key.possible = false;
        let key = *key;
        if key.required { Err(self.key_without_colon(key)) } else { Ok(false) }
    }

    /// Remembers that a key may start here.
    pub(super) fn save_key(&mut self) -> Result<(), YamlError> {
        if !self.simple_key_allowed {
            return Ok(());
        }
        let key = SimpleKey {
            possible: true,
            required: self.flow_level == 0 && self.indent == self.column(),
            token: self.taken + self.queue.len(),
            waits: true,
            at: self.cursor.position(),
        };
        self.remove_key()?;
        if let Some(last) = self.simple_keys.last_mut() {
            *last = key;
        }
        Ok(())
    }

    /// No key can start any more where one was thought possible.
    pub(super) fn remove_key(&mut self) -> Result<(), YamlError> {
        let Some(key) = self.simple_keys.last_mut() else { return Ok(()) };
        let was = *key;
        key.possible = false;
        key.waits = false;
        if was.possible && was.required { Err(self.key_without_colon(was)) } else { Ok(()) }
    }

    fn key_without_colon(&self, key: SimpleKey) -> YamlError {
        self.error("a key was expected here, but no ':' with a blank follows it on its line", key.at)
    }

    // Indentation.

    /// Opens a block collection if this column lies deeper; its token goes in front of token `number`, or last.
    fn roll_indent(
        &mut self,
        column: isize,
        number: Option<usize>,
        kind: Kind<'t>,
        at: Position,
    ) -> Result<(), YamlError> {
        if self.flow_level > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        self.check_depth()?;
        self.insert(number, Token { kind, start: at, end: at.offset });
        Ok(())
    }

    /// Puts a token in front of the one of that number; last if there is none or it has been taken.
    fn insert(&mut self, number: Option<usize>, token: Token<'t>) {
        let index = number.and_then(|number| number.checked_sub(self.taken));
        self.queue.insert(index.unwrap_or(usize::MAX).min(self.queue.len()), token);
    }

    fn unroll_indent(&mut self, column: isize) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            let position = self.cursor.position();
            self.push(Kind::BlockEnd, position);
            self.indent = self.indents.pop().unwrap_or(NO_INDENT);
        }
    }

    fn check_depth(&self) -> Result<(), YamlError> {
        if self.indents.len() + self.flow_level > DEEPEST {
            return Err(self.error("the nesting is too deep", self.cursor.position()));
        }
        Ok(())
    }

    // Tokens.

    fn fetch_end(&mut self) -> Result<(), YamlError> {
        self.cursor.close_line();
        self.unroll_indent(NO_INDENT);
        self.remove_key()?;
        self.simple_key_allowed = false;
        let position = self.cursor.position();
        self.push(Kind::StreamEnd, position);
        self.ended = true;
        Ok(())
    }

    fn fetch_directive(&mut self) -> Result<(), YamlError> {
        self.unroll_indent(NO_INDENT);
        self.remove_key()?;
        self.simple_key_allowed = false;
        self.scan_directive()
    }

    fn fetch_marker(&mut self, kind: Kind<'t>) -> Result<(), YamlError> {
        self.unroll_indent(NO_INDENT);
        self.remove_key()?;
        self.simple_key_allowed = false;
        self.push_indicator(kind, 3);
        Ok(())
    }

    fn open_flow(&mut self, kind: Kind<'t>) -> Result<(), YamlError> {
        self.save_key()?;
        let record = SimpleKey { token: self.taken + self.queue.len(), ..SimpleKey::default() };
        self.simple_keys.push(record);
        self.flow_level += 1;
        self.check_depth()?;
        self.simple_key_allowed = true;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn close_flow(&mut self, kind: Kind<'t>) -> Result<(), YamlError> {
        self.remove_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            let closed = self.simple_keys.pop().unwrap_or_default();
            if let Some(around) = self.simple_keys.last_mut() {
                around.waits &= around.token != closed.token;
            }
        }
        self.simple_key_allowed = false;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn fetch_flow_entry(&mut self) -> Result<(), YamlError> {
        self.remove_key()?;
        self.simple_key_allowed = true;
        self.push_indicator(Kind::FlowEntry, 1);
        Ok(())
    }

    /// In flow context the `-` is let through: the composer refuses it there.
    fn fetch_block_entry(&mut self) -> Result<(), YamlError> {
        let position = self.cursor.position();
        if self.flow_level == 0 && !self.simple_key_allowed {
            return Err(self.error("a list item may not start here", position));
        }
        self.roll_indent(self.column(), None, Kind::BlockSequenceStart, position)?;
        self.remove_key()?;
        self.simple_key_allowed = true;
        self.push_indicator(Kind::BlockEntry, 1);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), YamlError> {
        let position = self.cursor.position();
        if self.flow_level == 0 && !self.simple_key_allowed {
            return Err(self.error("a key may not start here", position));
        }
        self.roll_indent(self.column(), None, Kind::BlockMappingStart, position)?;
        self.remove_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.push_indicator(Kind::Key, 1);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), YamlError> {
        let level = self.simple_keys.len().saturating_sub(1);
        if self.key_still_valid(level)? {
            self.turn_into_key(level)?;
            self.simple_key_allowed = false;
        } else {
            let position = self.cursor.position();
            if self.flow_level == 0 && !self.simple_key_allowed {
                return Err(self.error(
                    "a ':' may not stand here: quote the text if it belongs to it, or mind the indentation",
                    position,
                ));
            }
            self.roll_indent(self.column(), None, Kind::BlockMappingStart, position)?;
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.push_indicator(Kind::Value, 1);
        Ok(())
    }

    /// What was scanned from the remembered place on is a key.
    fn turn_into_key(&mut self, level: usize) -> Result<(), YamlError> {
        let Some(key) = self.simple_keys.get_mut(level) else { return Ok(()) };
        key.possible = false;
        key.waits = false;
        let SimpleKey { token, at, .. } = *key;
        self.insert(Some(token), Token { kind: Kind::Key, start: at, end: at.offset });
        self.roll_indent(signed(at.column - 1), Some(token), Kind::BlockMappingStart, at)
    }
}

fn signed(column: usize) -> isize {
    isize::try_from(column).unwrap_or(isize::MAX)
}

fn cannot_start(byte: u8) -> &'static str {
    match byte {
        b'@' => "a value may not start with '@': quote it",
        b'`' => "a value may not start with '`': quote it",
        b'%' => "a value may not start with '%': quote it",
        b'|' | b'>' => "a block text may not start inside brackets: quote the value",
        _ => "this character may not stand here: quote the value",
    }
}

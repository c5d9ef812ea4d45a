//! Scans anchors, aliases, tags and directives.

use std::borrow::Cow;

use super::Position;
use super::YamlError;
use super::scanner::Scanner;
use super::text::{is_name, run};
use super::token::{Kind, TagText};

impl<'t> Scanner<'t> {
    /// `&name` or `*name`
    pub(super) fn fetch_named(&mut self, indicator: u8) -> Result<(), YamlError> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.position();
        self.cursor.advance(1);
        let name = self.name();
        let ended = self.cursor.blank_or_end(0)
            || matches!(self.cursor.byte(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ended {
            return Err(self.error(
                "after '&' or '*' a name of letters, digits, '_' and '-' must stand: quote the value if it is text",
                start,
            ));
        }
        let kind = if indicator == b'*' { Kind::Alias(name) } else { Kind::Anchor(name) };
        self.push(kind, start);
        Ok(())
    }

    fn name(&mut self) -> &'t str {
        let from = self.cursor.at;
        self.cursor.advance(run(self.cursor.rest(), is_name));
        self.cursor.slice(from, self.cursor.at)
    }

    /// `!<uri>`, `!suffix`, `!handle!suffix` or `!`
    pub(super) fn fetch_tag(&mut self) -> Result<(), YamlError> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.position();
        let tag =
            if self.cursor.byte(1) == b'<' { self.verbatim_tag(start)? } else { self.short_tag(start)? };
        if !self.cursor.blank_or_end(0) {
            return Err(self.error("a tag must be followed by a blank: quote the value if it is text", start));
        }
        self.push(Kind::Tag(Box::new(tag)), start);
        Ok(())
    }

    fn verbatim_tag(&mut self, start: Position) -> Result<TagText<'t>, YamlError> {
        self.cursor.advance(2);
        let suffix = self.tag_uri("", start)?;
        if suffix.is_empty() {
            return Err(self.error("a tag names nothing between '<' and '>'", start));
        }
        if self.cursor.byte(0) != b'>' {
            return Err(self.error("a tag lacks its closing '>'", start));
        }
        self.cursor.advance(1);
        Ok(TagText { handle: "", suffix })
    }

    fn short_tag(&mut self, start: Position) -> Result<TagText<'t>, YamlError> {
        let handle = self.tag_handle();
        if handle.len() > 1 && handle.ends_with('!') {
            let suffix = self.tag_uri("", start)?;
            if suffix.is_empty() {
                return Err(self.error("a tag names nothing after its handle", start));
            }
            return Ok(TagText { handle, suffix });
        }
        // Not a handle after all but the beginning of the suffix.
        let suffix = self.tag_uri(handle.get(1..).unwrap_or_default(), start)?;
        if suffix.is_empty() {
            return Ok(TagText { handle: "", suffix: Cow::Borrowed("!") });
        }
        Ok(TagText { handle: "!", suffix })
    }

    /// `!`, `!name` or `!name!`
    fn tag_handle(&mut self) -> &'t str {
        let from = self.cursor.at;
        self.cursor.advance(1);
        self.name();
        if self.cursor.byte(0) == b'!' {
            self.cursor.advance(1);
        }
        self.cursor.slice(from, self.cursor.at)
    }

    /// `head` and the characters of a tag that follow, %-escapes resolved.
    fn tag_uri(&mut self, head: &'t str, start: Position) -> Result<Cow<'t, str>, YamlError> {
        let mut uri = head.as_bytes().to_vec();
        loop {
            match self.cursor.byte(0) {
                b'%' => self.uri_escape(&mut uri, start)?,
                byte if is_name(byte) || is_uri_mark(byte) => {
                    uri.push(byte);
                    self.cursor.advance(1);
                }
                // An escape may spell what is no UTF-8; such a tag means nothing to anybody.
                _ => return Ok(Cow::Owned(String::from_utf8_lossy(&uri).into_owned())),
            }
        }
    }

    /// The `%xx` escapes of one character.
    fn uri_escape(&mut self, uri: &mut Vec<u8>, start: Position) -> Result<(), YamlError> {
        let wrong = || YamlError { message: "a tag holds a wrong %-escape".into(), position: start };
        let mut left = None;
        while left != Some(0) {
            let digits = self.cursor.slice(self.cursor.at + 1, self.cursor.at + 3);
            let is_escape =
                self.cursor.byte(0) == b'%' && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let octet = u8::from_str_radix(digits, 16).ok().filter(|_| is_escape).ok_or_else(wrong)?;
            left = Some(match left {
                None => width(octet).ok_or_else(wrong)? - 1,
                Some(_) if octet & 0xc0 != 0x80 => return Err(wrong()),
                Some(left) => left - 1,
            });
            uri.push(octet);
            self.cursor.advance(3);
        }
        Ok(())
    }

    /// `%YAML 1.1` or `%TAG !handle! prefix`
    pub(super) fn scan_directive(&mut self) -> Result<(), YamlError> {
        let start = self.cursor.position();
        self.cursor.advance(1);
        let name = self.name();
        if !self.cursor.blank_or_end(0) {
            return Err(
                self.error("a line that starts with '%' is a directive, and this one is unknown", start)
            );
        }
        let kind = match name {
            "YAML" => self.version(start)?,
            "TAG" => self.tag_directive(start)?,
            _ => {
                return Err(
                    self.error("a line that starts with '%' is a directive, and this one is unknown", start)
                );
            }
        };
        self.push(kind, start);
        self.cursor.advance_blanks();
        self.cursor.advance_comment();
        if !self.cursor.at_break() && !self.cursor.at_end() {
            return Err(self.error("a directive must end with its line", start));
        }
        self.cursor.advance_break();
        Ok(())
    }

    fn version(&mut self, start: Position) -> Result<Kind<'t>, YamlError> {
        self.cursor.advance_blanks();
        let major = self.version_number(start)?;
        if self.cursor.byte(0) != b'.' {
            return Err(self.error("%YAML must be followed by a version such as 1.1", start));
        }
        self.cursor.advance(1);
        Ok(Kind::Version(major, self.version_number(start)?))
    }

    fn version_number(&mut self, start: Position) -> Result<u8, YamlError> {
        let from = self.cursor.at;
        self.cursor.advance(run(self.cursor.rest(), |byte| byte.is_ascii_digit()));
        let digits = self.cursor.slice(from, self.cursor.at);
        let number = digits.parse().ok().filter(|_| digits.len() <= 2);
        number.ok_or_else(|| self.error("%YAML must be followed by a version such as 1.1", start))
    }

    fn tag_directive(&mut self, start: Position) -> Result<Kind<'t>, YamlError> {
        let wrong = || YamlError {
            message: "%TAG must be followed by a handle such as !e! and a prefix".into(),
            position: start,
        };
        self.cursor.advance_blanks();
        if self.cursor.byte(0) != b'!' {
            return Err(wrong());
        }
        let handle = self.tag_handle();
        if handle != "!" && !handle.ends_with('!') || !self.cursor.at_blank() {
            return Err(wrong());
        }
        self.cursor.advance_blanks();
        let suffix = self.tag_uri("", start)?;
        if suffix.is_empty() || !self.cursor.blank_or_end(0) {
            return Err(wrong());
        }
        Ok(Kind::TagDirective(Box::new(TagText { handle, suffix })))
    }
}

fn is_uri_mark(byte: u8) -> bool {
    matches!(
        byte,
        b';' | b'/'
            | b'?'
            | b':'
            | b'@'
            | b'&'
            | b'='
            | b'+'
            | b'$'
            | b','
            | b'.'
            | b'!'
            | b'~'
            | b'*'
            | b'\''
            | b'('
            | b')'
            | b'['
            | b']'
    )
}

/// How many bytes the character has that starts with `octet`.
fn width(octet: u8) -> Option<usize> {
    match octet {
        0..=0x7f => Some(1),
        0xc0..=0xdf => Some(2),
        0xe0..=0xef => Some(3),
        0xf0..=0xf7 => Some(4),
        _ => None,
    }
}

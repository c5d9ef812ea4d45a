//! The shape in which EKS, eksctl and awsiam write `mapRoles` and `mapUsers`, read line by line, many times faster than
//! YAML as a whole. Whatever is not exactly this shape is left to the general reader, and what is read here is what
//! that one would read.
//!
//! ```yaml
//! # a comment on a line of its own
//! - groups:
//!   - system:bootstrappers
//!   - system:nodes
//!   rolearn: arn:aws:iam::111122223333:role/nodes
//!   username: system:node:{{EC2PrivateDNSName}}
//! ```

use super::{Block, ReadEntry, Tree, rules};
use crate::mapping::{Entry, List};
use crate::yaml::Position;

/// Reads a list of that shape.
pub(super) fn read(list: List, text: &str) -> Option<Block<'_>> {
    let arn = match list {
        List::Roles => "rolearn",
        List::Users => "userarn",
        List::Accounts => return None,
    };
    let mut reader = Reader { list, arn, entries: Vec::new(), items: Vec::new(), open: None };
    let mut at = Position { offset: 0, line: 1, column: 1 };
    while let Some(rest) = text.get(at.offset..) {
        let length = rest.bytes().position(|byte| !matches!(byte, b' '..=b'~')).unwrap_or(rest.len());
        if rest.as_bytes().get(length).is_some_and(|byte| *byte != b'\n') {
            return None;
        }
        reader.line(rest.get(..length)?, at)?;
        at = Position { offset: at.offset + length + 1, line: at.line + 1, column: 1 };
    }
    reader.close()?;
    if reader.entries.is_empty() {
        return None;
    }
    Some(Block { entries: reader.entries, problems: Vec::new(), tree: Tree::Lines(reader.items) })
}

struct Reader {
    list: List,
    /// The key of the ARN.
    arn: &'static str,
    entries: Vec<ReadEntry>,
    items: Vec<(usize, usize)>,
    open: Option<Open>,
}

/// An item whose end has not been seen yet.
struct Open {
    entry: Entry,
    start: Position,
    /// Offset behind its last line that is no comment, without the line break.
    end: usize,
    has: Has,
    /// How far the dashes of its groups are indented; while these may go on.
    groups: Option<usize>,
}

/// The keys that an item has had.
#[derive(Default)]
struct Has {
    arn: bool,
    username: bool,
    groups: bool,
}

impl Reader {
    fn line(&mut self, line: &str, at: Position) -> Option<()> {
        let content = line.trim_start_matches(' ');
        if content.is_empty() || content.starts_with('#') {
            return Some(());
        }
        let indent = line.len() - content.len();
        let end = at.offset + line.len();
        if indent == 0 {
            self.close()?;
            let pair = content.strip_prefix("- ")?;
            let start = Position { offset: at.offset + 2, column: 3, ..at };
            self.open = Some(Open { entry: Entry::default(), start, end, has: Has::default(), groups: None });
            return self.pair(pair);
        }
        let open = self.open.as_mut()?;
        open.end = end;
        match (content.strip_prefix("- "), open.groups) {
            (Some(name), Some(dashes)) if is_beside(open, dashes, indent) => {
                open.groups = Some(indent);
                open.entry.groups.push(text(name)?.to_owned());
                Some(())
            }
            (None, _) if indent == 2 => self.pair(content),
            _ => None,
        }
    }

    /// A key and what it stands for.
    fn pair(&mut self, pair: &str) -> Option<()> {
        let arn = self.arn;
        let open = self.open.as_mut()?;
        // A list that says nothing is a null.
        if open.groups.is_some() && open.entry.groups.is_empty() {
            return None;
        }
        open.groups = None;
        let (key, value) = pair.split_at_checked(pair.bytes().position(|byte| byte == b':')?)?;
        let value = value.strip_prefix(':')?;
        let (seen, field) = match key {
            "groups" if value.is_empty() => {
                open.groups = Some(0);
                return first(&mut open.has.groups);
            }
            "username" => (&mut open.has.username, &mut open.entry.username),
            key if key == arn => (&mut open.has.arn, &mut open.entry.arn),
            _ => return None,
        };
        text(value.strip_prefix(' ')?)?.clone_into(field);
        first(seen)
    }

    /// Ends the item that is open.
    fn close(&mut self) -> Option<()> {
        let Some(open) = self.open.take() else { return Some(()) };
        let is_whole = open.groups.is_none() || !open.entry.groups.is_empty();
        if !is_whole || rules::check(self.list, &open.entry).is_err() {
            return None;
        }
        self.items.push((open.start.offset - 2, open.end));
        self.entries.push(ReadEntry { entry: open.entry, item: self.entries.len(), position: open.start });
        Some(())
    }
}

/// Whether a dash stands where those of its list do: as far in as the key of the list or two further, all alike.
fn is_beside(open: &Open, dashes: usize, indent: usize) -> bool {
    if open.entry.groups.is_empty() { matches!(indent, 2 | 4) } else { indent == dashes }
}

/// None the second time.
fn first(seen: &mut bool) -> Option<()> {
    (!std::mem::replace(seen, true)).then_some(())
}

/// Words that stand for something other than themselves, in lower case.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Which bytes a bare text may have behind its first one. A table, because most bytes of a list are looked up here.
#[expect(clippy::indexing_slicing, reason = "what is out of bounds in a constant does not compile")]
const HARMLESS: [bool; 256] = {
    let mut harmless = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        harmless[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'.' | b'/' | b'@' | b':' | b'+' | b'=' | b',' | b'{' | b'}' | b'-');
        byte += 1;
    }
    harmless
};

/// A text that stands for itself: bare and beginning with a letter, or in double quotes without escapes.
fn text(value: &str) -> Option<&str> {
    if let Some(quoted) = value.strip_prefix('"') {
        let inside = quoted.strip_suffix('"')?;
        return (!inside.contains(['"', '\\'])).then_some(inside);
    }
    let is_bare = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.bytes().all(|byte| HARMLESS.get(usize::from(byte)) == Some(&true))
        && !value.ends_with(':')
        && !(value.len() <= 5 && WORDS.contains(&value.to_ascii_lowercase().as_str()));
    is_bare.then_some(value)
}

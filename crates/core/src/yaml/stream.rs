//! Which part of a text is read as a document.

use super::composer::Composer;
use super::text::{Cursor, check_characters, position_of};
use super::{Document, YamlError};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads the first document as Go's `yaml.Unmarshal` does. What follows it does not count, as far as Go's reader does
/// not have to look at it in order to see that the document is over.
///
/// # Errors
/// When Go's reader refuses the document. Besides, wherever they stand in `text`: control characters (Go may
/// overlook them behind the document), and characters on which readers differ, which are U+0085, U+2028, U+2029,
/// a lone carriage return, and a byte order mark elsewhere than in front; nesting deeper than 500 (Go: 10,000).
pub fn first_document(text: &str) -> Result<Document<'_>, YamlError> {
    check_characters(text)?;
    Composer::new(part(text, 0, text.len())).document(text.len())
}

/// Reads all documents of a manifest file. The text is split at lines that start with `---`, as kubectl does
/// (`YAMLReader` of `k8s.io/apimachinery/pkg/util/yaml`), and of each part the first document is read.
/// Offsets and lines are those of `text`.
///
/// # Errors
/// When one of them is refused, see [`first_document`], or something but a comment stands behind `---`.
pub fn documents(text: &str) -> Result<Vec<Document<'_>>, YamlError> {
    check_characters(text)?;
    let mut documents = Vec::new();
    let (mut start, mut offset) = (0, 0);
    for line in text.split_inclusive('\n') {
        if let Some(behind) = line.strip_prefix("---") {
            let behind = behind.trim();
            if !behind.is_empty() && !behind.starts_with('#') {
                let message = "nothing but a comment may follow '---' on its line".into();
                return Err(YamlError { message, position: position_of(text, offset) });
            }
            // In front of everything the marker belongs to the part behind it.
            if offset > start {
                documents.push(Composer::new(part(text, start, offset)).document(offset)?);
                start = offset + line.len();
            }
        }
        offset += line.len();
    }
    if text.len() > start || documents.is_empty() {
        // kubectl hands on whole lines.
        let last = part(text, start, text.len()).closing_last_line();
        documents.push(Composer::new(last).document(text.len())?);
    }
    Ok(documents)
}

/// What lies between two offsets, without the byte order mark in front of it.
fn part(text: &str, start: usize, end: usize) -> Cursor<'_> {
    let has_mark = text.get(start..end).is_some_and(|part| part.starts_with(BYTE_ORDER_MARK));
    let start = if has_mark { start + BYTE_ORDER_MARK.len_utf8() } else { start };
    Cursor::new(text, start, end)
}

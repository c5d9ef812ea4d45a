//! What the scanner makes of a text: a flat row of tokens.

use std::borrow::Cow;

use super::{Position, ScalarStyle};

/// One token and its place.
#[derive(Clone, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind<'t>,
    pub(super) start: Position,
    /// Byte offset behind it.
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'t> {
    StreamEnd,
    /// `%YAML major.minor`
    Version(u8, u8),
    /// `%TAG handle prefix`
    TagDirective(Box<TagText<'t>>),
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    /// The indentation of a block collection ends.
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    /// `-`
    BlockEntry,
    /// `,`
    FlowEntry,
    /// `?`, or nothing in front of a key on one line
    Key,
    /// `:`
    Value,
    Alias(&'t str),
    Anchor(&'t str),
    Tag(Box<TagText<'t>>),
    Scalar(Cow<'t, str>, ScalarStyle),
}

/// A tag's handle and the rest of it; for `!<uri>` and `!` the handle is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TagText<'t> {
    pub(super) handle: &'t str,
    pub(super) suffix: Cow<'t, str>,
}

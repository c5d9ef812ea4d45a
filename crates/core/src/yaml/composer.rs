//! Puts tokens together to the tree of one document, by libyaml's grammar.
//! It resolves aliases and tag handles, and leaves open what scalars mean. Lists and maps are read in `collections`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::scanner::{DEEPEST, Scanner};
use super::text::Cursor;
use super::token::{Kind, TagText, Token};
use super::{Document, Node, NodeId, Position, Value, YamlError};

/// What `!!` stands for unless a directive says otherwise.
const STANDARD_PREFIX: &str = "tag:yaml.org,2002:";

/// In which surroundings a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Block,
    /// A value of a block mapping, whose list items may stand as far left as its key.
    BlockValue,
    Flow,
}

/// What may stand in front of a node.
#[derive(Debug)]
struct Properties<'t> {
    anchor: Option<&'t str>,
    tag: Option<Cow<'t, str>>,
    start: Position,
    end: usize,
}

/// Reads the document that starts at the scanner's place.
#[derive(Debug)]
pub(super) struct Composer<'t> {
    pub(super) scanner: Scanner<'t>,
    nodes: Vec<Node<'t>>,
    anchors: HashMap<&'t str, NodeId>,
    handles: Vec<TagText<'t>>,
    depth: usize,
}

impl<'t> Composer<'t> {
    pub(super) fn new(cursor: Cursor<'t>) -> Self {
        let nodes = Vec::with_capacity(cursor.rest().len() / 24);
        Self { scanner: Scanner::new(cursor), nodes, anchors: HashMap::new(), handles: Vec::new(), depth: 0 }
    }

    /// The first document up to the token behind it. `text_end` is where the text ends.
    pub(super) fn document(mut self, text_end: usize) -> Result<Document<'t>, YamlError> {
        let mut start = self.scanner.cursor.at;
        if self.peek()? == &Kind::StreamEnd {
            return Ok(Document::new(self.nodes, None, start, text_end));
        }
        let explicit =
            matches!(self.peek()?, Kind::Version(..) | Kind::TagDirective(_) | Kind::DocumentStart);
        self.directives()?;
        let root = if explicit {
            let marker = self.scanner.peek()?;
            if marker.kind != Kind::DocumentStart {
                let position = marker.start;
                return Err(error("directives must be followed by a line '---'", position));
            }
            start = marker.end;
            self.scanner.take();
            self.explicit_root()?
        } else {
            self.node(Context::Block)?
        };
        let end = self.document_end(root, text_end)?;
        Ok(Document::new(self.nodes, Some(root), start, end))
    }

    fn explicit_root(&mut self) -> Result<NodeId, YamlError> {
        match self.peek()? {
            Kind::Version(..)
            | Kind::TagDirective(_)
            | Kind::DocumentStart
            | Kind::DocumentEnd
            | Kind::StreamEnd => Ok(self.missing()),
            _ => self.node(Context::Block),
        }
    }

    /// Where the document ends: the line of the token behind it, if that line is not the document's own.
    fn document_end(&mut self, root: NodeId, text_end: usize) -> Result<usize, YamlError> {
        let next = self.scanner.peek()?;
        if next.kind == Kind::StreamEnd {
            return Ok(text_end);
        }
        let position = next.start;
        let root_end = self.nodes.get(root.0).map_or(0, |root| root.end);
        let before = self.scanner.cursor.slice(0, position.offset);
        let line = before.rfind('\n').map_or(0, |at| at + 1);
        Ok(if line >= root_end { line } else { position.offset.max(root_end) })
    }

    fn directives(&mut self) -> Result<(), YamlError> {
        let mut versions = 0;
        loop {
            let token = self.scanner.peek()?;
            let position = token.start;
            match &token.kind {
                Kind::Version(1, 1) if versions == 0 => versions += 1,
                Kind::Version(1, 1) => return Err(error("%YAML stands here twice", position)),
                Kind::Version(..) => {
                    return Err(error("only %YAML 1.1 is understood: remove the line", position));
                }
                Kind::TagDirective(tag) => {
                    let tag = tag.as_ref().clone();
                    if self.handles.iter().any(|known| known.handle == tag.handle) {
                        return Err(error("this %TAG handle is declared twice", position));
                    }
                    self.handles.push(tag);
                }
                _ => return Ok(()),
            }
            self.scanner.take();
        }
    }

    // Nodes.

    pub(super) fn peek(&mut self) -> Result<&Kind<'t>, YamlError> {
        self.scanner.peek().map(|token| &token.kind)
    }

    fn add(&mut self, node: Node<'t>) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// A null that nobody wrote.
    pub(super) fn empty(&mut self, start: Position) -> NodeId {
        self.add(Node::empty(start))
    }

    /// A null where nothing stands behind the token that was taken last.
    pub(super) fn missing(&mut self) -> NodeId {
        let start = self.scanner.behind_last();
        self.empty(start)
    }

    pub(super) fn node(&mut self, context: Context) -> Result<NodeId, YamlError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(error("the nesting is too deep", self.scanner.peek()?.start));
        }
        let id = if matches!(self.peek()?, Kind::Alias(_)) { self.alias() } else { self.content(context) };
        self.depth -= 1;
        id
    }

    fn alias(&mut self) -> Result<NodeId, YamlError> {
        let Some(Token { kind: Kind::Alias(name), start, end }) = self.scanner.take() else {
            return Ok(self.missing());
        };
        let Some(&target) = self.anchors.get(name) else {
            return Err(error(&format!("no anchor '&{name}' stands before this '*{name}'"), start));
        };
        let value = Value::Alias { name: Cow::Borrowed(name), target };
        Ok(self.add(Node { value, start, end, anchor: None, tag: None }))
    }

    fn content(&mut self, context: Context) -> Result<NodeId, YamlError> {
        let has_properties = matches!(self.peek()?, Kind::Anchor(_) | Kind::Tag(_));
        let properties = if has_properties { Some(self.properties()?) } else { None };
        let token = self.scanner.peek()?;
        let here = token.start;
        let block = context != Context::Flow;
        let collection: fn(&mut Self, NodeId) -> Result<(), YamlError> = match &token.kind {
            Kind::Scalar(..) => return Ok(self.scalar(properties)),
            Kind::BlockEntry if context == Context::BlockValue => Self::indentless_sequence,
            Kind::BlockSequenceStart if block => Self::block_sequence,
            Kind::BlockMappingStart if block => Self::block_mapping,
            Kind::FlowSequenceStart => Self::flow_sequence,
            Kind::FlowMappingStart => Self::flow_mapping,
            _ if has_properties => return Ok(self.placeholder(here, properties)),
            kind => return Err(error(unexpected(kind), here)),
        };
        let id = self.placeholder(here, properties);
        collection(self, id)?;
        Ok(id)
    }

    /// Anchor and tag, in either order.
    fn properties(&mut self) -> Result<Properties<'t>, YamlError> {
        let start = self.scanner.peek()?.start;
        let mut properties = Properties { anchor: None, tag: None, start, end: start.offset };
        loop {
            match self.peek()? {
                Kind::Anchor(_) if properties.anchor.is_none() => {}
                Kind::Tag(_) if properties.tag.is_none() => {}
                _ => return Ok(properties),
            }
            let Some(token) = self.scanner.take() else { return Ok(properties) };
            properties.end = token.end;
            match token.kind {
                Kind::Anchor(name) => properties.anchor = Some(name),
                Kind::Tag(tag) => properties.tag = Some(self.resolve_tag(*tag, token.start)?),
                _ => {}
            }
        }
    }

    fn resolve_tag(&self, tag: TagText<'t>, position: Position) -> Result<Cow<'t, str>, YamlError> {
        let declared = self.handles.iter().find(|known| known.handle == tag.handle);
        let prefix = match (declared, tag.handle) {
            (_, "") => return Ok(tag.suffix),
            (Some(known), _) => known.suffix.as_ref(),
            (None, "!") => "!",
            (None, "!!") => STANDARD_PREFIX,
            _ => return Err(error(&format!("no %TAG line declares the handle '{}'", tag.handle), position)),
        };
        Ok(Cow::Owned(format!("{prefix}{}", tag.suffix)))
    }

    fn scalar(&mut self, properties: Option<Properties<'t>>) -> NodeId {
        let Some(Token { kind: Kind::Scalar(text, style), start, end }) = self.scanner.take() else {
            return self.missing();
        };
        let node = Node { value: Value::Scalar { text, style }, start, end, anchor: None, tag: None };
        self.add_with(node, properties)
    }

    /// An empty scalar; for a collection it holds the place, so that its anchor is known inside it.
    fn placeholder(&mut self, here: Position, properties: Option<Properties<'t>>) -> NodeId {
        let end = properties.as_ref().map_or(here.offset, |properties| properties.end);
        self.add_with(Node { end, ..Node::empty(here) }, properties)
    }

    fn add_with(&mut self, mut node: Node<'t>, properties: Option<Properties<'t>>) -> NodeId {
        let Some(Properties { anchor, tag, start, .. }) = properties else { return self.add(node) };
        node.start = start;
        node.anchor = anchor.map(Cow::Borrowed);
        node.tag = tag;
        let id = self.add(node);
        if let Some(name) = anchor {
            self.anchors.insert(name, id);
        }
        id
    }

    pub(super) fn end_of(&self, id: NodeId) -> usize {
        self.nodes.get(id.0).map_or(0, |node| node.end)
    }

    pub(super) fn fill(&mut self, id: NodeId, value: Value<'t>, end: usize) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.value = value;
            node.end = end.max(node.end);
        }
    }
}

pub(super) fn error(message: &str, position: Position) -> YamlError {
    YamlError { message: message.into(), position }
}

fn unexpected(kind: &Kind<'_>) -> &'static str {
    match kind {
        Kind::BlockEntry => "a list item may not start here",
        Kind::FlowEntry => "a ',' may not stand here: quote the text if it belongs to it",
        Kind::FlowSequenceEnd => "a ']' closes nothing here",
        Kind::FlowMappingEnd => "a '}' closes nothing here",
        Kind::StreamEnd => "the text ends where a value was expected",
        _ => "a value was expected here",
    }
}

//! Puts tokens together to the tree of one document, by libyaml's grammar.
//! It resolves aliases and tag handles, and leaves open what scalars mean.

use std::borrow::Cow;
use std::collections::HashMap;

use super::scanner::{DEEPEST, Scanner};
use super::text::Cursor;
use super::token::{Kind, TagText, Token};
use super::{Document, Item, Node, NodeId, Position, Value, YamlError};

/// What `!!` stands for unless a directive says otherwise.
const STANDARD_PREFIX: &str = "tag:yaml.org,2002:";

/// In which surroundings a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
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
    scanner: Scanner<'t>,
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
            | Kind::StreamEnd => self.empty_here(),
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
        Ok(if line >= root_end { line } else { position.offset })
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

    fn peek(&mut self) -> Result<&Kind<'t>, YamlError> {
        self.scanner.peek().map(|token| &token.kind)
    }

    fn add(&mut self, node: Node<'t>) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// A null that nobody wrote.
    fn empty(&mut self, start: Position) -> NodeId {
        self.add(Node::empty(start))
    }

    fn empty_here(&mut self) -> Result<NodeId, YamlError> {
        let start = self.scanner.peek()?.start;
        Ok(self.empty(start))
    }

    fn node(&mut self, context: Context) -> Result<NodeId, YamlError> {
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
            return self.empty_here();
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
            return self.empty(Position::default());
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

    fn end_of(&self, id: NodeId) -> usize {
        self.nodes.get(id.0).map_or(0, |node| node.end)
    }

    fn fill(&mut self, id: NodeId, value: Value<'t>, end: usize) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.value = value;
            node.end = end.max(node.end);
        }
    }

    // Block collections.

    fn block_sequence(&mut self, id: NodeId) -> Result<(), YamlError> {
        self.scanner.take();
        let items = self.block_items(Context::Block)?;
        let token = self.scanner.peek()?;
        if token.kind != Kind::BlockEnd {
            let position = token.start;
            return Err(error("a list item '- ' was expected here: mind the indentation", position));
        }
        self.scanner.take();
        self.fill_block_sequence(id, items);
        Ok(())
    }

    /// Items as far left as the key that they belong to.
    fn indentless_sequence(&mut self, id: NodeId) -> Result<(), YamlError> {
        let items = self.block_items(Context::BlockValue)?;
        self.fill_block_sequence(id, items);
        Ok(())
    }

    fn fill_block_sequence(&mut self, id: NodeId, items: Vec<Item>) {
        let end = items.last().map_or(0, |item| self.end_of(item.node).max(item.dash + 1));
        self.fill(id, Value::Sequence { items, flow: false }, end);
    }

    fn block_items(&mut self, context: Context) -> Result<Vec<Item>, YamlError> {
        let mut items = Vec::new();
        loop {
            let token = self.scanner.peek()?;
            if token.kind != Kind::BlockEntry {
                return Ok(items);
            }
            let (dash, behind) = (token.start, token.end);
            self.scanner.take();
            let nothing = match self.peek()? {
                Kind::BlockEntry | Kind::BlockEnd => true,
                Kind::Key | Kind::Value => context == Context::BlockValue,
                _ => false,
            };
            let node = if nothing { self.empty(after(dash, behind)) } else { self.node(Context::Block)? };
            items.push(Item { node, dash: dash.offset });
        }
    }

    fn block_mapping(&mut self, id: NodeId) -> Result<(), YamlError> {
        self.scanner.take();
        let mut pairs = Vec::new();
        loop {
            let token = self.scanner.peek()?;
            let here = token.start;
            match &token.kind {
                Kind::Key => {
                    let mark = after(here, token.end);
                    self.scanner.take();
                    let key = self.block_part(mark)?;
                    pairs.push((key, self.block_value()?));
                }
                Kind::BlockEnd => break,
                _ => return Err(error("a key with ':' was expected here: mind the indentation", here)),
            }
        }
        self.scanner.take();
        let end = pairs.last().map_or(0, |&(key, value)| self.end_of(value).max(self.end_of(key)));
        self.fill(id, Value::Mapping { pairs, flow: false }, end);
        Ok(())
    }

    fn block_value(&mut self) -> Result<NodeId, YamlError> {
        let token = self.scanner.peek()?;
        if token.kind != Kind::Value {
            return self.empty_here();
        }
        let mark = after(token.start, token.end);
        self.scanner.take();
        self.block_part(mark)
    }

    fn block_part(&mut self, mark: Position) -> Result<NodeId, YamlError> {
        match self.peek()? {
            Kind::Key | Kind::Value | Kind::BlockEnd => Ok(self.empty(mark)),
            _ => self.node(Context::BlockValue),
        }
    }

    // Flow collections.

    fn flow_sequence(&mut self, id: NodeId) -> Result<(), YamlError> {
        self.scanner.take();
        let mut items = Vec::new();
        while self.flow_goes_on(&Kind::FlowSequenceEnd, items.is_empty(), "a ',' or ']' was expected here")? {
            let token = self.scanner.peek()?;
            let here = token.start;
            let node = if token.kind == Kind::Key { self.single_pair()? } else { self.node(Context::Flow)? };
            items.push(Item { node, dash: here.offset });
        }
        let end = self.take_end();
        self.fill(id, Value::Sequence { items, flow: true }, end);
        Ok(())
    }

    fn flow_mapping(&mut self, id: NodeId) -> Result<(), YamlError> {
        self.scanner.take();
        let mut pairs = Vec::new();
        while self.flow_goes_on(&Kind::FlowMappingEnd, pairs.is_empty(), "a ',' or '}' was expected here")? {
            pairs.push(self.flow_pair()?);
        }
        let end = self.take_end();
        self.fill(id, Value::Mapping { pairs, flow: true }, end);
        Ok(())
    }

    /// Whether another item follows; takes the comma in front of it.
    fn flow_goes_on(&mut self, end: &Kind<'t>, first: bool, message: &str) -> Result<bool, YamlError> {
        let token = self.scanner.peek()?;
        if token.kind == *end {
            return Ok(false);
        }
        if first {
            return Ok(true);
        }
        if token.kind != Kind::FlowEntry {
            return Err(error(message, token.start));
        }
        self.scanner.take();
        Ok(self.peek()? != end)
    }

    fn take_end(&mut self) -> usize {
        self.scanner.take().map_or(0, |token| token.end)
    }

    /// `key: value` as an item of a flow list: a mapping of one pair.
    fn single_pair(&mut self) -> Result<NodeId, YamlError> {
        let start = self.scanner.peek()?.start;
        let id = self.empty(start);
        self.scanner.take();
        let key = match self.peek()? {
            // Go swallows the token that stands in the place of the missing key.
            Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd => {
                let Some(token) = self.scanner.take() else { return Ok(id) };
                self.empty(after(token.start, token.end))
            }
            _ => self.node(Context::Flow)?,
        };
        let value = self.flow_value(&Kind::FlowSequenceEnd)?;
        let end = self.end_of(value).max(self.end_of(key));
        self.fill(id, Value::Mapping { pairs: vec![(key, value)], flow: true }, end);
        Ok(id)
    }

    fn flow_pair(&mut self) -> Result<(NodeId, NodeId), YamlError> {
        if self.peek()? != &Kind::Key {
            let key = self.node(Context::Flow)?;
            return Ok((key, self.empty_here()?));
        }
        self.scanner.take();
        let key = match self.peek()? {
            Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd => self.empty_here()?,
            _ => self.node(Context::Flow)?,
        };
        Ok((key, self.flow_value(&Kind::FlowMappingEnd)?))
    }

    fn flow_value(&mut self, end: &Kind<'t>) -> Result<NodeId, YamlError> {
        if self.peek()? != &Kind::Value {
            return self.empty_here();
        }
        self.scanner.take();
        let next = self.peek()?;
        if next == &Kind::FlowEntry || next == end { self.empty_here() } else { self.node(Context::Flow) }
    }
}

fn error(message: &str, position: Position) -> YamlError {
    YamlError { message: message.into(), position }
}

/// The place behind an indicator.
fn after(start: Position, end: usize) -> Position {
    Position { offset: end, column: start.column + (end - start.offset), ..start }
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

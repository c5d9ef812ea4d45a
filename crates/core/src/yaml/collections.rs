//! Lists and maps: which tokens may follow which in the collections of block and flow style.
//! The nodes in them are `composer`'s.

use super::composer::{Composer, Context, error};
use super::token::Kind;
use super::{Item, NodeId, Value, YamlError};

impl<'t> Composer<'t> {
    // Block collections.

    pub(super) fn block_sequence(&mut self, id: NodeId) -> Result<(), YamlError> {
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
    pub(super) fn indentless_sequence(&mut self, id: NodeId) -> Result<(), YamlError> {
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
            let dash = token.start.offset;
            self.scanner.take();
            let nothing = match self.peek()? {
                Kind::BlockEntry | Kind::BlockEnd => true,
                Kind::Key | Kind::Value => context == Context::BlockValue,
                _ => false,
            };
            let node = if nothing { self.missing() } else { self.node(Context::Block)? };
            items.push(Item { node, dash });
        }
    }

    pub(super) fn block_mapping(&mut self, id: NodeId) -> Result<(), YamlError> {
        self.scanner.take();
        let mut pairs = Vec::new();
        loop {
            let token = self.scanner.peek()?;
            let here = token.start;
            match &token.kind {
                Kind::Key => {
                    self.scanner.take();
                    let key = self.block_part()?;
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
        if self.peek()? != &Kind::Value {
            return Ok(self.missing());
        }
        self.scanner.take();
        self.block_part()
    }

    fn block_part(&mut self) -> Result<NodeId, YamlError> {
        match self.peek()? {
            Kind::Key | Kind::Value | Kind::BlockEnd => Ok(self.missing()),
            _ => self.node(Context::BlockValue),
        }
    }

    // Flow collections.

    pub(super) fn flow_sequence(&mut self, id: NodeId) -> Result<(), YamlError> {
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

    pub(super) fn flow_mapping(&mut self, id: NodeId) -> Result<(), YamlError> {
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
                self.scanner.take();
                self.missing()
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
            return Ok((key, self.missing()));
        }
        self.scanner.take();
        let key = match self.peek()? {
            Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd => self.missing(),
            _ => self.node(Context::Flow)?,
        };
        Ok((key, self.flow_value(&Kind::FlowMappingEnd)?))
    }

    fn flow_value(&mut self, end: &Kind<'t>) -> Result<NodeId, YamlError> {
        if self.peek()? != &Kind::Value {
            return Ok(self.missing());
        }
        self.scanner.take();
        let next = self.peek()?;
        if next == &Kind::FlowEntry || next == end { Ok(self.missing()) } else { self.node(Context::Flow) }
    }
}

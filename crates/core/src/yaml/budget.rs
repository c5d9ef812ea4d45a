//! The limits within which Go's yaml.v2 follows aliases, so that a short text cannot mean a huge one.

use super::scanner::DEEPEST;
use super::{Node, NodeId, YamlError};

/// Up to this many steps, 99% of them may come from aliases.
const LENIENT_STEPS: u32 = 400_000;
/// From this many on, only 10%; in between the share falls evenly.
const STRICT_STEPS: u32 = 4_000_000;

/// Counts the steps of one decoding.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    steps: u32,
    steps_in_aliases: u32,
    open_aliases: Vec<NodeId>,
    depth: usize,
}

impl Budget {
    /// Go's decoder counts the document itself as its first step.
    pub(crate) fn new() -> Self {
        Self { steps: 1, ..Self::default() }
    }

    /// One more node is decoded. Pair with [`Self::leave`] once its children are done.
    pub(crate) fn enter(&mut self, node: &Node<'_>) -> Result<(), YamlError> {
        self.steps = self.steps.saturating_add(1);
        if !self.open_aliases.is_empty() {
            self.steps_in_aliases = self.steps_in_aliases.saturating_add(1);
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(refused("the nesting is too deep", node));
        }
        let share = f64::from(self.steps_in_aliases) / f64::from(self.steps);
        if self.steps_in_aliases > 100 && self.steps > 1000 && share > allowed_share(self.steps) {
            return Err(refused("too much of this text comes from aliases ('*name')", node));
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// The target of alias `id` is decoded next. Pair with [`Self::leave_alias`].
    pub(crate) fn enter_alias(&mut self, id: NodeId, node: &Node<'_>) -> Result<(), YamlError> {
        if self.open_aliases.contains(&id) {
            return Err(refused("what this alias names contains the alias itself", node));
        }
        self.open_aliases.push(id);
        Ok(())
    }

    pub(crate) fn leave_alias(&mut self) {
        self.open_aliases.pop();
    }
}

fn refused(message: &str, node: &Node<'_>) -> YamlError {
    YamlError { message: message.into(), position: node.start }
}

fn allowed_share(steps: u32) -> f64 {
    match steps {
        ..=LENIENT_STEPS => 0.99,
        STRICT_STEPS.. => 0.10,
        _ => 0.99 - 0.89 * f64::from(steps - LENIENT_STEPS) / f64::from(STRICT_STEPS - LENIENT_STEPS),
    }
}

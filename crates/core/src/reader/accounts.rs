//! `mapAccounts`, which Go's yaml.v2 decodes into a list of texts without JSON in between.

use super::{Found, ReadEntry, no_list};
use crate::mapping::Entry;
use crate::yaml::{Budget, Document, Meaning, NodeId, Value, YamlError, meaning};

/// Reads the account ids. A number or a boolean stays the text that it is written as; null is an empty text.
///
/// # Errors
/// When the document is no list, or a tag or an alias makes Go's reader give up.
pub(super) fn read(document: &Document<'_>, found: &mut Found) -> Result<(), YamlError> {
    let Some(root) = document.root else { return Ok(()) };
    let mut budget = Budget::new();
    budget.enter(document.node(root))?;
    let items = match &document.node(root).value {
        Value::Sequence { items, .. } => items,
        Value::Scalar { .. } if meaning(document.node(root))? == Meaning::Null => return Ok(()),
        _ => return Err(no_list(document, root)),
    };
    for (index, item) in items.iter().enumerate() {
        let position = document.node(item.node).start;
        match text(document, item.node, &mut budget)? {
            Some(arn) => {
                found.entries.push(ReadEntry {
                    entry: Entry { arn, ..Entry::default() },
                    item: index,
                    position,
                });
            }
            None => found.problem("an account id must be a text, no list and no map".into(), position),
        }
    }
    Ok(())
}

/// The text of an item; none for a list or a map.
fn text(document: &Document<'_>, id: NodeId, budget: &mut Budget) -> Result<Option<String>, YamlError> {
    let node = document.node(id);
    budget.enter(node)?;
    let text = match &node.value {
        Value::Alias { target, .. } => {
            budget.enter_alias(id, node)?;
            let text = text(document, *target, budget)?;
            budget.leave_alias();
            text
        }
        Value::Scalar { text, .. } => Some(match meaning(node)? {
            Meaning::Null => String::new(),
            Meaning::Text(text) => text.into_owned(),
            _ => text.to_string(),
        }),
        Value::Sequence { .. } | Value::Mapping { .. } => None,
    };
    budget.leave();
    Ok(text)
}

//! A plan as people read it: a unified diff of each data key, and one line for everything else.

use std::fmt::Write as _;

use crate::plan::{Content, Plan};

/// The unified diff between two contents, data key by data key; empty when they are equal.
#[must_use]
pub fn unified(before: &Content, after: &Content) -> String {
    let keys: std::collections::BTreeSet<&String> = before.data.keys().chain(after.data.keys()).collect();
    let mut text = String::new();
    for key in keys {
        let (old, new) = (before.data.get(key), after.data.get(key));
        if old == new {
            continue;
        }
        let name = |side: &str, value: Option<&String>| {
            if value.is_some() {
                format!("{side}/kube-system/aws-auth {key}")
            } else {
                "/dev/null".to_owned()
            }
        };
        let empty = String::new();
        let diff =
            similar::TextDiff::from_lines(old.unwrap_or(&empty).as_str(), new.unwrap_or(&empty).as_str());
        let mut unified = diff.unified_diff();
        let (old_name, new_name) = (name("a", old), name("b", new));
        // Writing to a String does not fail.
        let _ = write!(text, "{}", unified.context_radius(3).header(&old_name, &new_name));
    }
    text
}

/// One line about an outcome that is not plainly in effect: state, place, reason, what to do.
#[must_use]
pub fn line(outcome: &crate::plan::Outcome) -> String {
    let mut text = format!("{:?} {} {}", outcome.state, outcome.key.list, outcome.arn());
    if let Some(config) = &outcome.config {
        let _ = write!(text, " (AWSIamConfig {config}");
        if let Some(field) = &outcome.field {
            let _ = write!(text, ", {field}");
        }
        text.push(')');
    }
    let _ = write!(text, " {}", outcome.reason.name());
    if !outcome.message.is_empty() {
        let _ = write!(text, ": {}", outcome.message);
    }
    text
}

/// Numbers of a plan in one line, such as `2 added, 1 removed, 5 unchanged, 3 foreign`.
#[must_use]
pub fn summary(plan: &Plan) -> String {
    use crate::plan::State;
    let count = |states: &[State]| plan.outcomes.iter().filter(|o| states.contains(&o.state)).count();
    let ours = count(&[State::InEffect]);
    let parts = [
        (count(&[State::Added]), "added"),
        (count(&[State::Changed]), "changed"),
        (count(&[State::Repaired]), "repaired"),
        (count(&[State::Adopted]), "adopted"),
        (count(&[State::Removed]), "removed"),
        (count(&[State::Refused, State::Conflict, State::Shadowed]), "not written"),
        (count(&[State::Frozen, State::Held]), "kept back"),
        (ours, "unchanged"),
    ];
    let said: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    let foreign: usize = crate::plan::entries(&plan.after.data).values().map(Vec::len).sum();
    if said.is_empty() { format!("no mappings; {foreign} entries in aws-auth") } else { said.join(", ") }
}

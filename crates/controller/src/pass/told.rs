//! What a pass says in the log of what it changed: one line for each entry, and one for each write of `aws-auth`.

use std::collections::BTreeSet;

use awsiam_core::desired::Backend;
use awsiam_core::plan::{Plan, State};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use crate::report::listed;
use crate::reporter::Planned;

/// So many entries are named in a line; each has one of its own as well.
const NAMED: usize = 20;

/// Each entry and object that changes, and why.
pub(super) fn each_change(plan: &Plan) {
    for outcome in plan.changes() {
        tracing::info!(
            place = ?outcome.place,
            state = ?outcome.state,
            reason = outcome.reason.name(),
            list = %outcome.key.list,
            arn = outcome.arn(),
            config = outcome.config.as_deref(),
            "changed an entry"
        );
    }
}

/// A write of `aws-auth` as a whole: which entries came and went, whose AWSIamConfigs wanted it, and who had undone what was put
/// back. What does not apply is left out.
pub(super) fn one_line(planned: &Planned, written: &ConfigMap) {
    let changes = || planned.plan.changes().filter(|outcome| outcome.place == Backend::EksConfigMap);
    let entries = |state: State| {
        let mut named = changes().filter(|outcome| outcome.state == state).peekable();
        named.peek()?;
        Some(listed(named.map(|outcome| format!("{} {}", outcome.key.list, outcome.arn())), NAMED))
    };
    let configs: BTreeSet<&str> = changes().filter_map(|outcome| outcome.config.as_deref()).collect();
    let configs = listed(configs.into_iter().map(str::to_owned), NAMED);
    tracing::info!(
        added = entries(State::Added),
        changed = entries(State::Changed),
        repaired = entries(State::Repaired),
        adopted = entries(State::Adopted),
        removed = entries(State::Removed),
        configs = Some(configs).filter(|configs| !configs.is_empty()),
        undone_by = planned.other_writer_in(Backend::EksConfigMap),
        resource_version = written.resource_version(),
        "wrote aws-auth"
    );
}

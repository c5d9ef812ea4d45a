//! The verbs, one file each: what is typed after them, and what they do.

pub(crate) mod completions;
pub(crate) mod control_plane;
pub(crate) mod controller;
pub(crate) mod crd;
pub(crate) mod diff;
pub(crate) mod kubeconfig;
pub(crate) mod man;
pub(crate) mod probe_mappings;
pub(crate) mod render;
mod time;
pub(crate) mod upgrade;
pub(crate) mod validate;

use clap::ValueEnum;

/// `-o`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

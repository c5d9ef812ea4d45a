//! What the tests of awsiam stand on: a real control plane, and whatever else is shared between test programs.
//!
//! Nothing here is part of the operator; no crate of the operator may depend on it.

pub mod authenticator;
mod cache;
pub mod changed_crds;
pub mod cluster_api;
pub mod control_plane;
pub mod documents;
pub mod fleet;
pub mod image;
pub mod login;
pub mod loopback;
pub mod machine;
pub mod oracle;
pub mod process;
pub mod rights;
pub mod secrets;
pub mod site;
pub mod stage;
pub mod stand_in;
pub mod sts;
pub mod valve;
pub mod versions;

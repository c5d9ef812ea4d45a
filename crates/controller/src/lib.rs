//! The operator: all Kubernetes I/O of awsiam. One pass over a Cluster is observe → plan → apply →
//! report; what is to happen is decided in `awsiam-core`, this crate carries it out.

mod authenticator;
pub mod by_hand;
pub mod config_status;
mod connection;
mod content;
mod crd_gate;
mod crds;
pub mod error;
mod events;
mod fights;
pub mod gateway;
mod hands_off;
pub mod health;
pub mod history;
mod identity_mappings;
mod lease;
mod local_cluster;
pub mod metrics;
pub mod observe;
mod operator;
pub mod options;
mod pass;
mod report;
mod reporter;
mod runner;
mod target;
mod targets;
mod watched;
mod watches;

pub use authenticator::{facts as authenticator_facts, stated_backends};
pub use awsiam_authenticator::image::ImagePolicy;
pub use connection::client;
pub use error::{Error, StartError, words};
pub use lease::{Election, ElectionError, Term, run_elected};
pub use operator::run;
pub use options::{LocalCluster, Options};
pub use targets::remote_client;

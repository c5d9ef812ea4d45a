//! What awsiam decides about `kube-system/aws-auth`, as pure functions: no cluster, no clock, no
//! environment, no logging. I/O lives in `awsiam-controller`, words for people in `awsiam`.

pub mod access_entries;
pub mod arn;
pub mod desired;
pub mod diff;
pub mod effective;
pub mod explain;
pub mod history;
pub mod identity_mappings;
pub mod import;
pub mod inventory;
pub mod ledger;
pub mod lint;
pub mod mapping;
pub mod merge;
pub mod observed;
pub mod places;
pub mod plan;
pub mod privilege;
pub mod reader;
pub mod render;
pub mod text;
pub mod verify;
pub mod yaml;

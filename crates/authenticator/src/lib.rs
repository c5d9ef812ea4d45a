//! What a target gets so that aws-iam-authenticator runs there and its API server asks it: objects,
//! certificates, kubeconfigs, and what is read back to tell whether it works. Pure: no client, no clock, no
//! randomness, no files; they are parameters.

pub mod certificate;
pub mod cluster_id;
pub mod distribution;
pub mod facts;
pub mod image;
pub mod image_change;
pub mod kubeadm_control_plane;
pub mod kubeconfig;
pub mod names;
pub mod objects;
pub mod rollout;
pub mod target_kubeconfig;
pub mod webhook;

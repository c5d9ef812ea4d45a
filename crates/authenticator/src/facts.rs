//! Everything the authenticator's objects of one target are made from. Plain data; the caller finds it out.

use awsiam_core::arn::Partition;
use awsiam_core::desired::Backend;
use k8s_openapi::api::core::v1::{EnvVar, ResourceRequirements, Taint};

use crate::image::Image;

/// Everything the authenticator's objects of one target are made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The id that login tokens carry; see [`crate::cluster_id`].
    pub cluster_id: String,
    /// Region that tools get as `AWS_REGION`.
    pub region: String,
    /// Partition of every ARN; decides which STS hosts a token may name.
    pub partition: Partition,
    /// Where the authenticator looks for mappings, in its order.
    pub backends: Vec<Backend>,
    /// Image of aws-iam-authenticator.
    pub image: Image,
    /// Image of awsiam, for the probe beside the authenticator; `None`: no probe.
    pub probe_image: Option<String>,
    /// CPU and memory of the authenticator.
    pub resources: ResourceRequirements,
    /// Proxy variables of the authenticator.
    pub env: Vec<EnvVar>,
    /// Taints of the control-plane nodes.
    pub taints: Vec<Taint>,
}

//! A live Cluster as a pass of the operator would find it: what it reads, and the plan that it would make. Every verb
//! that shows what is or would be goes through here.

use awsiam_api::Cluster;
use awsiam_controller::observe::{self, Inputs, JudgedConfigs};
use awsiam_core::plan::{self, Plan, Request};
use awsiam_core::privilege::Policy;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::management::{Configs, LiveError, Management};
use crate::target::Target;

/// What was read, and the plan.
pub(crate) struct Survey {
    pub(crate) cluster: Cluster,
    pub(crate) target: Target,
    pub(crate) aws_auth: Option<ConfigMap>,
    pub(crate) inputs: Inputs,
    pub(crate) plan: Plan,
    policy: Policy,
}

impl Survey {
    /// Reads the target of a Cluster and plans, with the operator's privilege flags.
    ///
    /// # Errors
    /// When something cannot be read: then nothing can be said.
    pub(crate) async fn of(
        management: &Management,
        cluster: Cluster,
        configs: &Configs,
        flags: &Policy,
    ) -> Result<Self, LiveError> {
        let target = Target::of(management, &cluster).await?;
        let (uid, aws_auth, records) =
            tokio::try_join!(management.uid(), target.aws_auth(), target.records())?;
        let resolution =
            observe::desired(&cluster, &JudgedConfigs::default(), |name| configs.get(name).cloned());
        let mut inputs = Inputs::of(&cluster, &uid, aws_auth.as_ref(), resolution, records);
        inputs.places = target.places(&cluster, inputs.backends()).await?;
        let policy = observe::policy_for(&cluster, flags);
        let plan = plan::plan(&inputs.request(&policy));
        Ok(Self { cluster, target, aws_auth, inputs, plan, policy })
    }

    /// As [`Survey::of`], with the AWSIamConfigs that are in the cluster.
    ///
    /// # Errors
    /// As [`Survey::of`].
    pub(crate) async fn live(
        management: &Management,
        cluster: Cluster,
        flags: &Policy,
    ) -> Result<Self, LiveError> {
        let configs = management.configs_of(&cluster).await?;
        Self::of(management, cluster, &configs, flags).await
    }

    /// What the plan was made from.
    pub(crate) fn request(&self) -> Request<'_> {
        self.inputs.request(&self.policy)
    }
}

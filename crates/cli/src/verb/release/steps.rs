//! The steps of a release, in an order in which nobody puts back what was taken: the operator lets go, then the target
//! is cleared, then what holds the objects. Each write is conditional on what was read.

use std::time::Duration;

use awsiam_api::Cluster;
use awsiam_api::conditions::{self, reasons};
use awsiam_api::identity_mapping::{api_resource, observed};
use awsiam_api::names::{AWS_IAM_CONFIG_KIND, CLUSTER_FINALIZER, CONFIG_FINALIZER, RELEASED};
use awsiam_controller::by_hand;
use awsiam_controller::observe::Inputs;
use awsiam_core::desired::Refs;
use awsiam_core::identity_mappings::{Deletion, IdentityMapping, Mark};
use awsiam_core::ledger::{Ledger, Relation};
use awsiam_core::plan::{self, Blocked, Content, LastAdminAllowance};
use awsiam_core::privilege::Policy;
use kube::api::{Api, DynamicObject, ObjectMeta};
use kube::{Client, Resource, ResourceExt};

use super::{ReleaseError, not_removable};
use crate::error::Error;
use crate::management::{LiveError, Management, title, unread};
use crate::planned::blocked_words;
use crate::selection::ClusterName;
use crate::survey::Survey;

/// How often the Cluster's status is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What a release changes on a target.
pub(super) struct Release {
    pub(super) survey: Survey,
    pub(super) before: Content,
    pub(super) after: Content,
    /// How many entries are ours.
    pub(super) owned: usize,
    /// The IAMIdentityMappings that are ours.
    pub(super) objects: Vec<IdentityMapping>,
}

impl Release {
    /// Reads a target and decides what is to be taken from it.
    pub(super) async fn plan(management: &Management, cluster: Cluster, remove: bool) -> Result<Self, Error> {
        let mut survey = Survey::live(management, cluster, &Policy::default()).await?;
        let observed = &survey.inputs.observed;
        let before = Content { data: observed.data.clone(), ledger: observed.ledger.clone() };
        let ledger = match observed.ledger.as_deref().map(Ledger::parse) {
            Some(Ok(ledger)) => Some(ledger),
            Some(Err(error)) if remove => return Err(ReleaseError::NotRemovable(error.to_string()).into()),
            _ => None,
        };
        if let Some(ledger) = &ledger
            && ledger.writer.relation_to(&survey.inputs.writer) == Relation::Other
        {
            return Err(ReleaseError::OtherOwner(ledger.writer.clone()).into());
        }
        let after =
            if remove { removed(&mut survey.inputs)? } else { Content { ledger: None, ..before.clone() } };
        let observed = &survey.inputs.observed;
        let blocked = match (observed.immutable, observed.deleting) {
            _ if before == after => None,
            (true, _) => Some(Blocked::Immutable),
            (_, true) => Some(Blocked::BeingDeleted),
            _ => None,
        };
        if let Some(blocked) = blocked {
            return Err(ReleaseError::Blocked(blocked_words(&blocked)).into());
        }
        let objects = ours(&survey.inputs);
        let owned = ledger.map_or(0, |ledger| ledger.owned.len());
        Ok(Self { survey, before, after, owned, objects })
    }
}

/// The content without our entries and ledger.
fn removed(inputs: &mut Inputs) -> Result<Content, ReleaseError> {
    inputs.resolution.refs = Refs::Listed(Vec::new());
    inputs.last_admin = Some(LastAdminAllowance::All);
    // What has no ledger is not ours to remove.
    inputs.owned_before = false;
    if inputs.observed.ledger.is_none() {
        return Ok(Content { data: inputs.observed.data.clone(), ledger: None });
    }
    let policy = Policy::default();
    let plan = plan::plan(&inputs.request(&policy));
    match not_removable(&plan) {
        None => Ok(plan.after),
        Some(why) => Err(ReleaseError::NotRemovable(why)),
    }
}

fn ours(inputs: &Inputs) -> Vec<IdentityMapping> {
    let objects = inputs.places.iter().flat_map(|places| places.objects.iter().flatten());
    let is_ours = |object: &&IdentityMapping| {
        let mark = object.mark.as_deref().and_then(|text| Mark::parse(text).ok());
        mark.is_some_and(|mark| {
            mark.name == object.name && mark.writer.relation_to(&inputs.writer) != Relation::Other
        })
    };
    objects.filter(is_ours).cloned().collect()
}

/// A Cluster that the operator has let go.
pub(super) struct Hands<'m> {
    management: &'m Management,
    cluster: Cluster,
}

impl<'m> Hands<'m> {
    /// Marks the Cluster, and waits until the operator says that it has taken that up: its passes over one Cluster
    /// follow each other, so that none is under way then that does not know it.
    pub(super) async fn off(
        management: &'m Management,
        release: &Release,
        wait: Option<Duration>,
    ) -> Result<Self, Error> {
        let cluster = &release.survey.cluster;
        if !cluster.annotations().contains_key(RELEASED) {
            by_hand::mark_released(&management.client, cluster)
                .await
                .map_err(|error| raced(error, "the Cluster"))?;
        }
        let name = ClusterName { namespace: cluster.namespace(), name: cluster.name_any() };
        let end = tokio::time::Instant::now() + wait.unwrap_or_default();
        loop {
            let cluster = management.cluster(&name).await?;
            if wait.is_none() || is_taken_up(&cluster) {
                return Ok(Self { management, cluster });
            }
            if tokio::time::Instant::now() >= end {
                return Err(ReleaseError::NoAnswer(wait.unwrap_or_default()).into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes the ledger (and entries) from the target, and our marks (or objects), if they are as they were shown.
    pub(super) async fn take_from_target(&self, shown: &Release, remove: bool) -> Result<(), Error> {
        let now = Release::plan(self.management, self.cluster.clone(), remove).await?;
        if now.before != shown.before || now.objects.len() != shown.objects.len() {
            return Err(ReleaseError::Changed("aws-auth").into());
        }
        let client = &now.survey.target.client;
        if now.before != now.after {
            by_hand::put(client, now.survey.aws_auth.as_ref(), &now.after)
                .await
                .map_err(|error| raced(error, "aws-auth"))?;
        }
        let objects: Api<DynamicObject> = Api::all_with(client.clone(), &api_resource());
        for ours in &now.objects {
            let what = format!("IAMIdentityMapping {}", ours.name);
            if remove {
                let deletion = Deletion { name: ours.name.clone(), version: ours.version.clone() };
                by_hand::delete_mapping(client, &deletion)
                    .await
                    .map_err(|error| raced(error, "an IAMIdentityMapping"))?;
                continue;
            }
            let Some(object) = objects.get_opt(&ours.name).await.map_err(unread(what))? else { continue };
            if observed(&object) == *ours {
                by_hand::unmark_mapping(client, &object)
                    .await
                    .map_err(|error| raced(error, "an IAMIdentityMapping"))?;
            } else {
                return Err(ReleaseError::Changed("an IAMIdentityMapping").into());
            }
        }
        Ok(())
    }

    /// Takes our finalizers from the Cluster, and from AWSIamConfigs that no other Cluster holds. The operator does
    /// so, too; whoever comes second finds nothing to do.
    pub(super) async fn unhold(&mut self) -> Result<(), Error> {
        let client = &self.management.client;
        self.cluster = self.read().await?;
        if self.cluster.finalizers().iter().any(|name| name == CLUSTER_FINALIZER) {
            by_hand::unhold_cluster(client, &self.cluster, CLUSTER_FINALIZER)
                .await
                .map_err(|error| raced(error, "the Cluster"))?;
        }
        let others = self.others(true).await?;
        for config in self.configs(&others).await? {
            if config.finalizers.iter().flatten().any(|name| name == CONFIG_FINALIZER) {
                match by_hand::unhold_config(client, &config, CONFIG_FINALIZER).await {
                    // The operator has just done it, or somebody has changed it, and the operator does it.
                    Err(error) if by_hand::is_race(&error) => {}
                    done => done.map_err(ReleaseError::Write)?,
                }
            }
        }
        Ok(())
    }

    /// Deletes what we keep of the target and beside the Cluster, then the Cluster, and AWSIamConfigs that no other one
    /// refers to.
    pub(super) async fn delete(&self, target: &Client) -> Result<(), Error> {
        let client = &self.management.client;
        by_hand::delete_history(target).await.map_err(ReleaseError::Write)?;
        by_hand::delete_secrets(client, &self.cluster).await.map_err(ReleaseError::Write)?;
        let others = self.others(false).await?;
        let configs = self.configs(&others).await?;
        by_hand::delete_cluster(client, &self.cluster).await.map_err(ReleaseError::Write)?;
        for config in configs {
            by_hand::delete_config(client, &config).await.map_err(ReleaseError::Write)?;
        }
        Ok(())
    }

    async fn read(&self) -> Result<Cluster, LiveError> {
        let name = ClusterName { namespace: self.cluster.namespace(), name: self.cluster.name_any() };
        self.management.cluster(&name).await
    }

    /// The other Clusters of the namespace; `holding`: without those that are released.
    async fn others(&self, holding: bool) -> Result<Vec<Cluster>, LiveError> {
        let namespace = self.cluster.namespace().unwrap_or_default();
        let mut clusters = self.management.clusters(Some(&namespace)).await?;
        clusters.retain(|cluster| {
            title(cluster) != title(&self.cluster)
                && !(holding && cluster.annotations().contains_key(RELEASED))
        });
        Ok(clusters)
    }

    /// The AWSIamConfigs that this Cluster refers to and none of `others` does.
    async fn configs(&self, others: &[Cluster]) -> Result<Vec<ObjectMeta>, LiveError> {
        let refers = |cluster: &Cluster, name: &str| {
            let mut references = cluster.spec.identity_provider_refs.iter().flatten();
            references.any(|reference| reference.kind == AWS_IAM_CONFIG_KIND && reference.name == name)
        };
        let configs = self.management.configs_of(&self.cluster).await?;
        let alone = configs.into_iter().filter(|(name, _)| !others.iter().any(|other| refers(other, name)));
        Ok(alone.map(|(_, guard)| guard.meta().clone()).collect())
    }
}

/// Whether the operator has said that it leaves the Cluster alone.
fn is_taken_up(cluster: &Cluster) -> bool {
    let conditions = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions::condition(conditions, conditions::AWS_AUTH_SYNCED)
        .is_some_and(|condition| condition.reason == reasons::RELEASED)
}

fn raced(error: awsiam_controller::Error, what: &'static str) -> ReleaseError {
    if by_hand::is_race(&error) { ReleaseError::Changed(what) } else { ReleaseError::Write(error) }
}

//! One pass over a Cluster: observe → plan → apply → report. Decides nothing about entries; that is
//! the plan's. Needs a client for direct reads and for writes.

mod objects;
mod remote;
mod told;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use awsiam_api::names::{CLUSTER_FINALIZER, EKS_ANYWHERE_FINALIZER, GIVE_UP_TARGET};
use awsiam_api::{AWSIamConfig, Cluster, DeletionPolicy, TargetKind};
use awsiam_core::plan::{self, Blocked, Plan, State};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;
use tracing::Instrument;

use crate::authenticator;
use crate::content;
use crate::error::{Error, backoff, caught};
use crate::gateway;
use crate::hands_off::{self, Pause};
use crate::history;
use crate::identity_mappings::Found;
use crate::observe::{self, Inputs};
use crate::operator::Operator;
use crate::reporter::{PassReport, Planned, Report};
use crate::runner::Next;
use crate::target::{Seen, Target};

/// So often a pass reads again and plans again when other writers are faster, before it backs off.
const ATTEMPTS: u32 = 8;

/// The AWSIamConfigs that were read directly in this pass, past a cache that may be stale.
type ReadDirectly = HashMap<String, Option<Arc<DeserializeGuard<AWSIamConfig>>>>;

/// `NAMESPACE/NAME`, as logs name an object.
pub(crate) fn named(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// One pass over one Cluster. A panic in it is an error like others and stops nobody else.
pub(crate) async fn reconcile(guard: Arc<DeserializeGuard<Cluster>>, operator: Arc<Operator>) -> Next {
    let span = tracing::info_span!(
        "pass",
        cluster = named(guard.as_ref()),
        generation = guard.meta().generation.unwrap_or_default(),
    );
    let _under_way = operator.options.health.begins(named(guard.as_ref()));
    let begun = Instant::now();
    let result = caught(Box::pin(pass(&guard, &operator)).instrument(span)).await;
    operator.options.metrics.took(begun.elapsed());
    match result {
        Ok(next) => {
            operator.succeeded(guard.as_ref());
            next
        }
        Err(error) => failed(&guard, &error, &operator),
    }
}

/// Tells of a pass that failed; when it is tried again.
fn failed(guard: &Arc<DeserializeGuard<Cluster>>, error: &Error, operator: &Operator) -> Next {
    let target = operator.targets.known(guard.as_ref());
    let answers = target.is_some_and(|t| !t.is_unseen() && t.health.trouble().is_none());
    operator.report(guard, PassReport::Failed { reason: error.reason(), error: error.to_string(), answers });
    let wait = backoff(operator.failed(guard.as_ref()));
    tracing::warn!(cluster = named(guard.as_ref()), %error, retry_in = ?wait, "pass failed");
    Next::After(wait)
}

async fn pass(guard: &Arc<DeserializeGuard<Cluster>>, operator: &Operator) -> Result<Next, Error> {
    if hands_off::has_finalizer(guard.as_ref(), EKS_ANYWHERE_FINALIZER) {
        return eks_anywhere(operator, guard).await;
    }
    if let Some(lacking) = operator.gate.lacking() {
        operator.report(guard, PassReport::CrdLacksFields(lacking));
        return Ok(operator.later());
    }
    if hands_off::is_released(guard.as_ref()) {
        set_finalizer(operator, guard.as_ref(), false).await?;
        operator.report(guard, PassReport::Released);
        return Ok(operator.later());
    }
    if guard.meta().deletion_timestamp.is_some() && is_given_up(guard.as_ref()) {
        set_finalizer(operator, guard.as_ref(), false).await?;
        operator.options.health.looked_at(&named(guard.as_ref()));
        return Ok(Next::OnChange);
    }
    let cluster = match &guard.0 {
        Ok(cluster) => cluster,
        Err(invalid) => {
            operator.report(guard, PassReport::Undecodable(invalid.error.clone()));
            return Ok(operator.later());
        }
    };
    if remote::is_left_alone(operator, cluster).await {
        set_finalizer(operator, cluster, false).await?;
        operator.options.health.looked_at(&named(cluster));
        return Ok(Next::OnChange);
    }
    match operator.targets.find(cluster).await {
        Err(none) => remote::without_target(operator, guard, cluster, none).await,
        Ok(target) if target.kind == TargetKind::Remote => {
            remote::on_target(operator, guard, cluster, &target).await
        }
        Ok(target) => Box::pin(on_target(operator, guard, cluster, &target)).await,
    }
}

/// A pass with a target that may be asked.
async fn on_target(
    operator: &Operator,
    guard: &Arc<DeserializeGuard<Cluster>>,
    cluster: &Cluster,
    target: &Arc<Target>,
) -> Result<Next, Error> {
    let seen = match target.seen() {
        Seen::Nothing(why) => {
            // The watch on aws-auth brings us back.
            if let Some(why) = why {
                operator.report(guard, PassReport::Unseen(why));
            }
            return Ok(Next::OnChange);
        }
        Seen::Absent => None,
        Seen::Present(config_map) => Some(config_map),
    };
    if seen.as_deref().is_some_and(hands_off::is_eks_anywheres) {
        return eks_anywhere(operator, guard).await;
    }
    let pause = Pause::of(cluster, operator.options.observe_only);
    if !finalizer_in_order(operator, cluster, pause).await? {
        return Ok(operator.later());
    }
    if !operator.configs_listed(cluster).await {
        return Ok(Next::After(Duration::ZERO));
    }
    let mut carried_out = carry_out(operator, target, cluster, seen, pause).await?;
    let said = Box::pin(authenticator::carry_out(operator, target, cluster, &carried_out.report)).await;
    let again = authenticator::again(operator, target, &said);
    carried_out.report.authenticator = said;
    carried_out.report.trouble = remote::trouble(target);
    let unsettled = remote::unsettled(operator, target, &carried_out.report);
    let wait = [carried_out.wait, again, unsettled].into_iter().flatten().min();
    if cluster.metadata.deletion_timestamp.is_some() && carried_out.report.may_go() {
        set_finalizer(operator, cluster, false).await?;
    }
    operator.report(guard, PassReport::Planned(Box::new(carried_out.report)));
    let soon = |wait: Duration| Next::After(wait.min(operator.options.resync));
    Ok(wait.map_or_else(|| operator.later(), soon))
}

/// EKS Anywhere controls the Cluster: nothing is done, and a deletion does not wait for us.
async fn eks_anywhere(operator: &Operator, guard: &Arc<DeserializeGuard<Cluster>>) -> Result<Next, Error> {
    operator.report(guard, PassReport::EksAnywhere);
    if guard.meta().deletion_timestamp.is_some() {
        set_finalizer(operator, guard.as_ref(), false).await?;
    }
    Ok(operator.later())
}

/// Whether an administrator lets a Cluster go without cleaning its target.
fn is_given_up(cluster: &impl ResourceExt) -> bool {
    cluster.annotations().get(GIVE_UP_TARGET).is_some_and(|value| value == "true")
}

/// Sets or takes our finalizer as `deletionPolicy` wants it. False: the Cluster is going, and nothing is
/// to be done on its target.
async fn finalizer_in_order(
    operator: &Operator,
    cluster: &Cluster,
    pause: Option<Pause>,
) -> Result<bool, Error> {
    let policy = cluster.spec.iam_authenticator.as_ref().map(|block| block.deletion_policy);
    let delete = policy == Some(DeletionPolicy::Delete);
    let ours = hands_off::has_finalizer(cluster, CLUSTER_FINALIZER);
    if cluster.metadata.deletion_timestamp.is_some() {
        if ours && !delete {
            set_finalizer(operator, cluster, false).await?;
            return Ok(false);
        }
        return Ok(ours);
    }
    if delete && !ours && pause.is_none() {
        set_finalizer(operator, cluster, true).await?;
    } else if !delete && ours {
        set_finalizer(operator, cluster, false).await?;
    }
    Ok(true)
}

async fn set_finalizer(operator: &Operator, cluster: &impl ResourceExt, wanted: bool) -> Result<(), Error> {
    let mut finalizers: Vec<String> = cluster.finalizers().to_vec();
    finalizers.retain(|name| name != CLUSTER_FINALIZER);
    if wanted {
        finalizers.push(CLUSTER_FINALIZER.to_owned());
    }
    if finalizers == cluster.finalizers() {
        return Ok(());
    }
    let namespace = cluster.namespace().unwrap_or_default();
    let api: Api<Cluster> = Api::namespaced(operator.client.clone(), &namespace);
    let version = cluster.resource_version();
    let set =
        operator.gateway.set_finalizers(&api, &cluster.name_any(), version.as_deref(), &finalizers).await;
    match set {
        Err(error) if gateway::is_gone(&error) => Ok(()),
        set => set,
    }
}

struct CarriedOut {
    report: Planned,
    /// When to look again, if not at the next resync.
    wait: Option<Duration>,
}

/// Plans and writes, again and again while others are faster.
async fn carry_out(
    operator: &Operator,
    target: &Arc<Target>,
    cluster: &Cluster,
    mut seen: Option<Arc<ConfigMap>>,
    pause: Option<Pause>,
) -> Result<CarriedOut, Error> {
    let mut cluster = cluster.clone();
    let mut directly = ReadDirectly::new();
    let records = target.history.records().await?;
    let mut mappings = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(jittered(attempt)).await;
            seen = target.read().await?;
            if matches!(mappings, Some(Found::Objects(_))) {
                mappings = Some(target.identity_mappings.read().await?);
            }
        }
        let (inputs, plan) = loop {
            let mut inputs = inputs(operator, &cluster, seen.as_deref(), &directly, records.clone());
            let found = match &mappings {
                Some(found) => found.clone(),
                None => objects::found(operator, target, &inputs).await,
            };
            inputs.places = objects::places(operator, target, &cluster, &inputs, &found).await;
            mappings = Some(found);
            let policy = observe::policy_for(&cluster, &operator.options.policy);
            let request = inputs.request(&policy);
            let plan = plan::plan(&request);
            if directly.is_empty() && plan.suspected_stale().next().is_some() {
                read_directly(operator, &mut cluster, &plan, &mut directly).await?;
                continue;
            }
            break (inputs, plan);
        };
        let mut report = Planned {
            target: target.kind,
            trouble: None,
            pending: plan.has_write() || plan.has_object_writes(),
            plan,
            inputs,
            pause,
            seen: seen.clone(),
            mappings: mappings.clone().unwrap_or(Found::Nothing),
            fighting: None,
            authenticator: Vec::new(),
        };
        if pause.is_none() && may_vanish(&report.plan) {
            record_seen(operator, target, &report);
        }
        if pause.is_some() || (report.plan.blocked.is_some() && !report.plan.has_object_writes()) {
            return Ok(CarriedOut { report, wait: None });
        }
        if let Some((manager, wait)) = fight(target, &report) {
            report.fighting = Some(manager);
            record_seen(operator, target, &report);
            return Ok(CarriedOut { report, wait: Some(wait) });
        }
        match write(operator, target, &report).await {
            Err(error) if gateway::is_race(&error) => {
                tracing::debug!(attempt, %error, "something changed before it was written");
            }
            Err(error) => return Err(error),
            Ok(()) => {
                report.pending = false;
                return Ok(CarriedOut { report, wait: None });
            }
        }
    }
    Err(Error::Contended { attempts: ATTEMPTS })
}

/// Milliseconds between attempts: doubled each time, with a spread by the clock so that two writers
/// don't keep step.
fn jittered(attempt: u32) -> Duration {
    let spread = u64::from(k8s_openapi::jiff::Timestamp::now().subsec_nanosecond().unsigned_abs() % 10);
    Duration::from_millis((5 << attempt.min(8)) + spread)
}

fn inputs(
    operator: &Operator,
    cluster: &Cluster,
    seen: Option<&ConfigMap>,
    directly: &ReadDirectly,
    records: Arc<Vec<awsiam_core::history::Record>>,
) -> Inputs {
    let namespace = cluster.namespace().unwrap_or_default();
    let resolution = observe::desired(cluster, &operator.judged, |name| match directly.get(name) {
        Some(read) => read.clone(),
        None => operator.configs.get(&ObjectRef::new(name).within(&namespace)),
    });
    Inputs::of(cluster, &operator.management, seen, resolution, records)
}

/// Reads what looks older than the ledger recorded past the cache; what is still older then is believed.
async fn read_directly(
    operator: &Operator,
    cluster: &mut Cluster,
    plan: &Plan,
    directly: &mut ReadDirectly,
) -> Result<(), Error> {
    let namespace = cluster.namespace().unwrap_or_default();
    let configs: Api<DeserializeGuard<AWSIamConfig>> = Api::namespaced(operator.client.clone(), &namespace);
    let refs: Vec<String> =
        cluster.spec.identity_provider_refs.iter().flatten().map(|r| r.name.clone()).collect();
    for object in plan.suspected_stale() {
        tracing::info!(object, "older than the ledger recorded; reading it directly");
        if refs.iter().any(|name| name == object) {
            let read = configs
                .get_opt(object)
                .await
                .map_err(Error::read(format!("AWSIamConfig {namespace}/{object}")))?;
            directly.insert(object.to_owned(), read.map(Arc::new));
        }
    }
    let name = cluster.name_any();
    let clusters: Api<Cluster> = Api::namespaced(operator.client.clone(), &namespace);
    *cluster = clusters.get(&name).await.map_err(Error::read(format!("Cluster {namespace}/{name}")))?;
    // Marks that this has been done, whatever was found.
    directly.entry(String::new()).or_insert(None);
    Ok(())
}

/// The field manager that keeps undoing our entries, and how long to leave it alone; only where repairs
/// are all that is wanted.
fn fight(target: &Target, planned: &Planned) -> Option<(String, Duration)> {
    let mut changes = planned.plan.changes().peekable();
    changes.peek()?;
    if !changes.all(|outcome| outcome.state == State::Repaired) {
        return None;
    }
    let manager = planned.other_writer()?;
    let pause =
        target.fights.lock().unwrap_or_else(PoisonError::into_inner).pause(&manager, Instant::now())?;
    Some((manager, pause))
}

/// Whether `aws-auth` can't be written as it is but may well be deleted next: then its node entries come
/// back from the record.
fn may_vanish(plan: &Plan) -> bool {
    matches!(plan.blocked, Some(Blocked::BeingDeleted | Blocked::Immutable | Blocked::TooLarge { .. }))
}

/// Sees to it that what was read is on record, without holding up the pass.
fn record_seen(operator: &Operator, target: &Arc<Target>, planned: &Planned) {
    if let Some(seen) = &planned.seen
        && !history::holds(&planned.inputs.history, seen)
    {
        operator.record_beside(target, seen.clone(), None);
    }
}

/// Writes what the plan wants, in an order in which each mapping stands somewhere all the time: objects that come or
/// change, `aws-auth`, objects that go. The first failure ends it: what goes may rely on what was not written.
async fn write(operator: &Operator, target: &Arc<Target>, planned: &Planned) -> Result<(), Error> {
    objects::write(operator, target, planned).await?;
    write_aws_auth(operator, target, planned).await?;
    told::each_change(&planned.plan);
    if let Some(manager) = planned.other_writer() {
        target.fights.lock().unwrap_or_else(PoisonError::into_inner).repaired(&manager, Instant::now());
    }
    objects::delete(operator, target, planned).await
}

/// Writes `aws-auth` if the plan wants it, and sees to it that contents are on record.
async fn write_aws_auth(operator: &Operator, target: &Arc<Target>, planned: &Planned) -> Result<(), Error> {
    let plan = &planned.plan;
    match &planned.seen {
        Some(seen)
            if plan.has_write() && !target.wrote(seen) && !history::holds(&planned.inputs.history, seen) =>
        {
            // Somebody else's content is on record before it is overwritten.
            target.history.record(&operator.gateway, seen, target.writer_of(seen), None).await?;
        }
        _ => record_seen(operator, target, planned),
    }
    if !plan.has_write() {
        return Ok(());
    }
    let wanted = content::wanted(planned.seen.as_deref(), &plan.after);
    let written = if planned.seen.is_some() {
        operator.gateway.replace(target.client.clone(), &wanted).await?
    } else {
        operator.gateway.create(target.client.clone(), &wanted).await?
    };
    told::one_line(planned, &written);
    target.have_written(&written);
    operator.record_beside(target, Arc::new(written), Some(plan.counts.nodes > 0));
    Ok(())
}

impl Operator {
    /// Reports what a pass found; written in the background.
    pub(crate) fn report(&self, guard: &Arc<DeserializeGuard<Cluster>>, pass: PassReport) {
        self.options.health.looked_at(&named(guard.as_ref()));
        self.options.metrics.ended(guard.as_ref(), &pass);
        self.reporter.send(Report { cluster: guard.clone(), pass });
    }

    /// Records a content without holding up the pass.
    fn record_beside(&self, target: &Arc<Target>, config_map: Arc<ConfigMap>, has_nodes: Option<bool>) {
        let (target, gateway, targets) = (target.clone(), self.gateway.clone(), self.targets.clone());
        let writer = target.writer_of(&config_map);
        let recording = async move {
            let record = Box::pin(target.history.record(&gateway, &config_map, writer, has_nodes));
            if let Err(error) = targets.in_turn(&target, record).await {
                tracing::warn!(%error, "can't record a content of aws-auth; the next pass tries again");
            }
        };
        self.tasks.spawn(recording.in_current_span());
    }
}

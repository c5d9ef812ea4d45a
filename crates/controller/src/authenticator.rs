//! The authenticator's part of a pass: certificates, objects on the target, the user kubeconfig, and what is seen
//! of the API server. Comes after `aws-auth`, never in front of it, and never fails it. What the objects are is
//! decided in `awsiam-authenticator`.

mod api_server;
mod apply;
mod backends;
mod certificates;
mod conditions;
mod control_plane;
mod image_change;
mod kubeconfig;
mod reads;
mod removal;
mod seen;
mod webhook_file;

use std::sync::Arc;
use std::time::Duration;

use awsiam_api::authenticator::{ProxyVariable, Resources};
use awsiam_api::resolve::Settings;
use awsiam_api::{AuthenticatorMode, Cluster, PROXY_VARIABLES, TargetKind};
use awsiam_authenticator::certificate::sha256;
use awsiam_authenticator::facts::Facts;
use awsiam_authenticator::image::{ImageError, ImagePolicy, choose};
use awsiam_authenticator::objects::{Objects, default_resources, objects};
use awsiam_authenticator::rollout::{self, Readiness};
use awsiam_authenticator::{cluster_id, names};
use awsiam_core::desired::Backend;
use k8s_openapi::api::core::v1::EnvVar;
use kube::ResourceExt;

pub(crate) use self::api_server::ApiServerProbe;
pub(crate) use self::backends::runs_with;
pub use self::backends::stated_backends;
pub(crate) use self::conditions::Said;
pub(crate) use self::control_plane::Turns;
pub(crate) use self::control_plane::is_going;
pub(crate) use self::image_change::Taken;
pub(crate) use self::reads::Reads;
pub(crate) use self::seen::{CrdRights, Seen, Watches};

use crate::error::Error;
use crate::hands_off::Pause;
use crate::operator::Operator;
use crate::reporter::Planned;
use crate::target::Target;

/// What is wanted of the authenticator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// That it runs.
    Run,
    /// That it goes.
    Remove,
    /// Nothing: what is there stays as it is, because nobody says what is wanted.
    Keep,
}

/// Carries the authenticator's part out and says what came of it. An error becomes the condition of its part.
pub(crate) async fn carry_out(
    operator: &Operator,
    target: &Arc<Target>,
    cluster: &Cluster,
    planned: &Planned,
) -> Vec<Said> {
    let block = cluster.spec.authenticator();
    let settings = planned.inputs.resolution.settings.as_ref();
    if block.mode == AuthenticatorMode::External {
        if let Err(error) = image_change::end_if_begun(operator, cluster, planned.pause).await {
            tracing::warn!(%error, "can't say that the image is not ours to change any more");
        }
        operator.options.metrics.certificates(cluster, None);
        return external(operator, target, cluster, settings, planned.pause).await;
    }
    let wish = wish(planned);
    if wish == Wish::Remove {
        operator.options.metrics.certificates(cluster, None);
    }
    match Box::pin(daemon_set_mode(operator, target, cluster, settings, wish, planned)).await {
        Ok(said) => said,
        Err(error) => vec![conditions::failed(&error)],
    }
}

/// When to look again, while something is waited for that is not watched.
pub(crate) fn again(operator: &Operator, target: &Target, said: &[Said]) -> Option<Duration> {
    let probe = target.api_server.again().filter(|_| !said.is_empty());
    let image = image_change::again(operator, said);
    said.iter().filter_map(Said::again).chain(probe).chain(image).min()
}

fn wish(planned: &Planned) -> Wish {
    use awsiam_core::desired::Refs;
    match &planned.inputs.resolution.refs {
        _ if planned.inputs.remove_all => Wish::Remove,
        // An explicit empty list, or one that names other providers alone.
        Refs::Listed(configs) if configs.is_empty() => Wish::Remove,
        Refs::Listed(_) if planned.inputs.resolution.settings.is_some() => Wish::Run,
        Refs::Listed(_) | Refs::Absent => Wish::Keep,
    }
}

/// Somebody else runs the authenticator: the kubeconfig alone is ours, where the cluster's id is known.
async fn external(
    operator: &Operator,
    target: &Arc<Target>,
    cluster: &Cluster,
    settings: Option<&Settings>,
    pause: Option<Pause>,
) -> Vec<Said> {
    let block = cluster.spec.authenticator();
    let (Some(id), Some(settings)) = (block.cluster_id.as_deref(), settings) else { return Vec::new() };
    let made = async {
        let secret = match target.kind {
            TargetKind::Local => operator.authenticator_watches(target).kubeconfig.one().await?,
            TargetKind::Remote => kubeconfig::read(operator, cluster).await?,
        };
        kubeconfig::keep(operator, target, cluster, id, &settings.region, secret.as_deref(), pause).await
    };
    vec![made.await.unwrap_or_else(|error| conditions::kubeconfig_failed(&error))]
}

async fn daemon_set_mode(
    operator: &Operator,
    target: &Arc<Target>,
    cluster: &Cluster,
    settings: Option<&Settings>,
    wish: Wish,
    planned: &Planned,
) -> Result<Vec<Said>, Error> {
    let seen = seen_of(operator, target, cluster, settings).await?;
    if wish != Wish::Run && (seen.daemon_set.is_none() || runs(&seen)) {
        image_change::end_if_begun(operator, cluster, planned.pause).await?;
    }
    match (wish, settings) {
        (Wish::Remove, _) => removal::remove(operator, target, cluster, &seen, planned).await,
        (Wish::Run, Some(settings)) => match backends::to_run(cluster, settings, &seen, planned) {
            backends::Run::AsAsked => {
                let said = run(operator, target, cluster, settings, &seen, planned.pause).await?;
                if planned.pause.is_none() && !settings.backends.contains(&Backend::Crd) {
                    backends::forget_crd(operator, target, &seen, settings).await?;
                }
                Ok(said)
            }
            backends::Run::AsBefore(running, message) => {
                let settings = Settings { backends: running, ..settings.clone() };
                let mut said = run(operator, target, cluster, &settings, &seen, planned.pause).await?;
                conditions::unasked_nodes(&mut said, message);
                Ok(said)
            }
            backends::Run::Not(message) => {
                let mut said = Vec::new();
                conditions::unasked_nodes(&mut said, message);
                Ok(said)
            }
        },
        _ if seen.daemon_set.is_none() => Ok(Vec::new()),
        _ => Ok(vec![conditions::readiness(&readiness(&seen), None)]),
    }
}

async fn run(
    operator: &Operator,
    target: &Arc<Target>,
    cluster: &Cluster,
    settings: &Settings,
    seen: &Seen,
    pause: Option<Pause>,
) -> Result<Vec<Said>, Error> {
    let Some(id) = id_of(seen, target.identity().unwrap_or(&operator.management)) else {
        return Ok(vec![conditions::no_cluster_id()]);
    };
    let options = &operator.options;
    let made = facts(cluster, settings, &id, &options.images, options.probe_image.clone());
    let mut facts = match made {
        Ok(facts) => facts,
        Err(error) => return Ok(vec![conditions::image(&error)]),
    };
    let wanted = facts.image.clone();
    let anew = image_change::seen_anew(operator, target, cluster, settings, seen, &wanted, pause).await?;
    let seen = anew.as_ref().unwrap_or(seen);
    if let Some(said) = conditions::refused(cluster, &id) {
        return Ok(vec![said]);
    }
    let now = operator.now().as_second();
    let mut said = Vec::new();
    let loaded = readiness(seen);
    let is_ready = matches!(loaded, Readiness::Ready { .. });
    let kept = certificates::keep(operator, target, cluster, seen, now, pause).await?;
    operator.options.metrics.certificates(cluster, kept.until());
    match kept {
        certificates::Kept::Good(certificates) => {
            let change = image_change::of(operator, cluster, seen, &wanted, runs(seen), pause);
            facts.image = change.image();
            let objects = objects(&facts, &certificates.leaf, &certificates.issuer_pem);
            let wanted = pinned(objects, sha256(&certificates.signing_pem), &id, seen);
            let note = change.note(operator, cluster);
            let applied = apply::all(operator, target, &wanted, seen, pause, note).await;
            let settled = change.settle(operator, cluster, &applied).await;
            let applied = applied?;
            settled?;
            let is_ready = is_ready && applied == apply::Applied::Done && !change.is_new();
            said.push(match applied {
                apply::Applied::Foreign(objects) => conditions::foreign(&objects),
                apply::Applied::Pending(objects) => conditions::pending(&objects, pause),
                apply::Applied::Done => {
                    change.told(conditions::readiness(&loaded, Some((&certificates, now))))
                }
            });
            let pinned_pem = Some(certificates.pinned_pem.as_str());
            let wanted = control_plane::Wanted { pinned_pem, is_ready, pause };
            said.push(api_server::keep(operator, target, cluster, seen, wanted).await);
        }
        certificates::Kept::Lost { pin, served } => {
            // It is not as it should be, so its turn does not begin.
            let change = image_change::of(operator, cluster, seen, &wanted, false, pause);
            facts.image = change.image();
            let lost = conditions::ca_lost(cluster, served.is_some());
            if let Some((leaf, issuer_pem)) = served {
                // What serves is kept up with what is there.
                let wanted = pinned(objects(&facts, &leaf, &issuer_pem), pin, &id, seen);
                let note = change.note(operator, cluster);
                apply::all(operator, target, &wanted, seen, pause, note).await?;
            }
            said.push(change.told(lost));
            let wanted = control_plane::Wanted { pinned_pem: None, is_ready, pause };
            said.push(api_server::keep(operator, target, cluster, seen, wanted).await);
        }
        certificates::Kept::Unusable(why) => said.push(conditions::ca_unusable(cluster, &why)),
        certificates::Kept::Pending => said.push(conditions::pending(&["the CA".to_owned()], pause)),
    }
    let secret = seen.kubeconfig.as_deref();
    let kubeconfig = kubeconfig::keep(operator, target, cluster, &id, &settings.region, secret, pause).await;
    said.push(kubeconfig.unwrap_or_else(|error| conditions::kubeconfig_failed(&error)));
    conditions::unknown_variable(&mut said, cluster);
    Ok(said)
}

/// What is there of the authenticator; what only backend `CRD` needs is looked at where the target has to do with it.
async fn seen_of(
    operator: &Operator,
    target: &Arc<Target>,
    cluster: &Cluster,
    settings: Option<&Settings>,
) -> Result<Seen, Error> {
    if target.kind == TargetKind::Remote {
        return target.reads.seen(operator, target, cluster).await;
    }
    let mut seen = operator.authenticator_watches(target).seen().await?;
    let is_asked = settings.is_some_and(|settings| settings.backends.contains(&Backend::Crd));
    if is_asked || target.identity_mappings.is_watched() {
        operator.crd_rights(target).add_to(&mut seen).await?;
    }
    Ok(seen)
}

/// Whether the authenticator runs on every control-plane node, with the mappings as far as that is looked at.
fn runs(seen: &Seen) -> bool {
    matches!(readiness(seen), Readiness::Ready { .. } | Readiness::Running { .. })
}

fn readiness(seen: &Seen) -> Readiness {
    rollout::readiness(&of_rollout(seen))
}

fn of_rollout(seen: &Seen) -> rollout::Seen<'_> {
    rollout::Seen { daemon_set: seen.daemon_set.as_deref(), pods: &seen.pods, nodes: &seen.nodes }
}

/// The cluster id: the one that is recorded, else the one that the authenticator is configured with, else the
/// one that follows from the cluster, by the uid of its `kube-system`.
fn id_of(seen: &Seen, cluster: &str) -> Option<String> {
    let config_map = seen.config_map.as_deref();
    let recorded = config_map
        .filter(|config_map| apply::is_ours(*config_map))
        .and_then(|config_map| config_map.annotations().get(names::CLUSTER_ID).cloned());
    let configured = || {
        let config = config_map?.data.as_ref()?.get(awsiam_authenticator::objects::CONFIG_KEY)?;
        cluster_id::configured(config)
    };
    recorded.or_else(configured).or_else(|| cluster_id::derive(cluster))
}

/// What the objects of a Cluster's target are made from.
///
/// # Errors
/// [`ImageError`] when no image may run.
pub fn facts(
    cluster: &Cluster,
    settings: &Settings,
    id: &str,
    images: &ImagePolicy,
    probe_image: Option<String>,
) -> Result<Facts, ImageError> {
    let block = cluster.spec.authenticator();
    let version = cluster.spec.kubernetes_version.as_deref();
    let variable = |v: &ProxyVariable| EnvVar {
        name: v.name.clone(),
        value: Some(v.value.clone()),
        ..EnvVar::default()
    };
    Ok(Facts {
        cluster_id: id.to_owned(),
        region: settings.region.clone(),
        partition: settings.partition,
        backends: settings.backends.clone(),
        image: choose(block.image.as_deref(), version, images)?,
        probe_image,
        resources: block.resources.as_ref().map_or_else(default_resources, Resources::to_requirements),
        env: block.env.iter().filter(|v| PROXY_VARIABLES.contains(&v.name.as_str())).map(variable).collect(),
        taints: cluster.spec.taints().to_vec(),
    })
}

/// The objects with what the ConfigMap records: the id for good, and the CA that the target pins, by its hash. And with
/// what pods that are there need to start again.
fn pinned(mut objects: Objects, pin: String, id: &str, seen: &Seen) -> Objects {
    objects.serve(seen.serving_hashes());
    let annotations = objects.config_map.metadata.annotations.get_or_insert_default();
    annotations.insert(names::CLUSTER_ID.to_owned(), id.to_owned());
    annotations.insert(names::CA_SHA256.to_owned(), pin);
    objects
}

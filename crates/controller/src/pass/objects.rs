//! The part of a pass that is about `IAMIdentityMapping` objects: reading them where they matter, and carrying their
//! changes out. What changes is decided by the plan.

use std::sync::Arc;

use awsiam_api::Cluster;
use awsiam_api::identity_mapping::{crd, observed, written};
use awsiam_core::desired::{Backend, Refs};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::Api;

use crate::authenticator;
use crate::error::Error;
use crate::identity_mappings::{self, Found};
use crate::observe::{Inputs, KnownPlaces};
use crate::operator::Operator;
use crate::reporter::Planned;
use crate::target::Target;

/// What is known of the objects. Where neither the references ask for them nor everything of ours is to go, nothing
/// waits for them.
pub(super) async fn found(operator: &Operator, target: &Arc<Target>, inputs: &Inputs) -> Found {
    let is_asked = inputs.backends().contains(&Backend::Crd);
    let all_go = matches!(&inputs.resolution.refs, Refs::Listed(configs) if configs.is_empty());
    identity_mappings::found(operator, target, is_asked || all_go || inputs.remove_all).await
}

/// What a plan is to know of the places; none where backend `CRD` has nothing to do with the target.
pub(super) async fn places(
    operator: &Operator,
    target: &Arc<Target>,
    cluster: &Cluster,
    inputs: &Inputs,
    found: &Found,
) -> Option<KnownPlaces> {
    let backends = inputs.backends();
    let is_asked = backends.contains(&Backend::Crd);
    let objects = match found {
        Found::Objects(objects) => Some(objects.iter().map(|object| observed(object)).collect()),
        Found::NoCrd if is_asked => Some(Vec::new()),
        Found::Nothing if is_asked => None,
        Found::NoCrd | Found::Nothing => return None,
    };
    let ready = objects.is_some() && authenticator::runs_with(operator, target, cluster, backends).await;
    Some(KnownPlaces { objects, ready })
}

/// Installs the CRD where the authenticator is to ask for objects and there is none; makes and replaces objects.
pub(super) async fn write(operator: &Operator, target: &Arc<Target>, planned: &Planned) -> Result<(), Error> {
    let is_asked = planned.inputs.backends().contains(&Backend::Crd) && !planned.inputs.remove_all;
    let writes = &planned.plan.objects.changes.write;
    if matches!(planned.mappings, Found::NoCrd) && (is_asked || !writes.is_empty()) {
        install(operator, target).await?;
    }
    let mappings = &target.identity_mappings;
    let api = mappings.api();
    for write in writes {
        let result = if write.replaces.is_none() {
            operator.gateway.create_mapping(&api, &written(write, None)).await
        } else {
            let read = planned.mappings.named(&write.name).map(Arc::as_ref);
            operator.gateway.replace_mapping(&api, &written(write, read)).await
        };
        if result.as_ref().is_err_and(identity_mappings::lost_its_crd) {
            mappings.forget_crd();
        }
        mappings.saw(result?);
        tracing::info!(name = write.name, "wrote an IAMIdentityMapping");
    }
    Ok(())
}

/// Makes the CRD, and waits until it is served.
async fn install(operator: &Operator, target: &Arc<Target>) -> Result<(), Error> {
    let crds: Api<CustomResourceDefinition> = Api::all(target.client.clone());
    let crd = crd();
    let name = crd.name_any();
    operator.gateway.apply_new(&crds, &name, &crd).await?;
    tracing::info!(crd = name, "installed the CRD");
    match identity_mappings::listed(operator, target).await {
        Found::Objects(_) => Ok(()),
        Found::Nothing | Found::NoCrd => Err(Error::Unseen {
            what: "IAMIdentityMapping objects".to_owned(),
            why: "their CRD was just installed, and the API server does not serve it yet".to_owned(),
        }),
    }
}

/// Deletes the objects that go.
pub(super) async fn delete(
    operator: &Operator,
    target: &Arc<Target>,
    planned: &Planned,
) -> Result<(), Error> {
    let mappings = &target.identity_mappings;
    let api = mappings.api();
    for deletion in &planned.plan.objects.changes.delete {
        let left = operator.gateway.delete_mapping(&api, deletion).await?;
        mappings.deleted(&deletion.name, &deletion.version.uid, left);
        tracing::info!(name = deletion.name, "deleted an IAMIdentityMapping");
    }
    Ok(())
}

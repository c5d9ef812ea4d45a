//! Makes the two CRDs where they are absent and brings ours up to date, at the start of a term. What is somebody else's, or
//! newer than this awsiam, is left as it is: the gate (`crd_gate`) then waits for it.

use std::time::Duration;

use awsiam_api::{Installation, crds, installation};
use futures::future::join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;
use kube::{Client, ResourceExt};

use crate::error::Error;
use crate::gateway::{Gateway, is_race, is_refused};
use crate::watches::TakeUpAgain;

/// What to do where the operator can't.
const BY_HAND: &str = "apply what `awsiam crd` prints, as an administrator of the cluster";

/// How soon a CRD that goes is looked at again.
const GOING: Duration = Duration::from_secs(1);

/// Both CRDs, each on its own.
pub(crate) async fn install(client: &Client, gateway: &Gateway) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    join_all(crds().iter().map(|crd| install_one(&api, gateway, crd))).await;
}

/// Again and again until it is as it should be, or can't be made so.
async fn install_one(
    api: &Api<CustomResourceDefinition>,
    gateway: &Gateway,
    wanted: &CustomResourceDefinition,
) {
    let crd = wanted.name_any();
    let mut waits = TakeUpAgain::default();
    loop {
        let wait = match attempt(api, gateway, wanted).await {
            Ok(true) | Err(Error::NotLeading) => return,
            Ok(false) => GOING,
            Err(error) if is_refused(&error) && !is_race(&error) => {
                tracing::warn!(%error, crd, "can't install the CRD; {BY_HAND}");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, crd, "the CRD is not installed yet; trying again");
                waits.next().unwrap_or(GOING)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Looks at one CRD and does what is to be done. False: it has to be looked at again.
async fn attempt(
    api: &Api<CustomResourceDefinition>,
    gateway: &Gateway,
    wanted: &CustomResourceDefinition,
) -> Result<bool, Error> {
    let name = wanted.name_any();
    let found = api.get_opt(&name).await.map_err(Error::read(format!("CRD {name}")))?;
    match installation(found.as_ref()) {
        Installation::Make => {
            // Not by force: a CRD that somebody has made since then is a conflict.
            gateway.apply_new(api, &name, wanted).await?;
            tracing::info!(crd = name, "made the CRD");
        }
        Installation::Update => {
            let mut wanted = wanted.clone();
            // Of the one that was looked at, and of no other that has come in its place.
            wanted.metadata.resource_version = found.and_then(|crd| crd.metadata.resource_version);
            gateway.apply(api, &name, &wanted).await?;
            tracing::info!(crd = name, "brought the CRD up to date");
        }
        Installation::Keep => tracing::debug!(crd = name, "the CRD is of this version"),
        Installation::Wait => return Ok(false),
        Installation::Foreign => {
            tracing::info!(crd = name, "the CRD is somebody else's; it stays as it is");
        }
        Installation::Newer(version) => {
            tracing::info!(crd = name, version, "the CRD is of a newer awsiam; it stays as it is");
        }
        Installation::Unreadable(version) => tracing::warn!(
            crd = name,
            version,
            "nobody can tell of which awsiam the CRD is, so it stays as it is; {BY_HAND}"
        ),
    }
    Ok(true)
}

//! Makes the Cluster object of the cluster that the operator runs in, where there is none at the start of a term. From then
//! on it is people's: it is never changed here, and one that was deleted comes back only at the next start.

use awsiam_api::{Cluster, ClusterSpec};
use kube::Client;
use kube::api::{Api, ObjectMeta};

use crate::error::Error;
use crate::gateway::{Gateway, is_gone, is_race, is_refused};
use crate::options::LocalCluster;
use crate::watches::TakeUpAgain;

/// The object as it is made.
fn made(local: &LocalCluster, spec: &ClusterSpec) -> Cluster {
    Cluster {
        metadata: ObjectMeta {
            name: Some(local.name.clone()),
            namespace: Some(local.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: spec.clone(),
        status: None,
    }
}

/// Again and again until it is there, or is refused.
pub(crate) async fn make_if_absent(
    client: &Client,
    gateway: &Gateway,
    local: &LocalCluster,
    spec: &ClusterSpec,
) {
    let api: Api<Cluster> = Api::namespaced(client.clone(), &local.namespace);
    let cluster = format!("{}/{}", local.namespace, local.name);
    let mut told = None;
    for wait in TakeUpAgain::patient() {
        match attempt(&api, gateway, local, spec).await {
            Ok(true) => {
                tracing::info!(cluster, "made the Cluster object that stands for this cluster");
                return;
            }
            Ok(false) | Err(Error::NotLeading) => return,
            // Its namespace is not there, or the API server doesn't serve the kind yet.
            Err(error) if is_refused(&error) && !is_race(&error) && !is_gone(&error) => {
                tracing::warn!(%error, cluster, "can't make the local Cluster object; apply one yourself");
                return;
            }
            Err(error) => {
                let why = error.to_string();
                if told.as_ref() != Some(&why) {
                    tracing::warn!(
                        why,
                        cluster,
                        "the local Cluster object is not made yet; trying again. Does its namespace exist?"
                    );
                    told = Some(why);
                }
            }
        }
        tokio::time::sleep(wait).await;
    }
}

/// Whether it was absent and is made now.
async fn attempt(
    api: &Api<Cluster>,
    gateway: &Gateway,
    local: &LocalCluster,
    spec: &ClusterSpec,
) -> Result<bool, Error> {
    let what = format!("Cluster {}/{}", local.namespace, local.name);
    // Its metadata alone: one that does not decode is there, too.
    if api.get_metadata_opt(&local.name).await.map_err(Error::read(what))?.is_some() {
        return Ok(false);
    }
    gateway.apply_new(api, &local.name, &made(local, spec)).await?;
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use kube::client::Body;

    use super::*;
    use crate::options::Options;

    const NOT_SERVED: &str = "404 page not found\n";
    const ABSENT: &str =
        r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}"#;

    /// An established CRD does not mean that each API server serves the kind.
    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_not_served_yet_is_waited_for() {
        let local = LocalCluster { namespace: "default".to_owned(), name: "local".to_owned() };
        let spec = ClusterSpec::default();
        let object = serde_json::to_string(&made(&local, &spec)).unwrap();
        let to_come = vec![(200, object), (404, ABSENT.to_owned()), (404, NOT_SERVED.to_owned())];
        let (answers, asked) = (Arc::new(Mutex::new(to_come)), Arc::new(Mutex::new(Vec::new())));
        let service = tower::service_fn({
            let (answers, asked) = (answers.clone(), asked.clone());
            move |request: Request<Body>| {
                asked.lock().unwrap().push(request.method().clone());
                let (code, body) = answers.lock().unwrap().pop().unwrap();
                let response = Response::builder().status(code).body(Body::from(body.into_bytes())).unwrap();
                async move { Ok::<_, Infallible>(response) }
            }
        });
        let client = Client::new(service, "default");
        make_if_absent(&client, &Gateway::new(&Options::default()), &local, &spec).await;
        assert_eq!(*asked.lock().unwrap(), [Method::GET, Method::GET, Method::PATCH]);
    }
}

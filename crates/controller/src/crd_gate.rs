//! Whether the two CRDs in the cluster have the fields that the operator relies on. A CRD of somebody
//! else would prune `suspend` and so turn a brake into nothing: until the fields are there, nothing is
//! written.

use std::collections::BTreeMap;

use awsiam_api::{crds, missing_fields};
use futures::future::join_all;
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use tokio::sync::watch;

use crate::watches::watch_anew;

/// What is known of each CRD, by its name. Absent from the map: not looked at yet.
type Lacking = BTreeMap<String, Verdict>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Absent,
    Lacks(Vec<String>),
}

/// The gate. Clones share what is known.
#[derive(Clone, Debug)]
pub(crate) struct CrdGate {
    known: watch::Sender<Lacking>,
}

impl CrdGate {
    pub(crate) fn new() -> Self {
        Self { known: watch::Sender::new(Lacking::new()) }
    }

    /// Waits until both CRDs are there, whatever fields they have.
    pub(crate) async fn installed(&self) {
        let names: Vec<String> = crds().iter().map(ResourceExt::name_any).collect();
        let there =
            |known: &Lacking| names.iter().all(|name| known.get(name).is_some_and(|v| *v != Verdict::Absent));
        // The sender lives in `self`, so waiting does not fail.
        let _ = self.known.subscribe().wait_for(there).await;
    }

    /// What is missing, in words; `None`: nothing.
    pub(crate) fn lacking(&self) -> Option<String> {
        let known = self.known.borrow();
        let said: Vec<String> = known
            .iter()
            .filter_map(|(name, verdict)| match verdict {
                Verdict::Absent => Some(format!("CRD {name} is not installed")),
                Verdict::Lacks(fields) if fields.is_empty() => None,
                Verdict::Lacks(fields) => Some(format!("CRD {name} lacks {}", fields.join(", "))),
            })
            .collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// One item for each change of what is known.
    pub(crate) fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        futures::stream::unfold(self.known.subscribe(), async |mut known| {
            known.changed().await.ok().map(|()| ((), known))
        })
    }

    /// Watches both CRDs for ever, each by its name.
    pub(crate) async fn watch(&self, client: Client) {
        join_all(crds().iter().map(|crd| self.watch_one(client.clone(), crd.name_any()))).await;
    }

    async fn watch_one(&self, client: Client, name: String) {
        let api: Api<CustomResourceDefinition> = Api::all(client);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = watch_anew(api, config).boxed();
        let mut listed = None;
        loop {
            match events.try_next().await {
                Ok(Some(Event::Init)) => listed = None,
                Ok(Some(Event::InitApply(crd))) => listed = Some(crd),
                Ok(Some(Event::InitDone)) => self.judge(&name, listed.take().as_ref()),
                Ok(Some(Event::Apply(crd))) => self.judge(&name, Some(&crd)),
                Ok(Some(Event::Delete(_))) => self.judge(&name, None),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, crd = name, "the watch on a CRD broke; taking it up again");
                }
            }
        }
    }

    fn judge(&self, name: &str, crd: Option<&CustomResourceDefinition>) {
        let verdict = crd.map_or(Verdict::Absent, |crd| Verdict::Lacks(missing_fields(crd)));
        self.known.send_if_modified(|known| {
            let changed = known.get(name) != Some(&verdict);
            if changed {
                match &verdict {
                    Verdict::Absent => tracing::warn!(crd = name, "the CRD is not installed; waiting for it"),
                    Verdict::Lacks(fields) if fields.is_empty() => {
                        tracing::info!(crd = name, "the CRD is there");
                    }
                    Verdict::Lacks(fields) => tracing::warn!(
                        crd = name,
                        missing = fields.join(", "),
                        "the CRD lacks fields of awsiam; nothing is written until it has them"
                    ),
                }
                known.insert(name.to_owned(), verdict.clone());
            }
            changed
        });
    }
}

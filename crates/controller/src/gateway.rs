//! The one way out: every write of the operator goes through here, with its field manager, so that it
//! can be counted, stopped, and checked against the lease.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use awsiam_api::names::{COMMAND_LINE_MANAGER, FIELD_MANAGER, IDENTITY_MAPPING_KIND};
use awsiam_core::identity_mappings::Deletion;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    Api, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::Status;
use kube::core::response::reason;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::lease::Term;
use crate::metrics::Metrics;
use crate::options::Options;

/// How long a write may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Writes to one API server.
#[derive(Debug)]
pub struct Gateway {
    /// The field manager of what is written.
    manager: &'static str,
    /// For tests: how many writes are left before one never returns.
    left: Option<AtomicU64>,
    /// Until when this process may write.
    term: Option<Arc<Term>>,
    /// Where writes are counted.
    metrics: Option<Arc<Metrics>>,
}

impl Gateway {
    /// The operator's: it lets writes pass as long as the term of these options goes on, and counts them.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            manager: FIELD_MANAGER,
            left: options.hang_after_writes.map(AtomicU64::new),
            term: options.term.clone(),
            metrics: Some(options.metrics.clone()),
        }
    }

    /// One with the operator's name, for what an administrator does in its stead.
    #[must_use]
    pub fn unbound() -> Self {
        Self { manager: FIELD_MANAGER, left: None, term: None, metrics: None }
    }

    /// The gateway of an administrator at the command line, whose writes the operator tells from its own.
    #[must_use]
    pub fn by_hand() -> Self {
        Self { manager: COMMAND_LINE_MANAGER, ..Self::unbound() }
    }

    /// Lets a write pass; what writes otherwise than through this type (Events) asks here first.
    ///
    /// # Errors
    /// [`Error::NotLeading`].
    pub(crate) async fn admit(&self) -> Result<(), Error> {
        if let Some(left) = &self.left {
            let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            if taken.is_err() {
                tracing::warn!("this write hangs for ever, as a test asked for");
                futures::future::pending::<()>().await;
            }
        }
        let may_write = self.term.as_ref().is_none_or(|term| term.goes_on());
        if may_write { Ok(()) } else { Err(Error::NotLeading) }
    }

    /// Sends one write to an object of this kind. A server that does not answer is no longer waited for after [`ANSWER`];
    /// whether it wrote is found out by the next pass.
    async fn send<T>(
        &self,
        action: &'static str,
        kind: &str,
        what: String,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        self.admit().await?;
        let written = match tokio::time::timeout(ANSWER, call).await {
            Ok(answer) => answer.map_err(Error::write(action, what)),
            Err(_) => Err(Error::NoAnswer { action, what }),
        };
        if let Some(metrics) = &self.metrics {
            metrics.wrote(kind, &written);
        }
        written
    }

    /// Replaces `aws-auth`, conditionally on the resourceVersion in `config_map`.
    ///
    /// # Errors
    /// [`Error::Write`]; a 409 among them means that somebody else was faster.
    pub(crate) async fn replace(&self, client: Client, config_map: &ConfigMap) -> Result<ConfigMap, Error> {
        let (api, name) = config_maps(client, config_map);
        let params = PostParams { field_manager: Some(self.manager.to_owned()), ..PostParams::default() };
        self.send("update", "ConfigMap", format!("ConfigMap {name}"), api.replace(&name, &params, config_map))
            .await
    }

    /// Makes `aws-auth` where there is none; AlreadyExists means that somebody else was faster.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) async fn create(&self, client: Client, config_map: &ConfigMap) -> Result<ConfigMap, Error> {
        let (api, name) = config_maps(client, config_map);
        let params = PostParams { field_manager: Some(self.manager.to_owned()), ..PostParams::default() };
        self.send("create", "ConfigMap", format!("ConfigMap {name}"), api.create(&params, config_map)).await
    }

    /// Makes an IAMIdentityMapping, by a plain POST; AlreadyExists means that somebody else was faster.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) async fn create_mapping(
        &self,
        api: &Api<DynamicObject>,
        object: &DynamicObject,
    ) -> Result<DynamicObject, Error> {
        let params = PostParams { field_manager: Some(self.manager.to_owned()), ..PostParams::default() };
        self.send(
            "create",
            IDENTITY_MAPPING_KIND,
            mapping(object.metadata.name.as_deref()),
            api.create(&params, object),
        )
        .await
    }

    /// Replaces an IAMIdentityMapping, conditionally on the uid and resourceVersion in `object`.
    ///
    /// # Errors
    /// [`Error::Write`]; a 409 among them means that somebody else was faster.
    pub(crate) async fn replace_mapping(
        &self,
        api: &Api<DynamicObject>,
        object: &DynamicObject,
    ) -> Result<DynamicObject, Error> {
        let name = object.metadata.name.as_deref();
        let params = PostParams { field_manager: Some(self.manager.to_owned()), ..PostParams::default() };
        let replace = api.replace(name.unwrap_or_default(), &params, object);
        self.send("update", IDENTITY_MAPPING_KIND, mapping(name), replace).await
    }

    /// Deletes the version of an IAMIdentityMapping that was read, and no other. One that is gone already is no
    /// error. Gives the object where a finalizer still holds it.
    ///
    /// # Errors
    /// [`Error::Write`]; a 409 among them means that somebody else was faster.
    pub(crate) async fn delete_mapping(
        &self,
        api: &Api<DynamicObject>,
        deletion: &Deletion,
    ) -> Result<Option<DynamicObject>, Error> {
        let preconditions = Preconditions {
            uid: Some(deletion.version.uid.clone()),
            resource_version: Some(deletion.version.resource_version.clone()),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let delete = api.delete(&deletion.name, &params);
        match self.send("delete", IDENTITY_MAPPING_KIND, mapping(Some(&deletion.name)), delete).await {
            Err(error) if is_gone(&error) => Ok(None),
            deleted => {
                let left = deleted?.left();
                Ok(left.filter(|object| object.metadata.deletion_timestamp.is_some()))
            }
        }
    }

    /// Applies an object that only we write, by server-side apply.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) async fn apply<K>(
        &self,
        api: &Api<K>,
        name: &str,
        object: &(impl Serialize + Debug),
    ) -> Result<(), Error>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        let what = format!("{kind} {name}");
        let params = PatchParams::apply(self.manager).force();
        // Nobody looks at the answer: its metadata is enough.
        self.send("apply", &kind, what, api.patch_metadata(name, &params, &Patch::Apply(object)))
            .await
            .map(drop)
    }

    /// Applies an object that is to be new, without taking over fields that another manager has just set.
    ///
    /// # Errors
    /// [`Error::Write`]; a 409 among them means that somebody else made it.
    pub(crate) async fn apply_new<K>(
        &self,
        api: &Api<K>,
        name: &str,
        object: &(impl Serialize + Debug),
    ) -> Result<(), Error>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        let what = format!("{kind} {name}");
        let params = PatchParams::apply(self.manager);
        self.send("make", &kind, what, api.patch(name, &params, &Patch::Apply(object))).await.map(drop)
    }

    /// Replaces an object of a kind that is not ours, conditionally on the resourceVersion in it.
    ///
    /// # Errors
    /// As [`Gateway::replace`].
    pub(crate) async fn replace_dynamic(
        &self,
        api: &Api<DynamicObject>,
        object: &DynamicObject,
    ) -> Result<(), Error> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let kind = object.types.as_ref().map_or_else(String::new, |types| types.kind.clone());
        let what = format!("{kind} {}/{name}", object.metadata.namespace.as_deref().unwrap_or_default());
        let params = PostParams { field_manager: Some(self.manager.to_owned()), ..PostParams::default() };
        self.send("update", &kind, what, api.replace(&name, &params, object)).await.map(drop)
    }

    /// Deletes the object that was read, and no other of its name. One that is gone already is no error.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) async fn delete<K>(&self, api: &Api<K>, name: &str, read: &ObjectMeta) -> Result<(), Error>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        let what = format!("{kind} {name}");
        let preconditions = Preconditions { uid: read.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match self.send("delete", &kind, what, api.delete(name, &params)).await {
            Err(error) if is_gone(&error) => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Sets one annotation, or takes it out.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) async fn annotate<K>(
        &self,
        api: &Api<K>,
        name: &str,
        annotation: &str,
        value: Option<&str>,
    ) -> Result<(), Error>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let patch = serde_json::json!({"metadata": {"annotations": {annotation: value}}});
        let params = PatchParams { field_manager: Some(self.manager.to_owned()), ..PatchParams::default() };
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        let what = format!("an annotation of {kind} {name}");
        self.send("set", &kind, what, api.patch(name, &params, &Patch::Merge(&patch))).await.map(drop)
    }

    /// Sets one annotation, conditionally on the resourceVersion of the object.
    ///
    /// # Errors
    /// [`Error::Write`]; a 409 among them means that somebody else was faster.
    pub(crate) async fn annotate_version<K>(
        &self,
        api: &Api<K>,
        name: &str,
        resource_version: Option<&str>,
        annotation: &str,
        value: &str,
    ) -> Result<(), Error>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let patch = serde_json::json!({
            "metadata": {"resourceVersion": resource_version, "annotations": {annotation: value}},
        });
        let params = PatchParams { field_manager: Some(self.manager.to_owned()), ..PatchParams::default() };
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        let what = format!("an annotation of {kind} {name}");
        self.send("set", &kind, what, api.patch(name, &params, &Patch::Merge(&patch))).await.map(drop)
    }

    /// Applies the status of an object, by server-side apply on the subresource.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) async fn apply_status<K>(
        &self,
        api: &Api<K>,
        name: &str,
        status: &(impl Serialize + Debug),
    ) -> Result<(), Error>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let dynamic = K::DynamicType::default();
        let patch = serde_json::json!({
            "apiVersion": K::api_version(&dynamic),
            "kind": K::kind(&dynamic),
            "status": status,
        });
        let kind = format!("{}/status", K::kind(&dynamic));
        let what = format!("status of {} {name}", K::kind(&dynamic));
        let params = PatchParams::apply(self.manager).force();
        self.send("apply", &kind, what, api.patch_status(name, &params, &Patch::Apply(&patch)))
            .await
            .map(drop)
    }

    /// Sets the finalizers of an object, conditionally on its resourceVersion.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) async fn set_finalizers<K>(
        &self,
        api: &Api<K>,
        name: &str,
        resource_version: Option<&str>,
        finalizers: &[String],
    ) -> Result<(), Error>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let patch =
            serde_json::json!({"metadata": {"resourceVersion": resource_version, "finalizers": finalizers}});
        let params = PatchParams { field_manager: Some(self.manager.to_owned()), ..PatchParams::default() };
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        let what = format!("the finalizers of {kind} {name}");
        self.send("set", &kind, what, api.patch(name, &params, &Patch::Merge(&patch))).await.map(drop)
    }
}

fn mapping(name: Option<&str>) -> String {
    format!("{IDENTITY_MAPPING_KIND} {}", name.unwrap_or_default())
}

fn config_maps(client: Client, config_map: &ConfigMap) -> (Api<ConfigMap>, String) {
    let namespace = config_map.metadata.namespace.as_deref().unwrap_or("kube-system");
    (Api::namespaced(client, namespace), config_map.metadata.name.clone().unwrap_or_default())
}

/// Whether a write failed because somebody else was faster: read, plan and try again.
#[must_use]
pub fn is_race(error: &Error) -> bool {
    let Error::Write { source, .. } = error else { return false };
    matches!(source.as_ref(), kube::Error::Api(status) if status.is_conflict() || status.is_already_exists())
}

/// Whether what was written to is gone: nothing is left to do.
#[must_use]
pub fn is_gone(error: &Error) -> bool {
    let (Error::Write { source, .. } | Error::Read { source, .. }) = error else { return false };
    matches!(source.as_ref(), kube::Error::Api(status) if status.is_not_found())
}

/// Whether the API server refused a request, so that nothing was changed and the same would be refused again. That it does not
/// serve the kind is no refusal: it does so a moment after the CRD is established.
#[must_use]
pub fn is_refused(error: &Error) -> bool {
    let (Error::Write { source, .. } | Error::Read { source, .. }) = error else { return false };
    matches!(source.as_ref(), kube::Error::Api(status) if (400..500).contains(&status.code) && !is_not_served(status))
}

/// An API server that does not serve a kind says so in plain words, without a reason.
fn is_not_served(status: &Status) -> bool {
    status.code == 404 && status.reason != reason::NOT_FOUND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_written_before_or_after_the_term() {
        let term = Arc::new(Term::ended());
        let gateway = Gateway::new(&Options { term: Some(term.clone()), ..Options::default() });
        let sent = || gateway.send("update", "ConfigMap", "it".to_owned(), async { Ok(()) });
        assert!(matches!(sent().await, Err(Error::NotLeading)));
        term.lasts_until(tokio::time::Instant::now() + Duration::from_mins(1));
        assert!(sent().await.is_ok());
        term.end();
        assert!(matches!(sent().await, Err(Error::NotLeading)));
        assert!(matches!(gateway.admit().await, Err(Error::NotLeading)), "nor an Event");
    }
}

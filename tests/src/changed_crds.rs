//! CRDs that differ from ours, as another version of awsiam or somebody else would have them.

use awsiam_api::{crds, crds_yaml};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};

use crate::stage::{Stage, apply};

/// CRDs that differ from ours, until dropped; then what does not fit ours goes as well.
pub struct ChangedCrds<'a>(&'a Stage);

impl<'a> ChangedCrds<'a> {
    /// Applies a JSON patch to the CRDs of these kinds.
    ///
    /// # Panics
    /// When the API server refuses.
    #[expect(clippy::expect_used, reason = "only tests call this")]
    pub async fn set(stage: &'a Stage, kinds: &[&str], change: &serde_json::Value) -> Self {
        let changed = Self(stage);
        let api: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
        let patch: Patch<()> = Patch::Json(serde_json::from_value(change.clone()).expect("a JSON patch"));
        for crd in crds().iter().filter(|crd| kinds.contains(&crd.spec.names.kind.as_str())) {
            api.patch(&crd.name_any(), &PatchParams::default(), &patch).await.expect("another CRD");
        }
        changed
    }

    /// Our CRDs again.
    pub fn restore(&self) {
        // No panic: this runs after one, too.
        if let Err(error) = apply(self.0.plane, &crds_yaml()) {
            eprintln!("restoring the CRDs: {error}");
        }
    }
}

impl Drop for ChangedCrds<'_> {
    fn drop(&mut self) {
        let Ok(mut kubectl) = self.0.plane.kubectl() else { return };
        let kinds = "awsiamconfigs,clusters.anywhere.eks.amazonaws.com";
        let deleted =
            kubectl.args(["delete", kinds, "--all", "--wait=false", "-n", &self.0.namespace]).output();
        drop(deleted);
        self.restore();
    }
}

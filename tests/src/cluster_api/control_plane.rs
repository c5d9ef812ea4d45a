//! A KubeadmControlPlane without machines: what Cluster API would say of them, the test says.

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::MACHINE_TEMPLATE;
use crate::stage::Stage;

/// How a KubeadmControlPlane is made.
pub struct SetUp<'a> {
    /// Name of Cluster API's Cluster.
    pub cluster: &'a str,
    /// Name of the KubeadmControlPlane.
    pub name: &'a str,
}

/// Objects of any kind in the stage's namespace.
#[must_use]
pub fn dynamic(stage: &Stage, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(stage.client.clone(), &stage.namespace, &resource)
}

/// The KubeadmControlPlanes of the stage's namespace, in this version of their API.
#[must_use]
pub fn control_planes(stage: &Stage, version: &str) -> Api<DynamicObject> {
    dynamic(stage, "controlplane.cluster.x-k8s.io", version, "KubeadmControlPlane")
}

/// Makes Cluster API's Cluster of this name.
///
/// # Panics
/// When the API server refuses.
#[expect(clippy::expect_used, reason = "only tests call this")]
pub async fn owner(stage: &Stage, name: &str, spec: Value) {
    let owner = json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {"name": name},
        "spec": spec});
    let owner: DynamicObject = serde_json::from_value(owner).expect("an object");
    let owners = dynamic(stage, "cluster.x-k8s.io", "v1beta2", "Cluster");
    owners.create(&PostParams::default(), &owner).await.expect("a new Cluster of Cluster API");
}

impl SetUp<'_> {
    /// Makes Cluster API's Cluster and its KubeadmControlPlane, with `metadata` and as `change` leaves it; machines in
    /// order.
    ///
    /// # Panics
    /// When the API server, or Cluster API, refuses.
    #[expect(clippy::expect_used, clippy::indexing_slicing, reason = "only tests call this")]
    pub async fn make(&self, stage: &Stage, metadata: Value, change: impl FnOnce(&mut Value)) {
        let text = include_str!("../../../crates/authenticator/tests/kubeadm_control_plane/v1beta2.yaml");
        let mut object: Value = serde_saphyr::from_str(text).expect("the stored text");
        if let Some(object) = object.as_object_mut() {
            object.remove("status");
        }
        object["metadata"] = metadata;
        object["metadata"]["name"] = json!(self.name);
        if let Some(spec) = object["spec"]["kubeadmConfigSpec"].as_object_mut() {
            spec.remove("aFieldOfTomorrow");
        }
        object["spec"]["machineTemplate"]["spec"]["infrastructureRef"]["kind"] = json!(MACHINE_TEMPLATE);
        change(&mut object);
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        let api = control_planes(stage, "v1beta2");
        api.create(&PostParams::default(), &object).await.expect("a new KubeadmControlPlane");
        let reference = json!({"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane",
            "name": self.name});
        owner(stage, self.cluster, json!({"controlPlaneRef": reference})).await;
        machines(stage, self.name, 3).await;
    }
}

/// Says that so many of three machines are up to date, in the places of both versions.
///
/// # Panics
/// When the API server refuses.
#[expect(clippy::expect_used, reason = "only tests call this")]
pub async fn machines(stage: &Stage, name: &str, up_to_date: u32) {
    let api = control_planes(stage, "v1beta2");
    let generation = api.get(name).await.expect("the KubeadmControlPlane").metadata.generation;
    let status = json!({"status": {"observedGeneration": generation, "replicas": 3, "readyReplicas": 3,
        "availableReplicas": 3, "upToDateReplicas": up_to_date,
        "deprecated": {"v1beta1": {"readyReplicas": 3, "updatedReplicas": up_to_date, "unavailableReplicas": 0}}}});
    let patch = Patch::Merge(&status);
    api.patch_status(name, &PatchParams::default(), &patch).await.expect("a new status");
}

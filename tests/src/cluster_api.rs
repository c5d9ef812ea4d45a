//! Cluster API as far as a KubeadmControlPlane is concerned: its real CRDs in both versions, and its real manager,
//! which judges every write (webhooks) and converts between the versions. As a process on loopback, like the rest.
//!
//! No machine is ever made: nothing here knows an infrastructure. The kind that templates refer to is a stand-in.

mod control_plane;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::control_plane::certificates::Authority;
use crate::control_plane::servers::{free_port, until};
use crate::control_plane::supervised::{Entrance, Program};
use crate::control_plane::{ControlPlane, ControlPlaneError, programs};

pub use self::control_plane::{SetUp, control_planes, dynamic, machines, owner};

const PROGRAM: &str = "kubeadm-control-plane";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// The kind that a KubeadmControlPlane's `machineTemplate` may refer to: a stand-in with no controller.
pub const MACHINE_TEMPLATE: &str = "StandInMachineTemplate";

/// The running manager. Dropping it stops it; CRDs and webhook configurations stay, and refuse every write.
#[derive(Debug)]
pub struct ClusterApi {
    _manager: Program,
}

impl ClusterApi {
    /// Installs CRDs and webhooks in `control_plane` and starts the manager; returns when it answers.
    ///
    /// # Errors
    ///
    /// Where the manager can't be built or started, isn't ready in time, or the API server refuses a manifest.
    pub async fn start(control_plane: &ControlPlane) -> Result<Self, ControlPlaneError> {
        let bin = programs::folder_with(&[PROGRAM])?;
        let folder = control_plane.folder().join("cluster-api");
        let authority = Authority::new("awsiam-test-cluster-api")?;
        write_certificate(&folder, &authority)?;
        let (webhooks, health) = (free_port()?, free_port()?);
        let client = control_plane.client();
        let site = Site { address: format!("https://127.0.0.1:{webhooks}"), authority: &authority };
        install(&client, &bin.join("cluster-api"), &site).await?;
        let arguments = [
            format!("--kubeconfig={}", control_plane.kubeconfig_path().display()),
            format!("--webhook-port={webhooks}"),
            format!("--webhook-cert-dir={}", folder.display()),
            format!("--health-addr=127.0.0.1:{health}"),
            // No metrics: their default port would be the same for every control plane on this machine.
            "--diagnostics-address=0".to_owned(),
            "--insecure-diagnostics".to_owned(),
            // The CRDs are new; there is nothing to migrate.
            "--skip-crd-migration-phases=StorageVersionMigration,CleanupManagedFields".to_owned(),
        ];
        let log = control_plane.folder().join(format!("{PROGRAM}.log"));
        let mut manager = Program::start(&Entrance::default(), &bin.join(PROGRAM), &arguments, &[], &log)
            .map_err(|source| ControlPlaneError::Spawn { program: PROGRAM.to_owned(), source })?;
        until(&mut [&mut manager], async || is_ready(health)).await?;
        Ok(Self { _manager: manager })
    }
}

/// Where the manager listens, and who vouches for it.
struct Site<'a> {
    address: String,
    authority: &'a Authority,
}

impl Site<'_> {
    fn client_config(&self, path: &str) -> Value {
        let bundle = STANDARD.encode(self.authority.certificate());
        json!({ "url": format!("{}{path}", self.address), "caBundle": bundle })
    }
}

fn write_certificate(folder: &Path, authority: &Authority) -> Result<(), ControlPlaneError> {
    let identity = authority.server("kubeadm-control-plane", &["127.0.0.1"])?;
    std::fs::create_dir_all(folder).map_err(ControlPlaneError::file("create", folder))?;
    for (name, text) in [("tls.crt", identity.certificate), ("tls.key", identity.key)] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(ControlPlaneError::file("write", &path))?;
    }
    Ok(())
}

#[expect(clippy::indexing_slicing, reason = "of Cluster API's own manifests; only tests call this")]
async fn install(client: &Client, manifests: &Path, site: &Site<'_>) -> Result<(), ControlPlaneError> {
    let mut crds = vec![stand_in()];
    for name in [
        "cluster.x-k8s.io_clusters",
        "cluster.x-k8s.io_machines",
        "bootstrap.cluster.x-k8s.io_kubeadmconfigs",
        "controlplane.cluster.x-k8s.io_kubeadmcontrolplanes",
    ] {
        crds.extend(documents(&manifests.join(format!("{name}.yaml")))?);
    }
    for mut crd in crds {
        // What Cluster API's own installation adds to each (its `config/crd/kustomization.yaml`): which version speaks
        // which contract.
        crd["metadata"]["labels"] =
            json!({ "cluster.x-k8s.io/v1beta1": "v1beta1", "cluster.x-k8s.io/v1beta2": "v1beta2" });
        if crd["spec"]["names"]["kind"] == "KubeadmControlPlane" {
            crd["spec"]["conversion"] = json!({
                "strategy": "Webhook",
                "webhook": { "conversionReviewVersions": ["v1"], "clientConfig": site.client_config("/convert") },
            });
        }
        install_crd(client, crd, manifests).await?;
    }
    for mut configuration in documents(&manifests.join("manifests.yaml"))? {
        for webhook in configuration["webhooks"].as_array_mut().into_iter().flatten() {
            let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap_or_default().to_owned();
            webhook["clientConfig"] = site.client_config(&path);
        }
        let kind = configuration["kind"].as_str().unwrap_or_default().to_owned();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(ADMISSION, "v1", &kind));
        let configurations: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let configuration: DynamicObject = parsed(configuration, manifests)?;
        configurations
            .create(&PostParams::default(), &configuration)
            .await
            .map_err(ControlPlaneError::request(format!("create Cluster API's {kind}")))?;
    }
    Ok(())
}

async fn install_crd(client: &Client, crd: Value, manifests: &Path) -> Result<(), ControlPlaneError> {
    let crd: CustomResourceDefinition = parsed(crd, manifests)?;
    let name = crd.name_any();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .create(&PostParams::default(), &crd)
        .await
        .map_err(ControlPlaneError::request(format!("create CRD {name}")))?;
    until(&mut [], async || {
        let wait = await_condition(definitions.clone(), &name, is_crd_established());
        wait.await.map(drop).map_err(|error| error.to_string())
    })
    .await
}

/// The kind that KubeadmControlPlanes refer to for their machines: any will do.
fn stand_in() -> Value {
    let version = |name: &str, storage: bool| {
        let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        json!({ "name": name, "served": true, "storage": storage, "schema": { "openAPIV3Schema": schema } })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "standinmachinetemplates.infrastructure.cluster.x-k8s.io" },
        "spec": {
            "group": "infrastructure.cluster.x-k8s.io",
            "names": {
                "kind": MACHINE_TEMPLATE,
                "listKind": "StandInMachineTemplateList",
                "plural": "standinmachinetemplates",
                "singular": "standinmachinetemplate",
            },
            "scope": "Namespaced",
            "versions": [version("v1beta1", false), version("v1beta2", true)],
        },
    })
}

fn documents(path: &Path) -> Result<Vec<Value>, ControlPlaneError> {
    let text = std::fs::read_to_string(path).map_err(ControlPlaneError::file("read", path))?;
    serde_saphyr::from_multiple(&text)
        .map_err(|error| ControlPlaneError::Manifest { path: path.to_owned(), reason: error.to_string() })
}

fn parsed<T: serde::de::DeserializeOwned>(value: Value, path: &Path) -> Result<T, ControlPlaneError> {
    serde_json::from_value(value)
        .map_err(|error| ControlPlaneError::Manifest { path: path.to_owned(), reason: error.to_string() })
}

/// Ready is: the webhooks are served (<https://pkg.go.dev/sigs.k8s.io/controller-runtime/pkg/healthz>).
fn is_ready(port: u16) -> Result<(), String> {
    let status = status_line(port).map_err(|error| format!("/readyz: {error}"))?;
    if status.contains(" 200 ") { Ok(()) } else { Err(format!("/readyz: {status}")) }
}

fn status_line(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

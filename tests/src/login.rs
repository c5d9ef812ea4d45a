//! Logins as users do them: `kubectl` with a kubeconfig whose exec plugin makes the token, in the environment of an
//! AWS identity. What the answer should be is for tests to say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use crate::control_plane::supervised::Entrance;
use crate::control_plane::{ControlPlane, ControlPlaneError, programs};
use crate::sts::{Identity, REGION, Sts};

/// Who the API server takes somebody for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WhoAmI {
    /// The Kubernetes username.
    pub username: String,
    /// Groups, `system:authenticated` among them.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What the authenticator tells besides, such as `arn` and `sessionName`.
    #[serde(default)]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Which program makes the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenBy {
    /// `aws-iam-authenticator token`
    Authenticator,
    /// `aws eks get-token`
    AwsCli,
}

impl TokenBy {
    fn command(self, cluster_id: &str) -> (&'static str, Vec<&str>) {
        match self {
            Self::Authenticator => ("aws-iam-authenticator", vec!["token", "-i", cluster_id]),
            Self::AwsCli => {
                ("aws", vec!["eks", "get-token", "--cluster-name", cluster_id, "--region", REGION])
            }
        }
    }
}

/// Writes a user's kubeconfig for `plane` by hand, and returns its path.
///
/// # Errors
///
/// Where the file can't be written.
pub fn user_kubeconfig(
    plane: &ControlPlane,
    by: TokenBy,
    cluster_id: &str,
) -> Result<PathBuf, ControlPlaneError> {
    let (command, arguments) = by.command(cluster_id);
    let server = plane.server();
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "it", "cluster": {
            "server": server.url,
            "certificate-authority-data": STANDARD.encode(&server.authority),
        } }],
        "users": [{ "name": "user", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "interactiveMode": "Never",
            "command": command,
            "args": arguments,
        } } }],
        "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "user" } }],
        "current-context": "it",
    });
    let path = plane.folder().join(format!("user-{command}-{cluster_id}.kubeconfig"));
    std::fs::write(&path, document.to_string()).map_err(ControlPlaneError::file("write", &path))?;
    Ok(path)
}

/// Who `identity` is for the API server of `kubeconfig`, asked with `kubectl auth whoami` where `plane` runs. The
/// programs that make tokens are on its `PATH`.
///
/// # Errors
///
/// What kubectl printed, when it did not get in; why it could not be run.
pub fn whoami(
    plane: &ControlPlane,
    sts: &Sts,
    kubeconfig: &Path,
    identity: &Identity,
) -> Result<WhoAmI, String> {
    whoami_at(&plane.place().entrance, plane.folder(), sts, kubeconfig, identity)
}

/// The same, asked anywhere, with kubectl's cache below `folder`.
pub(crate) fn whoami_at(
    entrance: &Entrance,
    folder: &Path,
    sts: &Sts,
    kubeconfig: &Path,
    identity: &Identity,
) -> Result<WhoAmI, String> {
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        user_info: WhoAmI,
    }

    let mut kubectl = user_kubectl(entrance, folder, sts, identity).map_err(|error| error.to_string())?;
    kubectl.arg("--kubeconfig").arg(kubeconfig).args(["auth", "whoami", "--output=json"]);
    let output = kubectl.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let review: Review = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    Ok(review.status.user_info)
}

fn user_kubectl(
    entrance: &Entrance,
    folder: &Path,
    sts: &Sts,
    identity: &Identity,
) -> Result<Command, ControlPlaneError> {
    let bin = programs::folder_with(&["kubectl", "aws-iam-authenticator"])?;
    let mut kubectl = entrance.command(bin.join("kubectl"));
    identity.apply(&mut kubectl);
    let mut path = OsString::from(&bin);
    for folder in [Some(sts.bin().into_os_string()), std::env::var_os("PATH")].into_iter().flatten() {
        path.push(":");
        path.push(folder);
    }
    kubectl.env("PATH", path).env("KUBECACHEDIR", folder.join("home/user"));
    Ok(kubectl)
}

//! Kubeconfigs that need nothing beside them: certificates, keys and tokens are inside, so one can be put into a Secret.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use super::ControlPlaneError;
use super::certificates::Identity;

/// The API server as a client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    /// PEM of the authority that signed the server's certificate.
    pub(crate) authority: String,
}

/// How a client shows who it is: the `user` part of a kubeconfig.
#[derive(Debug, Clone)]
pub(crate) struct Credentials(Value);

impl Credentials {
    pub(crate) fn certificate(identity: &Identity) -> Self {
        Self(json!({
            "client-certificate-data": STANDARD.encode(&identity.certificate),
            "client-key-data": STANDARD.encode(&identity.key),
        }))
    }

    pub(crate) fn token(token: &str) -> Self {
        Self(json!({ "token": token }))
    }

    /// These credentials, in the name of somebody else.
    pub(crate) fn impersonating(&self, user: &str, groups: &[&str]) -> Self {
        let mut credentials = self.0.clone();
        if let Value::Object(fields) = &mut credentials {
            fields.insert("as".to_owned(), json!(user));
            fields.insert("as-groups".to_owned(), json!(groups));
        }
        Self(credentials)
    }
}

fn document(server: &Server, credentials: &Credentials) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "awsiam-test",
            "cluster": {
                "server": server.url,
                "certificate-authority-data": STANDARD.encode(&server.authority),
            },
        }],
        "users": [{ "name": "user", "user": credentials.0 }],
        "contexts": [{ "name": "awsiam-test", "context": { "cluster": "awsiam-test", "user": "user" } }],
        "current-context": "awsiam-test",
    })
}

/// Writes the kubeconfig as JSON, which every reader of YAML reads.
pub(crate) fn write(
    path: &Path,
    server: &Server,
    credentials: &Credentials,
) -> Result<(), ControlPlaneError> {
    let text = format!("{:#}\n", document(server, credentials));
    std::fs::write(path, text).map_err(ControlPlaneError::file("write", path))
}

/// What kube makes of the kubeconfig at `path`, and the name by which the audit log will know the client.
pub(crate) async fn read(path: &Path) -> Result<Config, ControlPlaneError> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    if let (Ok(name), Ok(value)) = ("user-agent".parse(), "awsiam-tests".parse()) {
        config.headers.push((name, value));
    }
    Ok(config)
}

//! The API server's token webhook: the file that it reads, and the flags that name it.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{ControlPlane, ControlPlaneError};

impl ControlPlane {
    /// The kubeconfig by which an API server asks the authenticator at `url`, trusting `authority` (PEM). Shape:
    /// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#webhook-token-authentication>
    #[must_use]
    pub fn webhook_kubeconfig(url: &str, authority: &str) -> String {
        let document: Value = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "authenticator",
                "cluster": { "server": url, "certificate-authority-data": STANDARD.encode(authority) },
            }],
            "users": [{ "name": "api-server" }],
            "contexts": [{ "name": "webhook", "context": { "cluster": "authenticator", "user": "api-server" } }],
            "current-context": "webhook",
        });
        format!("{document:#}\n")
    }

    /// Where [`ControlPlane::use_webhook`] writes the file.
    #[must_use]
    pub fn webhook_file(&self) -> PathBuf {
        self.folder().join("webhook.kubeconfig")
    }

    /// Writes `kubeconfig` into [`ControlPlane::webhook_file`], and then as [`ControlPlane::use_webhook_file`].
    ///
    /// # Errors
    ///
    /// Where the file can't be written, or the API server isn't ready in time.
    pub async fn use_webhook(&mut self, kubeconfig: &str) -> Result<(), ControlPlaneError> {
        let file = self.webhook_file();
        std::fs::write(&file, kubeconfig).map_err(ControlPlaneError::file("write", &file))?;
        self.use_webhook_file(&file).await
    }

    /// Starts the API server anew with the flags that name `file`, a path where it runs; answers of the webhook are
    /// kept for 5 s. Other arguments given before are replaced.
    ///
    /// # Errors
    ///
    /// Where the API server isn't ready in time, as without that file.
    pub async fn use_webhook_file(&mut self, file: &Path) -> Result<(), ControlPlaneError> {
        self.stop_api_server();
        self.set_api_server_arguments(vec![
            format!("--authentication-token-webhook-config-file={}", file.display()),
            "--authentication-token-webhook-cache-ttl=5s".to_owned(),
        ]);
        self.start_api_server().await
    }

    /// Starts the API server anew without a webhook. Other arguments given before are replaced.
    ///
    /// # Errors
    ///
    /// Where the API server isn't ready in time.
    pub async fn use_no_webhook(&mut self) -> Result<(), ControlPlaneError> {
        self.stop_api_server();
        self.set_api_server_arguments(Vec::new());
        self.start_api_server().await
    }
}

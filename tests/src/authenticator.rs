//! The real `aws-iam-authenticator` for tests: as an image for a node, and as a process beside a control plane without
//! nodes. How the product deploys it is not known here.

use std::fs;
use std::net::TcpStream;
use std::path::Path;

use serde_json::json;

use crate::control_plane::certificates::Authority;
use crate::control_plane::servers::{free_port, until};
use crate::control_plane::supervised::Program;
use crate::control_plane::{ControlPlane, ControlPlaneError, programs};
use crate::image::Image;
use crate::machine::MachineError;

/// File name of the program.
const PROGRAM: &str = "aws-iam-authenticator";

/// An image called `name` with the authenticator in it. It trusts `authority` (PEM) alone, so that a container needs
/// nothing but the proxy's address to ask the tests' STS.
///
/// # Errors
///
/// Where the program can't be built or read.
pub fn image(name: &str, authority: &str) -> Result<Image, MachineError> {
    let program = programs::folder_with(&[PROGRAM])?.join(PROGRAM);
    let path = format!("/{PROGRAM}");
    Ok(Image::new(name, &path).executable(&path, &program)?.trusting(authority))
}

/// What the authenticator serves with, all PEM, made anew each time.
pub struct Serving {
    /// Certificate of the authority that signed the other one: what the API server is to trust.
    pub authority: String,
    /// For `localhost` and `127.0.0.1`.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Serving {
    /// A new authority with one certificate.
    ///
    /// # Errors
    ///
    /// Where none can be made.
    pub fn new() -> Result<Self, ControlPlaneError> {
        let authority = Authority::new("awsiam-test-webhook")?;
        let server = authority.server(PROGRAM, &["localhost", "127.0.0.1"])?;
        Ok(Self {
            authority: authority.certificate().to_owned(),
            certificate: server.certificate,
            key: server.key,
        })
    }
}

/// The configuration file of a server that reads `aws-auth` and listens on loopback.
#[must_use]
pub fn configuration(cluster_id: &str, port: u16, state: &Path) -> String {
    json!({
        "clusterID": cluster_id,
        "server": { "address": "127.0.0.1", "port": port, "stateDir": state, "backendMode": ["EKSConfigMap"] },
    })
    .to_string()
}

/// A running authenticator. Dropping it stops it.
#[derive(Debug)]
pub struct Process {
    _program: Program,
    url: String,
}

impl Process {
    /// Starts one where the servers of `plane` run, which must be here; returns when it listens, with or without
    /// mappings. `kubeconfig` is its own for `plane`, `environment` what it has besides this process's.
    ///
    /// # Errors
    ///
    /// Where it can't be built, or doesn't start; the error names the log.
    pub async fn start(
        plane: &ControlPlane,
        kubeconfig: &Path,
        cluster_id: &str,
        serving: &Serving,
        environment: &[(String, String)],
    ) -> Result<Self, ControlPlaneError> {
        let state = plane.folder().join("authenticator");
        fs::create_dir_all(&state).map_err(ControlPlaneError::file("create", &state))?;
        let port = free_port()?;
        let settings = configuration(cluster_id, port, &state);
        for (name, text) in
            [("cert.pem", &serving.certificate), ("key.pem", &serving.key), ("config.yaml", &settings)]
        {
            let path = state.join(name);
            fs::write(&path, text).map_err(ControlPlaneError::file("write", &path))?;
        }
        let arguments = [
            "server".to_owned(),
            format!("--config={}", state.join("config.yaml").display()),
            format!("--state-dir={}", state.display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            "--kubeconfig-pregenerated=true".to_owned(),
            "--backend-mode=EKSConfigMap".to_owned(),
        ];
        let program = programs::folder_with(&[PROGRAM])?.join(PROGRAM);
        let log = state.join("authenticator.log");
        let mut program = Program::start(&plane.place().entrance, &program, &arguments, environment, &log)
            .map_err(|source| ControlPlaneError::Spawn { program: PROGRAM.to_owned(), source })?;
        let listens =
            async || TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string());
        until(&mut [&mut program], listens).await?;
        Ok(Self { _program: program, url: format!("https://127.0.0.1:{port}/authenticate") })
    }

    /// What an API server is to ask.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

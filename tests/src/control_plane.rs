//! A real Kubernetes control plane for tests: etcd and kube-apiserver as processes on loopback, up in about 3 seconds,
//! with the controller manager and the scheduler where a test asks for them. No containers, no nodes, no pods.
//!
//! ```no_run
//! # async fn example() -> Result<(), awsiam_tests::control_plane::ControlPlaneError> {
//! use awsiam_tests::control_plane::ControlPlane;
//!
//! let control_plane = ControlPlane::start().await?;
//! let client = control_plane.client();
//! # Ok(())
//! # }
//! ```
//!
//! Nothing stays behind: when the value is dropped, and just as well when the test is killed, every process ends and
//! the folder goes. After a panic the folder stays, with the logs in it. What is tested is never known here.

mod audit;
pub(crate) mod certificates;
mod error;
pub(crate) mod kubeconfig;
pub(crate) mod place;
pub(crate) mod programs;
pub(crate) mod servers;
mod shared;
pub(crate) mod supervised;
mod webhook;

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client, Config};

pub use self::audit::{AuditEvent, AuditMark};
pub use self::error::{ControlPlaneError, LogTail};
pub use self::shared::shared;

use self::kubeconfig::{Credentials, Server};
use self::place::Place;
use self::servers::Servers;
use self::supervised::Folder;

/// Where `kubectl` lies, for who has a kubeconfig of a control plane.
///
/// # Errors
///
/// Where it can't be built.
pub fn kubectl_program() -> Result<PathBuf, ControlPlaneError> {
    Ok(programs::folder_with(&["kubectl"])?.join("kubectl"))
}

/// What a control plane consists of.
#[derive(Debug, Clone)]
pub struct Options {
    /// More arguments for kube-apiserver, behind ours: of a flag given twice the last one counts.
    pub api_server_arguments: Vec<String>,
    /// Whether requests are written to an audit log. On by default.
    pub audit: bool,
    /// Whether kube-controller-manager runs: without it no namespace or owned object is ever deleted, and namespaces
    /// get no `default` ServiceAccount. Off by default; costs about a second and 110 MB.
    pub controller_manager: bool,
    /// Whether kube-scheduler runs: without it no pod gets a node. Off by default; costs 65 MB.
    pub scheduler: bool,
    /// A folder for data and logs that stays afterwards, with the cluster's objects in it. By default a temporary one.
    /// Its path must be shorter than 90 bytes: a Unix socket lies in it.
    pub folder: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_server_arguments: Vec::new(),
            audit: true,
            controller_manager: false,
            scheduler: false,
            folder: None,
        }
    }
}

/// A running control plane. Dropping it stops it.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped first: the folder goes when nobody writes into it any more.
    servers: Servers,
    folder: Folder,
    kubeconfig: PathBuf,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver, with an audit log, and returns when they are ready.
    ///
    /// # Errors
    ///
    /// Where the programs cannot be built, or one of them ends or isn't ready in time; the error names the log.
    pub async fn start() -> Result<Self, ControlPlaneError> {
        Self::start_with(Options::default()).await
    }

    /// Starts what `options` ask for, and returns when it is ready. The scheduler has no sign of being ready.
    ///
    /// # Errors
    ///
    /// As for [`ControlPlane::start`].
    pub async fn start_with(options: Options) -> Result<Self, ControlPlaneError> {
        Self::start_at(Place::here(), options).await
    }

    /// The same somewhere else, as in a test machine.
    pub(crate) async fn start_at(place: Place, options: Options) -> Result<Self, ControlPlaneError> {
        let bin = programs::folder_with(&options.programs())?;
        let folder = match &options.folder {
            Some(path) => Folder::lasting(path).map_err(ControlPlaneError::file("create", path)),
            None => Folder::temporary().map_err(ControlPlaneError::file("create", &std::env::temp_dir())),
        }?;
        let servers =
            Servers::start(&bin, folder.path(), place, options).await.inspect_err(|_| folder.keep())?;
        let kubeconfig = servers.admin_kubeconfig();
        Ok(Self { servers, folder, kubeconfig })
    }

    /// Where data, logs, certificates and kubeconfigs lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Address of the API server, `https://ADDRESS:PORT`, on loopback unless it runs in a test machine. It stays the same when the server is started again.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.servers.server().url
    }

    /// Kubeconfig file of the administrator (user `admin`, group `system:masters`). Certificates are inside.
    #[must_use]
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes a kubeconfig for `user` in `groups`, by impersonation, and returns its path. The server adds the group
    /// `system:authenticated`, and a ServiceAccount's own groups to `system:serviceaccount:NAMESPACE:NAME`.
    ///
    /// # Errors
    ///
    /// Where the file can't be written.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf, ControlPlaneError> {
        self.write_kubeconfig(user, &self.servers.admin().impersonating(user, groups))
    }

    /// Writes a kubeconfig with a token of an existing ServiceAccount, valid for an hour, and returns its path.
    ///
    /// # Errors
    ///
    /// Where the ServiceAccount isn't there or the file can't be written.
    pub async fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf, ControlPlaneError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await.map_err(
            ControlPlaneError::request(format!("get a token of ServiceAccount {namespace}/{name}")),
        )?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();
        self.write_kubeconfig(&format!("{namespace}-{name}"), &Credentials::token(&token))
    }

    /// Writes a kubeconfig with a certificate for `user` in `group`, and returns its path.
    pub(crate) fn certificate_kubeconfig(
        &self,
        name: &str,
        user: &str,
        group: &str,
    ) -> Result<PathBuf, ControlPlaneError> {
        self.servers.client_kubeconfig(name, user, group)
    }

    /// Where the servers run.
    pub(crate) fn place(&self) -> &Place {
        self.servers.place()
    }

    /// The API server as clients see it.
    pub(crate) fn server(&self) -> &Server {
        self.servers.server()
    }

    fn write_kubeconfig(&self, user: &str, credentials: &Credentials) -> Result<PathBuf, ControlPlaneError> {
        // A colon would end the path in KUBECONFIG, which is a list.
        let name: String = user.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let path = self.folder().join(format!("{name}.kubeconfig"));
        kubeconfig::write(&path, self.servers.server(), credentials)?;
        Ok(path)
    }

    /// The administrator's client configuration, to be changed before a client is made of it.
    #[must_use]
    pub fn client_config(&self) -> Config {
        self.servers.config().clone()
    }

    /// A new client for the administrator. A client's connections end with the runtime that made it, so each
    /// `#[tokio::test]` must get its own from here; call it inside of one.
    #[must_use]
    pub fn client(&self) -> Client {
        client(self.client_config())
    }

    /// A new client for `user` in `groups`, by impersonation, as in [`ControlPlane::kubeconfig_for`].
    #[must_use]
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Client {
        let mut config = self.client_config();
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups = Some(groups.iter().map(ToString::to_string).collect());
        client(config)
    }

    /// A new client with the rights of a ServiceAccount, by impersonation. The ServiceAccount need not exist.
    #[must_use]
    pub fn client_as_service_account(&self, namespace: &str, name: &str) -> Client {
        self.client_as(&format!("system:serviceaccount:{namespace}:{name}"), &[])
    }

    /// All requests so far that the audit log tells of: not the API server's own, and no readiness checks. A request
    /// that was answered is in it.
    ///
    /// # Errors
    ///
    /// Where the log can't be read, as without [`Options::audit`].
    pub fn audit_events(&self) -> Result<Vec<AuditEvent>, ControlPlaneError> {
        self.audit_events_since(AuditMark::default())
    }

    /// The end of the audit log as it is now.
    ///
    /// # Errors
    ///
    /// As for [`ControlPlane::audit_events`].
    pub fn audit_mark(&self) -> Result<AuditMark, ControlPlaneError> {
        audit::mark(&self.servers.audit_log())
    }

    /// The requests that were answered after `mark` was made.
    ///
    /// # Errors
    ///
    /// As for [`ControlPlane::audit_events`].
    pub fn audit_events_since(&self, mark: AuditMark) -> Result<Vec<AuditEvent>, ControlPlaneError> {
        audit::events_since(&self.servers.audit_log(), mark)
    }

    /// Kills the API server; etcd and with it all objects stay. Nothing happens when it isn't running.
    pub fn stop_api_server(&mut self) {
        self.servers.stop_api_server();
    }

    /// Starts the API server again on the same port, with the same certificates, and returns when it is ready.
    ///
    /// # Errors
    ///
    /// As for [`ControlPlane::start`], and when it runs already.
    pub async fn start_api_server(&mut self) -> Result<(), ControlPlaneError> {
        self.servers.start_api_server().await
    }

    /// Copies etcd's data, with etcd and the API server at rest meanwhile: a backup for [`ControlPlane::restore`].
    ///
    /// # Errors
    ///
    /// As for [`ControlPlane::start`], and when the files can't be copied.
    pub async fn back_up(&mut self) -> Result<(), ControlPlaneError> {
        let backup = self.folder().join(BACKUP);
        self.servers.at_rest(|data| copy(data, &backup)).await
    }

    /// Puts etcd's data back as they were at the last [`ControlPlane::back_up`]: everything since is gone, and
    /// resourceVersions begin anew from there.
    ///
    /// # Errors
    ///
    /// As for [`ControlPlane::back_up`], and when there is no backup.
    pub async fn restore(&mut self) -> Result<(), ControlPlaneError> {
        let backup = self.folder().join(BACKUP);
        self.servers.at_rest(|data| copy(&backup, data)).await
    }

    /// Replaces [`Options::api_server_arguments`] for the next [`ControlPlane::start_api_server`].
    pub fn set_api_server_arguments(&mut self, arguments: Vec<String>) {
        self.servers.set_api_server_arguments(arguments);
    }

    /// A `kubectl` for the administrator. Give it another `KUBECONFIG` for somebody else.
    ///
    /// # Errors
    ///
    /// Where it can't be built.
    pub fn kubectl(&self) -> Result<Command, ControlPlaneError> {
        self.command("kubectl")
    }

    /// A `helm` for the administrator, with its caches in our folder.
    ///
    /// # Errors
    ///
    /// Where it can't be built.
    pub fn helm(&self) -> Result<Command, ControlPlaneError> {
        self.command("helm")
    }

    fn command(&self, program: &str) -> Result<Command, ControlPlaneError> {
        let home = self.folder().join("home");
        let mut command = Command::new(programs::folder_with(&[program])?.join(program));
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", home.join("kubectl"))
            .env("HELM_CACHE_HOME", home.join("helm/cache"))
            .env("HELM_CONFIG_HOME", home.join("helm/config"))
            .env("HELM_DATA_HOME", home.join("helm/data"));
        Ok(command)
    }
}

#[expect(clippy::expect_used, reason = "the same configuration made a client when the server was started")]
fn client(config: Config) -> Client {
    Client::try_from(config).expect("the control plane's own configuration makes a client")
}

/// Folder of the copy of etcd's data.
const BACKUP: &str = "etcd-backup";

/// Makes `to` what `from` is, a folder with all in it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    // etcd wants its folder for itself.
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())
}

//! The running servers: what each is told on its command line, in which order they start, and when they are ready.
//!
//! Flags: <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/> and its neighbours.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, Client, Config};

use super::certificates::{Authority, service_account_key};
use super::error::LogTail;
use super::kubeconfig::{self, Credentials, Server};
use super::place::Place;
use super::supervised::Program;
use super::{ControlPlaneError, Options, audit};
use crate::rights;

/// Below Linux's range for outgoing connections (32768 up), so that nobody takes our port by chance while the API
/// server is stopped.
const PORTS: Range<u16> = 20_000..32_000;
/// How many ports are tried when others take them between our look and the server's start.
const PORT_TRIES: usize = 5;
/// Ready in 3 s when the machine is idle; the rest is for one that compiles at the same time.
const READY_DEADLINE: Duration = Duration::from_secs(90);
/// Between two looks.
const POLL: Duration = Duration::from_millis(25);

/// Folder of etcd's data.
const ETCD_DATA: &str = "etcd";

/// Addresses of Services.
pub(crate) const SERVICE_ADDRESSES: &str = "10.96.0.0/16";

/// Names under which the API server's certificate is valid.
const SERVER_NAMES: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "10.96.0.1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// etcd, the API server, and the controllers where they are wanted. Fields are dropped in this order: an API server
/// that outlives its etcd would fill its log.
#[derive(Debug)]
pub(super) struct Servers {
    controllers: Vec<Program>,
    api_server: Option<Program>,
    etcd: Program,
    site: Site,
    authority: Authority,
    port: u16,
    admin: Credentials,
    server: Server,
    config: Config,
}

/// Where the programs are, where they write, and what was asked for.
#[derive(Debug)]
struct Site {
    bin: PathBuf,
    folder: PathBuf,
    place: Place,
    options: Options,
}

impl Servers {
    /// Starts everything and returns when it is ready.
    pub(super) async fn start(
        bin: &Path,
        folder: &Path,
        place: Place,
        options: Options,
    ) -> Result<Self, ControlPlaneError> {
        let site = Site { bin: bin.to_owned(), folder: folder.to_owned(), place, options };
        let authority = site.write_files()?;
        let mut etcd = site.run("etcd", &site.etcd_arguments())?;
        let admin = Credentials::certificate(&authority.client("admin", "system:masters")?);
        let mut tries = 0;
        let (api_server, port, server, config) = loop {
            tries += 1;
            let port = site.place.port.map_or_else(free_port, Ok)?;
            let server = Server {
                url: format!("https://{}:{port}", site.place.address),
                authority: authority.certificate().to_owned(),
            };
            kubeconfig::write(&site.admin_kubeconfig(), &server, &admin)?;
            let config = kubeconfig::read(&site.admin_kubeconfig()).await?;
            match site.run_api_server(port, &config, &mut etcd).await {
                Ok(api_server) => break (api_server, port, server, config),
                Err(error) if error.is_port_taken() && tries < PORT_TRIES => {}
                Err(error) => return Err(error),
            }
        };
        let mut servers = Self {
            controllers: Vec::new(),
            api_server: Some(api_server),
            etcd,
            site,
            authority,
            port,
            admin,
            server,
            config,
        };
        servers.start_controllers().await?;
        Ok(servers)
    }

    async fn start_controllers(&mut self) -> Result<(), ControlPlaneError> {
        for name in self.site.options.controllers() {
            let kubeconfig = self.client_kubeconfig(name, &format!("system:{name}"), "system:masters")?;
            self.controllers.push(self.site.run(name, &self.site.controller_arguments(name, &kubeconfig))?);
        }
        if self.site.options.controller_manager {
            let accounts: Api<ServiceAccount> = Api::default_namespaced(prober(&self.config)?);
            // Every program is watched: the one that ends is the one to be told about.
            let mut programs: Vec<&mut Program> = self.controllers.iter_mut().collect();
            until(&mut programs, async || {
                accounts.get("default").await.map(drop).map_err(|error| error.to_string())
            })
            .await?;
        }
        Ok(())
    }

    /// Writes `<name>.kubeconfig` with a new certificate for `user` in `group`.
    pub(super) fn client_kubeconfig(
        &self,
        name: &str,
        user: &str,
        group: &str,
    ) -> Result<PathBuf, ControlPlaneError> {
        let credentials = Credentials::certificate(&self.authority.client(user, group)?);
        let path = self.site.path(&format!("{name}.kubeconfig"));
        kubeconfig::write(&path, &self.server, &credentials)?;
        Ok(path)
    }

    pub(super) fn place(&self) -> &Place {
        &self.site.place
    }

    /// Kills the API server; its data stays in etcd.
    pub(super) fn stop_api_server(&mut self) {
        self.api_server = None;
    }

    /// Starts the API server again, on its port and with the arguments of now.
    pub(super) async fn start_api_server(&mut self) -> Result<(), ControlPlaneError> {
        if self.api_server.is_some() {
            return Err(ControlPlaneError::AlreadyRunning);
        }
        self.api_server = Some(self.site.run_api_server(self.port, &self.config, &mut self.etcd).await?);
        Ok(())
    }

    /// Stops API server and etcd, does something with the folder of etcd's data, and starts them again.
    pub(super) async fn at_rest(
        &mut self,
        work: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Result<(), ControlPlaneError> {
        self.stop_api_server();
        self.etcd.end();
        let data = self.site.path(ETCD_DATA);
        work(&data).map_err(ControlPlaneError::file("copy", &data))?;
        self.etcd = self.site.run("etcd", &self.site.etcd_arguments())?;
        self.start_api_server().await
    }

    pub(super) fn set_api_server_arguments(&mut self, arguments: Vec<String>) {
        self.site.options.api_server_arguments = arguments;
    }

    pub(super) fn admin(&self) -> &Credentials {
        &self.admin
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn admin_kubeconfig(&self) -> PathBuf {
        self.site.admin_kubeconfig()
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.site.audit_log()
    }
}

impl Site {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `--flag=<folder>/name`
    fn flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.path(name).display())
    }

    fn admin_kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// In our folder, or where it outlives us.
    fn audit_log(&self) -> PathBuf {
        rights::audit_log(&self.folder).unwrap_or_else(|| self.path("audit.log"))
    }

    fn run(&self, name: &str, arguments: &[String]) -> Result<Program, ControlPlaneError> {
        let log = self.path(&format!("{name}.log"));
        Program::start(&self.place.entrance, &self.bin.join(name), arguments, &[], &log)
            .map_err(|source| ControlPlaneError::Spawn { program: name.to_owned(), source })
    }

    async fn run_api_server(
        &self,
        port: u16,
        config: &Config,
        etcd: &mut Program,
    ) -> Result<Program, ControlPlaneError> {
        let client = prober(config)?;
        let mut api_server = self.run("kube-apiserver", &self.api_server_arguments(port))?;
        until(&mut [etcd, &mut api_server], async || is_ready(&client).await).await?;
        Ok(api_server)
    }

    /// Certificates, keys and the audit policy.
    fn write_files(&self) -> Result<Authority, ControlPlaneError> {
        let authority = Authority::new("awsiam-test-ca")?;
        let address = self.place.address.to_string();
        let names: Vec<&str> = SERVER_NAMES.into_iter().chain([address.as_str()]).collect();
        let server = authority.server("kube-apiserver", &names)?;
        let kubelets_client = authority.client("kube-apiserver", "system:masters")?;
        let (service_account_key, service_account_public_key) = service_account_key()?;
        for (name, text) in [
            ("ca.crt", authority.certificate()),
            ("server.crt", &server.certificate),
            ("server.key", &server.key),
            ("kubelets-client.crt", &kubelets_client.certificate),
            ("kubelets-client.key", &kubelets_client.key),
            ("service-account.key", &service_account_key),
            ("service-account.pub", &service_account_public_key),
            ("audit-policy.yaml", audit::POLICY),
        ] {
            let path = self.path(name);
            std::fs::write(&path, text).map_err(ControlPlaneError::file("write", &path))?;
        }
        Ok(authority)
    }

    fn etcd_arguments(&self) -> Vec<String> {
        let socket = format!("unix://{}", self.path("etcd.sock").display());
        vec![
            self.flag("data-dir", ETCD_DATA),
            format!("--listen-client-urls={socket}"),
            // Nobody looks, but etcd wants it.
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            // There is no peer; the kernel picks the port.
            "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
            // The only member elects itself as soon as this has passed: with the defaults that takes a second.
            "--heartbeat-interval=20".to_owned(),
            "--election-timeout=100".to_owned(),
            // The data need not survive a power cut.
            "--unsafe-no-fsync".to_owned(),
        ]
    }

    fn api_server_arguments(&self, port: u16) -> Vec<String> {
        let mut arguments = vec![
            format!("--etcd-servers=unix://{}", self.path("etcd.sock").display()),
            format!("--secure-port={port}"),
            self.flag("client-ca-file", "ca.crt"),
            self.flag("tls-cert-file", "server.crt"),
            self.flag("tls-private-key-file", "server.key"),
            self.flag("service-account-key-file", "service-account.pub"),
            self.flag("service-account-signing-key-file", "service-account.key"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            // What `kubectl logs` and `exec` go through.
            self.flag("kubelet-client-certificate", "kubelets-client.crt"),
            self.flag("kubelet-client-key", "kubelets-client.key"),
            format!("--service-cluster-ip-range={SERVICE_ADDRESSES}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
        ];
        arguments.extend(self.place.api_server_arguments());
        if self.options.audit {
            arguments.push(self.flag("audit-policy-file", "audit-policy.yaml"));
            arguments.push(format!("--audit-log-path={}", self.audit_log().display()));
            // An event is in the log before its client has the answer.
            arguments.push("--audit-log-mode=blocking".to_owned());
        }
        arguments.extend(self.options.api_server_arguments.iter().cloned());
        arguments
    }

    fn controller_arguments(&self, name: &str, kubeconfig: &Path) -> Vec<String> {
        let mut arguments = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        if name == CONTROLLER_MANAGER {
            arguments.extend([
                self.flag("service-account-private-key-file", "service-account.key"),
                self.flag("root-ca-file", "ca.crt"),
                "--controllers=*,-nodeipam".to_owned(),
            ]);
        }
        arguments
    }
}

const CONTROLLER_MANAGER: &str = "kube-controller-manager";

impl Options {
    /// The programs to be built.
    pub(super) fn programs(&self) -> Vec<&'static str> {
        ["etcd", "kube-apiserver"].into_iter().chain(self.controllers()).collect()
    }

    fn controllers(&self) -> Vec<&'static str> {
        [(self.controller_manager, CONTROLLER_MANAGER), (self.scheduler, "kube-scheduler")]
            .into_iter()
            .filter_map(|(wanted, name)| wanted.then_some(name))
            .collect()
    }
}

/// A port of [`PORTS`] that is free now.
pub(crate) fn free_port() -> Result<u16, ControlPlaneError> {
    // A hasher's seed is the standard library's random number: test programs that start together must not agree.
    let start = RandomState::new().hash_one("port") % u64::from(PORTS.end - PORTS.start);
    let start = PORTS.start + u16::try_from(start).unwrap_or_default();
    (start..PORTS.end)
        .chain(PORTS.start..start)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or(ControlPlaneError::NoPort { first: PORTS.start, last: PORTS.end - 1 })
}

/// A client that answers at once: no retries, no long waits.
fn prober(config: &Config) -> Result<Client, ControlPlaneError> {
    let mut config = config.clone();
    config.default_retry = false;
    config.read_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).map_err(ControlPlaneError::request("make a client for the API server"))
}

/// Ready is: the server says so, which includes the roles that it comes with; and the namespace that all is about, which
/// the server makes a moment later, is there.
async fn is_ready(client: &Client) -> Result<(), String> {
    let request = http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
    client.request_text(request).await.map_err(|error| format!("/readyz: {error}"))?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.get("kube-system").await.map_err(|error| format!("namespace kube-system: {error}"))?;
    Ok(())
}

/// Waits until `condition` holds, while all programs run. Where it doesn't hold in time, the last program is to blame.
pub(crate) async fn until(
    programs: &mut [&mut Program],
    condition: impl AsyncFn() -> Result<(), String>,
) -> Result<(), ControlPlaneError> {
    let started = Instant::now();
    loop {
        for program in programs.iter_mut() {
            still_runs(program)?;
        }
        let Err(reason) = condition().await else { return Ok(()) };
        if started.elapsed() > READY_DEADLINE {
            let (program, log) = programs
                .last()
                .map(|program| (program.name().to_owned(), LogTail::of(program.log())))
                .unwrap_or_default();
            return Err(ControlPlaneError::NotReady { program, deadline: READY_DEADLINE, reason, log });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn still_runs(program: &mut Program) -> Result<(), ControlPlaneError> {
    let ended = program.ended().map_err(ControlPlaneError::file("watch", program.log()))?;
    ended.map_or(Ok(()), |status| {
        Err(ControlPlaneError::Ended {
            program: program.name().to_owned(),
            status,
            log: LogTail::of(program.log()),
        })
    })
}

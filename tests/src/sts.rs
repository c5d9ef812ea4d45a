//! AWS STS for tests: moto behind a front of ours (`tests/sts/front.py`) that checks signatures, run beside a control
//! plane, and the identities that were made in it.
//!
//! The front is a proxy on loopback: whoever is to talk to it gets [`Sts::server_environment`] and trusts
//! [`Sts::authority`]. Nothing here knows what a login is.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt, fs, io};

use serde::Deserialize;
use serde_json::json;

use crate::control_plane::certificates::Authority;
use crate::control_plane::servers::{SERVICE_ADDRESSES, until};
use crate::control_plane::supervised::{Entrance, Program};
use crate::control_plane::{ControlPlane, ControlPlaneError};
use crate::secrets::Secrets;

/// The AWS account of everybody whose ARN says nothing else.
pub const ACCOUNT: &str = "123456789012";
/// The region of all calls.
pub const REGION: &str = "us-east-1";

/// Where its files lie, below the folder of a control plane.
const FOLDER: &str = "sts";
/// The file that is there when the front is ready.
const READY: &str = "ready.json";
/// Names that the front's certificate is valid for.
const NAMES: [&str; 3] = ["sts.amazonaws.com", "sts.us-east-1.amazonaws.com", "iam.amazonaws.com"];

/// Who is to be made.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    users: Vec<serde_json::Value>,
    sessions: Vec<serde_json::Value>,
}

impl Accounts {
    /// With an IAM user of [`ACCOUNT`]; `path` starts and ends with a slash.
    #[must_use]
    pub fn user(mut self, name: &str, path: &str) -> Self {
        self.users.push(json!({ "name": name, "path": path }));
        self
    }

    /// With an identity `name` that has assumed the role `role_arn` (of any account, with its path) in a session.
    #[must_use]
    pub fn session(mut self, name: &str, role_arn: &str, session: &str) -> Self {
        self.sessions.push(json!({ "name": name, "roleArn": role_arn, "session": session }));
        self
    }
}

/// The environment variables by which a client is somebody.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Identity(BTreeMap<String, String>);

/// Names alone: the values are credentials.
impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Identity {
    /// The same access key with a secret that isn't its own.
    #[must_use]
    pub fn with_wrong_secret(&self) -> Self {
        let mut environment = self.0.clone();
        environment.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "x".repeat(40));
        Self(environment)
    }

    /// Gives `command` these credentials and no other way to AWS.
    pub fn apply(&self, command: &mut Command) {
        let foreign = |name: &str| name.starts_with("AWS_") || name.to_ascii_lowercase().ends_with("_proxy");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(foreign)) {
            command.env_remove(name);
        }
        // Without a region the token command asks the instance metadata service, which isn't there.
        command.env("AWS_REGION", REGION).env("AWS_EC2_METADATA_DISABLED", "true").envs(&self.0);
    }
}

/// What the front writes when it is ready.
#[derive(Deserialize)]
struct Ready {
    port: u16,
    identities: BTreeMap<String, Identity>,
}

impl Ready {
    /// From the folder of a front.
    fn read(folder: &Path) -> io::Result<Self> {
        serde_json::from_slice(&fs::read(folder.join(READY))?).map_err(io::Error::other)
    }
}

/// The secret access keys and session tokens of an STS that was started with its files below `folder`; nothing where
/// there was none.
pub(crate) fn secrets_below(folder: &Path) -> io::Result<Secrets> {
    let identities = match Ready::read(&folder.join(FOLDER)) {
        Ok(ready) => ready.identities,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let variables = identities.into_values().flat_map(|Identity(environment)| environment);
    let secret = |(name, value): (String, String)| match name.as_str() {
        "AWS_SECRET_ACCESS_KEY" => Some((value, "a secret access key")),
        "AWS_SESSION_TOKEN" => Some((value, "a session token")),
        // The authenticator logs the ids of access keys.
        _ => None,
    };
    Ok(variables.filter_map(secret).collect())
}

/// A running STS. Dropping it stops it.
#[derive(Debug)]
pub struct Sts {
    _front: Program,
    authority: Authority,
    address: Ipv4Addr,
    port: u16,
    identities: BTreeMap<String, Identity>,
    python: PathBuf,
}

impl Sts {
    /// Starts one where the servers of `plane` run, with these accounts, and returns when it answers.
    ///
    /// # Errors
    ///
    /// Where its programs can't be installed, or it doesn't start; the error names the log.
    pub async fn start(plane: &ControlPlane, accounts: &Accounts) -> Result<Self, ControlPlaneError> {
        Self::start_at(&plane.place().entrance, plane.folder(), Ipv4Addr::LOCALHOST, accounts).await
    }

    /// The same anywhere, reached under `address`, with its files below `folder`.
    pub(crate) async fn start_at(
        entrance: &Entrance,
        folder: &Path,
        address: Ipv4Addr,
        accounts: &Accounts,
    ) -> Result<Self, ControlPlaneError> {
        let python = installed()?;
        let authority = Authority::new("awsiam-test-aws")?;
        let folder = folder.join(FOLDER);
        write_files(&folder, &authority, accounts)?;
        let mut front = start_front(entrance, address, &python, &folder)?;
        let ready = folder.join(READY);
        let is_ready = async || fs::metadata(&ready).map(drop).map_err(|error| error.to_string());
        until(&mut [&mut front], is_ready).await?;
        let Ready { port, identities } =
            Ready::read(&folder).map_err(ControlPlaneError::file("read", &ready))?;
        Ok(Self { _front: front, authority, address, port, identities, python })
    }

    /// Somebody of the accounts.
    ///
    /// # Panics
    ///
    /// Where there is nobody of that name.
    #[must_use]
    #[expect(clippy::panic, reason = "only tests call this")]
    pub fn identity(&self, name: &str) -> &Identity {
        self.identities.get(name).unwrap_or_else(|| panic!("no account {name} was asked for"))
    }

    /// Certificate of the authority behind the front, PEM. A container has it in its image
    /// ([`crate::image::Image::trusting`]), a process by `SSL_CERT_FILE`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.certificate()
    }

    /// What the authenticator's server needs in its environment to ask this STS and nobody else; a container on the
    /// host's network reaches it just as a process does.
    #[must_use]
    pub fn server_environment(&self) -> Vec<(String, String)> {
        vec![
            ("HTTPS_PROXY".to_owned(), format!("http://{}:{}", self.address, self.port)),
            ("NO_PROXY".to_owned(), format!("127.0.0.1,localhost,{SERVICE_ADDRESSES}")),
        ]
    }

    /// A token for `cluster_id`, signed now less `age`: one that is too old is like one that was stolen.
    ///
    /// # Errors
    ///
    /// What went wrong with the signing program.
    pub fn token(
        &self,
        identity: &Identity,
        cluster_id: &str,
        age: std::time::Duration,
    ) -> Result<String, String> {
        self.signed(identity, cluster_id, age.as_secs(), 1).map(|tokens| tokens.concat())
    }

    /// Different tokens that are all good for another while: the first is signed now, each one a second before the
    /// one in front of it. At most 800, for a token is good for 15 minutes.
    ///
    /// # Errors
    ///
    /// As for [`Sts::token`].
    pub fn tokens(&self, identity: &Identity, cluster_id: &str, number: u64) -> Result<Vec<String>, String> {
        self.signed(identity, cluster_id, 0, number)
    }

    fn signed(
        &self,
        identity: &Identity,
        cluster_id: &str,
        age: u64,
        number: u64,
    ) -> Result<Vec<String>, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sts/signed_token.py");
        let mut python = Command::new(self.python.join("bin/python"));
        identity.apply(&mut python);
        python.arg(script).args([cluster_id, REGION, &age.to_string(), &number.to_string()]);
        let output = python.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// The folder with the `aws` command.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.python.join("bin")
    }
}

fn write_files(folder: &Path, authority: &Authority, accounts: &Accounts) -> Result<(), ControlPlaneError> {
    fs::create_dir_all(folder).map_err(ControlPlaneError::file("create", folder))?;
    let server = authority.server("sts.amazonaws.com", &NAMES)?;
    let accounts = json!({ "users": accounts.users, "sessions": accounts.sessions }).to_string();
    for (name, text) in
        [("sts.crt", &server.certificate), ("sts.key", &server.key), ("accounts.json", &accounts)]
    {
        let path = folder.join(name);
        fs::write(&path, text).map_err(ControlPlaneError::file("write", &path))?;
    }
    Ok(())
}

fn start_front(
    entrance: &Entrance,
    address: Ipv4Addr,
    python: &Path,
    folder: &Path,
) -> Result<Program, ControlPlaneError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sts/front.py");
    let arguments = [script.display().to_string(), folder.display().to_string(), address.to_string()];
    // A proxy of this machine would stand between the front and moto.
    let environment = [("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let log = folder.join("front.log");
    let program = python.join("bin/python");
    Program::start(entrance, &program, &arguments, &environment, &log)
        .map_err(|source| ControlPlaneError::Spawn { program: "sts/front.py".to_owned(), source })
}

/// The Python environment, installed where it isn't yet: takes a minute then, with progress on standard error.
fn installed() -> Result<PathBuf, ControlPlaneError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sts/build");
    let output = Command::new(&script).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output
        .map_err(|source| ControlPlaneError::BuildScript { script: script.display().to_string(), source })?;
    if !output.status.success() {
        return Err(ControlPlaneError::NoSts { script: script.display().to_string() });
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()))
}

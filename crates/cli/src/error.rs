//! Why a verb could not do its work. Each step has its own errors; this only gathers them.

use thiserror::Error;

use crate::connection::ConnectionError;
use crate::current::CurrentError;
use crate::files::FileError;
use crate::management::LiveError;
use crate::selection::SelectionError;
use crate::verb::control_plane::ControlPlaneError;
use crate::verb::diff::DiffError;
use crate::verb::explain::ExplainError;
use crate::verb::import::ImportError;
use crate::verb::kubeconfig::KubeconfigError;
use crate::verb::release::ReleaseError;
use crate::verb::render::authenticator::AuthenticatorError;
use crate::verb::rollback::RollbackError;
use crate::verb::upgrade::UpgradeError;

/// Why a verb could not do its work.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The command line.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// A file of manifests.
    #[error(transparent)]
    File(#[from] FileError),
    /// Files that were read and cannot be understood; what is wrong has been printed.
    #[error("{} cannot be read as manifests, see above", files(*.0))]
    Manifests(usize),
    /// Which Cluster is meant.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The `aws-auth` that was given.
    #[error(transparent)]
    Current(#[from] CurrentError),
    /// The way to a cluster.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// What a live cluster says.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The live comparison.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// Who somebody is.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// What can be declared.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// An earlier content.
    #[error(transparent)]
    Rollback(#[from] RollbackError),
    /// The end of our ownership.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The user kubeconfig.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    /// The authenticator's objects.
    #[error(transparent)]
    Authenticator(#[from] AuthenticatorError),
    /// The API server's settings.
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    /// The way to Ready.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// What we print.
    #[error("can't write the output: {0}")]
    Output(#[from] std::io::Error),
    /// What we print for programs.
    #[error("can't write the output as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

fn files(count: usize) -> String {
    if count == 1 { "a file".to_owned() } else { format!("{count} files") }
}

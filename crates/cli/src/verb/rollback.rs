//! `awsiam rollback`: puts back what `aws-auth` held at a revision, data and ledger together, if it is still as it
//! was shown.

use std::io::{self, Write};
use std::process::ExitCode;

use awsiam_api::Cluster;
use awsiam_controller::by_hand;
use awsiam_core::diff;
use awsiam_core::history::{Change, has_nodes};
use awsiam_core::ledger::{Ledger, Relation, Writer};
use awsiam_core::plan::{Blocked, Content};
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use thiserror::Error;

use super::history::{content, content_of};
use crate::ask::{AskError, confirm};
use crate::connection;
use crate::error::Error;
use crate::management::{LiveArguments, title};
use crate::paint::Paint;
use crate::planned::blocked_words;
use crate::selection::ClusterName;
use crate::target::Target;
use crate::verb::diff::withheld;

/// Put back what aws-auth held at a revision
///
/// Shows what changes, asks, and writes data and ledger together, unless somebody has written in between. The
/// content that is replaced is on record. The operator goes on: unless the Cluster is suspended it brings back what
/// its AWSIamConfigs declare, so that a rollback lasts for entries that are not declared.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The Cluster, in the context's namespace unless it names one
    #[arg(value_name = "[NAMESPACE/]CLUSTER")]
    name: ClusterName,

    /// The revision, as listed by: awsiam history CLUSTER
    #[arg(long, value_name = "N")]
    to_revision: u64,

    /// Write without asking
    #[arg(short, long)]
    yes: bool,

    /// Go on although the revision has no entry by which nodes join and aws-auth has
    #[arg(long)]
    without_nodes: bool,

    #[command(flatten)]
    live: LiveArguments,
}

/// Why nothing is put back.
#[derive(Debug, Error)]
pub(crate) enum RollbackError {
    #[error("revision {wanted} is not on record; there is {}", listed(.there))]
    NoRevision { wanted: u64, there: Vec<u64> },
    #[error("nothing can be written: {0}")]
    Blocked(String),
    #[error(
        "revision {0} has no entry by which nodes join, and aws-auth has: nodes that join by it could not any more; pass --without-nodes if none does"
    )]
    NodesLost(u64),
    #[error("revision {revision} was written for {owner}; name that Cluster")]
    OtherOwner { revision: u64, owner: String },
    #[error("aws-auth is managed for {0}; name that Cluster")]
    Claimed(String),
    #[error("somebody has written aws-auth in between, so nothing was written; look again")]
    Raced,
    #[error("{0}")]
    Write(#[from] awsiam_controller::Error),
    #[error(transparent)]
    Ask(#[from] AskError),
}

fn listed(revisions: &[u64]) -> String {
    match revisions {
        [] => "none".to_owned(),
        several => several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Shows, asks and writes.
///
/// # Errors
/// When something cannot be read or must not be written.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    connection::block_on(arguments.run())?
}

impl Arguments {
    async fn run(&self) -> Result<ExitCode, Error> {
        let management = self.live.connect().await?;
        let cluster = management.cluster(&self.name).await?;
        let target = Target::of(&management, &cluster).await?;
        let (records, seen) = tokio::try_join!(target.history(), target.aws_auth())?;
        let Some(recorded) = records.iter().find(|r| r.record.revision == self.to_revision) else {
            let there = records.iter().map(|recorded| recorded.record.revision).collect();
            return Err(RollbackError::NoRevision { wanted: self.to_revision, there }.into());
        };
        let (now, wanted) = (content_of(seen.as_ref()), content(recorded));
        check(&cluster, self.to_revision, seen.as_ref(), &now, &wanted)?;
        if seen.is_some() && now == wanted {
            println!("aws-auth holds what revision {} holds; nothing is to be written", self.to_revision);
            return Ok(ExitCode::SUCCESS);
        }
        show(&cluster, seen.as_ref(), &now, &wanted)?;
        if has_nodes(&now.data) && !has_nodes(&wanted.data) && !self.without_nodes {
            return Err(RollbackError::NodesLost(self.to_revision).into());
        }
        let question =
            format!("put revision {} back into aws-auth of {}?", self.to_revision, title(&cluster));
        confirm(&question, self.yes).map_err(RollbackError::from)?;
        by_hand::put(&target.client, seen.as_ref(), &wanted).await.map_err(|error| {
            if by_hand::is_race(&error) { RollbackError::Raced } else { RollbackError::Write(error) }
        })?;
        println!("aws-auth holds revision {} again", self.to_revision);
        Ok(ExitCode::SUCCESS)
    }
}

fn show(cluster: &Cluster, seen: Option<&ConfigMap>, now: &Content, wanted: &Content) -> Result<(), Error> {
    let (mut out, paint) = (io::stdout().lock(), Paint::stdout());
    write!(out, "{}", paint.diff(&diff::unified(now, wanted)))?;
    let change =
        Change::between(Some((&now.data, now.ledger.as_deref())), (&wanted.data, wanted.ledger.as_deref()));
    writeln!(out, "{}", paint.bold(&change.to_string()))?;
    if withheld(cluster, seen).is_empty() {
        writeln!(
            out,
            "{} the operator brings back what the Cluster's AWSIamConfigs declare; to keep it from that, first set spec.iamAuthenticator.suspend of the Cluster to true",
            paint.yellow("note")
        )?;
    }
    Ok(())
}

/// What keeps anybody from writing this.
fn check(
    cluster: &Cluster,
    revision: u64,
    seen: Option<&ConfigMap>,
    now: &Content,
    wanted: &Content,
) -> Result<(), RollbackError> {
    let blocked = seen.and_then(|seen| match seen {
        seen if seen.metadata.deletion_timestamp.is_some() => Some(Blocked::BeingDeleted),
        seen if seen.immutable == Some(true) => Some(Blocked::Immutable),
        _ => None,
    });
    if let Some(blocked) = blocked {
        return Err(RollbackError::Blocked(blocked_words(&blocked)));
    }
    let other = |content: &Content| {
        let owner = Ledger::parse(content.ledger.as_deref()?).ok()?.writer;
        let us = Writer {
            management: owner.management.clone(),
            namespace: cluster.namespace().unwrap_or_default(),
            name: cluster.name_any(),
            uid: cluster.uid(),
        };
        (owner.relation_to(&us) == Relation::Other).then(|| owner.to_string())
    };
    if let Some(owner) = other(now) {
        return Err(RollbackError::Claimed(owner));
    }
    match other(wanted) {
        Some(owner) => Err(RollbackError::OtherOwner { revision, owner }),
        None => Ok(()),
    }
}

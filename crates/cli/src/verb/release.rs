//! `awsiam release`: ends our ownership of a target on purpose. The operator is told first, by an annotation on the
//! Cluster, and has answered before anything is taken from the target, so that no pass of it puts anything back.

mod steps;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use awsiam_core::diff;
use awsiam_core::ledger::Writer;
use clap::Args;
use thiserror::Error;

use self::steps::{Hands, Release};
use crate::ask::{AskError, confirm};
use crate::connection;
use crate::error::Error;
use crate::management::{LiveArguments, Management, title};
use crate::paint::{Paint, harmless};
use crate::planned::blocked_words;
use crate::selection::ClusterName;

/// End awsiam's ownership of a cluster's aws-auth on purpose, as before an uninstall
///
/// Annotates the Cluster with awsiam-operator.dev/released, waits until the operator has taken that up, then takes the
/// ledger out of aws-auth (with --remove-entries our entries, too), our marks from IAMIdentityMappings, and our
/// finalizers from the Cluster and its AWSIamConfigs. The authenticator and the API server's flag stay as they are:
/// to take those away, too, set identityProviderRefs: [] instead. Nobody renews the authenticator's serving certificate
/// any more, which lasts a year at most. The operator writes nothing to this target until
/// the annotation is removed.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag by itself")]
pub(crate) struct Arguments {
    /// The Cluster, in the context's namespace unless it names one
    #[arg(value_name = "[NAMESPACE/]CLUSTER", conflicts_with = "all", required_unless_present = "all")]
    name: Option<ClusterName>,

    /// Every Cluster of every namespace
    #[arg(long)]
    all: bool,

    /// Leave our entries where they are, as nobody's; logins go on. This is the default
    #[arg(long, conflicts_with = "remove_entries")]
    keep_entries: bool,

    /// Take our entries out of aws-auth; whoever logs in by them can't any more
    #[arg(long)]
    remove_entries: bool,

    /// Afterwards delete the Cluster, its AWSIamConfigs that no other Cluster refers to, the Secrets with its
    /// authenticator's CA and its users' kubeconfig, and the history of aws-auth, to which nothing can be rolled back then
    #[arg(long)]
    delete_objects: bool,

    /// Write without asking
    #[arg(short, long)]
    yes: bool,

    /// How long to wait for the operator, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,

    /// No operator runs: don't wait for its answer
    #[arg(long)]
    without_operator: bool,

    #[command(flatten)]
    live: LiveArguments,
}

/// Why a target is not released, or not wholly.
#[derive(Debug, Error)]
pub(crate) enum ReleaseError {
    #[error("nothing can be written to aws-auth: {0}")]
    Blocked(String),
    #[error(
        "aws-auth is managed for {0}, not for this Cluster, so nothing is taken out of it; release that one"
    )]
    OtherOwner(Writer),
    #[error(
        "not every entry of ours can be taken out: {0}. Mend that first, or leave our entries where they are with --keep-entries"
    )]
    NotRemovable(String),
    #[error(
        "no operator has taken up the annotation awsiam-operator.dev/released within {} seconds, so nothing was taken from the target; see whether it runs and run this again. If none runs: --without-operator", .0.as_secs()
    )]
    NoAnswer(Duration),
    #[error("{0} was changed since it was shown; run this again")]
    Changed(&'static str),
    #[error("{0}")]
    Write(#[from] awsiam_controller::Error),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{} could not be released, see above", clusters(*.0))]
    Several(usize),
}

fn clusters(count: usize) -> String {
    if count == 1 { "a Cluster".to_owned() } else { format!("{count} Clusters") }
}

/// Shows, asks and releases.
///
/// # Errors
/// When something cannot be read or must not be written.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    connection::block_on(arguments.run())?
}

impl Arguments {
    async fn run(&self) -> Result<ExitCode, Error> {
        let management = self.live.connect().await?;
        let clusters = management.chosen(self.name.as_ref(), self.all).await?;
        let mut failed = 0;
        let mut ready = Vec::new();
        for cluster in clusters {
            let name = title(&cluster);
            match Release::plan(&management, cluster, self.remove_entries).await {
                Ok(release) => {
                    self.show(&name, &release)?;
                    ready.push((name, release));
                }
                Err(error) if self.all => {
                    eprintln!("{}: {}", harmless(&name), harmless(&error.to_string()));
                    failed += 1;
                }
                Err(error) => return Err(error),
            }
        }
        let names: Vec<&str> = ready.iter().map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            confirm(&format!("release {}?", names.join(", ")), self.yes).map_err(ReleaseError::from)?;
        }
        for (name, release) in ready {
            match Box::pin(self.carry_out(&management, release)).await {
                Ok(()) => println!("{}: released", harmless(&name)),
                Err(error) if self.all => {
                    eprintln!("{}: {}", harmless(&name), harmless(&error.to_string()));
                    failed += 1;
                }
                Err(error) => return Err(error),
            }
        }
        if failed > 0 { Err(ReleaseError::Several(failed).into()) } else { Ok(ExitCode::SUCCESS) }
    }

    fn show(&self, name: &str, release: &Release) -> io::Result<()> {
        let (mut out, paint) = (io::stdout().lock(), Paint::stdout());
        writeln!(out, "{}", paint.bold(&harmless(name)))?;
        write!(out, "{}", paint.diff(&diff::unified(&release.before, &release.after)))?;
        let owned = release.owned;
        let entries = match (owned, self.remove_entries) {
            (0, _) => "no entry of aws-auth is ours".to_owned(),
            (_, true) => {
                format!("{owned} entries of ours leave aws-auth: whoever logs in by them can't any more")
            }
            (_, false) => format!("{owned} entries of ours stay in aws-auth, and are nobody's from then on"),
        };
        writeln!(out, "{entries}")?;
        if !release.objects.is_empty() {
            let what = if self.remove_entries { "are deleted" } else { "stay and lose our mark" };
            writeln!(out, "{} IAMIdentityMappings of ours {what}", release.objects.len())?;
        }
        let told = [
            (
                self.delete_objects,
                "the Cluster is deleted, with its AWSIamConfigs that no other Cluster refers to, the Secrets of CA and kubeconfig, and the history",
            ),
            (
                !self.delete_objects,
                "the operator leaves this target alone until the annotation awsiam-operator.dev/released is removed from the Cluster",
            ),
        ];
        told.iter().filter(|(holds, _)| *holds).try_for_each(|(_, text)| writeln!(out, "{text}"))
    }

    async fn carry_out(&self, management: &Management, release: Release) -> Result<(), Error> {
        let wait = (!self.without_operator).then(|| Duration::from_secs(self.timeout));
        let mut hands = Hands::off(management, &release, wait).await?;
        hands.take_from_target(&release, self.remove_entries).await?;
        hands.unhold().await?;
        if self.delete_objects {
            hands.delete(&release.survey.target.client).await?;
        }
        Ok(())
    }
}

/// Why a plan can't take all of our entries out.
fn not_removable(plan: &awsiam_core::plan::Plan) -> Option<String> {
    if let Some(blocked) = &plan.blocked {
        return Some(blocked_words(blocked));
    }
    if let Some(unreadable) = plan.unreadable.first() {
        return Some(unreadable.to_string());
    }
    plan.after.ledger.as_ref()?;
    let held = plan.outcomes.iter().find(|outcome| !outcome.message.is_empty());
    Some(held.map_or_else(String::new, |outcome| format!("{}: {}", outcome.arn(), outcome.message)))
}

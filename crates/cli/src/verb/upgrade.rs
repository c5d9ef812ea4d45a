//! `awsiam upgrade cluster`: from a file to Ready in one command: checked, shown, applied, followed, and the users'
//! kubeconfig written. What it applies is what `kubectl apply --server-side` would; the operator does the rest.

mod apply;
mod follow;
mod progress;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use awsiam_api::Cluster;
use awsiam_api::names::{AWS_IAM_CONFIG_KIND, GROUP, VERSION};
use clap::{ArgAction, Args, Subcommand};
use futures::TryStreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use self::apply::{ApplyError, Change, Way};
use self::follow::{Applied, Verdict, verdict};
use self::progress::Progress;
use self::report::{AppliedObject, Outcome, Report};
use super::Output;
use super::diff::with_files::FromFiles;
use super::diff::withheld;
use super::kubeconfig::{self, Program};
use crate::ask::{AskError, confirm};
use crate::connection::{ConnectionError, words};
use crate::error::Error;
use crate::files::FileArguments;
use crate::finding::{self, Finding};
use crate::management::{LiveArguments, Management, title};
use crate::manifests::Manifest;
use crate::paint::Paint;
use crate::planned::Planned;
use crate::privileges::PrivilegeArguments;
use crate::selection::ClusterName;
use crate::survey::Survey;

/// How long nobody may look at what was applied before it is said that the operator seems not to run.
const SILENCE: Duration = Duration::from_secs(15);

/// How long the API server may take to be seen asking, where nothing was changed: the administrator has perhaps just set
/// file and flag, and runs this again.
const PATIENCE: Duration = Duration::from_mins(2);

/// Bring a cluster to what files say
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Cluster(Box<ClusterArguments>),
}

/// Apply a Cluster and its AWSIamConfigs, and follow them until everything is Ready
///
/// Checks the files, shows what would change on the target, asks, applies the objects by server-side apply, and shows
/// each condition until the Cluster is Ready; then it writes the users' kubeconfig to CLUSTER/CLUSTER-aws.kubeconfig.
/// Nothing is applied when anything in the files is refused. Interrupting it leaves the operator to finish. Exit code
/// 0: Ready; 1: refused or failed; 2: wrong usage; 3: not Ready in time; 4: waiting for an administrator, with the
/// command to run.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches of a command line")]
struct ClusterArguments {
    #[command(flatten)]
    files: FileArguments,

    /// Which Cluster is meant, where the files hold several or none
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    cluster: Option<ClusterName>,

    /// Check and show, and apply nothing
    #[arg(long)]
    dry_run: bool,

    /// Apply without asking
    #[arg(short, long)]
    yes: bool,

    /// How long to wait for Ready, such as 30s, 10m or 1h
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = super::time::parse)]
    timeout: Duration,

    /// Wait until everything is Ready
    #[arg(long, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1,
        require_equals = true, action = ArgAction::Set)]
    wait: bool,

    /// Take over fields that other field managers have set, such as a GitOps tool's
    #[arg(long)]
    take_ownership: bool,

    /// Where the users' kubeconfig goes. Without it: CLUSTER/CLUSTER-aws.kubeconfig
    #[arg(long, value_name = "FILE")]
    kubeconfig_file: Option<PathBuf>,

    /// Print for people (text) or for programs (json)
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    live: LiveArguments,

    #[command(flatten)]
    privileges: PrivilegeArguments,
}

/// Why it did not come to Ready, apart from what other rooms say.
#[derive(Debug, Error)]
pub(crate) enum UpgradeError {
    #[error(
        "this cluster does not know {GROUP}/{VERSION}: the operator is not installed. Install it with helm (charts/awsiam-operator, see the README), or its resources alone with: awsiam crd | kubectl apply --server-side -f -"
    )]
    NotInstalled,
    #[error("{0}; nothing was applied")]
    Refused(String),
    #[error("can't follow the Cluster: {0}. The operator goes on; look with: kubectl get clusters.{GROUP}")]
    Unwatched(String),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// Checks, applies and follows.
///
/// # Errors
/// Where the output can't be written; everything else is told here, for the exit codes are this verb's own.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let What::Cluster(arguments) = &arguments.what;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ConnectionError::Runtime)?;
    let mut report = Report::default();
    let outcome = match runtime.block_on(arguments.run(&mut report)) {
        Ok(outcome) => outcome,
        Err(error @ (Error::Usage(_) | Error::Output(_) | Error::Json(_))) => return Err(error),
        Err(error) => Outcome::Failed(error.to_string()),
    };
    report.close(&outcome);
    if arguments.output == Output::Json {
        report.print()?;
    } else {
        report.tell(&outcome)?;
    }
    Ok(outcome.exit_code())
}

impl ClusterArguments {
    async fn run(&self, report: &mut Report) -> Result<Outcome, Error> {
        let management = self.live.connect().await?;
        installed(&management).await?;
        let policy = self.privileges.policy();
        let sources = self.files.read()?;
        let files = match FromFiles::read(&sources, &management.namespace, &policy) {
            Ok(files) => files,
            Err(unreadable) => {
                report.findings.clone_from(&unreadable.findings);
                self.print(&unreadable.findings)?;
                return Err(UpgradeError::Refused(Error::Manifests(unreadable.files).to_string()).into());
            }
        };
        let mut findings = files.findings.clone();
        let cluster = files.cluster(&management, self.cluster.as_ref()).await?;
        report.cluster = title(&cluster);
        let (configs, changes) = files.configs(&management, &cluster).await?;
        findings.extend(changes);
        report.findings.clone_from(&findings);
        report.skipped = files.skipped(&cluster);
        if self.output == Output::Text {
            finding::print_notes(&report.skipped)?;
        }
        self.print(&findings)?;
        let refused = findings.iter().filter(|finding| finding.is_refusal()).count();
        if refused > 0 {
            let what = if refused == 1 { "1 thing is".to_owned() } else { format!("{refused} things are") };
            return Err(UpgradeError::Refused(format!("{what} refused, see above")).into());
        }

        let manifests = meant(&files, &cluster);
        let way = Way { dry_run: true, take_ownership: self.take_ownership };
        let (objects, _) = apply_all(&management, &manifests, way).await?;
        let survey = Survey::of(&management, cluster.clone(), &configs, &policy).await;
        let differs = self.show(report, &objects, survey)?;
        if self.dry_run {
            report.applied = objects;
            return Ok(Outcome::DryRun);
        }
        let is_same = !differs && objects.iter().all(|object| object.change == Change::Unchanged);
        if !is_same {
            confirm("Apply this?", self.yes).map_err(UpgradeError::from)?;
        }
        let way = Way { dry_run: false, ..way };
        // From here on an interruption leaves something behind, so it is told.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (objects, mut applied) = apply_all(&management, &manifests, way).await?;
        report.applied = objects;
        if applied.cluster == 0 {
            applied.cluster = cluster.metadata.generation.unwrap_or_default();
        }
        if !self.wait {
            return Ok(Outcome::NotWaited);
        }
        let patience = if is_same { PATIENCE } else { Duration::ZERO };
        let outcome = self.follow(&management, &cluster, &applied, patience, &mut interrupt, report).await?;
        if outcome == Outcome::Ready {
            self.write_kubeconfig(&management, &cluster, report).await?;
        }
        Ok(outcome)
    }

    fn print(&self, findings: &[Finding]) -> Result<(), Error> {
        if self.output == Output::Text {
            finding::print_all(findings, &mut std::io::stderr().lock(), Paint::stderr())?;
        }
        Ok(())
    }

    /// Shows what would change; whether something on the target would.
    fn show(
        &self,
        report: &mut Report,
        objects: &[AppliedObject],
        survey: Result<Survey, crate::management::LiveError>,
    ) -> Result<bool, Error> {
        let is_text = self.output == Output::Text;
        let mut out = std::io::stdout().lock();
        if is_text {
            for object in objects {
                report::print_object(&mut out, object, "would be ")?;
            }
        }
        let survey = match survey {
            Ok(survey) => survey,
            Err(why) => {
                let note = format!("what changes in aws-auth can't be shown: {why}");
                if is_text {
                    finding::print_notes(std::slice::from_ref(&note))?;
                }
                report.notes.push(note);
                return Ok(true);
            }
        };
        let withheld = withheld(&survey.cluster, survey.aws_auth.as_ref());
        let planned = Planned { cluster: title(&survey.cluster), plan: survey.plan, withheld };
        if is_text {
            planned.print(&mut out, Paint::stdout())?;
        }
        report.plan = Some(serde_json::to_value(planned.for_programs(&[], &[]))?);
        Ok(planned.differs())
    }

    /// Follows the Cluster until it is Ready, can't become so, or the time is up.
    async fn follow(
        &self,
        management: &Management,
        cluster: &Cluster,
        applied: &Applied,
        patience: Duration,
        interrupt: &mut Signal,
        report: &mut Report,
    ) -> Result<Outcome, Error> {
        let api: Api<Cluster> =
            Api::namespaced(management.client.clone(), &cluster.namespace().unwrap_or_default());
        let only = watcher::Config::default().fields(&format!("metadata.name={}", cluster.name_any()));
        let mut states = Box::pin(watcher::watcher(api, only).default_backoff().touched_objects());
        let mut progress = Progress::new();
        let (started, end) = (Instant::now(), Instant::now() + self.timeout);
        let (mut last, mut is_silent) = (Verdict::NotSeen, true);
        let outcome = loop {
            let wait = match &last {
                Verdict::Administrator(_) => end.min(started + patience),
                _ if is_silent => end.min(started + SILENCE),
                _ => end,
            };
            tokio::select! {
                state = states.try_next() => match state {
                    Ok(Some(state)) => {
                        report.conditions = conditions(&state);
                        progress.show(&report.conditions);
                        last = verdict(&state, applied);
                        is_silent &= last == Verdict::NotSeen;
                        match &last {
                            Verdict::NotSeen | Verdict::Waiting(_) | Verdict::Administrator(_) => {}
                            Verdict::Ready => break Outcome::Ready,
                            Verdict::Failed(why) => break Outcome::Failed(why.clone()),
                        }
                    }
                    Ok(None) => return Err(UpgradeError::Unwatched("the watch ended".to_owned()).into()),
                    Err(error) if is_final(&error) => {
                        progress.finish();
                        return Err(UpgradeError::Unwatched(error.to_string()).into());
                    }
                    Err(error) => progress.say(&format!("the watch broke and is taken up again: {error}")),
                },
                _ = interrupt.recv() => break Outcome::Interrupted,
                () = tokio::time::sleep_until(wait) => {
                    if let Verdict::Administrator(why) = &last {
                        break Outcome::Administrator(why.clone());
                    }
                    if Instant::now() >= end {
                        break Outcome::TimedOut(missing(&last));
                    }
                    is_silent = false;
                    progress.say("no operator has looked at this yet; is it running? kubectl get pods -A -l app.kubernetes.io/name=awsiam-operator");
                }
            }
        };
        progress.finish();
        Ok(outcome)
    }

    async fn write_kubeconfig(
        &self,
        management: &Management,
        cluster: &Cluster,
        report: &mut Report,
    ) -> Result<(), Error> {
        let is_there =
            |c: &Condition| c.type_ == awsiam_api::conditions::KUBECONFIG_READY && c.status == "True";
        if !report.conditions.iter().any(is_there) {
            return Ok(());
        }
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        let text = kubeconfig::fetched(&management.client, &namespace, &name, Program::default()).await?;
        let file = self.kubeconfig_file.clone().unwrap_or_else(|| kubeconfig::usual_file(&name));
        kubeconfig::write(&file, &text, false)?;
        report.kubeconfig = Some(display(&file));
        Ok(())
    }
}

fn display(file: &Path) -> String {
    file.display().to_string()
}

/// Whether a watch would never get better.
fn is_final(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.is_forbidden() || status.is_not_found())
}

fn missing(last: &Verdict) -> String {
    match last {
        Verdict::Waiting(why) => why.clone(),
        _ => "the operator has not looked at what was applied".to_owned(),
    }
}

fn conditions(cluster: &Cluster) -> Vec<Condition> {
    cluster.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default()
}

/// Whether the cluster serves our resources. Every authenticated user may ask that.
async fn installed(management: &Management) -> Result<(), Error> {
    match management.client.list_api_group_resources(&format!("{GROUP}/{VERSION}")).await {
        Ok(_) => Ok(()),
        // The code alone: an API server that serves nothing of the group answers in plain words.
        Err(kube::Error::Api(status)) if status.code == 404 => Err(UpgradeError::NotInstalled.into()),
        Err(error) => Err(UpgradeError::Refused(format!("can't ask the cluster: {}", words(&error))).into()),
    }
}

/// The objects of the files that are applied: the AWSIamConfigs that the Cluster refers to, then the Cluster.
fn meant<'f, 's>(files: &'f FromFiles<'s>, cluster: &Cluster) -> Vec<&'f Manifest<'s>> {
    let namespace = cluster.namespace().unwrap_or_default();
    let references = cluster.spec.identity_provider_refs.iter().flatten();
    let named = references.filter(|reference| reference.kind == AWS_IAM_CONFIG_KIND);
    let configs = named.filter_map(|reference| files.objects.config(&namespace, &reference.name));
    let written = files.objects.clusters.iter().rev().map(|object| &object.manifest);
    let written = written.filter(|m| m.namespace == namespace && m.name == cluster.name_any());
    let mut manifests: Vec<&Manifest<'s>> = Vec::new();
    for manifest in configs.map(|object| &object.manifest).chain(written.take(1)) {
        if !manifests.iter().any(|known| known.title() == manifest.title()) {
            manifests.push(manifest);
        }
    }
    manifests
}

async fn apply_all(
    management: &Management,
    manifests: &[&Manifest<'_>],
    way: Way,
) -> Result<(Vec<AppliedObject>, Applied), Error> {
    let (mut objects, mut applied) = (Vec::new(), Applied::default());
    for manifest in manifests {
        let done = apply::apply(&management.client, manifest, way).await.map_err(UpgradeError::from)?;
        match manifest.kind {
            crate::manifests::Kind::Cluster => applied.cluster = done.generation,
            crate::manifests::Kind::Config => {
                applied.configs.insert(manifest.name.clone(), done.generation);
            }
        }
        objects.push(AppliedObject { object: manifest.title(), change: done.change });
    }
    Ok((objects, applied))
}

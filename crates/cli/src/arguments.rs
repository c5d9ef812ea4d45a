//! What was typed, and which verb it means. The verbs' own arguments lie beside the verbs.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::Error;
use crate::verb::{
    check, completions, control_plane, controller, crd, diff, explain, export, get, history, import,
    kubeconfig, man, probe_mappings, release, render, rollback, upgrade, validate, write_webhook_file,
};

/// Version and commit.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("AWSIAM_COMMIT"), ")");

/// Exit code of a verb that could not do its work, as of clap's for wrong usage.
const FAILED: u8 = 2;

/// Says in two small resources who may log in to a Kubernetes cluster with an AWS identity, and keeps
/// kube-system/aws-auth so, without losing an entry that somebody else wrote.
#[derive(Debug, Parser)]
#[command(name = "awsiam", version = VERSION, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Controller(Box<controller::Arguments>),
    Crd(crd::Arguments),
    Validate(validate::Arguments),
    Render(render::Arguments),
    Diff(diff::Arguments),
    Upgrade(upgrade::Arguments),
    Get(get::Arguments),
    Explain(explain::Arguments),
    Import(import::Arguments),
    History(history::Arguments),
    Rollback(rollback::Arguments),
    Check(check::Arguments),
    Release(release::Arguments),
    Export(export::Arguments),
    Kubeconfig(kubeconfig::Arguments),
    ControlPlane(control_plane::Arguments),
    Completions(completions::Arguments),
    #[command(hide = true)]
    ProbeMappings(probe_mappings::Arguments),
    #[command(hide = true)]
    WriteWebhookFile(write_webhook_file::Arguments),
    #[command(hide = true)]
    Man(man::Arguments),
}

/// The whole command line, under the name by which it was called.
pub(crate) fn command() -> clap::Command {
    let command = Arguments::command();
    match std::env::args_os().next().filter(is_plugin) {
        Some(_) => command.bin_name("kubectl awsiam"),
        None => command,
    }
}

/// Whether the program was called as a plugin of kubectl, which is by its file's name.
fn is_plugin(program: &OsString) -> bool {
    Path::new(program).file_stem().is_some_and(|name| name.as_encoded_bytes().starts_with(b"kubectl-"))
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let arguments = command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let done = arguments.map_err(Error::from).and_then(|arguments| match &arguments.verb {
        Verb::Controller(arguments) => Ok(controller::run(arguments)),
        Verb::Crd(arguments) => crd::run(arguments),
        Verb::Validate(arguments) => validate::run(arguments),
        Verb::Render(arguments) => render::run(arguments),
        Verb::Diff(arguments) => diff::run(arguments),
        Verb::Upgrade(arguments) => upgrade::run(arguments),
        Verb::Get(arguments) => get::run(arguments),
        Verb::Explain(arguments) => explain::run(arguments),
        Verb::Import(arguments) => import::run(arguments),
        Verb::History(arguments) => history::run(arguments),
        Verb::Rollback(arguments) => rollback::run(arguments),
        Verb::Check(arguments) => check::run(arguments),
        Verb::Release(arguments) => release::run(arguments),
        Verb::Export(arguments) => export::run(arguments),
        Verb::Kubeconfig(arguments) => kubeconfig::run(arguments),
        Verb::ControlPlane(arguments) => control_plane::run(arguments),
        Verb::Completions(arguments) => completions::run(arguments),
        Verb::ProbeMappings(arguments) => Ok(probe_mappings::run(arguments)),
        Verb::WriteWebhookFile(arguments) => Ok(write_webhook_file::run(arguments)),
        Verb::Man(arguments) => man::run(arguments),
    });
    match done {
        Ok(code) => code,
        Err(Error::Usage(error)) => usage(&error),
        // Whoever reads our output has seen enough of it.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("awsiam: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Says in one line what is wrong with the command line; help and versions, which come as errors too, are printed as they are.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    let is_asked_for =
        !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if is_asked_for {
        error.exit();
    }
    eprintln!("{}", in_one_line(&error.render().to_string()));
    ExitCode::from(FAILED)
}

/// What clap says in paragraphs: what is wrong, tips, how the verb is used, and where the help is.
fn in_one_line(text: &str) -> String {
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let wrong = text.split("\n\n").map(words).filter(|paragraph| {
        !paragraph.is_empty() && !["Usage:", "For more"].iter().any(|start| paragraph.starts_with(start))
    });
    let wrong = wrong.collect::<Vec<_>>().join("; ");
    let wrong = wrong.strip_prefix("error: ").unwrap_or(&wrong);
    format!("awsiam: {wrong} (--help says what there is)")
}

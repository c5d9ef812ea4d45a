//! `awsiam explain`: who an AWS identity is in a cluster and why, by the authenticator's own rules. Decided in
//! `awsiam_core::explain`; here it is asked and said.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use awsiam_core::arn::{ArnError, NeverMatches};
use awsiam_core::desired::Backend;
use awsiam_core::explain::{Answer, Caller, Explanation, Found, Passed, Sources, Why, explain};
use awsiam_core::identity_mappings::IdentityMapping;
use clap::Args;
use serde::Serialize;
use thiserror::Error;

use super::{Output, print_json};
use crate::connection;
use crate::current;
use crate::error::Error;
use crate::management::{LiveArguments, title};
use crate::paint::{Paint, harmless};
use crate::selection::ClusterName;
use crate::target::Target;

/// Say which entry an AWS identity gets, and why
///
/// Takes the ARN of a role, a user, or what `aws sts get-caller-identity` prints of a session, and goes through
/// aws-auth (and IAMIdentityMappings, where backendMode names them) as the authenticator does at a login. Says so
/// when two entries compete, and names entries that look as if they were meant. Exit code 0: the identity is let in;
/// 1: it is refused, or chance decides; 2: error.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The identity, such as arn:aws:sts::111122223333:assumed-role/Admin/alice
    #[arg(value_name = "ARN")]
    arn: String,

    /// The Cluster, in the context's namespace unless it names one
    #[arg(
        value_name = "[NAMESPACE/]CLUSTER",
        conflicts_with = "current",
        required_unless_present = "current"
    )]
    name: Option<ClusterName>,

    /// Look into this aws-auth instead, as kubectl get prints it in YAML or JSON; - for standard input
    #[arg(long, value_name = "FILE")]
    current: Option<PathBuf>,

    /// Print for people (text) or for programs (json)
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    live: LiveArguments,
}

/// Why there is nothing to explain.
#[derive(Debug, Error)]
pub(crate) enum ExplainError {
    #[error(
        "{arn:?} is nobody who logs in: {why}; give the ARN of a role, a user or a session, as printed by: aws sts get-caller-identity"
    )]
    Nobody { arn: String, why: ArnError },
}

/// What is looked into.
struct Place {
    /// In words.
    title: String,
    data: BTreeMap<String, String>,
    backends: Vec<Backend>,
    objects: Vec<IdentityMapping>,
}

/// Explains and prints.
///
/// # Errors
/// When the ARN is nobody's, or something cannot be read.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let caller = Caller::parse(&arguments.arn)
        .map_err(|why| ExplainError::Nobody { arn: arguments.arn.clone(), why })?;
    let place = match (&arguments.current, &arguments.name) {
        (Some(file), _) => Place {
            title: "this aws-auth".to_owned(),
            data: current::read(file)?.data.unwrap_or_default(),
            backends: vec![Backend::EksConfigMap],
            objects: Vec::new(),
        },
        (None, Some(name)) => connection::block_on(arguments.read(name))??,
        // clap asks for one of the two.
        (None, None) => return Ok(ExitCode::FAILURE),
    };
    let sources = Sources { data: &place.data, backends: &place.backends, objects: &place.objects };
    let explanation = explain(caller, &sources);
    let mut out = io::stdout().lock();
    match arguments.output {
        Output::Json => print_json(&mut out, &Report::of(&explanation))?,
        Output::Text => print(&explanation, &place.title, &mut out, Paint::stdout())?,
    }
    let is_let_in = matches!(explanation.answer, Answer::One(_) | Answer::Account(_));
    Ok(if is_let_in { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    async fn read(&self, name: &ClusterName) -> Result<Place, Error> {
        let management = self.live.connect().await?;
        let cluster = management.cluster(name).await?;
        let target = Target::of(&management, &cluster).await?;
        let configs = management.configs_of(&cluster).await?;
        let resolution = awsiam_controller::observe::desired(
            &cluster,
            &awsiam_controller::observe::JudgedConfigs::default(),
            |name| configs.get(name).cloned(),
        );
        let backends = awsiam_controller::observe::backends(&resolution).to_vec();
        let aws_auth = target.aws_auth().await?;
        let places = target.places(&cluster, &backends).await?;
        Ok(Place {
            title: format!("Cluster {}", title(&cluster)),
            data: aws_auth.and_then(|config_map| config_map.data).unwrap_or_default(),
            backends,
            objects: places.and_then(|places| places.objects).unwrap_or_default(),
        })
    }
}

fn print(explanation: &Explanation, place: &str, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
    let caller = &explanation.caller;
    writeln!(out, "{}", paint.bold(&harmless(&caller.given)))?;
    if caller.canonical != caller.given {
        let what = if caller.session.is_some() { "is a session of" } else { "logs in as" };
        writeln!(out, "  {what} {}, by which entries are found", harmless(&caller.canonical))?;
    }
    writeln!(out)?;
    match &explanation.answer {
        Answer::Nobody => {
            writeln!(out, "{}: no entry of {place} is for it", paint.red("refused"))?;
        }
        Answer::One(found) => {
            writeln!(out, "{} by {}", paint.green("let in"), at(found))?;
            identity(caller, found, out)?;
        }
        Answer::Account(found) => {
            writeln!(
                out,
                "{} by {}, as its account {} is listed there and no entry is for the identity itself",
                paint.green("let in"),
                at(found),
                caller.account
            )?;
            writeln!(out, "  username   {}\n  groups     (none)", harmless(&caller.canonical))?;
        }
        Answer::Chance(found) => {
            writeln!(
                out,
                "{}: these compete, and at every login one of them counts; remove all but one",
                paint.yellow("left to chance")
            )?;
            for found in found {
                writeln!(out, "- {}", at(found))?;
                identity(caller, found, out)?;
            }
        }
    }
    for passed in &explanation.passed {
        writeln!(out, "\n{} {}", paint.cyan("not"), harmless(&why_not(passed)))?;
    }
    for unreadable in &explanation.unreadable {
        writeln!(
            out,
            "\n{} {}: the authenticator reads nothing of this data key",
            paint.yellow("note"),
            harmless(&unreadable.to_string())
        )?;
    }
    Ok(())
}

fn identity(caller: &Caller, found: &Found, out: &mut dyn Write) -> io::Result<()> {
    let entry = &found.entry;
    let filled_in = |template: &str| {
        let rendered = caller.rendered(template);
        if rendered == template { rendered } else { format!("{rendered}   (from {template})") }
    };
    writeln!(out, "  username   {}", harmless(&filled_in(&entry.username)))?;
    if entry.groups.is_empty() {
        writeln!(out, "  groups     (none)")?;
    }
    for (index, group) in entry.groups.iter().enumerate() {
        let word = if index == 0 { "groups" } else { "" };
        writeln!(out, "  {word:<10} {}", harmless(&filled_in(group)))?;
    }
    let open = std::iter::once(&entry.username).chain(&entry.groups).map(|text| caller.rendered(text));
    for open in open.filter(|text| text.contains("{{")) {
        if let Some(remark) = placeholder_remark(&open) {
            writeln!(out, "  {remark}")?;
        }
    }
    Ok(())
}

/// What stands for a placeholder that the ARN does not tell.
fn placeholder_remark(text: &str) -> Option<&'static str> {
    if text.contains("{{SessionName") {
        Some(
            "the session's name is chosen by whoever assumes the role; give the ARN of a session to see it filled in",
        )
    } else if text.contains("{{EC2PrivateDNSName}}") {
        Some("the name comes from EC2; the login is refused where the session's name is no instance id")
    } else if text.contains("{{AccessKeyID}}") {
        Some("the access key id is known at the login alone")
    } else {
        None
    }
}

fn at(found: &Found) -> String {
    if found.place == Backend::Crd {
        format!("IAMIdentityMapping {}", harmless(&found.object))
    } else {
        format!("the entry on line {} of {}", found.line, found.list)
    }
}

fn why_not(passed: &Passed) -> String {
    let found = &passed.found;
    let arn = &found.entry.arn;
    match &passed.why {
        Why::Overruled => format!("{}: the last one with an ARN counts, and another one does", at(found)),
        Why::AskedLater => {
            format!("{}: it is asked only where what is asked before knows nobody", at(found))
        }
        Why::NotLoaded => {
            format!("{}: no authenticator has read it, or its backend is not in backendMode", at(found))
        }
        Why::NeverMatches(NeverMatches::RolePath { write }) => {
            format!("{} ({arn}): logins carry no path, so it never matches; write {write}", at(found))
        }
        Why::NeverMatches(why) => format!("{} ({arn}): it never matches, because {why}", at(found)),
        Why::OtherAccount => format!("{} ({arn}): the same name in another account", at(found)),
    }
}

/// An explanation for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'e> {
    arn: &'e str,
    canonical_arn: &'e str,
    account: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'e str>,
    /// `LetIn`, `LetInByAccount`, `Refused` or `Chance`.
    answer: &'static str,
    entries: Vec<Candidate<'e>>,
    not: Vec<Candidate<'e>>,
    unreadable: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'e> {
    place: Backend,
    list: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'e str>,
    arn: &'e str,
    username: String,
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl<'e> Report<'e> {
    fn of(explanation: &'e Explanation) -> Self {
        let caller = &explanation.caller;
        let candidate = |found: &'e Found| Candidate {
            place: found.place,
            list: found.list.data_key(),
            line: (found.place == Backend::EksConfigMap).then_some(found.line),
            object: (found.place == Backend::Crd).then_some(found.object.as_str()),
            arn: &found.entry.arn,
            username: caller.rendered(&found.entry.username),
            groups: found.entry.groups.iter().map(|group| caller.rendered(group)).collect(),
            reason: None,
            message: None,
        };
        let (answer, entries) = match &explanation.answer {
            Answer::Nobody => ("Refused", Vec::new()),
            Answer::One(found) => ("LetIn", vec![candidate(found)]),
            Answer::Account(found) => {
                let username = caller.canonical.clone();
                ("LetInByAccount", vec![Candidate { username, ..candidate(found) }])
            }
            Answer::Chance(found) => ("Chance", found.iter().map(candidate).collect()),
        };
        let not = explanation.passed.iter().map(|passed| Candidate {
            reason: Some(reason(&passed.why)),
            message: Some(why_not(passed)),
            ..candidate(&passed.found)
        });
        Self {
            arn: &caller.given,
            canonical_arn: &caller.canonical,
            account: &caller.account,
            session: caller.session.as_deref().filter(|session| !session.is_empty()),
            answer,
            entries,
            not: not.collect(),
            unreadable: explanation.unreadable.iter().map(ToString::to_string).collect(),
        }
    }
}

fn reason(why: &Why) -> &'static str {
    match why {
        Why::Overruled => "Overruled",
        Why::AskedLater => "AskedLater",
        Why::NeverMatches(_) => "NeverMatches",
        Why::NotLoaded => "NotLoaded",
        Why::OtherAccount => "OtherAccount",
    }
}

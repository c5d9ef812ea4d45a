//! Runs the test programs that `cargo test --no-run --message-format=json-render-diagnostics` names, several at a time: most of them wait
//! for servers most of the time. The output of each is printed whole when it ends, those that fail once more at the end.
//! Those of [`REST`] run with `--all` alone; then what the chart grants is compared with what the operator asked for in all of them.
//!
//! Arguments: `--all`, and the file with cargo's messages. `TEST_JOBS`: how many run at a time (3).

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use awsiam_tests::rights;
use serde_json::Value;
use tokio::task::JoinSet;

/// Programs that take longest: what starts first ends first.
const LONG: [&str; 18] = [
    "login_by_operator",
    "failover",
    "kubeadm_control_plane_rollout",
    "image_change",
    "ten_control_planes",
    "remote_targets",
    "hostile_kubeconfigs",
    "backend_crd",
    "life",
    "walkthrough",
    "aws_auth",
    "login",
    "authenticator",
    "cli_day_two",
    "chaos",
    "fleet",
    "host_path",
    "restored_backup",
];

/// Programs that `make test` leaves to `make test-all`: what is built on the promises about `aws-auth` and on a login, in all its
/// variants. A program that is named nowhere runs in both.
const REST: [&str; 16] = [
    "authenticator",
    "backend_crd",
    "failover",
    "fleet",
    "guard",
    "host_path",
    "hostile_kubeconfigs",
    "image_change",
    "installation",
    "kubeadm_control_plane_rollout",
    "metrics",
    "remote_targets",
    "restored_backup",
    "ten_control_planes",
    "walkthrough",
    "webhook_answers",
];

/// Programs of which `make test` runs the tests whose names contain this.
const IN_PART: [(&str, &str); 1] = [("login_by_operator", "from_nothing")];

/// Programs that start the machine, of which a computer runs one at a time.
const ON_THE_MACHINE: [&str; 4] = ["login_by_operator", "walkthrough", "login", "machine"];

/// Programs that say how long something may take: they run when nothing else does.
const ALONE: [&str; 1] = ["control_plane_starts"];

/// One test program.
#[derive(Clone)]
struct Program {
    name: String,
    executable: PathBuf,
    /// The folder of its package, where cargo runs it.
    folder: PathBuf,
    /// Which of its tests run, by a part of their names.
    only: Option<&'static str>,
}

impl Program {
    /// Whether it is one of these programs of the tests package: another one may have tests of the same name.
    fn is_one_of(&self, names: &[&str]) -> bool {
        self.folder.ends_with("tests") && names.contains(&self.name.as_str())
    }
}

struct Ended {
    program: Program,
    took: Duration,
    output: std::io::Result<Output>,
}

impl Ended {
    fn passed(&self) -> bool {
        self.output.as_ref().is_ok_and(|output| output.status.success()) && !self.is_empty()
    }

    /// Whether the part of it that was to run is not there, which it takes for a success.
    fn is_empty(&self) -> bool {
        let printed = self.output.as_ref().map(|output| String::from_utf8_lossy(&output.stdout));
        self.program.only.is_some() && printed.is_ok_and(|text| text.contains("running 0 tests"))
    }

    fn print(&self) {
        println!("\n==> {} ({:.0} s)", self.program.name, self.took.as_secs_f64());
        match &self.output {
            Ok(output) => {
                print!("{}", String::from_utf8_lossy(&output.stdout));
                eprint!("{}", String::from_utf8_lossy(&output.stderr));
            }
            Err(error) => eprintln!("can't run {}: {error}", self.program.executable.display()),
        }
        if self.is_empty() {
            eprintln!("no test of it is called {}", self.program.only.unwrap_or_default());
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (all, messages) = arguments(std::env::args().skip(1))?;
    let jobs = std::env::var("TEST_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(3_usize).max(1);
    let mut programs = programs(&std::fs::read_to_string(messages)?)?;
    if programs.is_empty() {
        return Err("cargo names no test program".into());
    }
    let named = REST
        .iter()
        .chain(IN_PART.iter().map(|(name, _)| name))
        .chain(&LONG)
        .chain(&ON_THE_MACHINE)
        .chain(&ALONE);
    if let Some(gone) = named.copied().find(|name| !programs.iter().any(|program| program.is_one_of(&[name])))
    {
        return Err(format!("there is no test program {gone}, which suite.rs names").into());
    }
    if !all {
        programs.retain(|program| !program.is_one_of(&REST));
        for program in &mut programs {
            program.only = IN_PART.iter().find(|(name, _)| program.is_one_of(&[name])).map(|(_, part)| *part);
        }
    }
    let (alone, mut waiting): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|program| program.is_one_of(&ALONE));
    waiting.sort_by_key(|program| LONG.iter().position(|long| *long == program.name).unwrap_or(LONG.len()));

    let started = Instant::now();
    let audit = tempfile::tempdir()?;
    let mut through = Vec::new();
    let mut running = JoinSet::new();
    let mut machine_taken = false;
    loop {
        while running.len() < jobs
            && let Some(next) =
                waiting.iter().position(|program| !machine_taken || !program.is_one_of(&ON_THE_MACHINE))
        {
            let program = waiting.remove(next);
            machine_taken |= program.is_one_of(&ON_THE_MACHINE);
            let audit = audit.path().to_owned();
            running.spawn_blocking(move || run(program, &audit));
        }
        let Some(ended) = running.join_next().await else { break };
        let ended = ended?;
        machine_taken &= !ended.program.is_one_of(&ON_THE_MACHINE);
        ended.print();
        through.push(ended);
    }
    for program in alone {
        let ended = run(program, audit.path());
        ended.print();
        through.push(ended);
    }
    let code = summary(&through, started.elapsed());
    if all {
        return Ok(if rights_are_used(audit.path())? { code } else { ExitCode::FAILURE });
    }
    let parts = IN_PART.map(|(name, part)| format!("all of {name} but {part}"));
    println!("not run, but by `make test-all`: {}, {}", REST.join(", "), parts.join(", "));
    Ok(code)
}

/// Whether all is to run, and the file with cargo's messages.
fn arguments(words: impl Iterator<Item = String>) -> Result<(bool, PathBuf), &'static str> {
    let (flags, files): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with("--"));
    match (flags.as_slice(), files.as_slice()) {
        ([], [file]) => Ok((false, file.into())),
        ([all], [file]) if all == "--all" => Ok((true, file.into())),
        _ => Err("usage: suite [--all] FILE, with the messages of cargo test --no-run"),
    }
}

/// Whether every right of the chart was used, and none was missing; says so.
fn rights_are_used(audit: &Path) -> std::io::Result<bool> {
    let found = rights::compare(audit)?;
    println!(
        "the operator's {} requests used {} rights of the chart",
        found.requests,
        found.granted - found.unused.len()
    );
    for unused in &found.unused {
        println!("the chart grants, and no test uses: {unused}");
    }
    for refused in &found.refused {
        println!("the operator asked for, and the chart never grants: {refused}");
    }
    Ok(found.unused.is_empty() && found.refused.is_empty())
}

/// The test programs among cargo's messages, one JSON object a line.
fn programs(messages: &str) -> Result<Vec<Program>, Box<dyn Error>> {
    let mut programs = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line)?;
        let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
        let is_test = message.pointer("/profile/test") == Some(&Value::Bool(true));
        if let (true, Some(executable), Some(name)) = (is_test, text("/executable"), text("/target/name")) {
            let folder = Path::new(text("/manifest_path").unwrap_or_default()).parent();
            programs.push(Program {
                name: name.to_owned(),
                executable: executable.into(),
                folder: folder.unwrap_or(Path::new(".")).to_owned(),
                only: None,
            });
        }
    }
    Ok(programs)
}

fn run(program: Program, audit: &Path) -> Ended {
    let started = Instant::now();
    let mut command = Command::new(&program.executable);
    command.args(program.only);
    command.env(rights::FOLDER, audit).current_dir(&program.folder).stdin(Stdio::null());
    let output = command.output();
    Ended { program, took: started.elapsed(), output }
}

/// The longest ones, and those that failed; what they said is printed once more, so that it stands at the end.
fn summary(all: &[Ended], took: Duration) -> ExitCode {
    let failed: Vec<&Ended> = all.iter().filter(|ended| !ended.passed()).collect();
    for ended in &failed {
        ended.print();
    }
    let mut by_time: BTreeMap<Duration, &str> = BTreeMap::new();
    by_time.extend(all.iter().map(|ended| (ended.took, ended.program.name.as_str())));
    let longest: Vec<String> = by_time
        .iter()
        .rev()
        .take(8)
        .map(|(took, name)| format!("{name} {:.0} s", took.as_secs_f64()))
        .collect();
    println!("\n{} test programs in {:.0} s; longest: {}", all.len(), took.as_secs_f64(), longest.join(", "));
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = failed.iter().map(|ended| ended.program.name.as_str()).collect();
    println!("FAILED: {}", names.join(", "));
    ExitCode::FAILURE
}

//! One operator with very many Clusters: how long until all have converged, what that takes, and how long one change of the
//! AWSIamConfig that they share takes to reach all of them. All but a few targets are stand-ins for API servers, each an
//! https endpoint of its own on loopback; see `stand_in` for what they don't do. Prints; judges nothing.
//!
//! Run it by `make bench-fleet`, which builds the release binary first. Arguments: how many Clusters (1000), and how many
//! seconds are spent at rest (720: every watch ends at least twice, and everything is read again once).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use awsiam_tests::control_plane::{AuditEvent, AuditMark, ControlPlane};
use awsiam_tests::fleet::{self, StandIns, Workload};
use awsiam_tests::process::ALLOCATOR;
use awsiam_tests::stage::{self, Stage};
use serde_json::json;

type Anything = Box<dyn std::error::Error + Send + Sync>;

const NAMESPACE: &str = "fleet";
/// The AWSIamConfig of all.
const CONFIG: &str = "everybody";
/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(15);

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (count, rest) = (usize::try_from(number(1000)?)?, Duration::from_secs(number(720)?));
    let operator = operator_binary()?;
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
    let stage = Stage::beside(plane, NAMESPACE).await;
    let rights =
        ["rights.remote.enabled=true".to_owned(), format!("rights.remote.namespaces={{{NAMESPACE}}}")];
    stage::install_with(plane, stage::OPERATOR_NAMESPACE, "here", &rights).await?;
    let kubeconfig = plane.service_account_kubeconfig(stage::OPERATOR_NAMESPACE, "awsiam").await?;
    config(&stage, "first").await;

    let running = Running::start(&operator, &kubeconfig)?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let alone = running.memory("VmRSS");
    drop(running);

    let real = [Workload::start().await, Workload::start().await];
    let stand_ins = StandIns::start("stand-in", count.saturating_sub(real.len())).await;
    let fleet = Fleet { stage, real, stand_ins };
    fleet.register().await;
    println!(
        "{count} Clusters with one AWSIamConfig; {} of their targets are real API servers",
        fleet.real.len()
    );

    let mark = plane.audit_mark()?;
    let started = Instant::now();
    let running = Running::start(&operator, &kubeconfig)?;
    let [half, all, told] = fleet.gets("first", started).await?;
    println!("  start until half / all targets have it     {half:8.1} / {all:.1} s");
    println!("  and until the AWSIamConfig says so         {told:8.1} s");
    println!("  memory without a Cluster                   {:8.1} MB", megabytes(alone));
    println!(
        "  memory then / at most so far               {:8.1} / {:.1} MB",
        megabytes(running.memory("VmRSS")),
        megabytes(running.memory("VmHWM"))
    );
    let load = &fleet.stand_ins.load;
    println!("  requests of passes under way at most       {:8}", load.passes.most());
    println!("  watches being opened at most               {:8}", load.openings.most());
    fleet.print_management(mark, "written to the management cluster")?;

    // What the start left to do is done, and connections that are not used are closed.
    tokio::time::sleep(Duration::from_secs(100)).await;
    let (mark, before, begun) = (plane.audit_mark()?, fleet.stand_ins.requests(), Instant::now());
    let at_rest = running.memory("VmRSS");
    println!(
        "  memory at rest                             {:8.1} MB, {:.1} KB a target",
        megabytes(at_rest),
        per_target(at_rest.saturating_sub(alone), count)
    );
    println!(
        "  connections to stand-ins, in all / at most {:8} / {}",
        fleet.stand_ins.connections().iter().sum::<usize>(),
        fleet.stand_ins.connections().iter().max().unwrap_or(&0)
    );
    println!("  open files of the process                  {:8}", running.open_files());
    tokio::time::sleep(rest).await;
    println!(
        "  requests to {} stand-ins in {:.0} s at rest",
        fleet.stand_ins.all.len(),
        begun.elapsed().as_secs_f64()
    );
    for (asked, times) in fleet.stand_ins.requests() {
        let times = times - before.get(&asked).copied().unwrap_or_default();
        if times > 0 {
            println!("    {asked:40} {times:8}");
        }
    }
    fleet.print_management(mark, "asked of the management cluster meanwhile")?;
    println!("  memory after that                          {:8.1} MB", megabytes(running.memory("VmRSS")));

    let (mark, sent) = (plane.audit_mark()?, Instant::now());
    config(&fleet.stage, "second").await;
    let [half, all, told] = fleet.gets("second", sent).await?;
    println!("  a change until half / all targets have it  {half:8.1} / {all:.1} s");
    println!("  and until the AWSIamConfig says so         {told:8.1} s");
    println!(
        "  memory then / at most so far               {:8.1} / {:.1} MB",
        megabytes(running.memory("VmRSS")),
        megabytes(running.memory("VmHWM"))
    );
    fleet.print_management(mark, "asked of the management cluster for that")?;
    Ok(())
}

fn operator_binary() -> Result<PathBuf, Anything> {
    let own = std::env::current_exe()?;
    let binary = own.with_file_name("awsiam");
    if binary.exists() {
        Ok(binary)
    } else {
        Err(format!("{} is not built; run make bench-fleet", binary.display()).into())
    }
}

/// Ten mappings, one of which carries the mark.
async fn config(stage: &Stage, mark: &str) {
    let rows: Vec<_> = (0..10)
        .map(|row| {
            let username = if row == 0 { mark.to_owned() } else { format!("team-{row}") };
            json!({"roleARN": stage::role_arn(&format!("team-role-{row}")), "username": username, "groups": ["viewers"]})
        })
        .collect();
    stage.config_spec(CONFIG, json!({"mapRoles": rows})).await;
}

struct Fleet {
    stage: Stage,
    real: [Workload; 2],
    stand_ins: StandIns,
}

impl Fleet {
    async fn register(&self) {
        self.stand_ins.register(&self.stage, CONFIG).await;
        for (number, workload) in self.real.iter().enumerate() {
            let name = format!("real-{number}");
            fleet::put_kubeconfig(&self.stage, &name, &workload.kubeconfig()).await;
            fleet::cluster(&self.stage, &name, &[CONFIG], json!({})).await;
        }
    }

    /// Seconds until half of the targets have the mark, all of them, and the status of the AWSIamConfig says so.
    async fn gets(&self, mark: &str, since: Instant) -> Result<[f64; 3], Anything> {
        let part = format!("username: {mark}\n");
        let count = self.stand_ins.all.len() + self.real.len();
        let mut half = None;
        loop {
            let mut with = self.stand_ins.with(&part);
            if with * 2 >= count {
                half = half.or(Some(since.elapsed()));
            }
            if with == self.stand_ins.all.len() {
                for workload in &self.real {
                    with += usize::from(workload.roles().await.contains(&part));
                }
            }
            if with == count {
                break;
            }
            if since.elapsed() > DEADLINE {
                return Err(format!("only {with} of {count} targets have it after {DEADLINE:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let all = since.elapsed();
        let wanted = format!("{count}/{count} Clusters");
        while self.synced().await? != wanted {
            if since.elapsed() > DEADLINE {
                return Err(format!("the AWSIamConfig says {}", self.synced().await?).into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok([half.unwrap_or(all), all, since.elapsed()].map(|time| time.as_secs_f64()))
    }

    /// Message of the AWSIamConfig's condition Synced.
    async fn synced(&self) -> Result<String, Anything> {
        let config = self.stage.configs().get(CONFIG).await?;
        let current = config.metadata.generation;
        let conditions = config.status.map(|status| status.conditions).unwrap_or_default();
        let synced = conditions.into_iter().find(|c| c.type_ == "Synced" && c.observed_generation == current);
        Ok(synced.map(|condition| condition.message).unwrap_or_default())
    }

    /// What the operator asked of the management cluster since a mark, by verb and kind.
    fn print_management(&self, mark: AuditMark, what: &str) -> Result<(), Anything> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let events = self.stage.plane.audit_events_since(mark)?;
        for event in events.iter().filter(|event| is_operators(event)) {
            let resource = [event.resource.as_str(), event.subresource.as_str()];
            let resource = resource.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            *counts.entry(format!("{} {resource}", event.verb)).or_default() += 1;
        }
        println!("  {what}");
        for (asked, times) in counts {
            println!("    {asked:40} {times:8}");
        }
        Ok(())
    }
}

fn is_operators(event: &AuditEvent) -> bool {
    event.user_agent.starts_with("awsiam/")
}

/// The operator's process, ended when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(operator: &Path, kubeconfig: &Path) -> Result<Self, Anything> {
        let log = std::env::var_os("FLEET_LOG").map(std::fs::File::create).transpose()?;
        let child = Command::new(operator)
            .args(["controller", "--remote-targets", "--watch-namespaces", NAMESPACE, "--log-format", "json"])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .envs(ALLOCATOR)
            .stdout(Stdio::null())
            .stderr(log.map_or_else(Stdio::null, Stdio::from))
            .spawn()?;
        Ok(Self(child))
    }

    /// A line of `/proc/PID/status`, in KiB.
    fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0.id())).map_or(0, Iterator::count)
    }
}

/// Millions of bytes.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_target(kib: u64, count: usize) -> f64 {
    kib as f64 * 1.024 / count.max(1) as f64
}

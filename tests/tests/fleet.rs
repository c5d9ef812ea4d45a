//! One AWSIamConfig and very many Clusters, most of them behind stand-ins for API servers: all converge, nothing is written at
//! rest, a change is counted up in one status, and targets that hang hold up nobody. `AWSIAM_LONG=1` makes it a thousand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::time::Duration;

use awsiam_controller::Options;
use awsiam_tests::control_plane::{AuditEvent, AuditMark};
use awsiam_tests::fleet::{self, StandIns, Workload, cluster, put_kubeconfig};
use awsiam_tests::stage::Stage;
use awsiam_tests::stand_in::{self, Manner};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The AWSIamConfig of all Clusters.
const CONFIG: &str = "everybody";

/// One fleet at a time is enough for a computer.
static TURN: Mutex<()> = Mutex::const_new(());

/// How much is asked of the tests.
struct Size {
    stand_ins: usize,
    resync: Duration,
    rest: Duration,
    deadline: Duration,
}

fn size() -> Size {
    let (seconds, minutes) = (Duration::from_secs, Duration::from_mins);
    if std::env::var_os("AWSIAM_LONG").is_some() {
        Size { stand_ins: 998, resync: seconds(20), rest: seconds(60), deadline: minutes(10) }
    } else {
        Size { stand_ins: 40, resync: seconds(2), rest: seconds(5), deadline: minutes(2) }
    }
}

/// Message of the AWSIamConfig's condition `Synced`, if it is of its current generation.
async fn synced(stage: &Stage) -> String {
    let config = stage.configs().get(CONFIG).await.unwrap();
    let current = config.metadata.generation;
    let conditions = config.status.map(|status| status.conditions).unwrap_or_default();
    let synced = conditions.into_iter().find(|c| c.type_ == "Synced" && c.observed_generation == current);
    synced.map(|condition| condition.message).unwrap_or_default()
}

/// Waits for a condition, longer than one target takes.
async fn eventually(deadline: Duration, what: &str, mut ask: impl AsyncFnMut() -> Result<(), String>) {
    let end = Instant::now() + deadline;
    while let Err(instead) = ask().await {
        assert!(Instant::now() < end, "waited {deadline:?} for {what}; there is {instead}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Writes of the operator to the status of AWSIamConfigs of this namespace.
fn status_writes(stage: &Stage, mark: AuditMark) -> usize {
    let events = stage.plane.audit_events_since(mark).unwrap();
    let is_meant = |event: &&AuditEvent| {
        (event.resource.as_str(), event.subresource.as_str()) == ("awsiamconfigs", "status")
            && event.namespace == stage.namespace
            && event.is_write()
    };
    events.iter().filter(is_meant).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_a_whole_fleet_is_counted_up_in_one_status_and_then_nothing_is_written() {
    let (_turn, size) = (TURN.lock().await, size());
    let (stage, one, other) = tokio::join!(fleet::namespace(), Workload::start(), Workload::start());
    let stand_ins = StandIns::start("stand-in", size.stand_ins).await;
    stage.config(CONFIG, &[("First", "first", &["viewers"])]).await;
    stand_ins.register(&stage, CONFIG).await;
    let real = [("real-one", &one), ("real-other", &other)];
    for (name, workload) in real {
        put_kubeconfig(&stage, name, &workload.kubeconfig()).await;
        cluster(&stage, name, &[CONFIG], json!({})).await;
    }
    let count = size.stand_ins + real.len();
    let everywhere = async |part: &str| {
        eventually(size.deadline, part, async || {
            let mut with = stand_ins.with(part);
            for (_, workload) in real {
                with += usize::from(workload.roles().await.contains(part));
            }
            if with == count { Ok(()) } else { Err(format!("{with} of {count}")) }
        })
        .await;
    };
    let counted = async |wanted: &str| {
        eventually(size.deadline, wanted, async || {
            let message = synced(&stage).await;
            if message.starts_with(wanted) { Ok(()) } else { Err(message) }
        })
        .await;
    };
    // Far enough away that a fleet that is asked all at once shows.
    stand_ins.all.values().for_each(|one| one.set_manner(Manner::Slow(Duration::from_millis(20))));
    let options = Options { resync: size.resync, ..fleet::options(&[&stage]) };
    let operator = fleet::operator(stage.plane, options).await;
    everywhere("role/First").await;
    counted(&format!("{count}/{count} Clusters")).await;

    // Its aws-auth and the record of it, each once.
    let written = 2 * u64::try_from(size.stand_ins).unwrap();
    eventually(size.deadline, "everything on record", async || match stand_ins.writes() {
        writes if writes == written => Ok(()),
        writes => Err(format!("{writes} of {written} writes")),
    })
    .await;
    tokio::time::sleep(size.rest).await;
    assert_eq!(stand_ins.writes(), written, "a write at rest: {:?}", stand_ins.requests());
    let load = &stand_ins.load;
    println!(
        "at most {} requests of passes and {} of watches that begin",
        load.passes.most(),
        load.openings.most()
    );
    assert!(load.passes.most() <= PASSES, "{}", load.passes.most());
    assert!(load.openings.most() <= BEGINNINGS, "{}", load.openings.most());

    // Some don't answer: the others are counted, and these are when they do.
    let hanging = size.stand_ins / 8;
    stand_ins.all.values().take(hanging).for_each(|one| one.set_manner(Manner::Silent));
    let (mark, begun) = (stage.plane.audit_mark().unwrap(), Instant::now());
    stage.config(CONFIG, &[("Second", "second", &["viewers"])]).await;
    counted(&format!("{}/{count} Clusters; stand-in-", count - hanging)).await;
    stand_ins.all.values().for_each(|one| one.set_manner(Manner::Prompt));
    everywhere("role/Second").await;
    counted(&format!("{count}/{count} Clusters")).await;
    let (writes, took) = (status_writes(&stage, mark), begun.elapsed());
    println!("{writes} writes of the status of one AWSIamConfig in {took:?} for {count} Clusters");
    // Once a second.
    assert!(u64::try_from(writes).unwrap() <= took.as_secs() + 2, "{writes} in {took:?}");
    operator.stop().await;
}

/// Places of the lanes: passes of proven, new and suspect targets, and what is slow; watches that begin.
const PASSES: usize = 64 + 32 + 4 + 256;
const BEGINNINGS: usize = 64 + 16 + 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_hang_hold_up_nobody() {
    let _turn = TURN.lock().await;
    let stage = fleet::namespace().await;
    let hanging = StandIns::start("hanging", 150).await;
    hanging.all.values().for_each(|one| one.set_manner(Manner::Silent));
    stage.config(CONFIG, &[("First", "first", &["viewers"])]).await;
    hanging.register(&stage, CONFIG).await;
    // More than there are places for watches that begin.
    let (_listener, deaf) = stand_in::deaf().await.unwrap();
    for number in 0..80 {
        let name = format!("deaf-{number}");
        put_kubeconfig(&stage, &name, &deaf).await;
        cluster(&stage, &name, &[CONFIG], json!({})).await;
    }
    let options = Options { resync: Duration::from_mins(10), ..fleet::options(&[&stage]) };
    let operator = fleet::operator(stage.plane, options).await;
    stage
        .eventually("all places to be taken", async || match hanging.load.passes.most() {
            most if most >= 32 => Ok(()),
            most => Err(most.to_string()),
        })
        .await;
    let (healthy, begun) = (StandIns::start("healthy", 10).await, Instant::now());
    healthy.register(&stage, CONFIG).await;
    stage
        .eventually("the healthy ones to have it", async || match healthy.with("role/First") {
            10 => Ok(()),
            with => Err(format!("{with} of 10")),
        })
        .await;
    println!("10 targets beside 230 that hang have it after {:?}", begun.elapsed());
    assert_eq!(hanging.with("role/First"), 0);
    operator.stop().await;
}

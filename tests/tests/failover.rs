//! Several replicas, on a real API server under the chart's rights: one works at a time, another takes over when it dies
//! or sleeps, nothing is lost or doubled on the way, and what an old leader sent too late is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use awsiam_tests::loopback::{answer, free_address};
use awsiam_tests::process::Process;
use awsiam_tests::stage::{CLUSTER, OPERATOR, OPERATOR_NAMESPACE, Stage, role_arn};
use awsiam_tests::valve::Valve;
use awsiam_tests::versions::{Versions, arns, never_lost};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams};

const NODE: &str = "\
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
";

/// Arguments about the lease.
type Times = [&'static str; 3];

/// Short ones, so that a takeover takes seconds. A leader that the API server lets wait for longer than 2 seconds ends.
const SHORT: Times = ["--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=1s"];

/// From the last renewal to the next leader: the lease of those times, counted from when a waiting replica sees that renewal,
/// which it does within two retry periods.
const TAKEOVER: Duration = Duration::from_secs(3 + 2);
/// Half of them die, the others sleep.
const ROUNDS: usize = 20;

/// For who has to keep the lease on a computer that does a lot besides.
const STEADY: Times = ["--lease-duration=8s", "--lease-renew-deadline=6s", "--lease-retry-period=1s"];

/// The name that the chart's rights allow.
const LEASE: &str = "awsiam";

/// Replicas of one operator.
struct Replicas {
    stage: Arc<Stage>,
    leases: Api<Lease>,
    kubeconfig: PathBuf,
    times: Times,
    log: PathBuf,
    running: Vec<Process>,
    /// How many were started again.
    again: usize,
}

impl Replicas {
    async fn of(stage: Stage, times: Times, log: &str) -> Self {
        let kubeconfig = stage.plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "awsiam").await.unwrap();
        let log = stage.plane.folder().join(log);
        let leases = Api::namespaced(stage.client.clone(), OPERATOR_NAMESPACE);
        drop(leases.delete(LEASE, &DeleteParams::default()).await);
        Self { stage: Arc::new(stage), leases, kubeconfig, times, log, running: Vec::new(), again: 0 }
    }

    fn start(&mut self) {
        let process = self.process(&self.kubeconfig);
        self.running.push(process);
    }

    fn process(&self, kubeconfig: &Path) -> Process {
        self.process_with(kubeconfig, &[])
    }

    fn process_with(&self, kubeconfig: &Path, more: &[&str]) -> Process {
        let lease = format!("--lease={OPERATOR_NAMESPACE}/{LEASE}");
        let cluster = format!("{}/{CLUSTER}", self.stage.namespace);
        let more: Vec<&str> =
            std::iter::once(lease.as_str()).chain(self.times).chain(more.iter().copied()).collect();
        Process::start(kubeconfig, &cluster, &more, &self.log).unwrap()
    }

    /// The process id that the lease names.
    async fn leader(&self) -> Option<u32> {
        let spec = self.leases.get_opt(LEASE).await.unwrap()?.spec?;
        spec.holder_identity?.rsplit('_').nth(1)?.parse().ok()
    }

    /// When the lease was taken, and when it was last renewed, Unix time.
    async fn term(&self) -> (Timestamp, Timestamp) {
        let spec = self.leases.get(LEASE).await.unwrap().spec.unwrap();
        (spec.acquire_time.unwrap().0, spec.renew_time.unwrap().0)
    }

    /// Takes the replica that leads out of those that run.
    async fn take_leader(&mut self) -> Process {
        let at = self.leads().await;
        self.running.remove(at)
    }

    /// Starts replicas again that have ended, as a kubelet does: one that could not renew the lease in time.
    fn start_again(&mut self) {
        let ended = |process: &mut Process| process.ended().unwrap().is_some();
        for mut process in self.running.extract_if(.., ended).collect::<Vec<_>>() {
            let code = process.ended().unwrap().and_then(|status| status.code());
            self.again += 1;
            let lost = self.said().matches("lost the lease").count();
            assert!(code == Some(1) && self.again <= lost, "{}", self.said());
            self.start();
        }
    }

    /// Waits until `mapRoles` contains this.
    async fn text_gets(&mut self, part: &str) {
        let stage = self.stage.clone();
        stage
            .eventually(&format!("mapRoles to contain {part}"), async || {
                self.start_again();
                let text = stage.text("mapRoles").await;
                if text.contains(part) { Ok(()) } else { Err(text) }
            })
            .await;
    }

    /// Waits until one of those that run leads; where it is among them.
    async fn leads(&mut self) -> usize {
        let stage = self.stage.clone();
        stage
            .eventually("one of the replicas to lead", async || {
                self.start_again();
                let leader = self.leader().await;
                self.running
                    .iter()
                    .position(|process| Some(process.id()) == leader)
                    .ok_or(format!("{leader:?}"))
            })
            .await
    }

    /// Waits until a process ends by itself; its exit code.
    async fn end_of(&self, process: &mut Process) -> Option<i32> {
        self.stage
            .eventually("the process to end", async || match process.ended().unwrap() {
                Some(status) => Ok(status.code()),
                None => Err("it runs".to_owned()),
            })
            .await
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

async fn foreign_edit(stage: &Stage, number: usize) {
    let item = format!("- rolearn: {}\n  username: foreign\n", role_arn(&format!("foreign-{number}")));
    stage
        .edit_aws_auth("somebody", |config_map| {
            config_map.data.get_or_insert_default().entry("mapRoles".into()).or_default().push_str(&item);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_die_or_sleep_are_replaced_and_nothing_is_lost_or_doubled() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", NODE)]).await;
    stage.config("team", &[("Dev", "dev", &["viewers"]), ("Round", "start", &[])]).await;
    stage.cluster(&["team"]).await;
    let mut replicas = Replicas::of(stage, SHORT, "failover.log").await;
    replicas.start();
    replicas.start();
    replicas.text_gets("username: start").await;
    let watching = Versions::follow(replicas.stage.config_maps());

    let mut takeovers = Vec::new();
    for round in 0..ROUNDS {
        let mut leader = replicas.take_leader().await;
        // Under way when the leader goes.
        let mark = format!("round-{round}");
        replicas.stage.config("team", &[("Dev", "dev", &["viewers"]), ("Round", &mark, &[])]).await;
        if round % 2 == 0 {
            leader.kill();
            let (_, renewed) = replicas.term().await;
            foreign_edit(&replicas.stage, round).await;
            replicas.leads().await;
            takeovers.push(replicas.term().await.0.duration_since(renewed));
            replicas.text_gets(&mark).await;
        } else {
            leader.sleep().unwrap();
            let (_, renewed) = replicas.term().await;
            foreign_edit(&replicas.stage, round).await;
            replicas.leads().await;
            takeovers.push(replicas.term().await.0.duration_since(renewed));
            replicas.text_gets(&mark).await;
            leader.wake().unwrap();
            assert_eq!(replicas.end_of(&mut leader).await, Some(1), "one that slept through its term ends");
        }
        replicas.start();
    }
    let seen = watching.all().await;
    takeovers.sort();
    assert!(takeovers[0].is_positive(), "{takeovers:?}");
    println!("from the last renewal to the next leader: {takeovers:?}");
    // One of them may have to wait for a computer that does other things as well.
    assert!(takeovers[ROUNDS / 2].unsigned_abs() <= TAKEOVER, "{takeovers:?}");

    let known = never_lost(&seen, |arn| !arn.ends_with("role/Round"));
    assert_eq!(known.len(), ROUNDS + 2, "node entry, Dev and a foreign entry a round: {known:?}");
    let text = replicas.stage.text("mapRoles").await;
    for arn in arns(seen.last().unwrap()) {
        assert_eq!(text.matches(&format!("{arn}\n")).count(), 1, "{arn} stands there once:\n{text}");
    }
    assert!(text.starts_with(NODE), "{text}");
    assert!(replicas.said().contains("lost the lease"), "{}", replicas.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_on_its_way_when_the_term_ended_is_refused() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", NODE)]).await;
    stage.config("team", &[("Dev", "before", &[])]).await;
    stage.cluster(&["team"]).await;
    let mut replicas = Replicas::of(stage, STEADY, "late-write.log").await;
    let server = replicas.stage.plane.url().trim_start_matches("https://").parse().unwrap();
    let valve = Valve::to(server).await.unwrap();
    let text = std::fs::read_to_string(&replicas.kubeconfig).unwrap();
    let through_valve = replicas.stage.plane.folder().join("through-valve.kubeconfig");
    std::fs::write(&through_valve, text.replace(&server.to_string(), &valve.address().to_string())).unwrap();
    let mut old = replicas.process(&through_valve);
    replicas.text_gets("username: before").await;
    replicas.stage.condition("Ready", "True", "Ready").await;
    replicas.start();
    assert_eq!(replicas.leader().await, Some(old.id()));

    // The old leader hears of the change, and what it sends is held; so are its renewals.
    valve.shut();
    replicas.stage.config("team", &[("Dev", "after", &[])]).await;
    assert_eq!(replicas.end_of(&mut old).await, Some(1));
    replicas.text_gets("username: after").await;
    foreign_edit(&replicas.stage, 0).await;
    let version = replicas.stage.aws_auth().await.unwrap().metadata.resource_version;

    // Now it arrives.
    let mark = replicas.stage.plane.audit_mark().unwrap();
    valve.open();
    replicas
        .stage
        .eventually("the late write to be refused", async || {
            let events = replicas.stage.plane.audit_events_since(mark).unwrap();
            let writes: Vec<_> = events
                .iter()
                .filter(|e| e.user == OPERATOR && e.is_write())
                .filter(|e| e.is_about("configmaps", "kube-system", "aws-auth"))
                .map(|e| e.code)
                .collect();
            if writes.contains(&Some(409)) { Ok(()) } else { Err(format!("{writes:?}")) }
        })
        .await;
    assert_eq!(replicas.stage.aws_auth().await.unwrap().metadata.resource_version, version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_asked_to_stop_gives_the_lease_back_at_once() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", NODE)]).await;
    stage.config("team", &[("Dev", "first", &[])]).await;
    stage.cluster(&["team"]).await;
    let mut replicas = Replicas::of(stage, STEADY, "handover.log").await;
    replicas.start();
    replicas.text_gets("username: first").await;
    replicas.start();
    let first = replicas.running[0].id();
    assert_eq!(replicas.leader().await, Some(first), "the second one waits");

    let mut leader = replicas.take_leader().await;
    let (status, _) = leader.terminate().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_ne!(replicas.leader().await, Some(first), "it has given the lease back");
    replicas.stage.config("team", &[("Dev", "second", &[])]).await;
    replicas.text_gets("username: second").await;
    assert_eq!(replicas.leader().await, Some(replicas.running[0].id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_is_who_waits_for_the_lease_and_who_leads_once_every_cluster_was_looked_at() {
    let stage = Stage::set().await;
    stage.make_aws_auth(&[("mapRoles", NODE)]).await;
    stage.config("team", &[("Dev", "dev", &[])]).await;
    stage.cluster(&["team"]).await;
    let replicas = Replicas::of(stage, STEADY, "health.log").await;
    let addresses = [free_address(), free_address()];
    let health: Vec<String> = addresses.iter().map(|address| format!("--health-address={address}")).collect();
    let says = async |address: SocketAddr, path: &str, wanted: &str| {
        replicas
            .stage
            .eventually(wanted, async || match answer(address, path) {
                Ok(said) if said.contains(wanted) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
    };

    // Its first write never returns, and so its first pass does not either.
    let hanging = replicas.process_with(&replicas.kubeconfig, &[&health[0], "--hang-after-writes=0"]);
    let cluster = format!("among them {}/{CLUSTER}", replicas.stage.namespace);
    says(addresses[0], "/readyz", &cluster).await;
    assert!(answer(addresses[0], "/readyz").unwrap().starts_with("HTTP/1.0 503"));
    says(addresses[0], "/livez", "HTTP/1.0 200").await;
    let waiting = replicas.process_with(&replicas.kubeconfig, &[&health[1]]);
    says(addresses[1], "/readyz", "HTTP/1.0 200").await;
    assert_eq!(replicas.leader().await, Some(hanging.id()));

    hanging.kill();
    replicas.stage.text_gets("mapRoles", "username: dev").await;
    says(addresses[1], "/readyz", "HTTP/1.0 200").await;
    assert_eq!(replicas.leader().await, Some(waiting.id()));
    assert!(answer(addresses[1], "/else").unwrap().starts_with("HTTP/1.0 404"));
}

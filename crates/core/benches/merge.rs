//! How long one plan takes: read, merge, edit, verify and render, with ten changes among many entries.
//! `cargo bench -p awsiam-core`; the figures stand in `docs/performance.md`.
#![allow(missing_docs, reason = "criterion's macros write undocumented functions")]

use std::hint::black_box;

use awsiam_core::desired::{ConfigState, DesiredConfig, DesiredMapping, Refs};
use awsiam_core::ledger::Writer;
use awsiam_core::mapping::{List, Mapping};
use awsiam_core::observed::Observed;
use awsiam_core::places::Places;
use awsiam_core::plan::{self, ConflictPolicy, Plan, Request};
use awsiam_core::privilege::Policy;
use awsiam_core::reader;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Entries, about 157 bytes each: 5,000 are 783 KB.
const SIZES: [usize; 3] = [100, 1_000, 5_000];

/// Mappings of one AWSIamConfig at most.
const CONFIG_SIZE: usize = 2_000;

fn mapping(number: usize, revision: usize) -> Mapping {
    Mapping {
        list: List::Roles,
        arn: format!("arn:aws:iam::{:012}:role/team-{number:04}-deployer", 111_122_223_333_usize + number),
        username: format!("team-{number:04}:deployer-{revision}"),
        groups: vec![format!("team-{number:04}-deployers"), "cluster-readers".into()],
    }
}

/// Configs that ask for `entries` mappings, ten of them at another revision.
fn refs(entries: usize, revision: usize) -> Refs {
    let step = entries / 10;
    let mappings: Vec<DesiredMapping> = (0..entries)
        .map(|number| {
            let revision = if number % step == step / 2 { revision } else { 0 };
            let field = format!("spec.mapRoles[{number}]").into();
            DesiredMapping { mapping: mapping(number, revision).into(), field }
        })
        .collect();
    let configs = mappings.chunks(CONFIG_SIZE).enumerate().map(|(number, mappings)| DesiredConfig {
        name: format!("team-{number}"),
        uid: format!("uid-{number}"),
        generation: 1,
        state: ConfigState::Usable,
        mappings: mappings.into(),
        refused: Vec::new(),
    });
    Refs::Listed(configs.collect())
}

fn writer() -> Writer {
    Writer { management: None, namespace: "default".into(), name: "prod".into(), uid: None }
}

fn plan(observed: &Observed, refs: &Refs) -> Plan {
    plan::plan(&Request {
        observed,
        places: Places::default(),
        refs,
        writer: &writer(),
        cluster_generation: 1,
        policy: &Policy::default(),
        conflicts: ConflictPolicy::Refuse,
        remove_all: false,
        last_admin: None,
        take_over: false,
        history: &[],
        owned_before: false,
    })
}

/// An `aws-auth` with all entries in place, ours by the ledger.
fn settled(entries: usize) -> Observed {
    let empty = Observed { present: true, ..Observed::default() };
    let after = plan(&empty, &refs(entries, 0)).after;
    Observed { data: after.data, ledger: after.ledger, ..empty }
}

fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(20);
    for entries in SIZES {
        let observed = settled(entries);
        let text = observed.data.get("mapRoles").map(String::as_str).unwrap_or_default();
        let (same, changed) = (refs(entries, 0), refs(entries, 1));
        assert_eq!(plan(&observed, &changed).changes().count(), 10);
        assert!(!plan(&observed, &same).has_write());
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("10 changes", entries), |bencher| {
            bencher.iter(|| plan(black_box(&observed), black_box(&changed)));
        });
        group.bench_function(BenchmarkId::new("nothing to change", entries), |bencher| {
            bencher.iter(|| plan(black_box(&observed), black_box(&same)));
        });
        group.bench_function(BenchmarkId::new("read alone", entries), |bencher| {
            bencher.iter(|| reader::read(List::Roles, black_box(text)));
        });
    }
    group.finish();
}

criterion_group!(benches, merge);
criterion_main!(benches);

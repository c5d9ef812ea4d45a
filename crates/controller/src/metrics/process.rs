//! What the process takes of the machine, read from `/proc` when it is asked for. Where there is no `/proc` there are no such
//! series.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use rustix::param::{clock_ticks_per_second, page_size};

use super::gauge;

/// The metrics that every Prometheus client library names so:
/// <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>
#[derive(Debug)]
pub(super) struct Process;

/// What `/proc/PID/stat` says (proc(5)), in its units: clock ticks and pages.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// In user and kernel mode together.
    busy: u64,
    /// Since the machine started.
    started: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold blanks; the third follows.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            busy: field(14)?.saturating_add(field(15)?),
            started: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine started, Unix time, by `/proc/stat`.
fn booted(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Ticks as seconds.
#[expect(clippy::cast_precision_loss, reason = "a hundredth of a second in a hundred thousand years")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second().max(1) as f64
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text));
        if let Some(stat) = stat {
            let help = "CPU time in user and kernel mode.";
            let cpu = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(seconds(stat.busy)).encode(cpu)?;
            let bytes = stat.resident_pages.saturating_mul(u64::try_from(page_size()).unwrap_or_default());
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            gauge(&mut encoder, "process_resident_memory_bytes", "Memory that is resident", bytes)?;
            if let Some(booted) = fs::read_to_string("/proc/stat").ok().and_then(|text| booted(&text)) {
                #[expect(clippy::cast_precision_loss, reason = "seconds of this age fit")]
                let began = booted as f64 + seconds(stat.started);
                gauge(
                    &mut encoder,
                    "process_start_time_seconds",
                    "When the process started, Unix time",
                    began,
                )?;
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // Without the one by which they are counted.
            let open = i64::try_from(open.count()).unwrap_or(i64::MAX).saturating_sub(1);
            gauge(&mut encoder, "process_open_fds", "Open file descriptors", open)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name_whatever_is_in_it() {
        let text =
            "42 (a ) b) S 1 42 42 0 -1 4194560 1 0 0 0 7 5 0 0 20 0 1 0 900 1000000 250 18446744073709551615";
        assert_eq!(Stat::parse(text), Some(Stat { busy: 12, started: 900, resident_pages: 250 }));
        assert_eq!(Stat::parse("42 (short) S 1"), None);
        assert_eq!(booted("cpu 1 2\nbtime 1700000000\nprocesses 3\n"), Some(1_700_000_000));
    }
}

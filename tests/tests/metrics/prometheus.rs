//! A Prometheus of the operating system, on a free port of loopback, until it goes out of scope.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use awsiam_tests::loopback::{answer, free_address};
use serde_json::Value;

/// A program of package `prometheus`; none, and one line that says so, where it is not installed.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        // Not by a macro: the output of those is only shown when the test fails. Nothing can be done about a failure.
        let _ = writeln!(
            std::io::stderr().lock(),
            "SKIPPED in metrics: there is no {name}; install Debian's package prometheus"
        );
    }
    found
}

/// What an address answers to a GET; an error where nobody listens, or it is no success.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let text = answer(address, path).map_err(|error| error.to_string())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {text}"))?;
    let is_success = head.lines().next().is_some_and(|line| line.contains(" 200"));
    if is_success { Ok(body.to_owned()) } else { Err(text) }
}

pub(crate) struct Prometheus {
    address: SocketAddr,
    child: Child,
}

impl Prometheus {
    /// Scrapes these addresses every second as the chart's monitors would have it, and knows the alerts in `rules`.
    pub(crate) fn start(folder: &Path, rules: &Path, scraped: &[SocketAddr]) -> Option<Self> {
        let program = program("prometheus")?;
        let address = free_address();
        let targets: Vec<String> = scraped.iter().map(|address| format!("'{address}'")).collect();
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n- job_name: awsiam\n  honor_labels: true\n  static_configs:\n  - targets: [{}]\n    labels: {{namespace: awsiam-system}}\n",
            rules.display(),
            targets.join(", ")
        );
        let file = folder.join("prometheus.yaml");
        std::fs::write(&file, configuration).unwrap();
        let log = std::fs::File::create(folder.join("prometheus.log")).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Some(Self { address, child })
    }

    /// An answer of its API, without the envelope: <https://prometheus.io/docs/prometheus/latest/querying/api/>
    pub(crate) fn api(&self, path: &str) -> Result<Value, String> {
        let answer: Value = serde_json::from_str(&get(self.address, &format!("/api/v1/{path}"))?)
            .map_err(|error| error.to_string())?;
        Ok(answer["data"].clone())
    }

    /// The series that a query gives now.
    pub(crate) fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let encoded: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let data = self.api(&format!("query?query={encoded}"))?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The one number that a query gives now.
    pub(crate) fn number(&self, query: &str) -> Result<f64, String> {
        let series = self.query(query)?;
        let value = series.first().and_then(|series| series["value"][1].as_str()?.parse().ok());
        value.filter(|_| series.len() == 1).ok_or_else(|| format!("{query}: {series:?}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

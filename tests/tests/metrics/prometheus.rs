//! A Prometheus of the operating system, on a free port of loopback, until it goes out of scope.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A program of package `prometheus`; none, and one line that says so, where it is not installed.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        println!("SKIPPED: there is no {name}; install Debian's package prometheus");
    }
    found
}

/// A port of loopback that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What an address answers to a GET; an error where nobody listens, or it is no success.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: it\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = ask().map_err(|error| error.to_string())?;
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
        let mut encoded = String::new();
        for byte in query.bytes() {
            if byte.is_ascii_alphanumeric() {
                encoded.push(char::from(byte));
            } else {
                write!(encoded, "%{byte:02X}").unwrap();
            }
        }
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

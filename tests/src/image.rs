//! Container images without an engine: one layer with a few files, written as a docker archive.
//!
//! Formats: <https://github.com/moby/docker-image-spec/blob/main/v1.2.md> and POSIX ustar. Only what containerd
//! imports is written; nothing is compressed.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::machine::MachineError;

/// An image in the making.
#[derive(Debug)]
pub struct Image {
    name: String,
    entrypoint: String,
    layer: Tar,
}

impl Image {
    /// An empty image called `name` (with a tag) that runs `entrypoint`.
    #[must_use]
    pub fn new(name: &str, entrypoint: &str) -> Self {
        Self { name: name.to_owned(), entrypoint: entrypoint.to_owned(), layer: Tar::default() }
    }

    /// With a copy of the statically linked program `source` at `path`.
    ///
    /// # Errors
    ///
    /// Where it can't be read.
    pub fn executable(mut self, path: &str, source: &Path) -> Result<Self, MachineError> {
        let content = fs::read(source).map_err(MachineError::file("read", source))?;
        self.layer.add(path, 0o755, &content);
        Ok(self)
    }

    /// With the test authority of [`crate::sts`] (PEM) where Go programs look for authorities, as the only one.
    #[must_use]
    pub fn trusting(mut self, authority: &str) -> Self {
        self.layer.add("/etc/ssl/certs/ca-certificates.crt", 0o644, authority.as_bytes());
        self
    }

    /// The image's name, for a pod.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes the docker archive.
    ///
    /// # Errors
    ///
    /// Where the file can't be written.
    pub fn write(&self, archive: &Path) -> io::Result<()> {
        let layer = self.layer.bytes();
        let digest = sha256(&layer)?;
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Entrypoint": [self.entrypoint] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        })
        .to_string();
        let config_name = format!("{}.json", sha256(config.as_bytes())?);
        let layer_name = format!("{digest}.tar");
        let manifest = json!([{ "Config": config_name, "RepoTags": [self.name], "Layers": [layer_name] }]);
        let mut tar = Tar::default();
        tar.add(&config_name, 0o644, config.as_bytes());
        tar.add(&layer_name, 0o644, &layer);
        tar.add("manifest.json", 0o644, manifest.to_string().as_bytes());
        fs::write(archive, tar.bytes())
    }
}

/// Go's name for what this is compiled for.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// In hexadecimal. By the program that every Linux has: tests are compiled without optimization, and would spend
/// seconds on an image.
fn sha256(bytes: &[u8]) -> io::Result<String> {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(bytes)?;
    }
    let output = String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned();
    let digest = output.split_whitespace().next().filter(|digest| digest.len() == 64);
    digest.map(str::to_owned).ok_or_else(|| io::Error::other("sha256sum gave no digest"))
}

/// Files one after the other, each behind a header, all in blocks of 512 bytes. Paths are shorter than 100 bytes.
#[derive(Debug, Default)]
struct Tar(Vec<u8>);

const BLOCK: usize = 512;

impl Tar {
    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.0.extend(header(path.trim_start_matches('/'), mode, content.len()));
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }
}

/// Fields in their order, each padded with zeros to its size; owner is root, time is none.
fn header(path: &str, mode: u32, size: usize) -> Vec<u8> {
    let fields = |checksum: &str| -> Vec<u8> {
        let fields = [
            (path.to_owned(), 100),
            (format!("{mode:07o}"), 8),
            ("0000000".to_owned(), 8),
            ("0000000".to_owned(), 8),
            (format!("{size:011o}"), 12),
            ("00000000000".to_owned(), 12),
            (checksum.to_owned(), 8),
            ("0".to_owned(), 1),
            (String::new(), 100),
            ("ustar\0".to_owned() + "00", 8),
        ];
        let mut bytes = Vec::with_capacity(BLOCK);
        for (text, length) in fields {
            let end = bytes.len() + length;
            bytes.extend(text.as_bytes());
            bytes.resize(end, 0);
        }
        bytes.resize(BLOCK, 0);
        bytes
    };
    // The sum is made with blanks in its own place.
    let sum: u32 = fields("        ").iter().map(|byte| u32::from(*byte)).sum();
    fields(&format!("{sum:06o}\0 "))
}

//! Runs the program as a user does, in the folder of test files, and writes down what comes out.
//! Shared by the tests of this crate.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::expect_used, clippy::panic, reason = "only tests call this")]

use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// What a run left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
    typed: String,
}

/// The folder of test files.
pub(crate) fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files")
}

/// The program, away from the user's own cluster.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_awsiam"));
    let away = ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "RUST_LOG", "NO_COLOR"];
    for name in away {
        command.env_remove(name);
    }
    command.current_dir(files()).env("HOME", "/nonexistent").env("COLUMNS", "100");
    command
}

/// Runs `awsiam` with these words.
pub(crate) fn awsiam(words: &[&str]) -> Run {
    awsiam_reading(words, "")
}

/// Runs `awsiam` with these words and this on standard input.
pub(crate) fn awsiam_reading(words: &[&str], stdin: &str) -> Run {
    let output = program().args(words).write_stdin(stdin).output().expect("the program runs");
    Run {
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        code: output.status.code().expect("an exit code"),
        typed: words.join(" "),
    }
}

impl Run {
    /// Everything, as a stored text holds it.
    pub(crate) fn transcript(&self) -> String {
        let mut text = format!("$ awsiam {}\n{}", self.typed, self.stdout);
        if !self.stderr.is_empty() {
            text += "--- standard error\n";
            text += &self.stderr;
        }
        format!("{text}--- exit code {}\n", self.code)
    }

    /// The output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

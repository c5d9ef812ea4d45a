//! The verbs of the second day on a real API server: who has access, what was there before, what can be declared, the
//! end of our ownership, and the doctor. Each `-o json` is held to its schema.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

#[path = "cli_day_two/check.rs"]
mod check;
#[path = "cli_day_two/documents.rs"]
mod documents;
#[path = "cli_day_two/history.rs"]
mod history;
#[path = "cli_day_two/mappings.rs"]
mod mappings;
#[path = "cli_day_two/release.rs"]
mod release;
#[path = "../../crates/cli/tests/schema/mod.rs"]
mod schema;
#[path = "cli_day_two/ways_out.rs"]
mod ways_out;

use std::path::Path;
use std::process::Stdio;

use awsiam_tests::process::binary;
use awsiam_tests::stage::Stage;
use serde_json::Value;

/// Entries of others, with what text-preserving edits must keep.
const THEIRS: &str = "\
# nodes
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups:
  - system:bootstrappers
  - system:nodes
# people
- {rolearn: 'arn:aws:iam::111122223333:role/Ops', username: \"ops\", groups: [ops]}  # ask Ann
- rolearn: arn:aws:iam::111122223333:role/Admin
  username: admin:{{SessionName}}
  userid: AIDA
  groups:
    - system:masters
";

/// What a run left.
#[derive(Debug)]
struct Run {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", self.stdout, self.stderr))
    }

    /// The output as JSON, which is as the schema of this name says.
    fn json_of(&self, schema: &str) -> Value {
        let value = self.json();
        schema::holds(schema, &value);
        value
    }

    /// That it went well.
    fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }
}

/// Runs `awsiam` as an administrator in the test's namespace.
async fn awsiam(stage: &Stage, words: &[&str]) -> Run {
    awsiam_with(stage.plane.kubeconfig_path(), &stage.namespace, words, "").await
}

/// Runs `awsiam` with a kubeconfig and standard input.
async fn awsiam_with(kubeconfig: &Path, namespace: &str, words: &[&str], stdin: &str) -> Run {
    use std::io::Write as _;
    let mut command = std::process::Command::new(binary());
    command.args(words).arg("--kubeconfig").arg(kubeconfig).args(["-n", namespace]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let stdin = stdin.to_owned();
    let run = move || {
        let mut child = command.spawn()?;
        // One that does not read its input has closed it.
        let _ = child.stdin.take().map(|mut pipe| pipe.write_all(stdin.as_bytes()));
        child.wait_with_output()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    Run {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

//! The documents' commands, as they stand there, for tests that do what they say.

use std::process::Command;

use crate::process::binary;
use crate::site::printed;
use crate::stage::Stage;

/// One document.
#[derive(Debug)]
pub struct Document {
    /// Its path in the repository.
    pub path: &'static str,
    text: &'static str,
}

/// `README.md`
pub const README: Document = Document { path: "README.md", text: include_str!("../../README.md") };
/// `docs/aws-auth.md`
pub const AWS_AUTH: Document =
    Document { path: "docs/aws-auth.md", text: include_str!("../../docs/aws-auth.md") };
/// `docs/conditions.md`
pub const CONDITIONS: Document =
    Document { path: "docs/conditions.md", text: include_str!("../../docs/conditions.md") };
/// `docs/runbook.md`
pub const RUNBOOK: Document =
    Document { path: "docs/runbook.md", text: include_str!("../../docs/runbook.md") };
/// `docs/guard.md`
pub const GUARD: Document = Document { path: "docs/guard.md", text: include_str!("../../docs/guard.md") };
/// The chart's README.
pub const CHART: Document = Document {
    path: "charts/awsiam-operator/README.md",
    text: include_str!("../../charts/awsiam-operator/README.md"),
};
/// `examples/README.md`
pub const EXAMPLES: Document =
    Document { path: "examples/README.md", text: include_str!("../../examples/README.md") };
/// Fences of what is no command.
const DATA: [&str; 3] = ["yaml", "json", "text"];

/// The blocks of commands of a document, each with the heading it stands below.
#[must_use]
pub fn commands(text: &str) -> Vec<(String, String)> {
    let (mut heading, mut found) = (String::new(), Vec::new());
    // In a fence: its lines so far, unless they are data.
    let mut fence: Option<Option<String>> = None;
    for line in text.lines() {
        match (&mut fence, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                let language = language.split(' ').next().unwrap_or_default();
                fence = Some((!DATA.contains(&language)).then(String::new));
            }
            (None, None) => {
                let mut levels = ["# ", "## ", "### "].into_iter();
                if let Some(title) = levels.find_map(|level| line.strip_prefix(level)) {
                    title.clone_into(&mut heading);
                }
            }
            (Some(block), Some(_)) => {
                found.extend(block.take().map(|block| (heading.clone(), block)));
                fence = None;
            }
            (Some(block), None) => {
                if let Some(block) = block {
                    block.push_str(line);
                    block.push('\n');
                }
            }
        }
    }
    found
}

/// The commands of a block, one a line: what goes on behind a backslash is one.
#[must_use]
pub fn lines(block: &str) -> Vec<String> {
    block.replace("\\\n", " ").lines().map(str::to_owned).collect()
}

/// The first of the two resources that `README.md` shows, which its quick start calls `platform.yaml`.
#[must_use]
pub fn platform() -> &'static str {
    let behind = README.text.split_once("```yaml\n").map_or("", |(_, behind)| behind);
    behind.split_once("```").map_or("", |(inside, _)| inside)
}

impl Document {
    /// The blocks of commands below a heading, in their order.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn blocks(&self, heading: &str) -> Vec<String> {
        let found: Vec<String> = commands(self.text)
            .into_iter()
            .filter(|(title, _)| title == heading)
            .map(|(_, block)| block)
            .collect();
        assert!(!found.is_empty(), "{} has no commands below {heading:?}", self.path);
        found
    }
}

/// Runs a block as a person would who has a kubeconfig that does not depend on AWS, for this Cluster of the stage and
/// its AWSIamConfig `team`; gives what it prints. Files lie in the control plane's folder.
///
/// # Panics
/// When it fails, or lasts longer than a minute.
#[expect(clippy::panic, reason = "only tests call this")]
pub async fn run(stage: &Stage, block: &str, cluster: &str, revision: &str) -> String {
    attempt(stage, block, cluster, revision).await.unwrap_or_else(|error| panic!("{block}\n{error}"))
}

/// The same for a block that need not go well.
///
/// # Errors
/// What it printed.
///
/// # Panics
/// When there is no kubectl.
#[expect(clippy::expect_used, reason = "only tests call this")]
pub async fn attempt(stage: &Stage, block: &str, cluster: &str, revision: &str) -> Result<String, String> {
    let script = block
        .replace("NAMESPACE", &stage.namespace)
        .replace("REVISION", revision)
        .replace("NAME", cluster)
        .replace("CONFIG", "team");
    let kubectl = stage.plane.kubectl().expect("kubectl").get_program().to_owned();
    let folders =
        [binary(), kubectl.into()].map(|path| path.parent().map(ToOwned::to_owned).unwrap_or_default());
    let others = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&others))).expect("a PATH");
    // A command that waits for ever is a mistake of the document's, and not to last as long as the test's own time.
    let mut bash = Command::new("timeout");
    bash.args(["60", "bash", "-euo", "pipefail", "-c", &script]).env("PATH", path);
    bash.env("KUBECONFIG", stage.plane.kubeconfig_path()).current_dir(stage.plane.folder());
    tokio::task::spawn_blocking(move || printed(&mut bash)).await.expect("bash to be waited for")
}

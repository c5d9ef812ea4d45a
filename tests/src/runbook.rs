//! The runbook's commands, as they stand there, for tests that do what it says.

use std::process::Command;

use crate::process::binary;
use crate::site::printed;
use crate::stage::Stage;

const RUNBOOK: &str = include_str!("../../docs/runbook.md");

/// The blocks of commands of a section, in their order.
///
/// # Panics
/// When there is no such section.
#[expect(clippy::panic, reason = "only tests call this")]
#[must_use]
pub fn blocks(heading: &str) -> Vec<String> {
    let Some((_, behind)) = RUNBOOK.split_once(&format!("\n## {heading}\n")) else {
        panic!("docs/runbook.md has no section {heading:?}")
    };
    let section = behind.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```console\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Runs a block as a person would who has a kubeconfig that does not depend on AWS, for this Cluster of the stage and
/// its AWSIamConfig `team`; gives what it prints.
///
/// # Panics
/// When it fails, or lasts longer than a minute.
#[expect(clippy::panic, clippy::expect_used, reason = "only tests call this")]
pub async fn run(stage: &Stage, block: &str, cluster: &str, revision: &str) -> String {
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
    // A command that waits for ever is a mistake of the runbook's, and not to last as long as the test's own time.
    let mut bash = Command::new("timeout");
    bash.args(["60", "bash", "-euo", "pipefail", "-c", &script]).env("PATH", path);
    bash.env("KUBECONFIG", stage.plane.kubeconfig_path());
    let said = tokio::task::spawn_blocking(move || printed(&mut bash)).await.expect("bash to be waited for");
    said.unwrap_or_else(|error| panic!("{script}\n{error}"))
}

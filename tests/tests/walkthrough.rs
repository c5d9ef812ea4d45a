//! The walkthrough in the documents, command for command, on a real node: what stands there is what people copy. Only
//! what the test's AWS and images need is put into the manifest, and the administrator's hands are played.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use awsiam_tests::authenticator;
use awsiam_tests::control_plane::kubectl_program;
use awsiam_tests::machine::{Machine, MachineError, requirements};
use awsiam_tests::process::binary;
use awsiam_tests::site::{Site, operator_image};
use awsiam_tests::sts::{Accounts, Sts};
use serde_json::json;

const TEXT: &str = include_str!("../../docs/walkthrough.md");
const AUTHENTICATOR: &str = "awsiam.test/aws-iam-authenticator:v0.7.18";
/// For the API server's token cache, and a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_mins(1);

/// One block of the text: the words behind its fence, and what stands in it.
struct Block {
    words: Vec<&'static str>,
    text: String,
}

impl Block {
    fn setting(&self, name: &str) -> Option<&'static str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

fn blocks() -> Vec<Block> {
    let mut lines = TEXT.lines();
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(words) = line.strip_prefix("```") {
            let inside = lines.by_ref().take_while(|line| *line != "```");
            let text = inside.flat_map(|line| [line, "\n"]).collect();
            blocks.push(Block { words: words.split_whitespace().collect(), text });
        }
    }
    blocks
}

/// Where the commands run.
struct Desk {
    site: Site,
    folder: PathBuf,
    /// What the manifest needs here and nowhere else.
    block: String,
}

impl Desk {
    fn manifest(&self) -> PathBuf {
        self.folder.join("cluster.yaml")
    }

    /// Takes in a block that says what stands in `cluster.yaml`.
    fn write(&self, text: &str) {
        let (comment, rest) = text.split_once('\n').unwrap();
        let old = std::fs::read_to_string(self.manifest()).unwrap_or_default();
        let new = match comment {
            "# cluster.yaml" => rest.replacen("spec:\n", &format!("spec:\n{}", self.block), 1),
            "# cluster.yaml, added at the end" => old + rest,
            "# cluster.yaml, at the end in place of mapUsers" => {
                old.split_once("  mapUsers:").unwrap().0.to_owned() + rest
            }
            other => panic!("what does {other:?} mean?"),
        };
        std::fs::write(self.manifest(), new).unwrap();
    }

    /// Runs a line as the administrator.
    fn run(&self, line: &str, code: i32) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let program = match words[0] {
            "awsiam" => binary(),
            "kubectl" => kubectl_program().unwrap(),
            other => panic!("nobody has {other}"),
        };
        let mut command = Command::new(program);
        command.args(&words[1..]).current_dir(&self.folder).stdin(Stdio::null());
        command.env("KUBECONFIG", &self.site.kubeconfig).env("KUBECACHEDIR", self.folder.join("cache"));
        let output = command.output().unwrap();
        let printed = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{line}\n{}{}",
            printed(&output.stdout),
            printed(&output.stderr)
        );
    }
}

#[tokio::test]
async fn every_command_of_the_walkthrough_does_what_it_says() {
    let mut machine = match Machine::start().await {
        Err(error @ MachineError::Missing(_)) => {
            requirements::tell_skipped("walkthrough", &error);
            return;
        }
        machine => machine.unwrap(),
    };
    let accounts = Accounts::default().user("alice", "/team/ops/").session(
        "administrator",
        "arn:aws:iam::123456789012:role/admins",
        "carol",
    );
    let sts = Sts::start(machine.control_plane(), &accounts).await.unwrap();
    let images = [operator_image().unwrap(), authenticator::image(AUTHENTICATOR, sts.authority()).unwrap()];
    for (number, image) in images.iter().enumerate() {
        let archive = machine.folder().join(format!("image-{number}.tar"));
        image.write(&archive).unwrap();
        machine.import_image(&archive).unwrap();
    }
    let env = sts.server_environment().into_iter().map(|(name, value)| json!({"name": name, "value": value}));
    let env: Vec<_> = env.collect();
    let block = json!({"image": AUTHENTICATOR, "env": env});
    let desk = Desk {
        site: Site {
            kubeconfig: machine.control_plane().kubeconfig_path().to_owned(),
            folder: machine.folder().to_owned(),
        },
        folder: machine.folder().join("walkthrough"),
        block: format!("  iamAuthenticator: {block}\n"),
    };
    std::fs::create_dir_all(&desk.folder).unwrap();
    desk.site.install_operator(&[]);

    let (mut commands, mut logins) = (0, 0);
    for block in blocks() {
        let code = block.setting("exit").map_or(0, |code| code.parse().unwrap());
        match (block.words[0], block.setting("as")) {
            ("yaml", _) => desk.write(&block.text),
            ("sh", None) => {
                for line in block.text.lines() {
                    desk.run(line, code);
                    commands += 1;
                    if line.starts_with("awsiam control-plane") {
                        // What the administrator does with what was printed.
                        let file = desk.site.awsiam(&["control-plane", "default/prod", "--file-only"]);
                        machine.control_plane_mut().use_webhook(&file).await.unwrap();
                    }
                }
            }
            ("sh", Some(identity)) => {
                let line = block.text.trim();
                let file =
                    line.strip_prefix("kubectl --kubeconfig ").and_then(|l| l.strip_suffix(" auth whoami"));
                log_in(&machine, &sts, &desk.folder.join(file.unwrap()), identity, code == 0);
                logins += 1;
            }
            (other, _) => panic!("what is {other}?"),
        }
    }
    assert!(commands >= 12 && logins == 4, "{commands} commands and {logins} logins");
}

/// Tries until it comes out as it should: a token that was checked may live on in the API server's cache.
fn log_in(machine: &Machine, sts: &Sts, kubeconfig: &Path, identity: &str, gets_in: bool) {
    let end = Instant::now() + DEADLINE;
    loop {
        let who = machine.whoami(sts, kubeconfig, sts.identity(identity));
        if who.is_ok() == gets_in {
            return;
        }
        assert!(Instant::now() < end, "{identity}: {who:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

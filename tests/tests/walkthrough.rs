//! The walkthrough in the documents, and the README's way from the chart to a login, command for command, on a real node:
//! what stands there is what people copy. Only what the test's AWS and images need is put into the manifest, and the
//! administrator's hands are played.
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
use awsiam_tests::documents::{README, lines, platform};
use awsiam_tests::machine::{Machine, MachineError, requirements};
use awsiam_tests::process::binary;
use awsiam_tests::site::{Site, operator_image, printed};
use awsiam_tests::sts::{Accounts, REGION, Sts};
use serde_json::{Value, json};

const TEXT: &str = include_str!("../../docs/walkthrough.md");
const AUTHENTICATOR: &str = "awsiam.test/aws-iam-authenticator:v0.7.18";
/// Where the operator's image comes from here, and where users and the test reach the API server.
const REGISTRY: &str = "awsiam.test";
const API_SERVER: &str = "198.18.77.2";
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
    fn new(machine: &Machine, sts: &Sts) -> Self {
        let site = Site {
            kubeconfig: machine.control_plane().kubeconfig_path().to_owned(),
            folder: machine.folder().to_owned(),
        };
        let folder = machine.folder().join("walkthrough");
        std::fs::create_dir_all(&folder).unwrap();
        Self { site, folder, block: format!("  iamAuthenticator: {}\n", authenticator_of_the_tests(sts)) }
    }

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

/// A machine with AWS and the images that its pods need; none where this computer can't have one.
async fn machine(accounts: &Accounts) -> Option<(Machine, Sts)> {
    let machine = match Machine::start().await {
        Err(error @ MachineError::Missing(_)) => {
            requirements::tell_skipped("walkthrough", &error);
            return None;
        }
        machine => machine.unwrap(),
    };
    let sts = Sts::start(machine.control_plane(), accounts).await.unwrap();
    let images = [operator_image().unwrap(), authenticator::image(AUTHENTICATOR, sts.authority()).unwrap()];
    for (number, image) in images.iter().enumerate() {
        let archive = machine.folder().join(format!("image-{number}.tar"));
        image.write(&archive).unwrap();
        machine.import_image(&archive).unwrap();
    }
    Some((machine, sts))
}

/// A Cluster's `iamAuthenticator`, with the image and the AWS of the tests.
fn authenticator_of_the_tests(sts: &Sts) -> Value {
    let env = sts.server_environment().into_iter().map(|(name, value)| json!({"name": name, "value": value}));
    let env: Vec<_> = env.collect();
    json!({"image": AUTHENTICATOR, "env": env})
}

#[tokio::test]
async fn every_command_of_the_walkthrough_does_what_it_says() {
    let accounts = Accounts::default().user("alice", "/team/ops/").session(
        "administrator",
        "arn:aws:iam::123456789012:role/admins",
        "carol",
    );
    let Some((mut machine, sts)) = machine(&accounts).await else { return };
    let desk = Desk::new(&machine, &sts);
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
                        has_the_api_server_ask(&mut machine, &desk, "default/prod").await;
                    }
                }
            }
            ("sh", Some(identity)) => {
                let kubeconfig = desk.folder.join(kubeconfig_of(&block.text));
                log_in(&machine, &sts, &kubeconfig, identity, code == 0);
                logins += 1;
            }
            (other, _) => panic!("what is {other}?"),
        }
    }
    assert!(commands >= 12 && logins == 4, "{commands} commands and {logins} logins");
}

#[tokio::test]
async fn the_quick_start_of_the_readme_leads_to_a_login() {
    let role = "arn:aws:iam::111122223333:role/PlatformAdmin";
    let accounts = Accounts::default().session("administrator", role, "carol");
    let Some((mut machine, sts)) = machine(&accounts).await else { return };
    let desk = Desk::new(&machine, &sts);
    // The only region of the tests' AWS.
    let manifest = platform().replace("eu-central-1", REGION);
    std::fs::write(desk.folder.join("platform.yaml"), manifest).unwrap();
    for line in lines(&README.blocks("Quick start")[1]) {
        if line.starts_with("helm ") {
            install(&machine, &sts, &line);
        } else {
            desk.run(&line, 0);
        }
    }

    let blocks = README.blocks("Log in");
    let [is_told, is_given, logs_in] = blocks.as_slice() else { panic!("{blocks:#?}") };
    for line in lines(is_told) {
        desk.run(&line, 0);
    }
    has_the_api_server_ask(&mut machine, &desk, "awsiam-system/local").await;
    for line in lines(is_given) {
        desk.run(&line, 0);
    }
    let kubeconfig = desk.folder.join(kubeconfig_of(logs_in));
    log_in(&machine, &sts, &kubeconfig, "administrator", true);
    let who = machine.whoami(&sts, &kubeconfig, sts.identity("administrator")).unwrap();
    assert_eq!(who.username, "platform-admin");
}

/// Installs the chart as a line of the README says, with what the tests' image and AWS need besides.
fn install(machine: &Machine, sts: &Sts, line: &str) {
    let line = line.replace("REGISTRY", REGISTRY).replace("API-SERVER", API_SERVER);
    let block = format!("--set-json=localCluster.spec.iamAuthenticator={}", authenticator_of_the_tests(sts));
    let mut helm = machine.control_plane().helm().unwrap();
    helm.args(line.split_whitespace().skip(1)).arg(block);
    helm.arg(format!("--set=authenticator.allowedImagePrefixes={{{REGISTRY}/}}"));
    helm.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    printed(&mut helm).unwrap_or_else(|error| panic!("{line}: {error}"));
}

/// What the administrator does with what `awsiam control-plane` printed.
async fn has_the_api_server_ask(machine: &mut Machine, desk: &Desk, cluster: &str) {
    let file = desk.site.awsiam(&["control-plane", cluster, "--file-only"]);
    machine.control_plane_mut().use_webhook(&file).await.unwrap();
}

/// The kubeconfig in a command that asks who somebody is.
fn kubeconfig_of(block: &str) -> &str {
    let file = block.trim().strip_prefix("kubectl --kubeconfig ");
    let file = file.and_then(|file| file.strip_suffix(" auth whoami"));
    file.unwrap_or_else(|| panic!("who asks by {block:?}?"))
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

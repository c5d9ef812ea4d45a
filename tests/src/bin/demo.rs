//! Shows the operator at work on a real Kubernetes API server: `make demo`. It starts one, puts an `aws-auth`
//! of several writers there, applies `examples/`, and shows what changes and what does not. With KEEP=1 all
//! of it stays until Ctrl-C.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use awsiam_core::diff;
use awsiam_core::plan::Content;
use awsiam_tests::control_plane::ControlPlane;
use awsiam_tests::process::{Process, binary};
use awsiam_tests::stage;

type Anything = Box<dyn std::error::Error + Send + Sync>;

/// What EKS, a person and a script have written before we come.
const BEFORE: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: aws-auth
  namespace: kube-system
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/eks-node-group
      username: system:node:{{EC2PrivateDNSName}}
      groups:
      - system:bootstrappers
      - system:nodes
    # break-glass, ask security before you touch it
    - {rolearn: 'arn:aws:iam::111122223333:role/BreakGlass', username: break-glass, groups: [system:masters]}
  mapUsers: |
    - userarn: arn:aws:iam::111122223333:user/ci   # Jenkins
      username: ci
      groups: [deployers]
  mapAccounts: |
    - \"444455556666\"
";

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The stage of the demo.
struct Demo {
    plane: ControlPlane,
    examples: PathBuf,
    colour: bool,
}

async fn demo() -> Result<(), Anything> {
    let demo = Demo {
        plane: ControlPlane::start().await?,
        examples: Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"),
        colour: std::io::stdout().is_terminal(),
    };
    demo.title("A Kubernetes API server is up; the CRDs and the chart's rights go in");
    stage::install_for(&demo.plane, "default", "local").await?;
    println!("{}", demo.kubectl(&["version"])?);

    demo.title("aws-auth as EKS, a person and a script left it");
    stage::apply(&demo.plane, BEFORE)?;
    demo.show_aws_auth()?;

    demo.title("kubectl apply -f examples/");
    print!("{}", demo.kubectl(&["apply", "-f", demo.examples.to_str().unwrap_or_default()])?);

    println!("\nThis API server has no nodes, so nobody can run the authenticator here: mode External.");
    let external = r#"{"spec":{"iamAuthenticator":{"mode":"External"}}}"#;
    let cluster = "clusters.anywhere.eks.amazonaws.com";
    print!("{}", demo.kubectl(&["patch", cluster, "local", "--type=merge", "-p", external])?);

    demo.title("awsiam diff --local default/local: what the operator would change");
    let diff = demo.awsiam(&["diff", "--local", "default/local"])?;
    print!("{diff}");

    demo.title("The operator starts, under the chart's rights");
    let kubeconfig = demo.plane.service_account_kubeconfig(stage::OPERATOR_NAMESPACE, "awsiam").await?;
    let log = demo.plane.folder().join("awsiam.log");
    let started = Instant::now();
    let mut operator = Process::start(&kubeconfig, "default/local", &[], &log)?;
    demo.until("Ready", || demo.ready())?;
    println!("Ready after {:.1} s. aws-auth now:\n", started.elapsed().as_secs_f64());
    demo.show_aws_auth()?;
    print!(
        "\n{}",
        demo.kubectl(&["get", "clusters.anywhere.eks.amazonaws.com,awsiamconfigs", "-o", "wide"])?
    );

    demo.title("Somebody edits one of our entries by hand");
    let text = demo.map_roles()?;
    let edited = text.replacen("viewer:{{SessionName}}", "everybody", 1);
    if edited == text {
        return Err("examples/ no longer maps username viewer:{{SessionName}}, which the demo edits".into());
    }
    demo.patch_map_roles(&edited)?;
    let started = Instant::now();
    demo.until("the repair", || Ok(demo.map_roles()? == text))?;
    println!("put back to the byte after {:.2} s; the operator says:", started.elapsed().as_secs_f64());
    demo.until("the Event", || Ok(!demo.events("DriftRepaired")?.is_empty()))?;
    println!("  {}", demo.events("DriftRepaired")?);

    demo.title("A mapping is taken out of the AWSIamConfig: exactly that entry goes");
    demo.kubectl(&[
        "patch",
        "awsiamconfig",
        "team-access",
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/spec/mapRoles/1"}]"#,
    ])?;
    demo.until("the removal", || Ok(demo.map_roles()? != text))?;
    let after = demo.map_roles()?;
    let content =
        |text: &str| Content { data: [("mapRoles".to_owned(), text.to_owned())].into(), ledger: None };
    print!("{}", diff::unified(&content(&text), &content(&after)));
    demo.until("Ready", || demo.ready())?;
    println!("\nEverything else is as it was:\n");
    demo.show_aws_auth()?;

    demo.title("The log of the operator");
    for line in std::fs::read_to_string(&log)?.lines().filter(|line| line.contains("changed an entry")) {
        println!("  {line}");
    }
    if std::env::var("KEEP").is_ok_and(|keep| !keep.is_empty() && keep != "0") {
        println!("\nIt all stays up until you press Ctrl-C. To look around:\n");
        println!("  export KUBECONFIG={}", demo.plane.kubeconfig_path().display());
        println!("  alias kubectl={}", demo.plane.kubectl()?.get_program().display());
        println!("  kubectl -n kube-system get configmap aws-auth -o yaml");
        tokio::signal::ctrl_c().await?;
    }
    let (status, took) = operator.terminate()?;
    println!(
        "\nThe operator ended ({status}) {:.2} s after SIGTERM; everything is stopped.",
        took.as_secs_f64()
    );
    Ok(())
}

impl Demo {
    fn title(&self, text: &str) {
        let (bold, plain) = if self.colour { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
        println!("\n{bold}== {text}{plain}\n");
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String, Anything> {
        let output = self.plane.kubectl()?.args(arguments).output()?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("kubectl {}: {said}", arguments.join(" ")).into())
        }
    }

    /// Exit codes 0 and 1 are answers of `awsiam diff`.
    fn awsiam(&self, arguments: &[&str]) -> Result<String, Anything> {
        let output = Command::new(binary())
            .args(arguments)
            .env("KUBECONFIG", self.plane.kubeconfig_path())
            .output()?;
        if matches!(output.status.code(), Some(0 | 1)) {
            let said = String::from_utf8_lossy(&output.stderr);
            Ok(format!("{}{said}", String::from_utf8_lossy(&output.stdout)))
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("awsiam {}: {said}", arguments.join(" ")).into())
        }
    }

    fn show_aws_auth(&self) -> Result<(), Anything> {
        let json = self.kubectl(&["-n", "kube-system", "get", "configmap", "aws-auth", "-o", "json"])?;
        let config_map: k8s_openapi::api::core::v1::ConfigMap = serde_json::from_str(&json)?;
        for (key, text) in stage::data(&config_map) {
            println!("  {key}: |");
            for line in text.lines() {
                println!("    {line}");
            }
        }
        Ok(())
    }

    fn map_roles(&self) -> Result<String, Anything> {
        self.kubectl(&[
            "-n",
            "kube-system",
            "get",
            "configmap",
            "aws-auth",
            "-o",
            "jsonpath={.data.mapRoles}",
        ])
    }

    fn patch_map_roles(&self, text: &str) -> Result<(), Anything> {
        let patch = serde_json::json!({"data": {"mapRoles": text}}).to_string();
        self.kubectl(&["-n", "kube-system", "patch", "configmap", "aws-auth", "--type=merge", "-p", &patch])?;
        Ok(())
    }

    fn ready(&self) -> Result<bool, Anything> {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        Ok(self.kubectl(&["get", "clusters.anywhere.eks.amazonaws.com", "local", "-o", path])? == "True")
    }

    fn events(&self, reason: &str) -> Result<String, Anything> {
        let field = format!("reason={reason}");
        self.kubectl(&[
            "get",
            "events.events.k8s.io",
            "--field-selector",
            &field,
            "-o",
            "jsonpath={.items[*].note}",
        ])
    }

    fn until(&self, what: &str, mut come: impl FnMut() -> Result<bool, Anything>) -> Result<(), Anything> {
        let end = Instant::now() + Duration::from_secs(20);
        while !come()? {
            if Instant::now() > end {
                let log = std::fs::read_to_string(self.plane.folder().join("awsiam.log")).unwrap_or_default();
                return Err(format!("{what} did not come within 20 s; the operator's log:\n{log}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

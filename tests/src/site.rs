//! An administrator's place: kubectl, helm and awsiam with a kubeconfig, for tests that do what the documents say.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::control_plane::programs;
use crate::image::Image;
use crate::machine::MachineError;
use crate::process::{binary, image_binary};

/// For what takes seconds, on a machine that may be compiling at the same time.
/// After several restarts of the API server kubelet and controllers wait for up to a minute before they watch again, the
/// one after the other for what the one before has done.
const DEADLINE: Duration = Duration::from_mins(4);
/// The operator's image.
const REPOSITORY: &str = "awsiam.test/awsiam";
const TAG: &str = "0.1.0";
/// The Cluster object, in namespace `default`.
const CLUSTER: &str = "prod";

/// The operator's own image, of the binary that `make programs` makes.
///
/// # Errors
/// Where it can't be read.
pub fn operator_image() -> Result<Image, MachineError> {
    Image::new(&format!("{REPOSITORY}:{TAG}"), "/awsiam").executable("/awsiam", &image_binary())
}

/// An administrator's place.
pub struct Site {
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// For files of the administrator.
    pub folder: PathBuf,
}

#[expect(clippy::panic, clippy::expect_used, reason = "only tests call this")]
#[expect(clippy::must_use_candidate, reason = "often all that counts is that it works")]
impl Site {
    /// Runs awsiam; what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn awsiam(&self, words: &[&str]) -> String {
        let mut awsiam = Command::new(binary());
        awsiam.args(words).arg("--kubeconfig").arg(&self.kubeconfig);
        printed(&mut awsiam).unwrap_or_else(|error| panic!("awsiam {words:?}: {error}"))
    }

    /// Runs kubectl; what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn kubectl(&self, words: &[&str]) -> String {
        self.try_kubectl(words).unwrap_or_else(|error| panic!("kubectl {words:?}: {error}"))
    }

    /// Runs kubectl; what it prints.
    ///
    /// # Errors
    /// What it prints when it fails.
    pub fn try_kubectl(&self, words: &[&str]) -> Result<String, String> {
        printed(self.program("kubectl").args(words))
    }

    /// `kubectl apply --server-side --force-conflicts` of manifests.
    ///
    /// # Panics
    /// When it fails.
    pub fn apply(&self, manifests: &str) {
        let mut kubectl = self.program("kubectl");
        kubectl.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]).stdin(Stdio::piped());
        let mut child = kubectl.stdout(Stdio::null()).spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("its standard input");
        stdin.write_all(manifests.as_bytes()).expect("kubectl reads");
        drop(stdin);
        assert!(child.wait().expect("kubectl ends").success(), "kubectl refuses {manifests}");
    }

    /// Puts the operator in as a person does, by the chart; it makes the CRDs by itself. `values` are helm's.
    ///
    /// # Panics
    /// When it isn't ready in time.
    pub fn install_operator(&self, values: &[&str]) {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/awsiam-operator");
        let mut helm = self.helm(&programs::folder_with(&["helm"]).expect("helm").join("helm"));
        helm.arg("install").args(self.release_words(&chart, values));
        if let Err(error) = printed(&mut helm) {
            let pods = self.try_kubectl(&["describe", "pods", "-A"]);
            panic!("{error}\n{}", pods.unwrap_or_default());
        }
    }

    /// This helm, with its caches in our folder.
    pub fn helm(&self, program: &Path) -> Command {
        let home = self.folder.join("home");
        let mut helm = Command::new(program);
        helm.env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", home.join("helm/cache"))
            .env("HELM_CONFIG_HOME", home.join("helm/config"))
            .env("HELM_DATA_HOME", home.join("helm/data"));
        helm
    }

    /// What `helm install` and `helm upgrade` take for release `awsiam` of a chart, with the operator's image of the tests.
    pub fn release_words(&self, chart: &Path, values: &[&str]) -> Vec<String> {
        let mut words = vec!["awsiam".to_owned(), chart.display().to_string()];
        words.extend(["--namespace", "awsiam-system", "--create-namespace", "--wait"].map(str::to_owned));
        let own = [
            format!("localCluster.namespace=default,localCluster.name={CLUSTER}"),
            format!("image.repository={REPOSITORY},image.tag={TAG},resync=2s"),
            "authenticator.allowedImagePrefixes={awsiam.test/}".to_owned(),
        ];
        for value in own.iter().map(String::as_str).chain(values.iter().copied()) {
            words.extend(["--set".to_owned(), value.to_owned()]);
        }
        words
    }

    /// What a condition of the Cluster says: status, reason and message.
    #[must_use]
    pub fn said(&self, kind: &str) -> String {
        let path =
            format!("jsonpath={{.status.conditions[?(@.type==\"{kind}\")]['status','reason','message']}}");
        let words = ["get", "clusters.anywhere.eks.amazonaws.com", CLUSTER, "-o", &path];
        self.try_kubectl(&words).unwrap_or_else(|error| error)
    }

    /// Waits for a condition of the Cluster; gives the message behind status and reason.
    ///
    /// # Panics
    /// After the deadline, with what is there.
    pub fn condition(&self, kind: &str, status: &str, reason: &str) -> String {
        let end = Instant::now() + DEADLINE;
        let wanted = format!("{status} {reason}");
        loop {
            let said = self.said(kind);
            if let Some(message) = said.strip_prefix(&wanted) {
                return message.trim_start().to_owned();
            }
            assert!(Instant::now() <= end, "waited for {kind}={wanted}; there is {said}\n{}", self.scene());
            // It sleeps until the reason is there; asking again and again would take most of a core.
            let path = format!("jsonpath={{.status.conditions[?(@.type==\"{kind}\")].reason}}={reason}");
            let object = format!("clusters.anywhere.eks.amazonaws.com/{CLUSTER}");
            drop(self.try_kubectl(&["wait", &object, "--timeout=10s", "--for", &path]));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What whoever looks for the cause of a failure asks for first: what was warned of, where the pods are, what the
    /// operators said, and what the authenticator's pods are like.
    fn scene(&self) -> String {
        let text = |words: &[&str]| self.try_kubectl(words).unwrap_or_else(|error| error);
        let operators = "app.kubernetes.io/name=awsiam-operator";
        let warnings =
            ["get", "events", "-A", "--field-selector", "type=Warning", "--sort-by", ".lastTimestamp"];
        let warnings = text(&warnings);
        let warnings: Vec<&str> = warnings.lines().rev().take(30).collect();
        let warnings: Vec<&str> = warnings.into_iter().rev().collect();
        [
            warnings.join("\n"),
            text(&["get", "pods", "-A", "-o", "wide"]),
            text(&["-n", "awsiam-system", "logs", "-l", operators, "--prefix", "--tail=40"]),
            text(&["-n", "kube-system", "describe", "pods"]),
        ]
        .join("\n\n")
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// After the deadline, with what is there instead.
    pub fn eventually(&self, what: &str, mut is_so: impl FnMut() -> Result<(), String>) {
        let end = Instant::now() + DEADLINE;
        while let Err(instead) = is_so() {
            assert!(Instant::now() < end, "waited for {what}; there is\n{instead}\n{}", self.scene());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn program(&self, name: &str) -> Command {
        let folder = programs::folder_with(&[name]).expect("the test programs");
        let mut command = Command::new(folder.join(name));
        command.env("KUBECONFIG", &self.kubeconfig);
        command.env("KUBECACHEDIR", self.folder.join("home/kubectl"));
        command
    }
}

/// Runs a command that reads nothing; what it prints.
///
/// # Errors
/// What it prints when it fails.
pub fn printed(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

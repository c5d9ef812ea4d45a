//! The authenticator itself as an oracle: a small Go program over its own `ParseMap` (`tests/oracle`), built once
//! and asked by the thousand. Nothing of it is part of the product.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{fs, io, thread};

use awsiam_core::mapping::{Entry, List};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What the authenticator reads in one data key.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The entries that `ParseMap` returns, in order.
    pub entries: Vec<Entry>,
    /// Its error; it may have kept entries nevertheless.
    pub error: Option<String>,
    /// Whether it panicked, which would end the authenticator.
    pub panicked: bool,
    /// For each ARN that occurs, the indexes of the entries that may answer for it.
    pub winners: BTreeMap<String, Vec<usize>>,
}

/// What kubectl makes of a manifest file.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// Its documents as JSON, up to the first error.
    pub documents: Vec<serde_json::Value>,
    /// Why it went no further.
    pub error: Option<String>,
}

/// What the authenticator's mapper says of an identity.
#[derive(Clone, Debug, Deserialize)]
pub struct IdentityAnswer {
    /// Why nobody who logs in has this ARN.
    pub error: Option<String>,
    /// The ARN by which entries are found.
    pub canonical: String,
    /// What it answers, in many tries: none, one, or several between which chance decides.
    pub answers: Vec<Mapped>,
    /// Whether the account is let in.
    pub account: bool,
}

/// A username and groups as an entry says them, placeholders and all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Mapped {
    /// The username.
    pub username: String,
    /// The groups.
    pub groups: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// There is no Go to build it with.
    #[error("the oracle needs Go 1.26 or newer on the PATH to be built: https://go.dev/dl/")]
    NoGo,
    /// Go could not build it.
    #[error("go could not build the oracle in {}:\n{output}", folder.display())]
    Build {
        /// Where its sources are.
        folder: PathBuf,
        /// What Go said.
        output: String,
    },
    /// It could not be run, or stopped early.
    #[error("the oracle {} failed: {source}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// No cache folder can be found or written.
    #[error("no folder to build the oracle in: set AWSIAM_CACHE to a folder that can be written")]
    NoCache,
}

/// The oracle's program, built.
#[derive(Clone, Debug)]
pub struct Oracle {
    program: PathBuf,
}

static BUILDING: Mutex<()> = Mutex::new(());

const SOURCES: [&str; 3] = ["go.mod", "go.sum", "main.go"];

impl Oracle {
    /// Builds the oracle unless the cache folder (`AWSIAM_CACHE`, else `$XDG_CACHE_HOME/awsiam`, else
    /// `~/.cache/awsiam`) has one of the same sources. The first time takes minutes.
    ///
    /// # Errors
    /// When Go is missing, cannot fetch the modules or cannot build them.
    pub fn build() -> Result<Self, OracleError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle");
        let cache = crate::cache::folder().map_err(|_| OracleError::NoCache)?;
        let program = cache.join(format!("oracle-{:016x}", hash_of_sources(&folder)));
        // The tests of one program run beside each other: one builds, the others wait for it.
        let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        if !program.exists() {
            // Under a name of its own first: another test program may build at the same time.
            let unfinished = cache.join(format!("oracle-{}-unfinished", std::process::id()));
            go_build(&folder, &unfinished)?;
            let failed = |source| OracleError::Run { program: program.clone(), source };
            fs::rename(&unfinished, &program).map_err(failed)?;
        }
        Ok(Self { program })
    }

    /// What the authenticator reads in each of `texts`.
    ///
    /// # Errors
    /// When the program cannot be run or does not answer each question.
    pub fn ask(&self, texts: &[(List, &str)]) -> Result<Vec<Answer>, OracleError> {
        let questions: Vec<_> = texts.iter().map(|(list, text)| line(list.data_key(), text)).collect();
        self.run(&questions)
    }

    /// What the authenticator's mapper says of each identity, with this data of `aws-auth`.
    ///
    /// # Errors
    /// When the program cannot be run or does not answer each question.
    pub fn ask_identities(
        &self,
        questions: &[(&BTreeMap<String, String>, &str)],
    ) -> Result<Vec<IdentityAnswer>, OracleError> {
        let lines: Vec<(&str, BTreeMap<String, String>)> = questions
            .iter()
            .map(|(data, arn)| {
                let mut line = (*data).clone();
                line.insert("identity".to_owned(), (*arn).to_owned());
                ("identity", line)
            })
            .collect();
        self.run(&lines)
    }

    /// What kubectl makes of each of `texts`.
    ///
    /// # Errors
    /// When the program cannot be run or does not answer each question.
    pub fn ask_manifests(&self, texts: &[&str]) -> Result<Vec<Manifest>, OracleError> {
        let questions: Vec<_> = texts.iter().map(|text| line("manifest", text)).collect();
        self.run(&questions)
    }

    fn run<A: DeserializeOwned>(&self, questions: &[Question<'_>]) -> Result<Vec<A>, OracleError> {
        self.talk(questions).map_err(|source| OracleError::Run { program: self.program.clone(), source })
    }

    fn talk<A: DeserializeOwned>(&self, questions: &[Question<'_>]) -> io::Result<Vec<A>> {
        let mut child = Command::new(&self.program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        let answers = thread::scope(|scope| {
            let asking = scope.spawn(|| write_questions(questions, stdin));
            let answers = read_answers(questions, stdout);
            asking.join().map_err(|_| io::Error::other("asking it panicked"))??;
            answers
        });
        child.wait()?;
        answers
    }
}

/// The key that is answered, and the line that asks.
type Question<'q> = (&'q str, BTreeMap<String, String>);

fn line<'q>(key: &'q str, text: &str) -> Question<'q> {
    (key, BTreeMap::from([(key.to_owned(), text.to_owned())]))
}

fn write_questions(questions: &[Question<'_>], stdin: impl Write) -> io::Result<()> {
    let mut stdin = BufWriter::new(stdin);
    for (_, line) in questions {
        serde_json::to_writer(&mut stdin, line)?;
        stdin.write_all(b"\n")?;
    }
    stdin.flush()
}

fn read_answers<A: DeserializeOwned>(
    questions: &[Question<'_>],
    stdout: impl io::Read,
) -> io::Result<Vec<A>> {
    let mut lines = BufReader::new(stdout).lines();
    questions
        .iter()
        .map(|(key, asked)| {
            let line = lines.next().ok_or_else(|| io::Error::other(format!("it stopped at {asked:?}")))??;
            let mut answers: BTreeMap<String, A> = serde_json::from_str(&line)?;
            answers.remove(*key).ok_or_else(|| io::Error::other("it answered something else"))
        })
        .collect()
}

fn hash_of_sources(folder: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    for name in SOURCES {
        fs::read(folder.join(name)).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}

fn go_build(folder: &Path, program: &Path) -> Result<(), OracleError> {
    let output = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o"])
        .arg(program)
        .arg(".")
        .current_dir(folder)
        .output()
        .map_err(|_| OracleError::NoGo)?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(OracleError::Build { folder: folder.into(), output })
}

//! Why a kubeconfig is not accepted: the field and the reason. Never holds anything that stood in it, names of unknown
//! fields included.

use thiserror::Error;

/// Why a kubeconfig is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}{reason}", at(.field))]
pub struct Refusal {
    /// The field, such as `users[0].user.exec`; empty: the document as a whole.
    pub field: String,
    /// What is wrong with it.
    pub reason: Reason,
}

fn at(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field} ") }
}

/// What is wrong with a field.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Reason {
    /// It is no YAML that can be read.
    #[error("it can't be read as YAML{}", place(*.line, *.column))]
    NotYaml {
        /// Line of the mistake, from 1; 0: not known.
        line: u64,
        /// Column of the mistake, from 1.
        column: u64,
    },
    /// Several documents.
    #[error("it holds several YAML documents; one is wanted")]
    SeveralDocuments,
    /// It is too long.
    #[error("it is longer than {max} bytes")]
    TooLong {
        /// Most bytes.
        max: usize,
    },
    /// Another kind, or another version.
    #[error("does not say that this is a kubeconfig (apiVersion: v1, kind: Config)")]
    NotAKubeconfig,
    /// Not there.
    #[error("is missing")]
    Missing,
    /// Another type.
    #[error("is not {0}")]
    NotA(&'static str),
    /// A field that is not known.
    #[error("holds a field that is not known, so nobody can say what it would do; it may hold {0}")]
    UnknownField(String),
    /// Two entries of one name.
    #[error("has the name of an earlier entry")]
    Twice,
    /// A name that no entry has.
    #[error("names an entry that is not there")]
    NamesNothing,
    /// A program to run.
    #[error(
        "would run a program in the operator's pod, which is never done; use a token, or a certificate with its key, inline"
    )]
    RunsAProgram,
    /// An authentication plugin.
    #[error(
        "is not accepted: it would fetch credentials elsewhere; use a token, or a certificate with its key, inline"
    )]
    AuthProvider,
    /// A path.
    #[error(
        "would read a file of the operator's pod, which is never done; put the content inline, as `kubectl config view --raw --flatten --minify` prints it"
    )]
    File,
    /// A proxy.
    #[error("would send the requests, and what they carry, elsewhere; leave it out")]
    Proxy,
    /// No check of the server's certificate.
    #[error("would talk to whoever answers; leave it out and set certificate-authority-data")]
    Insecure,
    /// A name and a password.
    #[error("is not accepted: API servers take no passwords; use a token, or a certificate with its key")]
    Password,
    /// Impersonation.
    #[error("is not accepted: nobody is impersonated; use the credentials of the one who is meant")]
    Impersonation,
    /// Not the address of a server.
    #[error("is not https://HOST[:PORT][/PATH], without a user name and a query")]
    BadServer,
    /// Not a name.
    #[error("is not a name that a certificate can carry")]
    BadName,
    /// Not base64.
    #[error("is not text in base64")]
    NotBase64,
    /// Not PEM.
    #[error("does not hold {0} in PEM form")]
    NotPem(&'static str),
    /// Not a token.
    #[error("is not a token: it has blanks or other characters that none may have, or is too long")]
    BadToken,
    /// Nothing to log in with.
    #[error("holds neither token nor client-certificate-data with client-key-data")]
    NoCredentials,
    /// A token and a certificate.
    #[error("holds a token and a certificate; one of the two is wanted")]
    TwoCredentials,
}

fn place(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!(": see line {line}, column {column}") }
}

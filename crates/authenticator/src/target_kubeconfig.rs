//! Judges the kubeconfig of a target before anything is done with it. It comes out of a Secret that whoever owns the
//! Cluster object may write, and a kubeconfig can run programs, read files of the operator and send its requests
//! elsewhere: so it is not handed to a client, but read here, and only what is inline and harmless is taken over. What is
//! refused is told by field and reason, never by value. Pure.

mod document;
mod refusal;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::to_pem;

use self::document::{Node, Place};
pub use self::refusal::{Reason, Refusal};

/// Most bytes of a kubeconfig.
pub const MAX_BYTES: usize = 256 * 1024;
/// Most bytes of a token: Kubernetes' own are below 2 KiB.
const MAX_TOKEN: usize = 16 * 1024;
/// Most certificates that the target may be trusted by.
const MAX_CERTIFICATES: usize = 32;

/// How to reach a target, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetKubeconfig {
    /// `https://HOST[:PORT][/PATH]`
    pub server: String,
    /// The certificates that the API server is trusted by, DER; at least one.
    pub authorities: Vec<Vec<u8>>,
    /// The name that its certificate is to carry, where that is not the host.
    pub tls_server_name: Option<String>,
    /// Who we are there.
    pub credentials: Credentials,
}

/// Who a client is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A bearer token.
    Token(String),
    /// A certificate with its key, each PEM.
    Certificate {
        /// The certificate, and those that lead to its authority.
        certificate_pem: String,
        /// The private key.
        key_pem: String,
    },
}

impl fmt::Debug for TargetKubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetKubeconfig").finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Token(_) => "Token(…)",
            Credentials::Certificate { .. } => "Certificate { … }",
        })
    }
}

impl TargetKubeconfig {
    /// The certificates that the API server is trusted by, PEM.
    #[must_use]
    pub fn authority_pem(&self) -> String {
        self.authorities.iter().map(|der| to_pem(der)).collect()
    }
}

/// Reads a kubeconfig strictly. Every entry of it is judged, not only the one that its current context names.
///
/// # Errors
/// The first thing that is not accepted.
pub fn judge(text: &str) -> Result<TargetKubeconfig, Refusal> {
    let value = document::parse(text)?;
    let root = Node::root(&value);
    root.only(&[
        "apiVersion",
        "kind",
        "clusters",
        "users",
        "contexts",
        "current-context",
        "preferences",
        "extensions",
    ])?;
    for (field, wanted) in [("apiVersion", "v1"), ("kind", "Config")] {
        if root.text(field)?.is_some_and(|text| text != wanted) {
            return Err(root.field(field).refuse(Reason::NotAKubeconfig));
        }
    }
    let clusters = root.named("clusters", "cluster", cluster)?;
    let users = root.named("users", "user", user)?;
    let contexts = root.named("contexts", "context", context)?;

    let current = root.required("current-context")?;
    let context = found(&contexts, current, &root.field("current-context"))?;
    let (server, authorities, tls_server_name) = found(&clusters, &context.cluster, &context.cluster_field)?;
    let credentials = found(&users, &context.user, &context.user_field)?;
    Ok(TargetKubeconfig {
        server: server.clone(),
        authorities: authorities.clone(),
        tls_server_name: tls_server_name.clone(),
        credentials: credentials.clone(),
    })
}

/// The entry of this name; `field` is where the name stands.
fn found<'a, T>(entries: &'a [(String, T)], name: &str, field: &Place) -> Result<&'a T, Refusal> {
    let entry = entries.iter().find(|(entry, _)| entry == name);
    entry.map(|(_, value)| value).ok_or_else(|| field.refuse(Reason::NamesNothing))
}

type Server = (String, Vec<Vec<u8>>, Option<String>);

fn cluster(node: &Node<'_>) -> Result<Server, Refusal> {
    node.none_of(&[
        ("certificate-authority", Reason::File),
        ("insecure-skip-tls-verify", Reason::Insecure),
        ("proxy-url", Reason::Proxy),
    ])?;
    node.only(&[
        "server",
        "certificate-authority-data",
        "tls-server-name",
        "disable-compression",
        "extensions",
        // Empty, or refused above.
        "certificate-authority",
        "insecure-skip-tls-verify",
        "proxy-url",
    ])?;
    let server = node.required("server")?;
    if !is_sound(server) {
        return Err(node.field("server").refuse(Reason::BadServer));
    }
    let pem = pem(node, "certificate-authority-data")?;
    let authorities = certificates(&pem).ok_or_else(|| {
        node.field("certificate-authority-data").refuse(Reason::NotPem("certificates, and nothing else,"))
    })?;
    let name = node.text("tls-server-name")?.filter(|name| !name.is_empty());
    let is_name = |name: &str| {
        name.len() <= 253 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'))
    };
    if name.is_some_and(|name| !is_name(name)) {
        return Err(node.field("tls-server-name").refuse(Reason::BadName));
    }
    Ok((server.to_owned(), authorities, name.map(str::to_owned)))
}

fn user(node: &Node<'_>) -> Result<Credentials, Refusal> {
    const FORBIDDEN: [(&str, Reason); 11] = [
        ("exec", Reason::RunsAProgram),
        ("auth-provider", Reason::AuthProvider),
        ("tokenFile", Reason::File),
        ("client-certificate", Reason::File),
        ("client-key", Reason::File),
        ("username", Reason::Password),
        ("password", Reason::Password),
        ("as", Reason::Impersonation),
        ("as-uid", Reason::Impersonation),
        ("as-groups", Reason::Impersonation),
        ("as-user-extra", Reason::Impersonation),
    ];
    node.none_of(&FORBIDDEN)?;
    let known = FORBIDDEN.iter().map(|(field, _)| *field);
    let accepted = ["token", "client-certificate-data", "client-key-data", "extensions"];
    node.only(&accepted.into_iter().chain(known).collect::<Vec<_>>())?;

    let token = node.text("token")?.filter(|token| !token.is_empty());
    let has_certificate = node.text("client-certificate-data")?.is_some_and(|data| !data.is_empty());
    let has_key = node.text("client-key-data")?.is_some_and(|data| !data.is_empty());
    match (token, has_certificate, has_key) {
        (Some(token), false, false) => {
            if token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(node.field("token").refuse(Reason::BadToken));
            }
            Ok(Credentials::Token(token.to_owned()))
        }
        (None, true, true) => {
            let certificate_pem = pem(node, "client-certificate-data")?;
            if certificates(&certificate_pem).is_none() {
                return Err(node.field("client-certificate-data").refuse(Reason::NotPem("certificates")));
            }
            let key_pem = pem(node, "client-key-data")?;
            if !is_private_key(&key_pem) {
                return Err(node.field("client-key-data").refuse(Reason::NotPem("one private key")));
            }
            Ok(Credentials::Certificate { certificate_pem, key_pem })
        }
        (None, true, false) => Err(node.field("client-key-data").refuse(Reason::Missing)),
        (None, false, true) => Err(node.field("client-certificate-data").refuse(Reason::Missing)),
        (None, false, false) => Err(node.place().refuse(Reason::NoCredentials)),
        (Some(_), ..) => Err(node.place().refuse(Reason::TwoCredentials)),
    }
}

struct Context {
    cluster: String,
    cluster_field: Place,
    user: String,
    user_field: Place,
}

fn context(node: &Node<'_>) -> Result<Context, Refusal> {
    node.only(&["cluster", "user", "namespace", "extensions"])?;
    Ok(Context {
        cluster: node.required("cluster")?.to_owned(),
        cluster_field: node.field("cluster"),
        user: node.required("user")?.to_owned(),
        user_field: node.field("user"),
    })
}

/// Whether this is the https address of a server and nothing more: no name and password, no query.
fn is_sound(server: &str) -> bool {
    if server.len() > 2048 || server.contains(['#', '?', '@', '\\']) {
        return false;
    }
    let Ok(uri) = server.parse::<http::Uri>() else { return false };
    uri.scheme() == Some(&http::uri::Scheme::HTTPS)
        && uri.host().is_some_and(|host| !host.is_empty())
        && uri.authority().is_some_and(|authority| {
            let port = authority.as_str().strip_prefix(authority.host()).unwrap_or(":");
            port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
        })
}

/// The text that a field holds in base64, as kubectl writes it.
fn pem(node: &Node<'_>, field: &str) -> Result<String, Refusal> {
    let data: String = node.required(field)?.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(data).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| node.field(field).refuse(Reason::NotBase64))
}

/// The certificates of a PEM text, DER; none where something else is among them.
fn certificates(pem: &str) -> Option<Vec<Vec<u8>>> {
    let blocks: Vec<Pem> = Pem::iter_from_buffer(pem.as_bytes()).collect::<Result<_, _>>().ok()?;
    let is_one = |block: &Pem| {
        block.label == "CERTIFICATE"
            && X509Certificate::from_der(&block.contents).is_ok_and(|(rest, _)| rest.is_empty())
    };
    let all = !blocks.is_empty() && blocks.len() <= MAX_CERTIFICATES && blocks.iter().all(is_one);
    all.then(|| blocks.into_iter().map(|block| block.contents).collect())
}

fn is_private_key(pem: &str) -> bool {
    const KEYS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
    let blocks: Result<Vec<Pem>, _> = Pem::iter_from_buffer(pem.as_bytes()).collect();
    // OpenSSL writes the parameters of a curve in front of its key.
    let is_key = |block: &&Pem| KEYS.contains(&block.label.as_str());
    blocks.is_ok_and(|blocks| {
        blocks.iter().filter(is_key).count() == 1
            && blocks.iter().all(|block| is_key(&block) || block.label == "EC PARAMETERS")
    })
}

/// Whether a field is as good as absent.
fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || value.as_str() == Some("")
}

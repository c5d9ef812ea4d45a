//! Whether an API server asks the authenticator, told from its answer to a TokenReview with a token that looks
//! like AWS's and is none. What is told is that something answers on that port of one API server, no more.

/// A token with the prefix of AWS tokens that no authenticator can accept: what follows is no URL.
pub const PROBE_TOKEN: &str = "k8s-aws-v1.bm90LWEtdXJs";

/// What an API server does with AWS tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Webhook {
    /// It asks, and is answered.
    Asked,
    /// It asks nobody.
    Absent,
    /// It asks, and nothing answers on the port.
    Refused,
    /// It asks, and does not trust what answers.
    NotTrusted,
    /// Its answer is none of those that are known.
    Unknown,
}

/// Reads `status.error` of a TokenReview with [`PROBE_TOKEN`]; texts as kube-apiserver 1.36 gives them
/// (`tests/webhook-answers`).
#[must_use]
pub fn told_by(error: &str) -> Webhook {
    let has = |part: &str| error.contains(part);
    if has("connection refused") {
        Webhook::Refused
    } else if has("x509:") || has("tls:") {
        Webhook::NotTrusted
    } else if has("access denied")
        || has("forbidden")
        || has("the server has asked")
        || has("(post .meta.k8s.io)")
    {
        Webhook::Asked
    } else if error == "invalid bearer token" || error == "[invalid bearer token]" || error.is_empty() {
        Webhook::Absent
    } else {
        Webhook::Unknown
    }
}

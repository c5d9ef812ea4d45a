//! Whether an API server asks the authenticator, told from its answer to a TokenReview with a token that looks
//! like AWS's and is none. What is told is that something answers on that port of one API server, no more.

/// A token with the prefix of AWS tokens that no authenticator can accept: what follows is no URL.
pub const PROBE_TOKEN: &str = "k8s-aws-v1.bm90LWEtdXJs";

/// What every API server says first of a token that nobody knows.
const UNKNOWN_TOKEN: &str = "invalid bearer token";

/// What an API server does with AWS tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Webhook {
    /// It asks, and is answered with a refusal, as is right.
    Asked,
    /// It asks nobody.
    Absent,
    /// It asks, and gets no answer.
    Unanswered,
    /// It asks, and does not trust what answers.
    NotTrusted,
    /// It asks, and what answers is no authenticator.
    SomethingElse,
    /// Its answer is none of those that are known.
    Unknown,
}

/// Reads `status.error` of a TokenReview with [`PROBE_TOKEN`]. The texts are recorded, per version of
/// kube-apiserver, in `tests/webhook-answers`.
#[must_use]
pub fn told_by(error: &str) -> Webhook {
    if error == UNKNOWN_TOKEN {
        return Webhook::Absent;
    }
    let more = error.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let Some(more) = more.and_then(|list| list.strip_prefix(UNKNOWN_TOKEN)?.strip_prefix(", ")) else {
        return Webhook::Unknown;
    };
    // A refusal is an answer with code 403 and no Status in it, of which client-go says just this.
    if more == "unknown" {
        return Webhook::Asked;
    }
    let has = |part: &str| more.contains(part);
    if has("x509:") {
        Webhook::NotTrusted
    } else if has("connection refused")
        || has("timeout")
        || has("deadline exceeded")
        || has("no route to host")
    {
        Webhook::Unanswered
    } else if has("could not find the requested resource") {
        Webhook::SomethingElse
    } else {
        Webhook::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_answers_of_every_version_are_told_apart() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/webhook-answers");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() >= 3, "{files:?}");
        for file in files {
            let recorded: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            for (case, webhook) in [
                ("no webhook", Webhook::Absent),
                ("webhook refuses", Webhook::Asked),
                ("connection refused", Webhook::Unanswered),
                ("no answer", Webhook::Unanswered),
                ("certificate not trusted, another authority", Webhook::NotTrusted),
                ("certificate not trusted, authority made anew", Webhook::NotTrusted),
                ("something else answers", Webhook::SomethingElse),
            ] {
                let error = recorded[case]["status"]["error"].as_str().unwrap_or_else(|| panic!("{case}"));
                assert_eq!(told_by(error), webhook, "{case} in {}", file.display());
            }
        }
        for other in ["", "unknown", "[invalid bearer token, oidc: no]", "[x, unknown]"] {
            assert_eq!(told_by(other), Webhook::Unknown, "{other}");
        }
    }
}

//! What must never stand in the log of an operator or of a container: keys and tokens, those of AWS identities among them, and
//! what a connection is made of.

use std::path::Path;

use serde_json::Value;

const PRIVATE_KEY: &str = "a private key";

/// What is looked for always, and what it is.
const ALWAYS: [(&str, &str); 9] = [
    ("PRIVATE KEY-----", PRIVATE_KEY),
    // The same in base64, as Secrets and kubeconfigs have it.
    ("LS0tLS1CRUdJTiBQUklWQVRF", PRIVATE_KEY),
    ("LS0tLS1CRUdJTiBFQyBQUklWQVRF", PRIVATE_KEY),
    ("LS0tLS1CRUdJTiBSU0EgUFJJVkFURS", PRIVATE_KEY),
    // The same as a list of bytes: so a Secret's data look in Rust's debug format.
    ("80, 82, 73, 86, 65, 84, 69, 32, 75, 69, 89", PRIVATE_KEY),
    // How each key of ours begins behind its PEM header.
    ("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEH", PRIVATE_KEY),
    // With the beginning of the address in it: the authenticator names the prefix when it refuses what isn't its own.
    ("k8s-aws-v1.aHR0", "a token of an AWS identity"),
    ("X-Amz-Signature=", "what such a token consists of"),
    // A header that begins with the algorithm, in base64.
    ("eyJhbGciOi", "a ServiceAccount's token"),
];

/// The secrets that a text is searched for, each with what it is.
#[derive(Clone, Default)]
pub struct Secrets(Vec<(String, &'static str)>);

impl Secrets {
    /// Those that are looked for always, and the tokens, passwords and keys of a kubeconfig.
    ///
    /// # Panics
    /// When it can't be read: then nobody knows what to look for.
    #[expect(clippy::panic, reason = "only tests call this")]
    #[must_use]
    pub fn of(kubeconfig: &Path) -> Self {
        let name = kubeconfig.display();
        let text = std::fs::read_to_string(kubeconfig).unwrap_or_else(|error| panic!("{name}: {error}"));
        let read: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let users = read.get("users").and_then(Value::as_array).into_iter().flatten();
        let fields = users.flat_map(|user| {
            ["token", "password", "client-key-data"].map(|field| user.pointer(&format!("/user/{field}")))
        });
        let secrets = fields.flatten().filter_map(Value::as_str);
        secrets.map(|secret| (secret.to_owned(), "a credential of a kubeconfig")).collect()
    }

    /// These and more.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// The number of the first line that holds one, from 1 on, and what it is. The line itself is not repeated.
    #[must_use]
    pub fn line_in(&self, text: &str) -> Option<(usize, &'static str)> {
        let own = self.0.iter().map(|(secret, what)| (secret.as_str(), *what));
        let found =
            ALWAYS.into_iter().chain(own).filter_map(|(secret, what)| Some((text.find(secret)?, what)));
        let (start, what) = found.min()?;
        Some((text.get(..start)?.matches('\n').count() + 1, what))
    }
}

/// Of those that are looked for besides, the empty ones left out.
impl FromIterator<(String, &'static str)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (String, &'static str)>>(secrets: I) -> Self {
        Self(secrets.into_iter().filter(|(secret, _)| !secret.is_empty()).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn keys_tokens_and_what_the_kubeconfig_holds_are_found_and_other_lines_are_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "users: [{name: a, user: {token: s3cr3t}}, {name: b, user: {}}]")
            .unwrap();
        let secrets = Secrets::of(file.path());
        let refused = r#"msg="access denied" error="token is missing expected \"k8s-aws-v1.\" prefix""#;
        assert_eq!(secrets.line_in(&format!("starting\nCA made: sha256 ab12\n{refused}\n")), None);
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let listed = format!("{:?}", key.as_bytes());
        for (bad, what) in [
            ("a s3cr3t b", "a credential of a kubeconfig"),
            ("-----BEGIN EC PRIVATE KEY-----", PRIVATE_KEY),
            ("key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0", PRIVATE_KEY),
            (listed.as_str(), PRIVATE_KEY),
            (key.lines().nth(1).unwrap(), PRIVATE_KEY),
            ("k8s-aws-v1.aHR0", "a token of an AWS identity"),
            ("token: eyJhbGciOiJFUzI1NiJ9", "a ServiceAccount's token"),
        ] {
            assert_eq!(secrets.line_in(&format!("starting\n{bad}\n")), Some((2, what)), "{bad}");
        }
    }
}

//! What must never stand in an operator's log: keys, tokens of AWS identities, and what its own connection is made of.

use std::path::Path;

use serde_json::Value;

/// PEM headers of private keys, plain and in base64 as Secrets and kubeconfigs have them, and the prefix of tokens that log in
/// with AWS credentials.
const ALWAYS: [&str; 4] =
    ["PRIVATE KEY-----", "LS0tLS1CRUdJTiBQUklWQVRF", "LS0tLS1CRUdJTiBFQyBQUklWQVRF", "k8s-aws-v1."];

/// The secrets that a text is searched for.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

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
        Self(secrets.filter(|secret| !secret.is_empty()).map(str::to_owned).collect())
    }

    /// The number of the first line that holds one, from 1 on. The line itself is not repeated.
    #[must_use]
    pub fn line_in(&self, text: &str) -> Option<usize> {
        let is_bad = |line: &str| {
            ALWAYS.iter().any(|secret| line.contains(secret))
                || self.0.iter().any(|s| line.contains(s.as_str()))
        };
        text.lines().position(is_bad).map(|index| index + 1)
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
        assert_eq!(secrets.line_in("starting\nCA made: sha256 ab12\n"), None);
        for bad in [
            "a s3cr3t b",
            "-----BEGIN EC PRIVATE KEY-----",
            "k8s-aws-v1.aHR0",
            "key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0",
        ] {
            assert_eq!(secrets.line_in(&format!("starting\n{bad}\n")), Some(2), "{bad}");
        }
    }
}

//! The two kubeconfigs: the one by which the API server finds the authenticator, and the one that users log
//! in with. Neither holds a secret.

use std::net::Ipv6Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use thiserror::Error;

use crate::names::PORT;

/// Port of an API server whose endpoint names none.
pub const DEFAULT_API_PORT: u16 = 6443;

/// The kubeconfig for `--authentication-token-webhook-config-file`, with the CA certificates (PEM) inline;
/// during a change of the CA there are two. Its text depends on the CA alone, because each change of it
/// replaces control-plane machines.
#[must_use]
pub fn webhook(ca_pem: &str) -> String {
    let ca = STANDARD.encode(ca_pem);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: aws-iam-authenticator
  cluster:
    certificate-authority-data: {ca}
    server: https://127.0.0.1:{PORT}/authenticate
users:
- name: apiserver
  user: {{}}
contexts:
- name: webhook
  context:
    cluster: aws-iam-authenticator
    user: apiserver
current-context: webhook
"
    )
}

/// Which program makes the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exec {
    /// `aws-iam-authenticator token`
    #[default]
    Authenticator,
    /// `aws eks get-token`
    Aws,
}

/// What a user's kubeconfig is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserKubeconfig<'a> {
    /// Name of the cluster in the file.
    pub cluster: &'a str,
    /// Address of the API server, from [`endpoint`].
    pub server: &'a str,
    /// CA of the API server, PEM.
    pub ca_pem: &'a str,
    /// The id that tokens carry.
    pub cluster_id: &'a str,
    /// Region whose STS signs; always named, because a login without it asks the instance metadata service.
    pub region: &'a str,
    /// Which program makes the token.
    pub exec: Exec,
}

/// The kubeconfig that logs in with AWS credentials.
///
/// # Errors
/// Never for the strings that Kubernetes names allow; the serializer's otherwise.
pub fn user(of: &UserKubeconfig<'_>) -> Result<String, serde_saphyr::ser::Error> {
    let name = format!("{}-aws", of.cluster);
    let (command, args, hint) = match of.exec {
        Exec::Authenticator => (
            "aws-iam-authenticator",
            vec!["token", "-i", of.cluster_id],
            "aws-iam-authenticator is needed to log in: https://github.com/kubernetes-sigs/aws-iam-authenticator/releases",
        ),
        Exec::Aws => (
            "aws",
            vec![
                "eks",
                "get-token",
                "--output",
                "json",
                "--cluster-name",
                of.cluster_id,
                "--region",
                of.region,
            ],
            "the AWS CLI is needed to log in: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
        ),
    };
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": of.cluster, "cluster": {
            "server": of.server, "certificate-authority-data": STANDARD.encode(of.ca_pem),
        }}],
        "users": [{"name": name, "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": command,
            "args": args,
            "env": [{"name": "AWS_REGION", "value": of.region}],
            "installHint": hint,
            "interactiveMode": "IfAvailable",
        }}}],
        "contexts": [{"name": name, "context": {"cluster": of.cluster, "user": name}}],
        "current-context": name,
    });
    manifest(&config)
}

/// An object as a YAML document, with lines as long as they are: a folded one reads badly.
///
/// # Errors
/// The serializer's.
pub fn manifest(object: &impl Serialize) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string_with_options(object, serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX })
}

/// An endpoint that is no address.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not the address of an API server: write a name or an address, with or without a port")]
pub struct EndpointError(String);

/// The URL of an API server, from what `controlPlaneConfiguration.endpoint.host` may hold: a name, an
/// IPv4 or IPv6 address, with or without brackets, port and `https://`.
///
/// # Errors
/// [`EndpointError`] for another scheme, a path, or nothing.
pub fn endpoint(host: &str) -> Result<String, EndpointError> {
    let wrong = || EndpointError(host.to_owned());
    let rest = host.trim();
    let rest = match rest.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest.trim_end_matches('/'),
        Some(_) => return Err(wrong()),
        None => rest,
    };
    let (name, port) = split(rest).ok_or_else(wrong)?;
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '%' | '_');
    if name.is_empty() || !name.chars().all(sound) {
        return Err(wrong());
    }
    Ok(format!("https://{name}:{port}"))
}

/// Host, IPv6 in brackets, and port.
fn split(text: &str) -> Option<(String, u16)> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((format!("[{text}]"), DEFAULT_API_PORT));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        let port = if after.is_empty() { DEFAULT_API_PORT } else { after.strip_prefix(':')?.parse().ok()? };
        return Some((format!("[{address}]"), port));
    }
    match text.split_once(':') {
        Some((name, port)) => Some((name.to_owned(), port.parse().ok()?)),
        None => Some((text.to_owned(), DEFAULT_API_PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_every_shape_become_urls() {
        for (host, url) in [
            ("10.0.0.1", "https://10.0.0.1:6443"),
            ("10.0.0.1:443", "https://10.0.0.1:443"),
            ("api.example.com", "https://api.example.com:6443"),
            ("https://api.example.com:8443/", "https://api.example.com:8443"),
            ("fd00::1", "https://[fd00::1]:6443"),
            ("[fd00::1]", "https://[fd00::1]:6443"),
            ("[fd00::1]:443", "https://[fd00::1]:443"),
            ("https://[fd00::1]:443", "https://[fd00::1]:443"),
        ] {
            assert_eq!(endpoint(host).as_deref(), Ok(url), "{host}");
        }
        for host in ["", "http://a", "a:b", "a:1:2", "a/b", "a b", "[fd00::1", "[x]:1", "a:70000", ":443"] {
            assert!(endpoint(host).is_err(), "{host}");
        }
    }

    #[test]
    fn the_webhook_file_depends_on_the_ca_alone() {
        let text = webhook("CA");
        assert!(text.contains("certificate-authority-data: Q0E=\n"), "{text}");
        assert!(text.contains("server: https://127.0.0.1:21362/authenticate\n"), "{text}");
        assert_eq!(text, webhook("CA"));
    }
}

//! What can go wrong, one variant per action and object, and what is retried.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use awsiam_api::conditions::reasons;
use futures::FutureExt;
use kube::client::AuthError;
use kube::runtime::watcher;
use thiserror::Error;

/// Why the operator did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The namespace `kube-system` names the management cluster in ledgers.
    #[error("can't read namespace kube-system, whose uid names this cluster in the ledger: {0}")]
    ManagementCluster(#[source] Box<kube::Error>),
    /// It has no uid.
    #[error("namespace kube-system has no uid")]
    NoUid,
}

/// Why a pass did not finish. It is tried again with backoff.
#[derive(Debug, Error)]
pub enum Error {
    /// A direct read.
    #[error("can't read {what}: {}", answer(source))]
    Read {
        /// Kind and name.
        what: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// A write.
    #[error("can't {action} {what}: {}", answer(source))]
    Write {
        /// Such as `update`.
        action: &'static str,
        /// Kind and name.
        what: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// A write that was not answered.
    #[error("no answer within 30 s to the attempt to {action} {what}; trying again")]
    NoAnswer {
        /// Such as `update`.
        action: &'static str,
        /// Kind and name.
        what: String,
    },
    /// The lease has run out or was given back.
    #[error("this replica does not lead any more, so it writes nothing")]
    NotLeading,
    /// Other writers were faster every time.
    #[error("aws-auth changed under every one of {attempts} attempts to write it; trying again")]
    Contended {
        /// How many.
        attempts: u32,
    },
    /// A watch has not listed what it watches, so nothing is concluded from it.
    #[error("{what} can't be watched: {why}")]
    Unseen {
        /// What.
        what: String,
        /// Why, as far as is known.
        why: String,
    },
    /// The work on a remote target took too long.
    #[error("the pass did not end within {} s; trying again", .0.as_secs())]
    Slow(Duration),
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(awsiam_authenticator::certificate::CertificateError),
    /// An object can't be put into words.
    #[error("can't write {what}: {why}")]
    Unwritable {
        /// Kind and name.
        what: String,
        /// Why.
        why: String,
    },
    /// A bug: the pass panicked. Other objects go on.
    #[error("the pass panicked; please report this with the Cluster and its AWSIamConfigs: {0}")]
    Panicked(String),
}

impl Error {
    /// The reason that the condition `AwsAuthSynced` gets.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Error::Read { .. } | Error::Unseen { .. } | Error::Slow(_) => reasons::READ_FAILED,
            Error::Write { .. }
            | Error::NoAnswer { .. }
            | Error::NotLeading
            | Error::Contended { .. }
            | Error::Certificate(_)
            | Error::Unwritable { .. } => reasons::WRITE_FAILED,
            Error::Panicked(_) => "Panicked",
        }
    }

    pub(crate) fn certificate(error: awsiam_authenticator::certificate::CertificateError) -> Self {
        Self::Certificate(error)
    }

    pub(crate) fn read(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Read { what, source: Box::new(source) }
    }

    pub(crate) fn write(action: &'static str, what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Write { action, what, source: Box::new(source) }
    }
}

/// What a client's error says, and where a right is missing, which value of the chart gives it.
pub(crate) fn answer(error: &kube::Error) -> String {
    let said = words(error);
    let is_refused = matches!(error, kube::Error::Api(status) if status.is_forbidden());
    match is_refused.then(|| granted_by(&said)).flatten() {
        Some(way) => format!(
            "{}. {way}; on a remote target the user of its kubeconfig needs it",
            said.trim_end_matches('.')
        ),
        None => said,
    }
}

/// What a watch's error says, as [`Error`] says it of a request.
pub(crate) fn watch_words(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => answer(error),
        WatchError(status) => status.message.clone(),
        NoResourceVersion => error.to_string(),
    }
}

/// How the chart grants what this refusal of authorization names. The API server says `User "U" cannot VERB resource "R" in
/// API group "G" …` (k8s.io/apiserver, `pkg/endpoints/handlers/responsewriters/errors.go`); what else is forbidden, as by
/// admission, is no matter of rights.
fn granted_by(refusal: &str) -> Option<String> {
    let quoted = |after: &str| refusal.split_once(after)?.1.split_once('"').map(|(name, _)| name);
    let (resource, group) = (quoted("resource \"")?, quoted("in API group \"")?);
    let value = match (group, resource) {
        ("controlplane.cluster.x-k8s.io" | "cluster.x-k8s.io", _) => "rights.controlPlane",
        ("apps" | "iamauthenticator.k8s.aws" | "authentication.k8s.io" | "rbac.authorization.k8s.io", _)
        | ("", "secrets" | "serviceaccounts" | "nodes" | "pods") => "rights.authenticator",
        ("anywhere.eks.amazonaws.com", _) => "watchNamespaces",
        _ => {
            return Some(
                "The chart grants this whatever its values: `helm upgrade` brings its Roles back".to_owned(),
            );
        }
    };
    Some(format!("The chart grants this by {value}"))
}

/// What a client's error says, causes included, once, and without what a credential plugin printed.
#[must_use]
pub fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut said: Vec<String> = Vec::new();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(auth) = error.downcast_ref::<AuthError>() {
            return auth_words(auth);
        }
        said.push(error.to_string());
        cause = error.source();
    }
    // Most say what their cause says, and the last says it shortest.
    let mut words: Vec<String> = Vec::new();
    for text in said.into_iter().rev() {
        if words.last().is_none_or(|shorter| !text.contains(shorter.as_str())) {
            words.push(text);
        }
    }
    words.reverse();
    words.join(": ")
}

fn auth_words(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { cmd, out } => {
            format!("the credential plugin of the kubeconfig failed ({}): {cmd}", out.status)
        }
        AuthError::AuthExecParse(_) | AuthError::ParseTokenKey(_) => {
            "the credential plugin of the kubeconfig printed something else than a credential".to_owned()
        }
        AuthError::InvalidBasicAuth(_) | AuthError::InvalidBearerToken(_) => {
            "the token or password of the kubeconfig holds characters that none may hold".to_owned()
        }
        other => other.to_string(),
    }
}

/// Makes an error of a panic in `work`, so that nobody else is stopped by it.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(Error::Panicked(panic_text(panic.as_ref()))))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// How long to wait before the `failures`-th retry: from half a second, doubled up to five minutes.
#[must_use]
pub fn backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(500);
    const LAST: Duration = Duration::from_mins(5);
    FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LAST)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_like_others() {
        let result: Result<(), Error> = caught(async { panic!("no such thing") }).await;
        assert!(matches!(result, Err(Error::Panicked(text)) if text.contains("no such thing")));
    }

    fn refused(message: &str, code: u16) -> Error {
        let status = Status::failure(message, "Forbidden").with_code(code);
        Error::read("it")(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_right_that_lacks_is_told_with_the_value_of_the_chart_that_grants_it() {
        let cannot = |verb: &str, resource: &str, group: &str| {
            let said = format!(
                "x is forbidden: User \"u\" cannot {verb} resource \"{resource}\" in API group \"{group}\" at the cluster scope"
            );
            refused(&said, 403).to_string()
        };
        for (resource, group, way) in [
            ("daemonsets", "apps", "by rights.authenticator"),
            ("nodes", "", "by rights.authenticator"),
            ("iamidentitymappings", "iamauthenticator.k8s.aws", "by rights.authenticator"),
            ("kubeadmcontrolplanes", "controlplane.cluster.x-k8s.io", "by rights.controlPlane"),
            ("clusters", "anywhere.eks.amazonaws.com", "by watchNamespaces"),
            ("configmaps", "", "whatever its values: `helm upgrade`"),
        ] {
            let told = cannot("list", resource, group);
            assert!(told.starts_with("can't read it: x is forbidden") && told.contains(way), "{told}");
            assert!(told.contains("cannot list resource") && !told.contains("ApiError"), "{told}");
        }
        assert_eq!(refused("denied by a policy", 403).to_string(), "can't read it: denied by a policy");
    }

    #[test]
    fn retries_back_off_to_five_minutes() {
        assert_eq!(backoff(0), Duration::from_millis(500));
        assert_eq!(backoff(3), Duration::from_secs(4));
        assert_eq!(backoff(100), Duration::from_mins(5));
    }
}

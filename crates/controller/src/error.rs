//! What can go wrong, one variant per action and object, and what is retried.

use std::time::Duration;

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
    /// The target's `aws-auth` has not been seen yet, or its watch has never worked.
    #[error("aws-auth of the target has not been read yet")]
    TargetNotRead,
    /// A direct read.
    #[error("can't read {what}: {source}")]
    Read {
        /// Kind and name.
        what: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// A write.
    #[error("can't {action} {what}: {source}")]
    Write {
        /// Such as `update`.
        action: &'static str,
        /// Kind and name.
        what: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// Other writers were faster every time.
    #[error("aws-auth changed under every one of {attempts} attempts to write it; trying again")]
    Contended {
        /// How many.
        attempts: u32,
    },
    /// A bug: the pass panicked. Other objects go on.
    #[error("the pass panicked; please report this with the Cluster and its AWSIamConfigs: {0}")]
    Panicked(String),
}

impl Error {
    pub(crate) fn read(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Read { what, source: Box::new(source) }
    }

    pub(crate) fn write(action: &'static str, what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Write { action, what, source: Box::new(source) }
    }
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
    use super::*;

    #[test]
    fn retries_back_off_to_five_minutes() {
        assert_eq!(backoff(0), Duration::from_millis(500));
        assert_eq!(backoff(3), Duration::from_secs(4));
        assert_eq!(backoff(100), Duration::from_mins(5));
    }
}

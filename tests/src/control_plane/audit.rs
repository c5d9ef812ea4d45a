//! The API server's audit log: who asked for what, and what the answer was.
//!
//! The log has metadata only: no body of a request or an answer is in it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;

use super::ControlPlaneError;

/// Everything except the noise of the API server's own house-keeping and of readiness checks.
/// Format: <https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    users: [system:apiserver]
  - level: None
    nonResourceURLs: [/readyz*, /livez*, /healthz*]
  - level: Metadata
";

/// One line of the audit log. Texts that the line doesn't have are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who is taken to have asked: the impersonated user where there is one.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural resource name, such as `configmaps`; empty for a path that is no resource.
    pub resource: String,
    /// Such as `status` or `token`.
    pub subresource: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object; empty for a `list`, and for a `create` that generates it.
    pub name: String,
    /// `ResponseComplete`, or `ResponseStarted` for a watch that is still open, or `Panic`.
    pub stage: String,
    /// HTTP status of the answer.
    pub code: Option<u16>,
    /// What the client calls itself.
    pub user_agent: String,
    /// Path and query.
    pub uri: String,
    /// RFC 3339 with microseconds, UTC: texts of this form sort as the times do.
    pub received: String,
}

impl AuditEvent {
    /// One line; none where it isn't whole.
    pub(crate) fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Line>(line).ok().map(Self::from)
    }

    /// Whether the request was of a kind that changes objects (whatever the answer was).
    #[must_use]
    pub fn is_write(&self) -> bool {
        ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str())
    }

    /// Whether this is about the object `namespace`/`name` of `resource` itself, not a subresource.
    #[must_use]
    pub fn is_about(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.resource == resource
            && self.subresource.is_empty()
            && self.namespace == namespace
            && self.name == name
    }
}

/// A place in the audit log, to read on from.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditMark(u64);

/// The end of the log as it is now.
pub(super) fn mark(log: &Path) -> Result<AuditMark, ControlPlaneError> {
    let written = std::fs::read(log).map_err(ControlPlaneError::file("read", log))?;
    // A line that is being written is read from its beginning later.
    let whole = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    Ok(AuditMark(whole.try_into().unwrap_or(u64::MAX)))
}

/// The events behind `mark`. A last line that is still being written is left out.
pub(super) fn events_since(log: &Path, mark: AuditMark) -> Result<Vec<AuditEvent>, ControlPlaneError> {
    let text = read_from(log, mark).map_err(ControlPlaneError::file("read", log))?;
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str::<Line>(line).map(AuditEvent::from))
        .collect::<Result<_, _>>()
        .map_err(|source| ControlPlaneError::Audit { path: log.to_owned(), source })
}

fn read_from(log: &Path, mark: AuditMark) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(mark.0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An event as the API server writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: Option<u16>,
}

impl From<Line> for AuditEvent {
    fn from(line: Line) -> Self {
        Self {
            user: line.impersonated_user.unwrap_or(line.user).username,
            verb: line.verb,
            group: line.object_ref.api_group,
            resource: line.object_ref.resource,
            subresource: line.object_ref.subresource,
            namespace: line.object_ref.namespace,
            name: line.object_ref.name,
            stage: line.stage,
            code: line.response_status.and_then(|status| status.code),
            user_agent: line.user_agent,
            uri: line.request_uri,
            received: line.request_received_timestamp,
        }
    }
}

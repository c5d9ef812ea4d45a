//! What a stand-in answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Manner;
use super::objects::Refusal;
use super::served::{Busy, Served};

type Body = BoxBody<Bytes, Infallible>;

/// Where ConfigMaps are.
const CONFIG_MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";
/// The namespace itself.
const NAMESPACE: &str = "/api/v1/namespaces/kube-system";

/// What is asked for.
struct Asked {
    method: Method,
    path: String,
    query: String,
}

impl Asked {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    fn is_watch(&self) -> bool {
        self.parameter("watch") == Some("true")
    }

    /// The name in `metadata.name=NAME`.
    fn selected(&self) -> Option<&str> {
        let selector = self.parameter("fieldSelector")?;
        selector.strip_prefix("metadata.name%3D").or_else(|| selector.strip_prefix("metadata.name="))
    }

    /// Name of the single ConfigMap that it is about.
    fn config_map(&self) -> Option<&str> {
        self.path.strip_prefix(CONFIG_MAPS)?.strip_prefix('/')
    }

    /// As requests are counted: verb and what it is about.
    fn title(&self) -> String {
        let verb = match (self.method.as_str(), self.is_watch()) {
            (_, true) => "watch",
            ("GET", _) if self.path == CONFIG_MAPS => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            _ => "delete",
        };
        let about = match self.config_map() {
            // Ten of them, alike.
            Some(name) if name.starts_with("aws-auth-history-") => "configmaps/aws-auth-history".to_owned(),
            Some(name) => format!("configmaps/{name}"),
            None if self.path == CONFIG_MAPS => {
                format!("configmaps/{}", self.selected().unwrap_or("aws-auth"))
            }
            None if self.path == NAMESPACE => "namespaces/kube-system".to_owned(),
            None => self.path.clone(),
        };
        format!("{verb} {about}")
    }
}

pub(super) async fn answer(
    served: Arc<Served>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let asked = Asked { method: parts.method, path: parts.uri.path().to_owned(), query };
    served.count(asked.title());
    let sent = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if sent != Some(format!("Bearer {}", served.token).as_str()) {
        return Ok(status(StatusCode::UNAUTHORIZED, "Unauthorized"));
    }
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if asked.is_watch() {
        return Ok(watch(served, &asked));
    }
    let _busy = Busy::with(match asked.config_map() {
        Some(_) => &served.load.passes,
        None => &served.load.openings,
    });
    if asked.config_map().is_some() {
        match served.manner() {
            Manner::Prompt => {}
            Manner::Slow(wait) => tokio::time::sleep(wait).await,
            Manner::Silent => std::future::pending().await,
        }
    }
    Ok(done(&served, &asked, &body))
}

fn done(served: &Served, asked: &Asked, body: &[u8]) -> Response<Body> {
    let object = || serde_json::from_slice::<Value>(body).map_err(|_| Refusal::Invalid);
    let objects = &served.objects;
    let result = match (asked.method.as_str(), asked.config_map()) {
        ("GET", Some(name)) => objects.get(name).ok_or(Refusal::NotFound),
        ("PUT", Some(name)) => object().and_then(|object| objects.replace(name, object)),
        ("PATCH", Some(name)) => object().and_then(|object| objects.apply(name, object)),
        ("POST", None) if asked.path == CONFIG_MAPS => object().and_then(|object| objects.create(object)),
        ("GET", None) if asked.path == CONFIG_MAPS => Ok(objects.list(asked.selected().unwrap_or_default())),
        ("GET", None) if asked.path == NAMESPACE => Ok(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "kube-system", "uid": objects.identity()},
        })),
        _ => Err(Refusal::NotFound),
    };
    match result {
        Ok(object) => json_body(StatusCode::OK, &object),
        Err(Refusal::NotFound) => status(StatusCode::NOT_FOUND, "NotFound"),
        Err(Refusal::AlreadyExists) => status(StatusCode::CONFLICT, "AlreadyExists"),
        Err(Refusal::Conflict) => status(StatusCode::CONFLICT, "Conflict"),
        Err(Refusal::Invalid) => status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
    }
}

/// A watch on the ConfigMap that is selected, until the time it asks for is over.
fn watch(served: Arc<Served>, asked: &Asked) -> Response<Body> {
    let number = |name: &str| asked.parameter(name).and_then(|value| value.parse::<u64>().ok());
    let name = asked.selected().unwrap_or_default().to_owned();
    let end = Instant::now() + Duration::from_secs(number("timeoutSeconds").unwrap_or(300));
    let begin = (served, number("resourceVersion").unwrap_or_default());
    let lines = stream::unfold(begin, move |(served, version)| {
        let name = name.clone();
        async move {
            let mut changes = served.objects.version.subscribe();
            loop {
                changes.mark_unchanged();
                let (lines, last) = served.objects.since(version, &name);
                if !lines.is_empty() {
                    return Some((Ok(Frame::data(Bytes::from(lines))), (served, last)));
                }
                // The sender lives in `served`.
                tokio::time::timeout_at(end, changes.changed()).await.ok()?.ok()?;
            }
        }
    });
    response(StatusCode::OK, BodyExt::boxed(StreamBody::new(lines)))
}

fn status(code: StatusCode, reason: &str) -> Response<Body> {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason,
        "message": format!("the stand-in says: {reason}"),
    });
    json_body(code, &status)
}

fn json_body(code: StatusCode, value: &Value) -> Response<Body> {
    response(code, Full::new(Bytes::from(value.to_string())).boxed())
}

fn response(code: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

//! A client for the operator that stops each request on its way: to look at it, to do something first,
//! or to answer in the server's place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use awsiam_tests::stage::{Stage, operator_config};
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// A request of the operator.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

impl Asked {
    /// Whether it replaces `aws-auth`.
    pub(crate) fn is_put(&self) -> bool {
        self.method == Method::PUT && self.path == "/api/v1/namespaces/kube-system/configmaps/aws-auth"
    }

    /// Whether it makes a ConfigMap in kube-system, as nothing but `aws-auth` is made.
    pub(crate) fn is_post(&self) -> bool {
        self.method == Method::POST && self.path == "/api/v1/namespaces/kube-system/configmaps"
    }

    /// Whether it writes the status of the Cluster `name`.
    pub(crate) fn is_status_of(&self, name: &str) -> bool {
        self.method == Method::PATCH && self.path.ends_with(&format!("/clusters/{name}/status"))
    }

    /// Whether it lists or watches this kind of ours, by its plural.
    pub(crate) fn is_list_of(&self, plural: &str) -> bool {
        self.method == Method::GET && self.path.ends_with(&format!("/{plural}"))
    }

    /// Whether it reads or watches `aws-auth`.
    pub(crate) fn is_read(&self) -> bool {
        self.method == Method::GET
            && self.path.starts_with("/api/v1/namespaces/kube-system/configmaps")
            && (self.path.ends_with("/aws-auth") || self.query.contains("aws-auth"))
    }
}

/// The operator's connection with `hook` in front; an answer of it never reaches the server.
pub(crate) async fn client<H>(stage: &Stage, hook: H) -> Client
where
    H: Fn(Asked) -> BoxFuture<'static, Option<StatusCode>> + Send + Sync + 'static,
{
    let server = Client::try_from(operator_config(stage.plane).await).unwrap();
    let hook = Arc::new(hook);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (server, hook) = (server.clone(), hook.clone());
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await?;
            let asked = Asked {
                method: parts.method.clone(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            };
            match hook(asked).await {
                Some(status) => Ok(answer(status)),
                None => server.send(Request::from_parts(parts, Body::from(bytes))).await,
            }
        }
    });
    Client::new(service, "default")
}

fn answer(code: StatusCode) -> Response<Body> {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code.as_u16(),
        "message": "the test says so", "reason": "InternalError",
    });
    let mut response = Response::new(Body::from(status.to_string().into_bytes()));
    *response.status_mut() = code;
    response
}

/// Counts, and tells whether this is the first time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter(Arc<AtomicUsize>);

impl Counter {
    /// One more; how many there were before.
    pub(crate) fn up(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Holds requests back until it is lifted.
#[derive(Clone, Debug)]
pub(crate) struct Barrier {
    lifted: Arc<Semaphore>,
    held: Counter,
}

impl Barrier {
    pub(crate) fn new() -> Self {
        Self { lifted: Arc::new(Semaphore::new(0)), held: Counter::default() }
    }

    /// Called by the hook with a request that has to wait.
    pub(crate) async fn hold(&self) {
        self.held.up();
        // Closed is how it is lifted.
        drop(self.lifted.acquire().await);
    }

    /// Waits until a request is held.
    pub(crate) async fn holds(&self, stage: &Stage) {
        let is_held = async || if self.held.get() > 0 { Ok(()) } else { Err("none".to_owned()) };
        stage.eventually("a request to be held back", is_held).await;
    }

    pub(crate) fn lift(&self) {
        self.lifted.close();
    }
}

/// The operator's connection, on which requests that `is_held` wait until the barrier is lifted.
pub(crate) async fn behind_barrier(
    stage: &Stage,
    is_held: impl Fn(&Asked) -> bool + Send + Sync + 'static,
) -> (Client, Barrier) {
    let barrier = Barrier::new();
    let hook = {
        let barrier = barrier.clone();
        move |asked: Asked| -> BoxFuture<'static, Option<StatusCode>> {
            let barrier = is_held(&asked).then(|| barrier.clone());
            Box::pin(async move {
                if let Some(barrier) = barrier {
                    barrier.hold().await;
                }
                None
            })
        }
    };
    (client(stage, hook).await, barrier)
}

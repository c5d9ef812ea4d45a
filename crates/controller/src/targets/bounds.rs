//! The client of a remote target. Its server is somebody else's: each answer is bounded in time and size, no redirect is
//! followed, nothing is tried again behind our back, and an answer that repeats the credential that was sent goes no
//! further. Needs a network; decides nothing about objects.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use awsiam_authenticator::target_kubeconfig::{Credentials, TargetKubeconfig};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use kube::client::Body;
use kube::config::AuthInfo;
use kube::core::Status;
use kube::{Client, Config};
use serde_json::json;
use thiserror::Error;
use tokio::time::{Instant, Sleep, timeout, timeout_at};
use tower::ServiceExt;

use super::pool::{self, Answer, Pool};

/// How long a connection may take, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a server may take to begin its answer.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// How long an answer may take in all; a watch longer than it was asked for, at most [`WATCH`].
const WHOLE: Duration = Duration::from_secs(20);
const WATCH: Duration = Duration::from_mins(5);
/// Most bytes of an answer, and of one event of a watch. An object of Kubernetes has at most 1.5 MiB, and JSON escapes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Most bytes of a watch.
const MAX_WATCH: usize = 64 * 1024 * 1024;
/// Most bytes of a refusal that are read, and most characters of its message that are told.
const MAX_REFUSAL: usize = 64 * 1024;
const MAX_MESSAGE: usize = 400;
/// A credential shorter than this is not looked for: it might stand in any text.
const SHORTEST_CREDENTIAL: usize = 12;

/// Why an answer was not taken.
#[derive(Debug, Error)]
enum Refused {
    #[error("no answer within {} s", FIRST_BYTE.as_secs())]
    Silent,
    #[error("the answer was not complete after {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the answer is larger than {} MiB", .0 / 1024 / 1024)]
    Large(usize),
    #[error("it answers with a redirect (HTTP {0}), and none is followed")]
    Redirect(u16),
    #[error("the answer repeats the credential that it was asked with, so nothing of it is used")]
    Echo,
    #[error("the connection broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<Refused> for kube::Error {
    fn from(refused: Refused) -> Self {
        kube::Error::Service(Box::new(refused))
    }
}

/// The kubeconfig is well-formed, but no client can be made of it. What TLS says of keys is not told.
#[derive(Debug)]
pub(super) struct NoClient;

/// Marks a request of the watch on `aws-auth`, which tells by itself what becomes of it. It stands among the extensions
/// of the request, which are not sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfTheWatch;

/// The way to the server of a kubeconfig, of which a client is made.
pub(super) struct Way {
    raw: Pool,
    credential: Arc<[u8]>,
}

impl Way {
    /// The way to the server of `kubeconfig`.
    pub(super) fn to(kubeconfig: &TargetKubeconfig) -> Result<Self, NoClient> {
        let raw = pool::pool(&config(kubeconfig).ok_or(NoClient)?).map_err(|_| NoClient)?;
        let credential = match &kubeconfig.credentials {
            Credentials::Token(token) if token.len() >= SHORTEST_CREDENTIAL => token.as_bytes().into(),
            // A key is never sent, so it can't come back.
            Credentials::Token(_) | Credentials::Certificate { .. } => [].into(),
        };
        Ok(Self { raw, credential })
    }

    /// A client. `failed` is told why, when the API server did not answer a request that is not [`OfTheWatch`]. One client
    /// is enough for both: each has a queue of some 11 KB.
    pub(super) fn client(self, failed: impl Fn(String) + Clone + Send + 'static) -> Client {
        let bounded = tower::service_fn(move |request: Request<Body>| {
            let (raw, credential, failed) = (self.raw.clone(), self.credential.clone(), failed.clone());
            async move {
                let is_told = request.extensions().get::<OfTheWatch>().is_some();
                let answer = send(raw, credential, request).await;
                if let Err(error) = &answer
                    && !is_told
                    && is_silence(error)
                {
                    failed(crate::error::words(error));
                }
                answer
            }
        });
        Client::new(bounded, "default")
    }
}

/// Whether an error means that the API server can't be talked to, and not that it refuses this one request.
fn is_silence(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 401 | 502 | 503 | 504),
        _ => true,
    }
}

fn config(kubeconfig: &TargetKubeconfig) -> Option<Config> {
    let mut config = Config::new(kubeconfig.server.parse().ok()?);
    config.root_cert = Some(kubeconfig.authorities.clone());
    config.tls_server_name.clone_from(&kubeconfig.tls_server_name);
    config.auth_info = auth_info(&kubeconfig.credentials)?;
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(FIRST_BYTE);
    // A server could have a request wait as long as it likes by asking for a retry later.
    config.default_retry = false;
    let user_agent = concat!("awsiam/", env!("CARGO_PKG_VERSION"));
    config.headers.push((http::header::USER_AGENT, user_agent.parse().ok()?));
    Some(config)
}

fn auth_info(credentials: &Credentials) -> Option<AuthInfo> {
    let fields = match credentials {
        Credentials::Token(token) => json!({"token": token}),
        Credentials::Certificate { certificate_pem, key_pem } => json!({
            "client-certificate-data": STANDARD.encode(certificate_pem),
            "client-key-data": STANDARD.encode(key_pem),
        }),
    };
    serde_json::from_value(fields).ok()
}

async fn send(
    raw: Pool,
    credential: Arc<[u8]>,
    request: Request<Body>,
) -> Result<Response<Bounded>, kube::Error> {
    let is_watch =
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
    let begun = Instant::now();
    let response = timeout(FIRST_BYTE, raw.oneshot(request)).await.map_err(|_| Refused::Silent)?;
    let response = response.map_err(kube::Error::Service)?;
    let status = response.status();
    if !status.is_success() && !status.is_client_error() && !status.is_server_error() {
        return Err(Refused::Redirect(status.as_u16()).into());
    }
    let (parts, body) = response.into_parts();
    if status.is_success() && is_watch {
        return Ok(Response::from_parts(parts, Bounded::watch(body, credential)));
    }
    let most = if status.is_success() { MAX_ANSWER } else { MAX_REFUSAL };
    let whole = timeout_at(begun + WHOLE, collect(body, most)).await.map_err(|_| Refused::Slow(WHOLE))??;
    if contains(&whole, &credential) {
        return Err(Refused::Echo.into());
    }
    if !status.is_success() {
        return Err(kube::Error::Api(Box::new(refusal(status, &whole))));
    }
    Ok(Response::from_parts(parts, Bounded::Whole(Some(whole.into()))))
}

async fn collect(mut body: Answer, most: usize) -> Result<Vec<u8>, Refused> {
    let mut whole = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(Refused::Broken)?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > most {
                return Err(Refused::Large(most));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

/// What a server refused, in Kubernetes' own form, with as much of its message as can do no harm. What is not in that form
/// is not quoted: it may be a page of anybody.
fn refusal(status: StatusCode, body: &[u8]) -> Status {
    let said: Option<Status> = serde_json::from_slice(body).ok();
    let said = said.filter(|said| said.code == status.as_u16());
    let known = |reason: &String| !reason.is_empty() && reason.chars().all(|c| c.is_ascii_alphabetic());
    let reason = said.as_ref().map(|said| said.reason.clone()).filter(known);
    let message = said.map(|said| plain(&said.message)).filter(|message| !message.is_empty());
    let canonical = status.canonical_reason().unwrap_or("no known status").to_owned();
    Status {
        code: status.as_u16(),
        reason: reason.unwrap_or_else(|| canonical.chars().filter(char::is_ascii_alphabetic).collect()),
        message: message.unwrap_or_else(|| format!("HTTP {} {canonical}", status.as_u16())),
        ..Status::default()
    }
}

/// The beginning of a text, without line breaks and other control characters.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
}

/// Whether an answer holds the credential as it was sent.
fn contains(answer: &[u8], credential: &[u8]) -> bool {
    !credential.is_empty() && answer.windows(credential.len()).any(|window| window == credential)
}

/// The body of an answer, within its bounds.
pub(super) enum Bounded {
    /// All of it.
    Whole(Option<Bytes>),
    /// A watch.
    Watch(Box<Watch>),
}

/// What is left to a watch.
pub(super) struct Watch {
    body: Answer,
    end: Pin<Box<Sleep>>,
    /// Bytes since the last line break: one event.
    line: usize,
    total: usize,
    credential: Arc<[u8]>,
    /// The last bytes, in which a credential may have begun.
    tail: Vec<u8>,
}

impl Bounded {
    fn watch(body: Answer, credential: Arc<[u8]>) -> Self {
        let end = Box::pin(tokio::time::sleep(WATCH));
        Self::Watch(Box::new(Watch { body, end, line: 0, total: 0, credential, tail: Vec::new() }))
    }
}

impl Watch {
    fn check(&mut self, data: &[u8]) -> Result<(), Refused> {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.line += part.len();
            if self.line > MAX_ANSWER {
                return Err(Refused::Large(MAX_ANSWER));
            }
            if part.ends_with(b"\n") {
                self.line = 0;
            }
        }
        self.total += data.len();
        if self.total > MAX_WATCH {
            return Err(Refused::Large(MAX_WATCH));
        }
        if !self.credential.is_empty() {
            self.tail.extend_from_slice(data);
            if contains(&self.tail, &self.credential) {
                return Err(Refused::Echo);
            }
            let keep = self.tail.len().min(self.credential.len() - 1);
            self.tail.drain(..self.tail.len() - keep);
            // Between two events it would keep the room of the largest one.
            self.tail.shrink_to_fit();
        }
        Ok(())
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Bounded::Whole(whole) => Poll::Ready(whole.take().map(|whole| Ok(Frame::data(whole)))),
            Bounded::Watch(watch) => {
                if watch.end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err(Refused::Slow(WATCH).into())));
                }
                let frame = ready!(Pin::new(&mut watch.body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| {
                    let frame = frame?;
                    if let Some(data) = frame.data_ref() {
                        watch.check(data)?;
                    }
                    Ok(frame)
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty};

    use super::*;

    fn empty() -> Answer {
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    }

    #[test]
    fn a_refusal_is_told_in_few_plain_words_and_a_strange_page_not_at_all() {
        let status = |code: u16| StatusCode::from_u16(code).unwrap();
        let said =
            json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no\n\u{1b}[31mrights"});
        let told = refusal(status(403), said.to_string().as_bytes());
        assert_eq!((told.reason.as_str(), told.message.as_str()), ("Forbidden", "no[31mrights"));
        let long = json!({"kind": "Status", "code": 403, "reason": "a b", "message": "x".repeat(9999)});
        let told = refusal(status(403), long.to_string().as_bytes());
        assert_eq!((told.reason.as_str(), told.message.len()), ("Forbidden", MAX_MESSAGE));
        for strange in ["<html>the intranet</html>", "{\"message\": \"the intranet\"}", ""] {
            let told = refusal(status(404), strange.as_bytes());
            assert_eq!((told.reason.as_str(), told.message.as_str()), ("NotFound", "HTTP 404 Not Found"));
            assert!(told.is_not_found());
        }
    }

    /// A watch that fails would otherwise be told twice, and would have itself begin anew.
    #[tokio::test]
    async fn a_request_that_is_not_answered_is_told_unless_it_is_one_of_the_watch() {
        let authority = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap().cert;
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let kubeconfig = TargetKubeconfig {
            server: format!("https://{nobody}"),
            authorities: vec![authority.der().to_vec()],
            tls_server_name: None,
            credentials: Credentials::Token("a-token-for-nobody".to_owned()),
        };
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let tell = told.clone();
        let client = Way::to(&kubeconfig).unwrap().client(move |why| tell.lock().unwrap().push(why));
        let ask = async |of_the_watch: bool| {
            let mut request = Request::get("/version").body(Vec::new()).unwrap();
            if of_the_watch {
                request.extensions_mut().insert(OfTheWatch);
            }
            client.request_text(request).await.unwrap_err();
            told.lock().unwrap().len()
        };
        assert_eq!((ask(true).await, ask(false).await), (0, 1));
    }

    #[tokio::test]
    async fn a_credential_is_found_in_a_watch_however_it_is_cut() {
        let credential: Arc<[u8]> = b"SECRET-TOKEN".as_slice().into();
        for cut in 1..12 {
            let Bounded::Watch(mut watch) = Bounded::watch(empty(), credential.clone()) else { panic!() };
            let (start, end) = credential.split_at(cut);
            watch.check(b"{}\n").unwrap();
            watch.check(start).unwrap();
            assert!(matches!(watch.check(end), Err(Refused::Echo)), "{cut}");
        }
    }

    #[tokio::test]
    async fn an_event_and_a_watch_have_an_end() {
        let watch = || match Bounded::watch(empty(), [].into()) {
            Bounded::Watch(watch) => watch,
            Bounded::Whole(_) => panic!(),
        };
        let chunk = vec![b'x'; 1024 * 1024];
        let mut endless = watch();
        let taken = (0..1_000_000).take_while(|_| endless.check(&chunk).is_ok()).count();
        assert_eq!(taken, 4);
        let line: Vec<u8> = chunk.iter().copied().chain(*b"\n").collect();
        let mut flood = watch();
        assert_eq!((0..1_000).take_while(|_| flood.check(&line).is_ok()).count(), 63);
    }
}

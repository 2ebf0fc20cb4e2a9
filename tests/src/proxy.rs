//! A proxy in front of a service that does harm on request: it refuses, holds, cuts connections, or loses answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It passes.
    None,
    /// It is answered 503 without being passed on.
    Unavailable,
    /// It is answered as DynamoDB answers when there is too much to do, without being passed on.
    Throttled,
    /// It is answered 403 as by a store that knows no right to it, without being passed on.
    Refused,
    /// Its connection is cut without an answer, and it is not passed on.
    Reset,
    /// It is passed on, and its answer is lost: the connection is cut.
    LoseAnswer,
    /// It waits until [`Proxy::release`], and then passes.
    Hold,
    /// It is answered as S3 answers when its disk is full, without being passed on.
    Full,
    /// It is answered as MinIO answers when its disk is full, without being passed on.
    NoRoom,
    /// It is answered as S3 answers a signature for another region, without being passed on.
    WrongRegion,
    /// It waits for a second, and then passes.
    Slow,
}

type Decide = dyn Fn(&Request, usize) -> Harm + Send + Sync;

/// A running proxy.
#[derive(Clone)]
pub struct Proxy {
    inner: Arc<Inner>,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
}

struct Inner {
    target: std::sync::Mutex<String>,
    seen: AtomicUsize,
    harmed: AtomicUsize,
    released: watch::Sender<bool>,
    decide: Box<Decide>,
    hyper: Hyper<HttpConnector, Body>,
}

impl Proxy {
    /// A proxy whose `decide` is asked for each request, with how many came before. Call [`Proxy::forward_to`] before use.
    pub async fn start(decide: impl Fn(&Request, usize) -> Harm + Send + Sync + 'static) -> Self {
        let inner = Arc::new(Inner {
            target: std::sync::Mutex::default(),
            seen: AtomicUsize::new(0),
            harmed: AtomicUsize::new(0),
            released: watch::Sender::new(false),
            decide: Box::new(decide),
            hyper: Hyper::builder(TokioExecutor::new()).build_http(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, url }
    }

    /// Where requests go on to.
    pub fn forward_to(&self, target: &str) {
        target.clone_into(&mut self.inner.target.lock().unwrap());
    }

    /// Lets go of every request that is held, now and later.
    pub fn release(&self) {
        self.inner.released.send_replace(true);
    }

    /// How many requests were harmed so far.
    pub fn harmed(&self) -> usize {
        self.inner.harmed.load(Ordering::SeqCst)
    }
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let harm = (inner.decide)(&request, inner.seen.fetch_add(1, Ordering::SeqCst));
    if harm != Harm::None {
        inner.harmed.fetch_add(1, Ordering::SeqCst);
    }
    match harm {
        Harm::Unavailable => fault(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Harm::Full => fault(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Harm::NoRoom => fault(StatusCode::INSUFFICIENT_STORAGE, "XMinioStorageFull"),
        Harm::WrongRegion => fault(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed"),
        Harm::Slow => {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            forward(&inner, request).await
        }
        Harm::Throttled => throttled(),
        Harm::Refused => fault(StatusCode::FORBIDDEN, "AccessDenied"),
        Harm::Reset => cut(),
        Harm::None => forward(&inner, request).await,
        Harm::Hold => {
            let _ = inner.released.subscribe().wait_for(|released| *released).await;
            forward(&inner, request).await
        }
        Harm::LoseAnswer => {
            let answer = forward(&inner, request).await;
            // All of it, so that what was asked for is certain to have happened.
            let _ = answer.into_body().collect().await;
            cut()
        }
    }
}

/// Passes a request on as it came: its `Host` is part of its signature.
async fn forward(inner: &Inner, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let target = inner.target.lock().unwrap().clone();
    parts.uri = format!("{target}{path}").parse().unwrap();
    match inner.hyper.request(Request::from_parts(parts, body)).await {
        Ok(answer) => answer.map(Body::new),
        Err(_) => cut(),
    }
}

fn fault(status: StatusCode, code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>harm</Message></Error>");
    (status, [("content-type", "application/xml")], body).into_response()
}

fn throttled() -> Response {
    let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"harm"}"#;
    (StatusCode::BAD_REQUEST, [("content-type", "application/x-amz-json-1.0")], body).into_response()
}

/// An answer that breaks off before its first byte: hyper closes the connection.
fn cut() -> Response {
    let broken = futures::stream::once(async { Err::<bytes::Bytes, _>(std::io::Error::other("cut")) });
    let mut answer = Response::new(Body::from_stream(broken));
    answer.headers_mut().insert("content-length", http::HeaderValue::from_static("1"));
    answer
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.url)
    }
}

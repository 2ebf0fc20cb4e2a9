//! An HTTP client that hides nothing: status, headers and body as they came.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A client of one installation and one token.
#[derive(Debug, Clone)]
pub struct Client {
    hyper: Hyper<HttpConnector, Full<Bytes>>,
    base_url: String,
    token: String,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null when it is empty. Panics when it is something else.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The same answer; panics with it unless it has this status.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// `data` of the envelope.
    pub fn data(&self) -> Value {
        self.json()["data"].clone()
    }

    /// One header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl Client {
    /// A client that sends `token` with every call.
    pub fn new(base_url: &str, token: &str) -> Self {
        let hyper = Hyper::builder(TokioExecutor::new()).build_http();
        Self { hyper, base_url: base_url.to_owned(), token: token.to_owned() }
    }

    /// Where it calls.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// What it sends.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The same with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path), Bytes::new()).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path), Bytes::new()).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.json(Method::POST, path, body).await
    }

    /// `PATCH` with a JSON body.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.json(Method::PATCH, path, body).await
    }

    /// Any method with a JSON body.
    pub async fn json(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.request(method, path).header("content-type", "application/json");
        self.send(request, Bytes::from(body.to_string())).await
    }

    /// `POST` with a form body, already encoded.
    pub async fn form(&self, path: &str, body: &str) -> Answer {
        let request = self.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request, Bytes::copy_from_slice(body.as_bytes())).await
    }

    /// A request that a test finishes by itself. `path` may be a whole URL; then no token is sent, as a browser would.
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        if path.starts_with("http://") {
            return Request::builder().method(method).uri(path);
        }
        let uri: Uri = format!("{}{path}", self.base_url).parse().unwrap();
        let request = Request::builder().method(method).uri(uri);
        if self.token.is_empty() { request } else { request.header("authorization", format!("Bearer {}", self.token)) }
    }

    /// Sends a request; redirects are answers like any other.
    pub async fn send(&self, request: http::request::Builder, body: Bytes) -> Answer {
        let response = self.hyper.request(request.body(Full::new(body)).unwrap()).await.expect("no answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the answer broke off").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Fetches a link as `curl -L` does: no token, redirects followed.
    pub async fn download(&self, link: &str) -> Answer {
        let mut link = link.to_owned();
        for _ in 0..5 {
            let answer = self.get(&link).await;
            if !answer.status.is_redirection() {
                return answer;
            }
            link = answer.header("location").to_owned();
        }
        panic!("redirected in circles");
    }
}

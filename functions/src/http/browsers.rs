//! What answers tell browsers: nothing is cached, sniffed or leaked, and pages of other origins may call only where the
//! operator said so (the Fetch standard's CORS protocol, <https://fetch.spec.whatwg.org/#http-cors-protocol>).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use holdfast_shared::config::Config;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

/// What is on every answer that does not say otherwise itself.
const ALWAYS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
];
/// A year; only where links start with https, since this cannot be taken back.
const ONLY_HTTPS: &str = "max-age=31536000";
/// How long a browser may remember a preflight's answer, seconds.
const PREFLIGHT_SECS: &str = "600";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const REQUEST_HEADERS: &str = "authorization, content-type, idempotency-key, if-match";
const RESPONSE_HEADERS: &str = "etag, retry-after, x-request-id";

#[derive(Debug)]
struct Rules {
    is_https: bool,
    origins: Vec<String>,
}

/// `routes` as browsers are to see them. It may be put around routes that it was put around before.
pub fn safe_for_browsers(routes: Router, config: &Config) -> Router {
    let is_https = config.public_url.starts_with("https://");
    let rules = Arc::new(Rules { is_https, origins: config.cors_origins.clone() });
    Router::new().fallback_service(routes).layer(from_fn_with_state(rules, add_headers))
}

async fn add_headers(State(rules): State<Arc<Rules>>, request: Request, next: Next) -> Response {
    let origin = rules.allowed(request.headers());
    let asks =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &origin {
        Some(_) if asks => preflight().into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if rules.is_https {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HeaderValue::from_static(ONLY_HTTPS));
    }
    if !rules.origins.is_empty() {
        headers.entry(header::VARY).or_insert(HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
    }
    response
}

fn preflight() -> impl IntoResponse {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECS),
    ];
    (StatusCode::NO_CONTENT, headers)
}

impl Rules {
    /// The request's origin, if its pages may call.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    const OURS: &str = "https://panel.example";

    async fn ask(is_https: bool, origins: &[&str], request: http::request::Builder) -> (u16, HeaderMap) {
        let rules = Rules { is_https, origins: origins.iter().map(|&origin| origin.to_owned()).collect() };
        let cached = get(async || ([(header::CACHE_CONTROL, "max-age=60")], ""));
        let routes = Router::new().route("/", get(async || "")).route("/cached", cached);
        let routes = routes.layer(from_fn_with_state(Arc::new(rules), add_headers));
        let response = routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (response.status().as_u16(), response.headers().clone())
    }

    fn preflight_from(origin: &str) -> http::request::Builder {
        let request = Request::options("/").header(header::ORIGIN, origin);
        request.header(header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH")
    }

    #[tokio::test]
    async fn every_answer_is_safe_to_show() {
        for path in ["/", "/nowhere"] {
            let (_, headers) = ask(true, &[], Request::get(path)).await;
            for (name, value) in ALWAYS {
                assert_eq!(headers[name], value);
            }
            assert_eq!(headers[header::STRICT_TRANSPORT_SECURITY], ONLY_HTTPS);
            assert!(!headers.contains_key(header::VARY));
        }
        let (_, headers) = ask(false, &[], Request::get("/cached")).await;
        assert_eq!(headers[header::CACHE_CONTROL], "max-age=60");
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }

    #[tokio::test]
    async fn pages_of_other_origins_call_only_where_they_may() {
        let (status, headers) = ask(false, &[OURS], preflight_from(OURS)).await;
        assert_eq!((status, &headers[header::ACCESS_CONTROL_ALLOW_ORIGIN]), (204, &HeaderValue::from_static(OURS)));
        assert!(headers[header::ACCESS_CONTROL_ALLOW_METHODS].to_str().unwrap().contains("PATCH"));
        assert!(headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().contains("authorization"));
        assert_eq!(headers[header::VARY], "Origin");
        let (status, headers) = ask(false, &[OURS], Request::get("/nowhere").header(header::ORIGIN, OURS)).await;
        assert_eq!((status, &headers[header::ACCESS_CONTROL_ALLOW_ORIGIN]), (404, &HeaderValue::from_static(OURS)));

        for (origins, origin) in [(&[][..], OURS), (&[OURS], "https://panel.example.evil"), (&[OURS], "null")] {
            let (status, headers) = ask(false, origins, preflight_from(origin)).await;
            assert_eq!(status, 405, "{origin}");
            assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
        }
    }
}

//! What wraps the routes of every surface: order in paths, request id, one log line per failure, one envelope.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use holdfast_shared::Error;
use holdfast_shared::service::Service;
use http::StatusCode;
use http::header::ALLOW;
use tower::Layer;
use tower::util::MapRequestLayer;
use tracing::Instrument;

use super::error::HttpError;
use super::known_tokens::KnownTokens;
use super::limits;
use super::path::normalise;
use super::rate_limit::RateLimit;
use super::request_id::{REQUEST_ID, RequestId};
use super::strangers::Strangers;

/// What the handlers and extractors of one surface work with; cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// The use cases.
    pub service: Service,
    /// Requests per token and account.
    pub rate_limit: RateLimit,
    /// Tokens that were authenticated a moment ago.
    pub(super) known_tokens: KnownTokens,
    /// Addresses that sent tokens which do not work.
    pub(super) strangers: Strangers,
}

impl App {
    /// What the handlers of a surface work with, over these use cases.
    pub fn new(service: Service) -> Self {
        let (rate_limit, known_tokens) = (RateLimit::default(), KnownTokens::default());
        Self { service, rate_limit, known_tokens, strangers: Strangers::default() }
    }
}

impl FromRef<App> for Service {
    fn from_ref(app: &App) -> Self {
        app.service.clone()
    }
}

/// Words a failure in a surface's own envelope, status included.
pub type Render = fn(&HttpError) -> Response;

/// A surface: `routes` with everything around them. Unknown routes, wrong methods (with `Allow`), refusals and panics
/// all answer through `render`, and every answer carries `X-Request-Id`.
pub fn surface(routes: Router, render: Render) -> Router {
    let routes = routes
        .fallback(async || HttpError::from(Error::not_found("route")))
        .method_not_allowed_fallback(async || {
            HttpError::with_status(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method; see Allow")
        })
        .layer(from_fn(limits::check))
        .layer(from_fn(move |request: Request, next: Next| answer(render, request, next)));
    // A layer of the router itself would run after routing: the path has to be in order before.
    Router::new().fallback_service(MapRequestLayer::new(normalise).layer(routes))
}

async fn answer(render: Render, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    let id = id.0;
    // The route's pattern, not the path: a path can hold a download ticket.
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    let span = tracing::info_span!("request", request_id = ?id, method = %request.method(), route);
    async move {
        let outcome = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = outcome.unwrap_or_else(|panic| panicked(&*panic).into_response());
        let mut response = render_failure(render, response);
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }
    .instrument(span)
    .await
}

fn render_failure(render: Render, mut response: Response) -> Response {
    let Some(failure) = response.extensions_mut().remove::<Arc<HttpError>>() else { return response };
    failure.log();
    let mut rendered = render(&failure);
    failure.add_headers(&mut rendered);
    if let Some(allow) = response.headers_mut().remove(ALLOW) {
        rendered.headers_mut().insert(ALLOW, allow);
    }
    rendered
}

fn panicked(panic: &(dyn Any + Send)) -> HttpError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Error::internal(format!("handler panicked: {text}")).into()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    fn plain(failure: &HttpError) -> Response {
        (failure.status, failure.error.message.clone()).into_response()
    }

    async fn panics() -> &'static str {
        panic!("on purpose")
    }

    async fn ask(method: &str, path: &str) -> (http::response::Parts, String) {
        let routes = Router::new().route("/v1/things", get(async || "things").post(async || "made"));
        let routes = routes.route("/v1/panic", post(panics));
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (parts, body) = surface(routes, plain).oneshot(request).await.unwrap().into_parts();
        (parts, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_answer_carries_a_request_id() {
        for (method, path) in [("GET", "/v1/things"), ("GET", "/nowhere"), ("PUT", "/v1/things"), ("POST", "/v1/panic")]
        {
            assert!(ask(method, path).await.0.headers.contains_key(REQUEST_ID), "{method} {path}");
        }
    }

    #[tokio::test]
    async fn routes_after_the_path_is_in_order() {
        for path in ["/v1/things", "//v1//things", "/v1/things.json?x=1", "/v1/things/"] {
            assert_eq!(ask("GET", path).await.1, "things", "{path}");
        }
        let (parts, body) = ask("HEAD", "/v1/things").await;
        assert_eq!((parts.status.as_u16(), body.as_str()), (200, ""));
    }

    #[tokio::test]
    async fn failures_come_in_the_surface_s_envelope() {
        let (parts, body) = ask("GET", "/nowhere").await;
        assert_eq!((parts.status.as_u16(), body.as_str()), (404, "route not found"));
        let (parts, body) = ask("DELETE", "/v1/things").await;
        assert_eq!(parts.status, 405);
        assert_eq!(parts.headers[ALLOW], "GET,HEAD,POST");
        assert!(body.contains("method"), "{body}");
        let (parts, body) = ask("POST", "/v1/panic").await;
        assert_eq!(parts.status, 500);
        assert!(!body.contains("on purpose"), "{body}");
    }
}

//! The one public listener: every surface, download links, and whether all of it is ready.

use std::collections::BTreeMap;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use holdfast_functions::dialects::{self, Dialect};
use holdfast_functions::http::path::in_order;
use holdfast_functions::http::safe_for_browsers;
use holdfast_shared::service::Service;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::forward::{self, Forward, forward};

/// What tells whether all parts are ready; cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    /// The use cases, whose resources are asked.
    pub service: Service,
    /// Cancelled once the worker ended; `None` where none runs here.
    pub worker_ended: Option<CancellationToken>,
}

/// All routes of one machine.
pub fn router(health: Health, downloads: Forward) -> Router {
    let presigner = holdfast_functions::presigner::router(health.service.clone());
    let surfaces = Surfaces::new(&health.service);
    let config = health.service.config.clone();
    let routes = Router::new()
        .route("/healthz", get(show_health).with_state(health))
        .route(&format!("{}/{{*path}}", forward::PREFIX), get(forward).with_state(downloads))
        .route("/v1/downloads/{ticket}", any(move |request| redirect(presigner, request)))
        .fallback(move |request| surfaces.answer(request));
    safe_for_browsers(routes, &config)
}

/// The native surface and every dialect, each under its own paths.
#[derive(Debug, Clone)]
struct Surfaces {
    api: Router,
    dialects: BTreeMap<&'static str, Router>,
}

impl Surfaces {
    fn new(service: &Service) -> Self {
        let router = |dialect: &Dialect| (dialect.name, (dialect.router)(service.clone()));
        Self {
            api: holdfast_functions::api::router(service.clone()),
            dialects: dialects::ALL.iter().map(router).collect(),
        }
    }

    async fn answer(self, request: Request) -> Response {
        let dialect = Dialect::of(&in_order(request.uri())).and_then(|dialect| self.dialects.get(dialect.name));
        match dialect.unwrap_or(&self.api).clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Hands a request to the presigner, which routes it anew: what this router matched is not its pattern.
async fn redirect(presigner: Router, mut request: Request) -> Response {
    request.extensions_mut().remove::<MatchedPath>();
    presigner.oneshot(request).await.into_response()
}

/// 200 once everything answers; 503 that names what does not.
async fn show_health(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let aws = &health.service.aws;
    let (mut waiting_for, scheduler) = tokio::join!(health.service.parts_not_ready(), aws.scheduler.is_ready());
    if !scheduler {
        waiting_for.push("scheduler");
    }
    if health.worker_ended.is_some_and(|ended| ended.is_cancelled()) {
        waiting_for.push("worker");
    }
    match waiting_for.is_empty() {
        true => (StatusCode::OK, Json(json!({"status": "ready"}))),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "not ready", "waiting_for": waiting_for}))),
    }
}

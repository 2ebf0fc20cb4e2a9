//! The one public listener: every surface, download links, and whether all of it is ready.

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
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
    let api = holdfast_functions::api::router(health.service.clone());
    let presigner = holdfast_functions::presigner::router(health.service.clone());
    let config = health.service.config.clone();
    let routes = Router::new()
        .route("/healthz", get(show_health).with_state(health))
        .route(&format!("{}/{{*path}}", forward::PREFIX), get(forward).with_state(downloads))
        .route("/v1/downloads/{ticket}", any(move |request| redirect(presigner, request)))
        .fallback_service(api);
    safe_for_browsers(routes, &config)
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

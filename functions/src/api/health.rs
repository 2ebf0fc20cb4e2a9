//! Whether the installation can serve.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use holdfast_shared::service::Service;
use http::StatusCode;
use serde_json::json;

use crate::http::Operation;
use crate::http::schema::{list, object, one_of, required, text};

/// Every call.
pub(super) fn operations() -> Vec<Operation> {
    let show = Operation::get("/healthz", show).summary("Tell whether the installation can serve").open();
    let waiting = object([required("status", one_of(&["not ready"])), required("waiting_for", list(text()))]);
    let show = show.answers(StatusCode::OK, object([required("status", one_of(&["ready"]))]));
    vec![show.answers(StatusCode::SERVICE_UNAVAILABLE, waiting)]
}

/// 200 once the table and the queue answer; 503 that names those which do not.
pub(super) async fn show(State(service): State<Service>) -> impl IntoResponse {
    let missing = service.parts_not_ready().await;
    match missing.is_empty() {
        true => (StatusCode::OK, Json(json!({ "status": "ready" }))),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not ready", "waiting_for": missing }))),
    }
}

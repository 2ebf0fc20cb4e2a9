//! How a failure is worded: from a function HTTP 200 and `{"doc": {"error": {"$type", "$object", "msg"}}}`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use holdfast_shared::ErrorKind;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::value;
use crate::http::HttpError;
use crate::http::schema::{Schema, anything, object, required};

/// The form of a failure.
pub(super) fn schema() -> Schema {
    object([required("doc", object([required("error", anything())]))])
}

/// What never reaches a function, such as another path: as JSON, with the status of its kind.
pub(super) fn failure(failure: &HttpError) -> Response {
    (failure.status, Json(document(failure))).into_response()
}

/// What a function answered.
pub(super) async fn outcome(mut response: Response) -> Result<Value, Arc<HttpError>> {
    if let Some(failure) = response.extensions_mut().remove::<Arc<HttpError>>() {
        return Err(failure);
    }
    // An answer of ours is in memory and cannot fail.
    let bytes = Body::new(response.into_body()).collect().await.map(http_body_util::Collected::to_bytes);
    Ok(serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default())
}

/// The document of a failure.
pub(super) fn document(failure: &HttpError) -> Value {
    let (kind, object) = kind(failure);
    let words = match failure.error.fields() {
        None => failure.error.message.clone(),
        Some(fields) => {
            let faults = fields.iter().flat_map(|(name, all)| all.iter().map(move |one| format!("{name} {one}")));
            faults.collect::<Vec<_>>().join("; ")
        }
    };
    json!({"doc": {"error": {"$type": kind, "$object": object, "msg": value(words)}}})
}

/// The vendor's word for what went wrong, and what it is about.
fn kind(failure: &HttpError) -> (&'static str, &str) {
    let message = failure.error.message.as_str();
    match &failure.error.kind {
        ErrorKind::Unauthenticated => ("auth", "auth"),
        ErrorKind::Forbidden => ("access", "func"),
        ErrorKind::NotFound => ("missed", if message == "server not found" { "plid" } else { "elid" }),
        ErrorKind::Invalid(fields) => ("value", fields.iter().next().map_or("", |(name, _)| name)),
        ErrorKind::Malformed => ("request", "request"),
        ErrorKind::Conflict | ErrorKind::Outdated => ("conflict", "elid"),
        ErrorKind::Throttled { .. } => ("limit", "requests"),
        ErrorKind::Unavailable => ("unavailable", "service"),
        ErrorKind::Internal => ("internal", "service"),
    }
}

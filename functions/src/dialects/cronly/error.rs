//! How a failure is worded: `{"error": "Back-up not found"}`, with the status that its kind has everywhere.

use axum::Json;
use axum::response::{IntoResponse, Response};
use holdfast_shared::ErrorKind;
use serde_json::json;

use crate::http::HttpError;
use crate::http::schema::{Schema, object, required, text};

/// The form of a failure.
pub(super) fn schema() -> Schema {
    object([required("error", text())])
}

/// `{"error": …}`.
pub(super) fn failure(failure: &HttpError) -> Response {
    (failure.status, Json(json!({"error": words(failure)}))).into_response()
}

fn words(failure: &HttpError) -> String {
    let message = failure.error.message.as_str();
    match &failure.error.kind {
        ErrorKind::NotFound => match message {
            "crontab not found" => "Back-up not found".to_owned(),
            "crontab server not found" => "Server not found".to_owned(),
            _ => "Not found".to_owned(),
        },
        ErrorKind::Unauthenticated => "Unauthenticated".to_owned(),
        ErrorKind::Invalid(fields) => {
            let faults = fields.iter().flat_map(|(name, all)| all.iter().map(move |one| format!("{name} {one}")));
            faults.collect::<Vec<_>>().join("; ")
        }
        ErrorKind::Malformed
        | ErrorKind::Forbidden
        | ErrorKind::Conflict
        | ErrorKind::Outdated
        | ErrorKind::Throttled { .. }
        | ErrorKind::Unavailable
        | ErrorKind::Internal => message.to_owned(),
    }
}

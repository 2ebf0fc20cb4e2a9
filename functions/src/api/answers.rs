//! The native envelope.

use axum::Json;
use axum::response::{IntoResponse, Response};
use holdfast_shared::aws::table::SortBy;
use holdfast_shared::domain::check::Check;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::http::paging::SortKeys;
use crate::http::{HttpError, rfc3339};

/// What lists of servers, keys and storages sort by.
pub(super) const SORT_KEYS: SortKeys = &[("id", SortBy::Id), ("name", SortBy::Name), ("created_at", SortBy::Created)];

/// `{"data": …}`.
pub(super) fn data(data: impl Serialize) -> Json<Value> {
    Json(json!({ "data": data }))
}

/// `{"message": …}`, with `"errors": {field: [message]}` where fields are at fault.
pub(crate) fn failure(failure: &HttpError) -> Response {
    let mut body = Map::from_iter([("message".to_owned(), json!(failure.error.message))]);
    if let Some(fields) = failure.error.fields() {
        body.insert("errors".to_owned(), fields.iter().map(|(name, all)| (name.to_owned(), json!(all))).collect());
    }
    (failure.status, Json(body)).into_response()
}

/// The last check of a server or a storage.
pub(super) fn check(check: &Check) -> Value {
    json!({
        "id": check.id,
        "status": check.status,
        "requested_at": rfc3339(check.requested_at),
        "finished_at": check.finished_at.map(rfc3339),
        "failed_step": check.failed_step,
        "message": check.message,
        "found": check.found,
    })
}

#[cfg(test)]
mod tests {
    use holdfast_shared::Error;
    use http_body_util::BodyExt;

    use super::*;

    async fn rendered(error: Error) -> (u16, Value) {
        let response = failure(&error.into());
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn failures_have_a_message_and_name_fields() {
        assert_eq!(rendered(Error::not_found("job")).await, (404, json!({"message": "job not found"})));
        let expected = json!({"message": "the given data was invalid", "errors": {"port": ["is required"]}});
        assert_eq!(rendered(Error::invalid("port", "is required")).await, (422, expected));
    }
}

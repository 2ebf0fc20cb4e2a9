//! The native envelope.

use axum::Json;
use axum::response::{IntoResponse, Response};
use holdfast_shared::aws::table::SortBy;
use holdfast_shared::domain::check::Check;
use serde_json::{Map, Value, json};

use crate::http::paging::{MAX_PAGE, MAX_PAGE_SIZE, MIN_PAGE_SIZE, SortKeys};
use crate::http::schema::{
    Member, Schema, anything, integer, integer_in, list, map_of, object, one_of, optional, or_null, required, text,
    time, uuid,
};
use crate::http::{HttpError, rfc3339};

/// What lists of servers, keys and storages sort by.
pub(super) const SORT_KEYS: SortKeys = &[("id", SortBy::Id), ("name", SortBy::Name), ("created_at", SortBy::Created)];

/// `{"data": …}`, with what is shown moved into it: `json!` would copy it whole.
pub(super) fn data(data: impl Into<Value>) -> Json<Value> {
    Json(Value::Object(Map::from_iter([("data".to_owned(), data.into())])))
}

/// `{"message": …}`, with `"errors": {field: [message]}` where fields are at fault.
pub(crate) fn failure(failure: &HttpError) -> Response {
    let mut body = Map::from_iter([("message".to_owned(), json!(failure.error.message))]);
    if let Some(fields) = failure.error.fields() {
        body.insert("errors".to_owned(), fields.iter().map(|(name, all)| (name.to_owned(), json!(all))).collect());
    }
    (failure.status, Json(body)).into_response()
}

/// The form of `{"data": …}` with one record.
pub(super) fn one(record: Schema) -> Schema {
    object([required("data", record)])
}

/// The form of a page of records.
pub(super) fn page_of(record: Schema) -> Schema {
    let link = || or_null(text());
    let links = ["first", "last", "prev", "next"].map(|name| required(name, link()));
    let number = || or_null(integer());
    let meta = ["current_page", "from", "to", "last_page", "per_page", "total"].map(|name| required(name, number()));
    let meta = meta.into_iter().chain([required("path", text())]);
    object([required("data", list(record)), required("links", object(links)), required("meta", object(meta))])
}

/// What every list of pages can be asked for.
pub(super) fn paging(sort_keys: SortKeys) -> [Member; 4] {
    let words: Vec<_> = sort_keys.iter().flat_map(|(word, _)| [(*word).to_owned(), format!("-{word}")]).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    [
        optional("page_size", integer_in(MIN_PAGE_SIZE..=MAX_PAGE_SIZE).default(MIN_PAGE_SIZE)),
        optional("page", integer_in(1..=MAX_PAGE).default(1)),
        optional("cursor", text().described("where the page begins, as a link of the page before said")),
        optional("sort", one_of(&words).described("with - in front for descending")),
    ]
}

/// The form of a failure: every status from 400 on.
pub(super) fn failure_schema() -> Schema {
    object([required("message", text()), optional("errors", map_of(list(text())))])
}

/// The form of [`check`].
pub(super) fn check_schema() -> Schema {
    object([
        required("id", uuid()),
        required("status", text()),
        required("requested_at", time()),
        required("finished_at", or_null(time())),
        required("failed_step", or_null(text())),
        required("message", or_null(text())),
        required("found", anything()),
    ])
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

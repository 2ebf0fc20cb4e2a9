//! AWS JSON 1.0, as the SDKs speak it to DynamoDB.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Meter, TableStore};
use crate::fault::Fault;

const TARGET_PREFIX: &str = "DynamoDB_20120810.";
const JSON: &str = "application/x-amz-json-1.0";

/// One call of the API: its name stands in `X-Amz-Target`.
pub(super) async fn handle(State(store): State<TableStore>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let Some(operation) = target.and_then(|target| target.strip_prefix(TARGET_PREFIX)).map(str::to_owned) else {
        return Fault::new("UnknownOperationException", "the request names no operation").into_response();
    };
    let meter = store.meter.clone();
    match store.run(move |database| dispatch(database, &meter, &operation, &body)).await {
        Ok(answer) => ([(CONTENT_TYPE, JSON)], answer).into_response(),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &DynoxideError) -> Response {
    let status = StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::error!(%error, "the table failed");
    }
    (status, [(CONTENT_TYPE, JSON)], error.to_json()).into_response()
}

/// The operations that Holdfast and those who look after it use.
fn dispatch(database: &Database, meter: &Meter, operation: &str, body: &[u8]) -> Result<Vec<u8>, DynoxideError> {
    match operation {
        "BatchGetItem" => {
            call(body, |request| meter.batch_get_item(request, |request| database.batch_get_item(request)))
        }
        "BatchWriteItem" => call(body, |request| database.batch_write_item(request)),
        "CreateTable" => call(body, |request| database.create_table(request)),
        "DeleteItem" => call(body, |request| database.delete_item(request)),
        "DeleteTable" => call(body, |request| database.delete_table(request)),
        "DescribeTable" => call(body, |request| database.describe_table(request)),
        "DescribeTimeToLive" => call(body, |request| database.describe_time_to_live(request)),
        "GetItem" => call(body, |request| meter.get_item(request, |request| database.get_item(request))),
        "ListTables" => call(body, |request| database.list_tables(request)),
        "PutItem" => call(body, |request| database.put_item(request)),
        "Query" => call(body, |request| meter.query(request, |request| database.query(request))),
        "Scan" => call(body, |request| meter.scan(request, |request| database.scan(request))),
        "TransactGetItems" => call(body, |request| database.transact_get_items(request)),
        "TransactWriteItems" => call(body, |request| database.transact_write_items(request)),
        "UpdateItem" => call(body, |request| database.update_item(request)),
        "UpdateTimeToLive" => call(body, |request| database.update_time_to_live(request)),
        _ => Err(DynoxideError::ValidationException(format!("the embedded table does not know {operation}"))),
    }
}

fn call<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    run: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<Vec<u8>, DynoxideError> {
    let request = serde_json::from_slice(body).map_err(|e| DynoxideError::SerializationException(e.to_string()))?;
    serde_json::to_vec(&run(request)?).map_err(|e| DynoxideError::InternalServerError(e.to_string()))
}

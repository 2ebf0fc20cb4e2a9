//! AWS JSON 1.0 as the SQS SDKs speak it: `POST /` with the action in `X-Amz-Target`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Router, middleware};
use jiff::Timestamp;
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::admin::{self, Queue};
use super::{QueueStore, receipt, send};
use crate::fault::Fault;
use crate::signature::{self, Credentials};

/// `CreateQueue`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    queue_name: String,
    #[serde(default)]
    attributes: admin::Attributes,
}

/// `GetQueueUrl`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Find {
    queue_name: String,
}

impl QueueStore {
    /// The SQS surface, for whoever signs with `credentials`; `closing` ends long polls early.
    pub fn router(&self, credentials: Credentials, closing: CancellationToken) -> Router {
        Router::new()
            .route("/", post(handle))
            // The signature's own limit holds; the framework's is below a message of 1 MiB in escapes.
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(Arc::new(credentials), signature::require))
            .with_state((self.clone(), closing))
    }
}

async fn handle(
    State((store, closing)): State<(QueueStore, CancellationToken)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Fault> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = text(header::HeaderName::from_static("x-amz-target"));
    // The port changes with every start, so a URL is made from the address that the client itself used.
    let base = format!("http://{}", text(header::HOST));
    let action = target.strip_prefix("AmazonSQS.").unwrap_or_default();
    let answer = act(&store, &closing, action, base, &body).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-amz-json-1.0")], answer.to_string()).into_response())
}

pub(super) async fn act(
    store: &QueueStore,
    closing: &CancellationToken,
    action: &str,
    base: String,
    body: &Bytes,
) -> Result<Value, Fault> {
    let url = move |name: &str| json!({"QueueUrl": admin::queue_url(&base, name)});
    match action {
        "CreateQueue" => {
            call(store, body, move |db, now, asked: Create| {
                admin::create(db, now, &asked.queue_name, asked.attributes)?;
                Ok(url(&asked.queue_name))
            })
            .await
        }
        "GetQueueUrl" => {
            call(store, body, move |db, _, asked: Find| {
                let queue = Queue::by_name(db, &asked.queue_name)?.ok_or_else(admin::missing)?;
                Ok(url(&queue.name))
            })
            .await
        }
        "ListQueues" => {
            call(store, body, move |db, _, asked| {
                let (names, next) = admin::list(db, &asked)?;
                let urls: Vec<Value> = names.iter().map(|name| url(name)["QueueUrl"].take()).collect();
                Ok(json!({"QueueUrls": urls, "NextToken": next}))
            })
            .await
        }
        "GetQueueAttributes" => {
            let wrap = |attributes| json!({"Attributes": attributes});
            call(store, body, move |db, now, asked| admin::attributes(db, now, &asked).map(wrap)).await
        }
        "SetQueueAttributes" => call(store, body, admin::change).await,
        "DeleteQueue" => call(store, body, |db, _, asked| admin::delete(db, &asked)).await,
        "PurgeQueue" => call(store, body, |db, _, asked| admin::purge(db, &asked)).await,
        "SendMessage" => call(store, body, |db, now, asked| send::send(db, now, &asked)).await,
        "SendMessageBatch" => call(store, body, |db, now, asked| send::send_batch(db, now, &asked)).await,
        "ReceiveMessage" => {
            let messages = store.receive(parse(body)?, closing).await?;
            Ok(json!({"Messages": messages}))
        }
        "DeleteMessage" => call(store, body, |db, now, asked| receipt::delete(db, now, &asked)).await,
        "DeleteMessageBatch" => call(store, body, |db, now, asked| receipt::delete_batch(db, now, &asked)).await,
        "ChangeMessageVisibility" => call(store, body, |db, now, asked| receipt::change(db, now, &asked)).await,
        "ChangeMessageVisibilityBatch" => {
            call(store, body, |db, now, asked| receipt::change_batch(db, now, &asked)).await
        }
        _ => {
            let message = format!("The embedded SQS does not know the action {action}.");
            Err(Fault::new("AWS.SimpleQueueService.UnsupportedOperation", message))
        }
    }
}

/// Reads a request, does `work` in one transaction, and gives its answer as JSON.
async fn call<R, A>(
    store: &QueueStore,
    body: &Bytes,
    work: impl FnOnce(&Connection, Timestamp, R) -> Result<A, Fault> + Send + 'static,
) -> Result<Value, Fault>
where
    R: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    let request = parse(body)?;
    let answer = store.transact(move |db, now| work(db, now, request)).await?;
    let answer = serde_json::to_value(answer).map_err(|error| Fault::internal(error.to_string()))?;
    // The protocol's empty answer is an empty object.
    Ok(if answer.is_null() { json!({}) } else { answer })
}

fn parse<R: DeserializeOwned>(body: &Bytes) -> Result<R, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault::new("MissingParameter", format!("{error}.")))
}

//! Messages in: `SendMessage` and its batch.

use jiff::Timestamp;
use rusqlite::{Connection, named_params};
use serde::{Deserialize, Serialize};

use super::admin::Queue;
use super::batch::{Batch, Outcome};
use super::database::json;
use super::message::{Outgoing, attributes_md5, body_md5};
use super::settings::MAX_SIZE_BYTES;
use crate::fault::Fault;

/// `SendMessage`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Send {
    queue_url: String,
    #[serde(flatten)]
    message: Outgoing,
}

/// What a sender is told, with checksums to hold against its own.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Sent {
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    body_md5: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    attributes_md5: Option<String>,
}

pub(super) fn send(db: &Connection, now: Timestamp, send: &Send) -> Result<Sent, Fault> {
    put(db, now, &Queue::by_url(db, &send.queue_url)?, &send.message)
}

pub(super) fn send_batch(db: &Connection, now: Timestamp, batch: &Batch<Outgoing>) -> Result<Outcome<Sent>, Fault> {
    let queue = Queue::by_url(db, &batch.queue_url)?;
    let size_bytes: i64 = batch.items().map(Outgoing::size_bytes).sum();
    if size_bytes > MAX_SIZE_BYTES {
        let message =
            format!("Batch requests cannot be longer than {MAX_SIZE_BYTES} bytes. You have sent {size_bytes} bytes.");
        return Err(Fault::new("AWS.SimpleQueueService.BatchRequestTooLong", message));
    }
    batch.each(|message| put(db, now, &queue, message))
}

/// Sends to the queue that an ARN names; for senders within this process.
pub fn send_to(db: &Connection, now: Timestamp, arn: &str, message: &Outgoing) -> Result<(), Fault> {
    put(db, now, &Queue::by_arn(db, arn)?, message).map(drop)
}

fn put(db: &Connection, now: Timestamp, queue: &Queue, message: &Outgoing) -> Result<Sent, Fault> {
    message.check(queue.settings.number("MaximumMessageSize"))?;
    let delay_s = message.delay_seconds.unwrap_or_else(|| queue.settings.number("DelaySeconds"));
    let message_id = uuid::Uuid::new_v4().to_string();
    let insert = "INSERT INTO messages (queue, id, body, attributes, group_id, sent_ms, visible_ms)
                  VALUES (:queue, :id, :body, :attributes, :group_id, :sent_ms, :visible_ms)";
    db.prepare_cached(insert)?.execute(named_params! {
        ":queue": queue.id,
        ":id": message_id,
        ":body": message.body,
        ":attributes": json(&message.attributes)?,
        ":group_id": message.group_id,
        ":sent_ms": now.as_millisecond(),
        ":visible_ms": now.as_millisecond() + delay_s * 1000,
    })?;
    Ok(Sent { message_id, body_md5: body_md5(&message.body), attributes_md5: attributes_md5(&message.attributes) })
}

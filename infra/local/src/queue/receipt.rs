//! What a receiver does with the handle it got: delete the message, or change how long it stays hidden.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::admin::Queue;
use super::batch::{Batch, Outcome};
use super::message::invalid;
use crate::fault::Fault;

/// The longest a message stays hidden after a receive: 12 hours.
const MAX_VISIBILITY_S: i64 = 43_200;

/// One receive of one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    seq: i64,
    pub(super) nonce: String,
}

impl Receipt {
    /// A receipt unlike any before.
    pub(super) fn new(seq: i64) -> Self {
        Self { seq, nonce: Uuid::new_v4().simple().to_string() }
    }

    /// The opaque text that a receiver is given.
    pub(super) fn to_handle(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}.{}", self.seq, self.nonce))
    }

    fn parse(handle: &str) -> Result<Self, Fault> {
        let read = || {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(handle).ok()?).ok()?;
            let (seq, nonce) = text.split_once('.')?;
            Some(Self { seq: seq.parse().ok()?, nonce: Uuid::try_parse(nonce).ok()?.simple().to_string() })
        };
        read().ok_or_else(|| Fault::new("ReceiptHandleIsInvalid", "The input receipt handle is invalid."))
    }
}

/// A request about one message; with a queue beside it or as a batch's entry.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OfQueue<T> {
    queue_url: String,
    #[serde(flatten)]
    item: T,
}

/// `DeleteMessage`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Delete {
    receipt_handle: String,
}

/// `ChangeMessageVisibility`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Visibility {
    receipt_handle: String,
    visibility_timeout: i64,
}

/// Nothing to tell but success.
#[derive(Debug, Serialize)]
pub(super) struct Done {}

pub(super) fn delete(db: &Connection, _now: Timestamp, request: &OfQueue<Delete>) -> Result<Done, Fault> {
    delete_from(db, &Queue::by_url(db, &request.queue_url)?, &request.item)
}

pub(super) fn delete_batch(db: &Connection, _now: Timestamp, batch: &Batch<Delete>) -> Result<Outcome<Done>, Fault> {
    let queue = Queue::by_url(db, &batch.queue_url)?;
    batch.each(|item| delete_from(db, &queue, item))
}

pub(super) fn change(db: &Connection, now: Timestamp, request: &OfQueue<Visibility>) -> Result<Done, Fault> {
    change_in(db, now, &Queue::by_url(db, &request.queue_url)?, &request.item)
}

pub(super) fn change_batch(db: &Connection, now: Timestamp, batch: &Batch<Visibility>) -> Result<Outcome<Done>, Fault> {
    let queue = Queue::by_url(db, &batch.queue_url)?;
    batch.each(|item| change_in(db, now, &queue, item))
}

/// Deletes the message if this is its newest receipt; else succeeds without a deed, as AWS documents.
fn delete_from(db: &Connection, queue: &Queue, request: &Delete) -> Result<Done, Fault> {
    let receipt = Receipt::parse(&request.receipt_handle)?;
    let sql = "DELETE FROM messages WHERE seq = ?1 AND queue = ?2 AND receipt = ?3";
    db.prepare_cached(sql)?.execute((receipt.seq, queue.id, receipt.nonce))?;
    Ok(Done {})
}

fn change_in(db: &Connection, now: Timestamp, queue: &Queue, request: &Visibility) -> Result<Done, Fault> {
    let receipt = Receipt::parse(&request.receipt_handle)?;
    if !(0..=MAX_VISIBILITY_S).contains(&request.visibility_timeout) {
        return Err(invalid("VisibilityTimeout", "VisibilityTimeout must be an integer between 0 and 43200"));
    }
    let now_ms = now.as_millisecond();
    let visible_ms = now_ms + request.visibility_timeout * 1000;
    let sql = "SELECT visible_ms, received_ms FROM messages WHERE seq = ?1 AND queue = ?2 AND receipt = ?3";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let found = db.prepare_cached(sql)?.query_row((receipt.seq, queue.id, &receipt.nonce), read).optional()?;
    let Some((hidden_until_ms, received_ms)) = found else {
        let reason = "Message does not exist or is not available for visibility timeout change.";
        return Err(invalid("ReceiptHandle", reason));
    };
    if hidden_until_ms <= now_ms {
        let code = "AWS.SimpleQueueService.MessageNotInflight";
        return Err(Fault::new(code, "The specified message isn't in flight."));
    }
    if visible_ms - received_ms > MAX_VISIBILITY_S * 1000 {
        let reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
        return Err(invalid("VisibilityTimeout", reason));
    }
    db.prepare_cached("UPDATE messages SET visible_ms = ?2 WHERE seq = ?1")?.execute((receipt.seq, visible_ms))?;
    Ok(Done {})
}

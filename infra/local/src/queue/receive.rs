//! Messages out: `ReceiveMessage`, its long poll, and the way to the dead-letter queue.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::admin::{Queue, queue_arn};
use super::database::json_column;
use super::message::{Attributes, attributes_md5, body_md5, invalid};
use super::receipt::Receipt;
use super::{ACCOUNT, QueueStore};
use crate::fault::Fault;

/// `ReceiveMessage`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Receive {
    queue_url: String,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
}

/// A message as a receiver gets it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Received {
    message_id: String,
    receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    body_md5: String,
    body: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    attributes_md5: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: Attributes,
}

/// What one look at a queue found.
struct Look {
    messages: Vec<Received>,
    /// How long the receiver is willing to wait for the first one.
    wait: Duration,
    /// When the next message that is there already becomes visible.
    next_in: Option<Duration>,
}

impl QueueStore {
    /// Receives up to ten messages, waiting for the first as long as request or queue say, or until `closing`.
    pub(super) async fn receive(&self, request: Receive, closing: &CancellationToken) -> Result<Vec<Received>, Fault> {
        let started = Instant::now();
        loop {
            // Listen before looking, so that nothing that arrives in between is slept through.
            let changed = self.changed().notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let asked = request.clone();
            let Look { messages, wait, next_in } = self.transact(move |db, now| look(db, now, &asked)).await?;
            let deadline = started + wait;
            if !messages.is_empty() || Instant::now() >= deadline {
                return Ok(messages);
            }
            let next = next_in.map_or(deadline, |next_in| deadline.min(Instant::now() + next_in));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(next) => {}
                () = closing.cancelled() => return Ok(messages),
            }
        }
    }
}

fn look(db: &Connection, now: Timestamp, request: &Receive) -> Result<Look, Fault> {
    let queue = Queue::by_url(db, &request.queue_url)?;
    let setting = |name, asked: Option<i64>| asked.unwrap_or_else(|| queue.settings.number(name));
    let count = within("MaxNumberOfMessages", request.max_number_of_messages.unwrap_or(1), 1, 10)?;
    let visibility_s =
        within("VisibilityTimeout", setting("VisibilityTimeout", request.visibility_timeout), 0, 43_200)?;
    let wait_s = setting("ReceiveMessageWaitTimeSeconds", request.wait_time_seconds);
    let wait_s = within("WaitTimeSeconds", wait_s, 0, 20)?;
    expire(db, now, &queue)?;
    redrive(db, now, &queue, count)?;

    let sql = "SELECT * FROM messages WHERE queue = ?1 AND visible_ms <= ?2 ORDER BY visible_ms, seq LIMIT ?3";
    let mut select = db.prepare_cached(sql)?;
    let found = select.query_map((queue.id, now.as_millisecond(), count), Found::read)?;
    let mut messages = Vec::new();
    for found in found.collect::<rusqlite::Result<Vec<_>>>()? {
        messages.push(found.take(db, now, visibility_s, request)?);
    }
    Ok(Look { messages, wait: Duration::from_secs(wait_s.unsigned_abs()), next_in: next_in(db, now, &queue)? })
}

/// Deletes what is older than the queue keeps.
fn expire(db: &Connection, now: Timestamp, queue: &Queue) -> Result<(), Fault> {
    let oldest_ms = now.as_millisecond() - queue.settings.number("MessageRetentionPeriod") * 1000;
    db.prepare_cached("DELETE FROM messages WHERE queue = ?1 AND sent_ms <= ?2")?.execute((queue.id, oldest_ms))?;
    Ok(())
}

/// Moves those of the next `count` messages that were received too often, until none of the next is; their age goes on
/// counting from when they were first sent.
fn redrive(db: &Connection, now: Timestamp, queue: &Queue, count: i64) -> Result<(), Fault> {
    let Some(redrive) = queue.settings.redrive() else { return Ok(()) };
    let target = match Queue::by_arn(db, &redrive.target_arn) {
        Ok(target) => target,
        Err(fault) if fault.is_internal() => return Err(fault),
        // The dead-letter queue was deleted: as on AWS the messages stay where they are.
        Err(_) => return Ok(()),
    };
    let update = "UPDATE messages SET queue = ?1, source_arn = ?2, visible_ms = ?4, receipt = NULL
                  WHERE receives >= ?5 AND seq IN
                  (SELECT seq FROM messages WHERE queue = ?3 AND visible_ms <= ?4 ORDER BY visible_ms, seq LIMIT ?6)";
    let mut update = db.prepare_cached(update)?;
    let source = queue_arn(&queue.name);
    let now_ms = now.as_millisecond();
    while update.execute((target.id, &source, queue.id, now_ms, redrive.max_receives, count))? > 0 {}
    Ok(())
}

fn next_in(db: &Connection, now: Timestamp, queue: &Queue) -> Result<Option<Duration>, Fault> {
    let sql = "SELECT visible_ms FROM messages WHERE queue = ?1 ORDER BY visible_ms LIMIT 1";
    let visible_ms: Option<i64> = db.prepare_cached(sql)?.query_row([queue.id], |row| row.get(0)).optional()?;
    let in_ms = |visible_ms: i64| (visible_ms - now.as_millisecond()).max(1).unsigned_abs();
    Ok(visible_ms.map(|visible_ms| Duration::from_millis(in_ms(visible_ms))))
}

/// A visible message's row.
struct Found {
    seq: i64,
    id: String,
    body: String,
    attributes: Attributes,
    group_id: Option<String>,
    source_arn: Option<String>,
    sent_ms: i64,
    receives: i64,
    first_received_ms: Option<i64>,
}

impl Found {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get("seq")?,
            id: row.get("id")?,
            body: row.get("body")?,
            attributes: json_column(row, "attributes")?,
            group_id: row.get("group_id")?,
            source_arn: row.get("source_arn")?,
            sent_ms: row.get("sent_ms")?,
            receives: row.get("receives")?,
            first_received_ms: row.get("first_received_ms")?,
        })
    }

    /// Hides the message for the visibility timeout and hands it out under a new receipt.
    fn take(
        mut self,
        db: &Connection,
        now: Timestamp,
        visibility_s: i64,
        request: &Receive,
    ) -> Result<Received, Fault> {
        let now_ms = now.as_millisecond();
        let receipt = Receipt::new(self.seq);
        let first_ms = *self.first_received_ms.get_or_insert(now_ms);
        self.receives += 1;
        let update = "UPDATE messages SET receives = ?2, first_received_ms = ?3, received_ms = ?4, visible_ms = ?5,
                      receipt = ?6 WHERE seq = ?1";
        let visible_ms = now_ms + visibility_s * 1000;
        let parameters = (self.seq, self.receives, first_ms, now_ms, visible_ms, &receipt.nonce);
        db.prepare_cached(update)?.execute(parameters)?;

        let attributes = self.system_attributes(first_ms, request);
        self.attributes.retain(|name, _| wanted(&request.message_attribute_names, name));
        Ok(Received {
            message_id: self.id,
            receipt_handle: receipt.to_handle(),
            body_md5: body_md5(&self.body),
            body: self.body,
            attributes,
            attributes_md5: attributes_md5(&self.attributes),
            message_attributes: self.attributes,
        })
    }

    fn system_attributes(&self, first_ms: i64, request: &Receive) -> BTreeMap<&'static str, String> {
        let asked = [&request.message_system_attribute_names[..], &request.attribute_names[..]].concat();
        let all = [
            ("SenderId", Some(ACCOUNT.to_owned())),
            ("SentTimestamp", Some(self.sent_ms.to_string())),
            ("ApproximateReceiveCount", Some(self.receives.to_string())),
            ("ApproximateFirstReceiveTimestamp", Some(first_ms.to_string())),
            ("MessageGroupId", self.group_id.clone()),
            ("DeadLetterQueueSourceArn", self.source_arn.clone()),
        ];
        all.into_iter()
            .filter(|(name, _)| asked.iter().any(|asked| asked == "All" || asked == name))
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// Whether a message attribute is asked for: by its name, by `prefix.*`, or with all.
fn wanted(asked: &[String], name: &str) -> bool {
    asked.iter().any(|asked| match asked.strip_suffix(".*") {
        Some(prefix) => name.starts_with(prefix),
        None => asked == "All" || asked == name,
    })
}

fn within(parameter: &str, value: i64, min: i64, max: i64) -> Result<i64, Fault> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(invalid(parameter, &format!("Must be between {min} and {max}, if provided.")))
}

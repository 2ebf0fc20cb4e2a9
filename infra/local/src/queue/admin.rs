//! Queues themselves: made, found, listed, changed, emptied, deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::Deserialize;

use super::database::{json, json_column};
use super::message::invalid;
use super::settings::{Settings, no_fifo};
use super::{ACCOUNT, REGION};
use crate::fault::Fault;

/// A queue's attributes by name, as the wire has them.
pub(super) type Attributes = BTreeMap<String, String>;

/// A queue's row.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) settings: Settings,
    created_s: i64,
    modified_s: i64,
}

/// A request that names a queue and nothing else.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Named {
    pub(super) queue_url: String,
}

/// `GetQueueAttributes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Asked {
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
}

/// `SetQueueAttributes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Change {
    queue_url: String,
    attributes: Attributes,
}

/// `ListQueues`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listing {
    #[serde(default)]
    queue_name_prefix: String,
    max_results: Option<i64>,
    next_token: Option<String>,
}

/// The ARN of the queue of that name.
pub fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

/// The queue's URL under the address that SQS is served at (`http://127.0.0.1:1234`).
pub(super) fn queue_url(base: &str, name: &str) -> String {
    format!("{base}/{ACCOUNT}/{name}")
}

impl Queue {
    /// The queue that a URL names; only its last part counts, since the port may be another after a restart.
    pub(super) fn by_url(db: &Connection, url: &str) -> Result<Self, Fault> {
        Self::by_name(db, url.rsplit('/').next().unwrap_or_default())?.ok_or_else(missing)
    }

    /// The queue that an ARN names.
    pub(super) fn by_arn(db: &Connection, arn: &str) -> Result<Self, Fault> {
        let name = arn.rsplit(':').next().unwrap_or_default();
        Self::by_name(db, name)?.filter(|queue| queue_arn(&queue.name) == arn).ok_or_else(missing)
    }

    /// The queue of that name.
    pub(super) fn by_name(db: &Connection, name: &str) -> Result<Option<Self>, Fault> {
        let mut select = db.prepare_cached("SELECT * FROM queues WHERE name = ?1")?;
        Ok(select.query_row([name], Self::read).optional()?)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            settings: json_column(row, "settings")?,
            created_s: row.get("created_s")?,
            modified_s: row.get("modified_s")?,
        })
    }

    /// Every attribute that `GetQueueAttributes` knows.
    fn attributes(&self, db: &Connection, now: Timestamp) -> Result<Attributes, Fault> {
        let count = |filter: &str| -> rusqlite::Result<i64> {
            let sql = format!("SELECT count(*) FROM messages WHERE queue = ?1 AND visible_ms {filter}");
            db.prepare_cached(&sql)?.query_row((self.id, now.as_millisecond()), |row| row.get(0))
        };
        let mut all = self.settings.all();
        for (name, value) in [
            ("QueueArn", queue_arn(&self.name)),
            ("CreatedTimestamp", self.created_s.to_string()),
            ("LastModifiedTimestamp", self.modified_s.to_string()),
            ("ApproximateNumberOfMessages", count("<= ?2")?.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", count("> ?2 AND receipt IS NOT NULL")?.to_string()),
            ("ApproximateNumberOfMessagesDelayed", count("> ?2 AND receipt IS NULL")?.to_string()),
        ] {
            all.insert(name.to_owned(), value);
        }
        Ok(all)
    }
}

/// Makes a queue, or finds the one of that name if it has the same attributes.
pub(super) fn create(db: &Connection, now: Timestamp, name: &str, attributes: Attributes) -> Result<(), Fault> {
    let asked = Settings::parse(attributes)?;
    match Queue::by_name(db, name)? {
        Some(queue) => queue.settings.differs_in(&asked).map_or(Ok(()), |attribute| Err(exists(attribute))),
        None => insert(db, now, name, asked),
    }
}

/// Makes a queue, or changes the one of that name.
pub(super) fn ensure(db: &Connection, now: Timestamp, name: &str, attributes: Attributes) -> Result<(), Fault> {
    let asked = Settings::parse(attributes)?;
    match Queue::by_name(db, name)? {
        Some(queue) => apply(db, now, queue, asked),
        None => insert(db, now, name, asked),
    }
}

fn insert(db: &Connection, now: Timestamp, name: &str, asked: Settings) -> Result<(), Fault> {
    check_name(name)?;
    check_dead_letter_queue(db, name, &asked)?;
    let mut settings = Settings::default();
    settings.apply(asked);
    let insert = "INSERT INTO queues (name, settings, created_s, modified_s) VALUES (?1, ?2, ?3, ?3)";
    db.prepare_cached(insert)?.execute((name, json(&settings)?, now.as_second()))?;
    Ok(())
}

fn apply(db: &Connection, now: Timestamp, mut queue: Queue, asked: Settings) -> Result<(), Fault> {
    check_dead_letter_queue(db, &queue.name, &asked)?;
    queue.settings.apply(asked);
    let update = "UPDATE queues SET settings = ?2, modified_s = ?3 WHERE id = ?1";
    db.prepare_cached(update)?.execute((queue.id, json(&queue.settings)?, now.as_second()))?;
    Ok(())
}

pub(super) fn attributes(db: &Connection, now: Timestamp, asked: &Asked) -> Result<Attributes, Fault> {
    let mut all = Queue::by_url(db, &asked.queue_url)?.attributes(db, now)?;
    if !asked.attribute_names.iter().any(|name| name == "All") {
        all.retain(|name, _| asked.attribute_names.contains(name));
    }
    Ok(all)
}

pub(super) fn change(db: &Connection, now: Timestamp, change: Change) -> Result<(), Fault> {
    apply(db, now, Queue::by_url(db, &change.queue_url)?, Settings::parse(change.attributes)?)
}

/// Deletes the queue with all its messages.
pub(super) fn delete(db: &Connection, named: &Named) -> Result<(), Fault> {
    let queue = Queue::by_url(db, &named.queue_url)?;
    db.prepare_cached("DELETE FROM queues WHERE id = ?1")?.execute([queue.id])?;
    Ok(())
}

/// Deletes all messages of the queue, those in flight too.
pub(super) fn purge(db: &Connection, named: &Named) -> Result<(), Fault> {
    let queue = Queue::by_url(db, &named.queue_url)?;
    db.prepare_cached("DELETE FROM messages WHERE queue = ?1")?.execute([queue.id])?;
    Ok(())
}

/// One page of queue names, and the token of the next page. As on AWS there are pages only if a size is asked for.
pub(super) fn list(db: &Connection, listing: &Listing) -> Result<(Vec<String>, Option<String>), Fault> {
    let limit = listing.max_results.unwrap_or(1000);
    if !(1..=1000).contains(&limit) {
        return Err(Fault::new("InvalidParameterValue", "Value for parameter MaxResults is invalid."));
    }
    let sql = "SELECT name FROM queues WHERE name > :after AND name >= :prefix AND name < :prefix || char(127)
               ORDER BY name LIMIT :limit";
    let mut select = db.prepare_cached(sql)?;
    let after = listing.next_token.as_deref().unwrap_or_default();
    let parameters = named_params! {":after": after, ":prefix": listing.queue_name_prefix, ":limit": limit};
    let names = select.query_map(parameters, |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    let full = listing.max_results.is_some() && names.len() as i64 == limit;
    let next = names.last().filter(|_| full).cloned();
    Ok((names, next))
}

fn check_name(name: &str) -> Result<(), Fault> {
    if name.ends_with(".fifo") {
        return Err(no_fifo());
    }
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=80).contains(&name.len()) && name.bytes().all(valid) {
        return Ok(());
    }
    let message = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
    Err(Fault::new("InvalidParameterValue", message))
}

fn check_dead_letter_queue(db: &Connection, name: &str, settings: &Settings) -> Result<(), Fault> {
    let Some(redrive) = settings.redrive() else { return Ok(()) };
    if redrive.target_arn == queue_arn(name) {
        return Err(invalid("RedrivePolicy", "Dead letter queue must not be the source queue itself."));
    }
    match Queue::by_arn(db, &redrive.target_arn) {
        Err(fault) if !fault.is_internal() => Err(invalid("RedrivePolicy", "Dead letter target does not exist.")),
        found => found.map(drop),
    }
}

fn exists(attribute: &str) -> Fault {
    let message = format!("A queue already exists with the same name and a different value for attribute {attribute}");
    Fault::new("QueueAlreadyExists", message)
}

/// What a request for a queue that is not there is told.
pub(super) fn missing() -> Fault {
    Fault::new("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
}

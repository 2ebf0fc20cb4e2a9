//! The one DynamoDB table: what is common to all records. A file per noun beside this one adds its reads and writes.
//!
//! Records are the domain types as `serde_dynamo` writes them, flat, beside key and index attributes. The account stands
//! first in every key. Nothing scans; a page costs the page.

mod accounts;
mod answered_calls;
mod audit_events;
mod backups;
mod batch;
mod checks;
mod counters;
mod crontab_servers;
mod crontabs;
mod definition;
mod encryption_keys;
mod expression;
mod facets;
mod gathering;
mod import;
mod jobs;
pub(crate) mod keys;
mod logins;
mod logs;
mod notification_streams;
mod numbers;
mod outbox;
mod previews;
mod proxies;
mod purges;
mod rates;
mod resealing;
mod seats;
mod servers;
mod sessions;
#[cfg(test)]
mod size;
mod ssh_keys;
mod stacks;
mod starts;
mod storages;
mod sweeps;
mod tally;
mod tokens;
mod users;
mod walk;
mod watches;

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use answered_calls::AnsweredCall;
pub use audit_events::AuditFilter;
pub(crate) use audit_events::year as audit_year;
pub(crate) use backups::KeyUse;
pub use backups::{Fence, IdempotencyKey};
pub(crate) use batch::Records;
pub use counters::Noun;
pub(crate) use crontabs::SealedSnapshot;
pub use expression::{Condition, Update, Write};
pub use facets::BackupFilter;
pub(crate) use gathering::Gathering;
use gathering::Trails;
pub use import::{backups_as_json, jobs_as_json};
pub use jobs::{DeletedJob, JobFilter};
pub(crate) use jobs::{count_user, job_ran};
pub use keys::Key;
pub use logs::LogChunk;
pub use outbox::OutboxRow;
pub use purges::Purge;
pub use rates::Taken;
pub(crate) use resealing::{Place, Resealing, SealedKind};
pub use seats::{Seat, Seats};
pub use sweeps::Sweep;
pub(crate) use tally::Tally;
pub use walk::Window;
pub use watches::{MISSED_AFTER_SECS, Watch};

use crate::error::{Error, Result};

/// How many pages a listing reads at most for one page of its own.
const MAX_READS: u32 = 50;

/// The layout of records, which each of them names.
const VERSION: &str = "1";
const VERSION_ATTRIBUTE: &str = "v";

/// A stored item: attribute names and values.
pub type Item = HashMap<String, AttributeValue>;

/// The table; cheap to clone.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: String,
    trails: Arc<Trails>,
}

/// Whether a conditional write took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It did, all of it.
    Yes,
    /// A condition did not hold, or another write was under way: nothing changed.
    No,
}

impl Written {
    /// Whether it took place.
    pub fn is_yes(self) -> bool {
        self == Self::Yes
    }
}

/// How a listing walks an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Which sort attribute.
    pub by: SortBy,
    /// Newest, largest, last first.
    pub descending: bool,
}

/// The sort attributes that listings know: the sort key itself, and one local index each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortBy {
    /// By the sort key: the id.
    Id,
    /// `by_name`.
    Name,
    /// `by_ran`: when a job last ran, when a backup started.
    Ran,
    /// `by_created`.
    Created,
    /// `by_changed`: when a job was edited, when a backup ended.
    Changed,
}

impl SortBy {
    /// The index, which is named like its attribute; `None` for the table itself.
    fn index(self) -> Option<&'static str> {
        match self {
            Self::Id => None,
            Self::Name => Some("by_name"),
            Self::Ran => Some("by_ran"),
            Self::Created => Some("by_created"),
            Self::Changed => Some("by_changed"),
        }
    }
}

/// A page of records and where the next one begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The records, in the order asked for.
    pub records: Vec<T>,
    /// Hand this back to go on; `None` on the last page.
    pub next: Option<Cursor>,
}

/// Where a listing goes on: the key attributes of the last item that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Cursor(HashMap<String, String>);

impl Table {
    /// The table of that name.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name, trails: Arc::default() }
    }

    /// Whether the table answers and is in service. It reads nothing: `DescribeTable` is throttled at a few calls a second,
    /// and counts all items on one machine.
    pub async fn is_ready(&self) -> bool {
        self.get_item(&keys::nothing()).await.is_ok()
    }

    /// Reads one record, strongly consistent.
    pub(crate) async fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>> {
        self.get_item(key).await?.map(read).transpose()
    }

    async fn get_item(&self, key: &Key) -> Result<Option<Item>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key.attributes()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::unavailable("the table", error))?;
        Ok(answer.item)
    }

    /// Carries out one write if its condition holds.
    pub(crate) async fn write(&self, write: Write) -> Result<Written> {
        self.transact(vec![write]).await
    }

    /// Carries out all of `writes` or none of them: at most 100, each on another item.
    pub(crate) async fn transact(&self, writes: Vec<Write>) -> Result<Written> {
        let items = writes.into_iter().map(|write| write.into_item(&self.name)).collect::<Result<Vec<_>>>()?;
        let sent = self.client.transact_write_items().set_transact_items(Some(items)).send().await;
        match sent {
            Ok(_) => Ok(Written::Yes),
            Err(error) if was_cancelled(&error) => Ok(Written::No),
            Err(error) => Err(Error::unavailable("the table", error)),
        }
    }

    /// Puts one item if its condition holds: half of what a transaction of one costs. A try whose answer was lost can be
    /// answered with `No` when the SDK repeats it.
    pub(crate) async fn put(&self, write: Write) -> Result<Written> {
        match write.into_put(&self.client, &self.name)?.send().await {
            Ok(_) => Ok(Written::Yes),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                Ok(Written::No)
            }
            Err(error) => Err(Error::unavailable("the table", error)),
        }
    }

    /// Updates one item and answers it as it is afterwards; `None` when the condition did not hold.
    pub(crate) async fn update<T: DeserializeOwned>(&self, update: Update) -> Result<Option<T>> {
        let request = update.into_request(&self.client, &self.name)?;
        match request.return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew).send().await {
            Ok(answer) => answer.attributes.map(read).transpose(),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => Ok(None),
            Err(error) => Err(Error::unavailable("the table", error)),
        }
    }

    /// Updates one item and answers only the numbers that it changed; the update must be unconditional.
    pub(crate) async fn update_counts(&self, update: Update) -> Result<HashMap<String, u64>> {
        let request = update.into_request(&self.client, &self.name)?;
        let answer = request.return_values(aws_sdk_dynamodb::types::ReturnValue::UpdatedNew).send().await;
        let answer = answer.map_err(|error| Error::unavailable("the table", error))?;
        read(answer.attributes.unwrap_or_default())
    }

    /// One page of a partition: at most `limit` items are read, strongly consistent.
    pub(crate) async fn page<T: DeserializeOwned>(&self, query: Query<'_>) -> Result<Page<T>> {
        if query.after.is_some_and(|after| !after.is_in(&query.pk) || !after.is_of(query.order.by)) {
            return Err(not_of_this_list());
        }
        let mut expressions = expression::Expressions::default();
        let mut condition = format!("pk = {}", expressions.value(AttributeValue::S(query.pk)));
        if let Some((attribute, from, to)) = query.between {
            let name = expressions.name(attribute);
            let (from, to) = (expressions.value(AttributeValue::S(from)), expressions.value(AttributeValue::S(to)));
            condition.push_str(&format!(" AND {name} BETWEEN {from} AND {to}"));
        }
        let filter = query.filter.map(|filter| filter.render(&mut expressions));
        let (names, values) = expressions.into_parts();
        let index = query.order.by.index();
        let answer = self
            .client
            .query()
            .table_name(&self.name)
            .set_index_name(index.map(str::to_owned))
            // The indexes are narrow: this has the table fetch the rest of each record.
            .set_select(index.map(|_| Select::AllAttributes))
            .key_condition_expression(condition)
            .set_filter_expression(filter)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .scan_index_forward(!query.order.descending)
            .consistent_read(true)
            .limit(query.limit)
            .set_exclusive_start_key(query.after.map(Cursor::attributes))
            .send()
            .await
            .map_err(|error| Error::unavailable("the table", error))?;
        let records = answer.items.unwrap_or_default().into_iter().map(read).collect::<Result<Vec<T>>>()?;
        Ok(Page { records, next: answer.last_evaluated_key.map(Cursor::of) })
    }

    /// The first `size` records of a query that pass, and where to go on after the last of them.
    ///
    /// It stops early after [`MAX_READS`] pages; then fewer are answered, and there is a next page all the same. `place`
    /// tells a record's key and index attributes.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        query: Query<'_>,
        size: i32,
        passes: impl Fn(&T) -> bool,
        place: impl Fn(&T) -> (Key, Vec<(&'static str, String)>),
    ) -> Result<Page<T>> {
        let index = query.order.by.index();
        // One more than asked for tells whether there is a next page.
        let mut limit = size.saturating_add(1);
        let size = usize::try_from(size).map_err(Error::internal)?;
        let mut after = query.after.cloned();
        let mut records = Vec::new();
        for _ in 0..MAX_READS {
            let page = self.page::<T>(Query { limit, after: after.as_ref(), ..query.clone() }).await?;
            records.extend(page.records.into_iter().filter(|record| passes(record)));
            if records.len() > size {
                records.truncate(size);
                let next = records.last().map(|last| Cursor::at(place(last), index));
                return Ok(Page { records, next });
            }
            after = page.next;
            if after.is_none() {
                break;
            }
            limit = limit.max(100);
        }
        Ok(Page { records, next: after })
    }

    /// Every record of a query, page by page. Only for what stays small.
    pub(crate) async fn all<T: DeserializeOwned>(&self, query: Query<'_>) -> Result<Vec<T>> {
        let mut records = Vec::new();
        let mut after = None;
        loop {
            let page = self.page::<T>(Query { after: after.as_ref(), ..query.clone() }).await?;
            records.extend(page.records);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(records),
            }
        }
    }

    /// What is due of one kind up to `until`, oldest first, at most `limit`. Eventually consistent.
    pub(crate) async fn due<T: DeserializeOwned>(&self, kind: Due, until: Timestamp, limit: i32) -> Result<Vec<T>> {
        let answer = self
            .client
            .query()
            .table_name(&self.name)
            .index_name(keys::DUE_INDEX)
            .key_condition_expression("due_kind = :kind AND due_at <= :until")
            .expression_attribute_values(":kind", AttributeValue::S(kind.as_str().to_owned()))
            .expression_attribute_values(":until", AttributeValue::S(keys::sortable(until)))
            .limit(limit)
            .send()
            .await
            .map_err(|error| Error::unavailable("the table", error))?;
        answer.items.unwrap_or_default().into_iter().map(read).collect()
    }
}

/// What maintenance looks for, each a partition of the sparse index `due`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Schedules whose Scheduler entry may not match the table yet.
    Outbox,
    /// Pending backups that no message may be left for.
    Pending,
    /// Running backups, by the end of their lease.
    Lease,
    /// Schedules, by the slot that should have made a backup.
    Watch,
    /// Deleted jobs whose objects still exist.
    DeletedJob,
    /// Wishes to delete all backups of a job.
    Purge,
    /// Backups that are being deleted.
    Deletion,
    /// Stored backups that a storage misses, by when that is tried again.
    Copy,
    /// Storages, by when they are next walked for objects that no record names.
    Sweep,
}

impl Due {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Outbox => "OUTBOX",
            Self::Pending => "PENDING",
            Self::Lease => "LEASE",
            Self::Watch => "WATCH",
            Self::DeletedJob => "DELETED_JOB",
            Self::Purge => "PURGE",
            Self::Deletion => "DELETION",
            Self::Copy => "COPY",
            Self::Sweep => "SWEEP",
        }
    }
}

/// One page's worth of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Query<'a> {
    /// The partition.
    pub pk: String,
    /// Which index, which way.
    pub order: Order,
    /// A range of the sort attribute, both ends included.
    pub between: Option<(&'static str, String, String)>,
    /// What of the items read is answered.
    pub filter: Option<Condition>,
    /// How many items are read.
    pub limit: i32,
    /// Where to go on.
    pub after: Option<&'a Cursor>,
}

impl Query<'_> {
    /// The whole partition by its sort key, 100 a page.
    pub fn of(pk: String) -> Self {
        let order = Order { by: SortBy::Id, descending: false };
        Self { pk, order, between: None, filter: None, limit: 100, after: None }
    }
}

impl Cursor {
    fn of(key: Item) -> Self {
        let text = |value: AttributeValue| match value {
            AttributeValue::S(text) => Some(text),
            _ => None,
        };
        Self(key.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect())
    }

    /// Right after the record of that key, with those attributes, in that index.
    fn at((key, attributes): (Key, Vec<(&'static str, String)>), index: Option<&str>) -> Self {
        let sorted = attributes.into_iter().filter(|(name, _)| Some(*name) == index);
        let sorted = sorted.map(|(name, text)| (name.to_owned(), text));
        Self([("pk".to_owned(), key.pk), ("sk".to_owned(), key.sk)].into_iter().chain(sorted).collect())
    }

    /// Behind everything in a partition: where a descending walk of it begins.
    pub(crate) fn at_end_of(pk: String) -> Self {
        Self([("pk".to_owned(), pk), ("sk".to_owned(), "~".to_owned())].into())
    }

    fn attributes(&self) -> Item {
        self.0.iter().map(|(name, value)| (name.clone(), AttributeValue::S(value.clone()))).collect()
    }

    /// Whether it walks the list in that order, and holds nothing that DynamoDB would refuse.
    fn is_of(&self, by: SortBy) -> bool {
        let names = ["pk", "sk"].into_iter().chain(by.index());
        self.0.len() == names.clone().count()
            && names.into_iter().all(|name| self.0.get(name).is_some_and(|text| !text.is_empty()))
    }

    /// Whether it walks the partition `pk`: a cursor from a client is not to be trusted.
    pub(crate) fn is_in(&self, pk: &str) -> bool {
        self.0.get("pk").is_some_and(|own| own == pk)
    }
}

fn not_of_this_list() -> Error {
    Error::invalid("cursor", "is not a cursor of this list")
}

/// An item as the record that it holds; key and index attributes are passed over.
///
/// A record of another version than ours is an internal error that says so: what reads it next would write it back
/// without what this version does not know.
fn read<T: DeserializeOwned>(item: Item) -> Result<T> {
    match item.get(VERSION_ATTRIBUTE) {
        Some(AttributeValue::N(version)) if version != VERSION => return Err(Error::unknown_version(version)),
        _ => {}
    }
    serde_dynamo::from_item(item).map_err(Error::internal)
}

/// A record as an item, without its keys.
fn record_item<T: Serialize>(record: &T) -> Result<Item> {
    serde_dynamo::to_item(record).map_err(Error::internal)
}

/// One value as an attribute.
pub(crate) fn value<T: Serialize>(value: T) -> AttributeValue {
    // Strings, numbers, booleans and records of them always have an attribute form.
    serde_dynamo::to_attribute_value(value).unwrap_or(AttributeValue::Null(true))
}

fn was_cancelled(error: &SdkError<TransactWriteItemsError>) -> bool {
    let SdkError::ServiceError(service) = error else { return false };
    match service.err() {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            // Cancelled for a condition or a neighbour; a throttled or invalid write is an error of its own.
            cancelled.cancellation_reasons().iter().all(|reason| {
                matches!(reason.code(), None | Some("None" | "ConditionalCheckFailed" | "TransactionConflict"))
            })
        }
        TransactWriteItemsError::TransactionInProgressException(_) => true,
        _ => false,
    }
}

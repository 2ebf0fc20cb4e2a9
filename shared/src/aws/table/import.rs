//! Writing many records at once, with all that lists and counters know of them: for those who come from elsewhere with a
//! history, and for tests and figures of long lists. Not atomic: what was written before a failure stays.
//!
//! The items go through `BatchWriteItem`, or, where there are millions, through what loads a table beside its API
//! ([`jobs_as_json`], [`backups_as_json`]); what is counted of them follows once they are there.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};

use super::backups::{put_backup, put_job_of_backup};
use super::jobs::{put_job, rows_of_new, server_of, used_keys};
use super::numbers::{put_backup_number, put_job_numbers};
use super::tally::{self, Tally};
use super::{Item, Table, Update, Write, facets, keys};
use crate::domain::backup::Backup;
use crate::domain::job::Job;
use crate::error::{Error, Result};

/// The most puts of one `BatchWriteItem`.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const MAX_PUTS: usize = 25;
/// How many such requests are under way at once.
const AT_ONCE: usize = 4;

impl Table {
    /// Writes new jobs of one account, none of them with a schedule. Their servers and storages must exist, their ids and
    /// numbers must be new.
    pub async fn import_jobs(&self, jobs: &[Job]) -> Result<()> {
        self.put_all(items_of_jobs(jobs)?).await?;
        self.count_imported_jobs(jobs).await
    }

    /// Writes new backups of one job, none of which waits or runs. Their ids and numbers must be new, and the job must
    /// have no newer ones.
    pub async fn import_backups(&self, backups: &[Backup]) -> Result<()> {
        self.put_all(items_of_backups(backups)?).await?;
        self.count_imported_backups(backups).await
    }

    /// The second half of [`Table::import_jobs`], for jobs whose items are there.
    pub async fn count_imported_jobs(&self, jobs: &[Job]) -> Result<()> {
        let Some(account) = jobs.first().map(|job| &job.account) else { return Ok(()) };
        let mut users: HashMap<keys::Key, i64> = HashMap::new();
        let mut counters: HashMap<keys::Key, i64> = HashMap::new();
        for job in jobs {
            for key in used_keys(job) {
                *users.entry(key).or_default() += 1;
            }
            if let Some(server) = server_of(job) {
                *counters.entry(keys::jobs_of_server_counter(account, server)).or_default() += 1;
            }
        }
        counters.insert(keys::jobs_counter(account), i64::try_from(jobs.len()).map_err(Error::internal)?);
        for (attribute, amounts) in [("users", users), ("total", counters)] {
            for (key, amount) in amounts {
                let _ = self.write(Update::of(key).add(attribute, amount).into()).await?;
            }
        }
        Ok(())
    }

    /// The second half of [`Table::import_backups`], for backups whose items are there.
    pub async fn count_imported_backups(&self, backups: &[Backup]) -> Result<()> {
        let Some(first) = backups.first() else { return Ok(()) };
        let seen = self.tally(&first.account, first.job).await?;
        match tally::of_many(backups, &seen) {
            Some(tally) => self.write(tally.into()).await.map(drop),
            None => Ok(()),
        }
    }

    async fn put_all(&self, puts: Vec<Item>) -> Result<()> {
        let chunks: Vec<_> = puts.chunks(MAX_PUTS).map(|chunk| self.put_chunk(chunk.to_vec())).collect();
        stream::iter(chunks).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn put_chunk(&self, puts: Vec<Item>) -> Result<()> {
        let request = |item| PutRequest::builder().set_item(Some(item)).build();
        let requests = puts.into_iter().map(|item| Ok(WriteRequest::builder().put_request(request(item)?).build()));
        let requests = requests.collect::<std::result::Result<Vec<_>, BuildError>>().map_err(Error::internal)?;
        let mut left = HashMap::from([(self.name.clone(), requests)]);
        while !left.is_empty() {
            let sent = self.client.batch_write_item().set_request_items(Some(left)).send().await;
            left = sent.map_err(|error| Error::unavailable("the table", error))?.unprocessed_items.unwrap_or_default();
        }
        Ok(())
    }
}

/// The items of new jobs in DynamoDB's JSON, as its import from S3 takes them. [`Table::count_imported_jobs`] must follow.
pub fn jobs_as_json(jobs: &[Job]) -> Result<Vec<Value>> {
    Ok(items_of_jobs(jobs)?.into_iter().map(item_as_json).collect())
}

/// The items of new backups in DynamoDB's JSON, as its import from S3 takes them. [`Table::count_imported_backups`] must
/// follow.
pub fn backups_as_json(backups: &[Backup]) -> Result<Vec<Value>> {
    Ok(items_of_backups(backups)?.into_iter().map(item_as_json).collect())
}

fn items_of_jobs(jobs: &[Job]) -> Result<Vec<Item>> {
    let mut puts = Vec::with_capacity(jobs.len() * 3);
    for job in jobs {
        puts.extend(items([put_job(job)?].into_iter().chain(put_job_numbers(job)?)));
        puts.extend(items(rows_of_new(job)?));
    }
    Ok(puts)
}

fn items_of_backups(backups: &[Backup]) -> Result<Vec<Item>> {
    let mut puts = Vec::with_capacity(backups.len() * 4);
    for backup in backups {
        puts.extend(items([put_backup(backup)?, put_job_of_backup(backup)?, put_backup_number(backup)?]));
        puts.extend(items(facets::rows_of_new(backup, &Tally::default())?));
    }
    Ok(puts)
}

/// The items that are put; what is counted is left to the caller.
fn items(writes: impl IntoIterator<Item = Write>) -> impl Iterator<Item = Item> {
    writes.into_iter().filter_map(|write| match write {
        Write::Put { item, .. } => Some(item),
        _ => None,
    })
}

fn item_as_json(item: Item) -> Value {
    Value::Object(members_as_json(item))
}

fn members_as_json(item: Item) -> Map<String, Value> {
    item.into_iter().map(|(name, value)| (name, value_as_json(value))).collect()
}

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html>; records hold neither sets nor
/// bytes.
fn value_as_json(value: AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::Bool(value) => json!({ "BOOL": value }),
        AttributeValue::L(values) => json!({ "L": values.into_iter().map(value_as_json).collect::<Vec<_>>() }),
        AttributeValue::M(members) => json!({ "M": members_as_json(members) }),
        _ => json!({ "NULL": true }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_written_as_dynamodb_writes_them() {
        let text = AttributeValue::S("a".to_owned());
        let item = Item::from([
            ("list".to_owned(), AttributeValue::L(vec![text.clone(), AttributeValue::N("1".to_owned())])),
            ("map".to_owned(), AttributeValue::M([("in".to_owned(), AttributeValue::Bool(true))].into())),
            ("none".to_owned(), AttributeValue::Null(true)),
        ]);
        let expected = json!({
            "list": {"L": [{"S": "a"}, {"N": "1"}]}, "map": {"M": {"in": {"BOOL": true}}}, "none": {"NULL": true},
        });
        assert_eq!(item_as_json(item), expected);
    }
}

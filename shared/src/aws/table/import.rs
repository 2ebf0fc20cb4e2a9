//! Writing many records at once, with all that lists and counters know of them: for those who come from elsewhere with a
//! history, and for tests and figures of long lists. Not atomic: what was written before a failure stays.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use futures::{StreamExt, TryStreamExt, stream};

use super::backups::{put_backup, put_job_of_backup};
use super::jobs::{put_job, rows_of_new, used_keys};
use super::numbers::{put_backup_number, put_job_number};
use super::{Item, Table, Update, Write, facets, keys, tally};
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
        let Some(account) = jobs.first().map(|job| &job.account) else { return Ok(()) };
        let mut puts = Vec::with_capacity(jobs.len() * 2);
        let mut users: HashMap<keys::Key, i64> = HashMap::new();
        let mut counters: HashMap<keys::Key, i64> = HashMap::new();
        for job in jobs {
            puts.extend(items([put_job(job)?, put_job_number(job)?]));
            puts.extend(items(rows_of_new(job)?));
            for key in used_keys(job) {
                *users.entry(key).or_default() += 1;
            }
            if let Some(server) = super::jobs::server_of(job) {
                *counters.entry(keys::jobs_of_server_counter(account, server)).or_default() += 1;
            }
        }
        self.put_all(puts).await?;
        counters.insert(keys::jobs_counter(account), i64::try_from(jobs.len()).map_err(Error::internal)?);
        for (attribute, amounts) in [("users", users), ("total", counters)] {
            for (key, amount) in amounts {
                let _ = self.write(Update::of(key).add(attribute, amount).into()).await?;
            }
        }
        Ok(())
    }

    /// Writes new backups of one job, none of which waits or runs. Their ids and numbers must be new, and the job must
    /// have no newer ones.
    pub async fn import_backups(&self, backups: &[Backup]) -> Result<()> {
        let Some(tally) = tally::of_many(backups) else { return Ok(()) };
        let mut puts = Vec::with_capacity(backups.len() * 3);
        for backup in backups {
            puts.extend(items([put_backup(backup)?, put_job_of_backup(backup)?, put_backup_number(backup)?]));
            puts.extend(items(facets::rows_of_new(backup)?));
        }
        self.put_all(puts).await?;
        self.write(tally.into()).await.map(drop)
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

/// The items that are put; what is counted is left to the caller.
fn items(writes: impl IntoIterator<Item = Write>) -> impl Iterator<Item = Item> {
    writes.into_iter().filter_map(|write| match write {
        Write::Put { item, .. } => Some(item),
        _ => None,
    })
}

//! Backups: records, the compare-and-set that fences attempts, and listings.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::facets::{self, BackupFilter};
use super::keys::{self, sortable, sorted_by};
use super::numbers::{delete_backup_number, put_backup_number};
use super::tally::{Lag, Tally};
use super::walk::{List, at_least, from, without_value};
use super::{Condition, Cursor, Due, Order, Page, Query, SortBy, Table, Update, Window, Write, Written, value};
use crate::domain::account::AccountId;
use crate::domain::backup::{Backup, LEASE_GRACE_SECS, Progress, Status};
use crate::error::Result;

/// What must still be true of a backup for a write to it to take place.
#[derive(Debug, Clone, Copy)]
pub enum Fence<'a> {
    /// It is as it was read: status, attempt, lease and the wishes to cancel and to delete it.
    Seen(&'a Backup),
    /// This attempt still holds its lease at this instant.
    Held(u32, Timestamp),
}

/// Which job a backup belongs to.
#[derive(Serialize, Deserialize)]
struct JobOfBackup {
    job: Uuid,
    /// Only where the backup was deleted: epoch seconds after which DynamoDB removes this last trace of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
}

/// What became of an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// It is new.
    New,
    /// It started this backup.
    Started(Uuid),
    /// It came with another body.
    OtherBody,
}

/// What an idempotency key once started.
#[derive(Serialize, Deserialize)]
pub(super) struct Started {
    backup: Uuid,
    /// [`IdempotencyKey::body_sha256`]; rows of older versions have none.
    #[serde(default)]
    body_sha256: Option<String>,
    /// Epoch seconds after which DynamoDB removes the row.
    ttl: i64,
}

/// An `Idempotency-Key`, as it is kept: its SHA-256, that of the body that it came with, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Lowercase hex.
    pub sha256: String,
    /// Lowercase hex of the body's.
    pub body_sha256: String,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

impl IdempotencyKey {
    /// What became of the key until `now`, by its row. DynamoDB removes old ones late, in a day or two.
    pub(super) fn used(&self, row: Option<Started>, now: Timestamp) -> KeyUse {
        match row.filter(|row| row.ttl >= now.as_second()) {
            None => KeyUse::New,
            Some(row) if row.body_sha256.as_ref().is_some_and(|body| *body != self.body_sha256) => KeyUse::OtherBody,
            Some(row) => KeyUse::Started(row.backup),
        }
    }
}

impl Table {
    /// Records a new backup; `No` when it, or the idempotency key, exists. `tally` is the job's, as it was a moment before.
    pub(crate) async fn create_backup(
        &self,
        backup: &Backup,
        key: Option<&IdempotencyKey>,
        tally: &Tally,
    ) -> Result<Written> {
        let (account, job, id) = (&backup.account, backup.job, backup.id);
        let mut writes =
            vec![put_backup(backup)?.only_if(Condition::Absent), put_job_of_backup(backup)?.only_if(Condition::Absent)];
        writes.push(put_backup_number(backup)?);
        writes.extend(facets::rows_of_new(backup, tally)?);
        if backup.status == Status::Pending {
            // A job that was deleted in between must not get another backup.
            writes.push(Write::Check { key: keys::job(account, job), condition: Condition::Exists });
        }
        if let Some(key) = key {
            let body_sha256 = Some(key.body_sha256.clone());
            let started = Started { backup: id, body_sha256, ttl: key.expires_at.as_second() };
            let forgotten = Condition::Below("ttl", value(backup.created_at.as_second()));
            let new = Condition::Any(vec![Condition::Absent, forgotten]);
            writes.push(Write::put(&keys::idempotency(account, job, &key.sha256), &started, [])?.only_if(new));
        }
        self.transact(writes).await
    }

    /// One backup.
    pub(crate) async fn backup(&self, account: &AccountId, job: Uuid, id: Uuid) -> Result<Option<Backup>> {
        self.get(&keys::backup(account, job, id)).await
    }

    /// Which job a backup belongs to.
    pub(crate) async fn job_of_backup(&self, account: &AccountId, id: Uuid) -> Result<Option<Uuid>> {
        let row: Option<JobOfBackup> = self.get(&keys::job_of_backup(account, id)).await?;
        Ok(row.filter(|row| row.ttl.is_none()).map(|row| row.job))
    }

    /// Whether a backup of that id existed and was deleted; not known for ever, see [`Table::delete_backup`].
    pub(crate) async fn was_deleted(&self, account: &AccountId, id: Uuid) -> Result<bool> {
        let row: Option<JobOfBackup> = self.get(&keys::job_of_backup(account, id)).await?;
        Ok(row.is_some_and(|row| row.ttl.is_some()))
    }

    /// A backup, whichever job it is of, and how far it is.
    pub(crate) async fn backup_with_progress(
        &self,
        account: &AccountId,
        id: Uuid,
    ) -> Result<Option<(Backup, Option<Progress>)>> {
        let (job_of_backup, progress) = (keys::job_of_backup(account, id), keys::progress(account, id));
        let mut read = self.gather();
        read.read([job_of_backup.clone(), progress.clone()]).await?;
        let Some(JobOfBackup { job, .. }) = read.take(&job_of_backup)? else { return Ok(None) };
        let backup = keys::backup(account, job, id);
        read.follow(&job_of_backup, vec![backup.clone()]).await?;
        let Some(backup) = read.take(&backup)? else { return Ok(None) };
        Ok(Some((backup, read.take(&progress)?)))
    }

    /// Replaces a backup, with `more` writes as one; `No` when the fence does not hold.
    pub(crate) async fn save_backup(&self, next: &Backup, fence: Fence<'_>, more: Vec<Write>) -> Result<Written> {
        let (status, had_objects) = fence.before();
        let tally = match status == next.status {
            true => Tally::default(),
            false => self.tally(&next.account, next.job).await?,
        };
        let mut writes = vec![put_backup(next)?.only_if(fence.condition())];
        writes.extend(facets::move_rows(status, had_objects, next, &tally)?);
        writes.extend(more);
        self.transact(writes).await
    }

    /// Extends a lease and answers the backup as it is then; `None` when the attempt no longer holds it.
    pub(crate) async fn renew_lease(
        &self,
        backup: &Backup,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<Backup>> {
        let update = Update::of(keys::backup(&backup.account, backup.job, backup.id))
            .set("lease_until", lease_until)
            .set("heartbeat_at", now)
            .set("due_at", sortable(lease_until))
            .only_if(Fence::Held(backup.attempt, now).condition());
        self.update(update).await
    }

    /// Notes that the owner wants a backup stopped; `None` when it has ended.
    pub(crate) async fn request_cancel(&self, backup: &Backup) -> Result<Option<Backup>> {
        let alive = [Status::Pending, Status::Running].map(value).to_vec();
        let update = Update::of(keys::backup(&backup.account, backup.job, backup.id))
            .set("cancel_requested", true)
            .only_if(Condition::OneOf("status", alive));
        self.update(update).await
    }

    /// Moves the instant at which maintenance looks for a pending backup's message again.
    pub(crate) async fn postpone_pending(&self, backup: &Backup, due_at: Timestamp) -> Result<Option<Backup>> {
        let update = Update::of(keys::backup(&backup.account, backup.job, backup.id))
            .set("due_at", sortable(due_at))
            .only_if(Condition::equals("status", Status::Pending));
        self.update(update).await
    }

    /// Moves the instant at which maintenance looks again for what is due of a backup; `None` when it is not due any more.
    pub(crate) async fn postpone(&self, backup: &Backup, due: Due, due_at: Timestamp) -> Result<Option<Backup>> {
        let update = Update::of(keys::backup(&backup.account, backup.job, backup.id))
            .set("due_at", sortable(due_at))
            .only_if(Condition::equals("due_kind", due.as_str()));
        self.update(update).await
    }

    /// Removes a backup's record and what hangs on it; `No` when it is gone, or changed its status meanwhile. Its objects
    /// must be gone. Until `remembered_until` no backup of its id can be made: its slot may still come again.
    pub(crate) async fn delete_backup(&self, backup: &Backup, remembered_until: Option<Timestamp>) -> Result<Written> {
        self.delete_what_hangs_on(&backup.account, backup.id).await?;
        let job_of_backup = keys::job_of_backup(&backup.account, backup.id);
        let trace = match remembered_until {
            None => Write::delete(job_of_backup),
            Some(until) => {
                Write::put(&job_of_backup, &JobOfBackup { job: backup.job, ttl: Some(until.as_second()) }, [])?
            }
        };
        let key = keys::backup(&backup.account, backup.job, backup.id);
        let mut writes = vec![Write::delete(key).only_if(Condition::equals("status", backup.status))];
        writes.extend([trace, delete_backup_number(backup)]);
        writes.extend(facets::rows_of_gone(backup));
        self.transact(writes).await
    }

    /// Every backup of a job that has objects, oldest first: costs only those, whatever the job has run.
    pub(crate) async fn stored_backups(&self, account: &AccountId, job: Uuid) -> Result<Vec<Backup>> {
        #[derive(Deserialize)]
        struct Row {
            sk: String,
        }
        let rows: Vec<Row> = self.all(Query::of(keys::stored_backups(account, job))).await?;
        let keys = rows.into_iter().map(|row| super::Key { pk: keys::backups(account, job), sk: row.sk }).collect();
        let mut stored: Vec<Backup> = self.in_order(keys).await?;
        stored.sort_by_key(|backup| (backup.completed_at, backup.id));
        Ok(stored)
    }

    /// One page of a job's backups. A page reads at most `limit` items, so with a filter it may answer fewer, or none,
    /// and still have a next one.
    pub(crate) async fn list_backups(
        &self,
        account: &AccountId,
        job: Uuid,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<Backup>> {
        self.page(Query { order, limit, after, ..Query::of(keys::backups(account, job)) }).await
    }

    /// One page of the backups of a job that pass; `tally` is the job's. With times that do not bound the sort attribute
    /// it can be short and have a next page all the same, see [`super::walk`].
    pub(crate) async fn filter_backups(
        &self,
        account: &AccountId,
        job: Uuid,
        filter: &BackupFilter,
        tally: &Tally,
        order: Order,
        window: &Window,
    ) -> Result<Page<Backup>> {
        let mut list = List::of(keys::backups(account, job), order);
        if filter.is_of_facets() {
            let facets = tally.matching(filter).into_iter();
            list.facets = Some(facets.map(|(facet, _)| keys::backups_of_facet(account, job, &facet.name())).collect());
        }
        bound_times(&mut list, filter, tally);
        self.list(&list, window).await
    }
}

/// What the times of a filter say of the list. A backup is recorded, started and ended in that order, so a bound of one
/// instant is a bound of the others, as far as the job's longest lags tell. Whatever that lets through is looked at.
fn bound_times(list: &mut List, filter: &BackupFilter, tally: &Tally) {
    let (started, completed) = (filter.started_since, filter.completed_since);
    let earliest = |lag, since: Option<Timestamp>| since.and_then(|since| tally.earliest(lag, since));
    let first = match list.order.by {
        SortBy::Ran => started.max(earliest(Lag::Ran, completed)),
        // Two workers wrote these, whose clocks may differ.
        SortBy::Changed => {
            completed.max(started.and_then(|since| since.checked_sub(SignedDuration::from_secs(LEASE_GRACE_SECS)).ok()))
        }
        SortBy::Created => earliest(Lag::Waited, started).max(earliest(Lag::Took, completed)),
        SortBy::Id | SortBy::Name => None,
    };
    if let Some(first) = first {
        // What has no such time yet can still pass by the other one.
        let has_none = match list.order.by {
            SortBy::Ran => started.is_none(),
            SortBy::Changed => completed.is_none(),
            _ => false,
        };
        list.ranges.extend(has_none.then(without_value));
        list.ranges.push(from(first));
    }
    for (by, since) in [(SortBy::Ran, started), (SortBy::Changed, completed)] {
        let since = since.filter(|_| list.order.by != by);
        list.conditions.extend(since.map(|since| at_least(by, since)));
    }
}

impl Fence<'_> {
    /// The status that it fences, and whether there were objects.
    fn before(&self) -> (Status, bool) {
        match self {
            Self::Seen(seen) => (seen.status, !seen.copies.is_empty()),
            Self::Held(..) => (Status::Running, false),
        }
    }

    fn condition(self) -> Condition {
        match self {
            Self::Seen(seen) => Condition::All(vec![
                Condition::equals("status", seen.status),
                Condition::equals("attempt", seen.attempt),
                Condition::equals("cancel_requested", seen.cancel_requested),
                Condition::unchanged("lease_until", seen.lease_until),
                Condition::unchanged("deletion_requested_at", seen.deletion_requested_at),
            ]),
            Self::Held(attempt, now) => Condition::All(vec![
                Condition::equals("status", Status::Running),
                Condition::equals("attempt", attempt),
                Condition::AtLeast("due_at", value(sortable(now))),
            ]),
        }
    }
}

/// What lists sort backups by.
pub(super) fn sort_attributes(backup: &Backup) -> [(&'static str, String); 4] {
    let at = |time: Option<Timestamp>| sorted_by(&time.map(sortable).unwrap_or_default(), backup.id);
    [
        ("by_name", sorted_by(&backup.name, backup.id)),
        ("by_created", at(Some(backup.created_at))),
        ("by_ran", at(backup.started_at)),
        ("by_changed", at(backup.completed_at)),
    ]
}

/// Tells which job a backup belongs to.
pub(super) fn put_job_of_backup(backup: &Backup) -> Result<Write> {
    Write::put(&keys::job_of_backup(&backup.account, backup.id), &JobOfBackup { job: backup.job, ttl: None }, [])
}

/// A backup with its index attributes: what lists sort by, and where maintenance finds it.
pub(super) fn put_backup(backup: &Backup) -> Result<Write> {
    let mut more = sort_attributes(backup).to_vec();
    more.push((keys::ID_INDEX, backup.id.to_string()));
    let due = match backup.status {
        Status::Pending => Some((Due::Pending, backup.retry_at.unwrap_or(backup.created_at))),
        Status::Running => backup.lease_until.map(|until| (Due::Lease, until)),
        Status::Completed | Status::CompletedWithErrors => backup.retry_at.map(|at| (Due::Copy, at)),
        _ => backup.deletion_requested_at.map(|at| (Due::Deletion, at)),
    };
    if let Some((kind, at)) = due {
        more.extend([("due_kind", kind.as_str().to_owned()), ("due_at", sortable(at))]);
    }
    Write::put(&keys::backup(&backup.account, backup.job, backup.id), backup, more)
}

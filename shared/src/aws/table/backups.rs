//! Backups: records, the compare-and-set that fences attempts, and listings.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::counters::count_backup;
use super::keys::{self, sortable, sorted_by};
use super::{Condition, Cursor, Due, Order, Page, Query, SortBy, Table, Update, Write, Written, value};
use crate::domain::account::AccountId;
use crate::domain::backup::{Backup, Status};
use crate::error::Result;

/// What must still be true of a backup for a write to it to take place.
#[derive(Debug, Clone, Copy)]
pub enum Fence<'a> {
    /// It is as it was read: status, attempt, lease and the wish to cancel.
    Seen(&'a Backup),
    /// This attempt still holds its lease at this instant.
    Held(u32, Timestamp),
}

/// Which backups a listing answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackupFilter {
    /// Only of this status.
    pub status: Option<Status>,
    /// Only with every one of these tags: `manual`, `hourly`, `daily`, `weekly`, `monthly`.
    pub tags: Vec<(String, bool)>,
    /// Only those that started at this instant or later.
    pub started_since: Option<Timestamp>,
    /// Only those that ended at this instant or later.
    pub completed_since: Option<Timestamp>,
}

impl BackupFilter {
    /// Whether a backup passes.
    pub fn passes(&self, backup: &Backup) -> bool {
        let tag = |name: &str| match name {
            "manual" => backup.tags.manual,
            "hourly" => backup.tags.hourly,
            "daily" => backup.tags.daily,
            "weekly" => backup.tags.weekly,
            _ => backup.tags.monthly,
        };
        self.status.is_none_or(|status| backup.status == status)
            && self.tags.iter().all(|(name, wanted)| tag(name) == *wanted)
            && self.started_since.is_none_or(|since| backup.started_at.is_some_and(|at| at >= since))
            && self.completed_since.is_none_or(|since| backup.completed_at.is_some_and(|at| at >= since))
    }
}

/// Which job a backup belongs to.
#[derive(Serialize, Deserialize)]
struct JobOfBackup {
    job: Uuid,
}

/// What an idempotency key once started.
#[derive(Serialize, Deserialize)]
struct Started {
    backup: Uuid,
    /// Epoch seconds after which DynamoDB removes the row.
    ttl: i64,
}

/// An `Idempotency-Key`, as it is kept: its SHA-256 and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Lowercase hex.
    pub sha256: String,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

impl Table {
    /// Records a new backup; `No` when it, or the idempotency key, exists.
    pub(crate) async fn create_backup(&self, backup: &Backup, key: Option<&IdempotencyKey>) -> Result<Written> {
        let (account, job, id) = (&backup.account, backup.job, backup.id);
        let mut writes = vec![
            put_backup(backup)?.only_if(Condition::Absent),
            Write::put_new(&keys::job_of_backup(account, id), &JobOfBackup { job }, [])?,
            count_backup(account, job, 1),
        ];
        if backup.status == Status::Pending {
            // A job that was deleted in between must not get another backup.
            writes.push(Write::Check { key: keys::job(account, job), condition: Condition::Exists });
        }
        if let Some(key) = key {
            let started = Started { backup: id, ttl: key.expires_at.as_second() };
            let forgotten = Condition::Below("ttl", value(backup.created_at.as_second()));
            let new = Condition::Any(vec![Condition::Absent, forgotten]);
            writes.push(Write::put(&keys::idempotency(account, job, &key.sha256), &started, [])?.only_if(new));
        }
        self.transact(writes).await
    }

    /// What an idempotency key started; `None` when it is new at `now`. DynamoDB removes old ones late, in a day or two.
    pub(crate) async fn started_by(
        &self,
        account: &AccountId,
        job: Uuid,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Uuid>> {
        let row: Option<Started> = self.get(&keys::idempotency(account, job, &key.sha256)).await?;
        Ok(row.filter(|row| row.ttl >= now.as_second()).map(|row| row.backup))
    }

    /// One backup.
    pub(crate) async fn backup(&self, account: &AccountId, job: Uuid, id: Uuid) -> Result<Option<Backup>> {
        self.get(&keys::backup(account, job, id)).await
    }

    /// Which job a backup belongs to.
    pub(crate) async fn job_of_backup(&self, account: &AccountId, id: Uuid) -> Result<Option<Uuid>> {
        let row: Option<JobOfBackup> = self.get(&keys::job_of_backup(account, id)).await?;
        Ok(row.map(|row| row.job))
    }

    /// Replaces a backup, with `more` writes as one; `No` when the fence does not hold.
    pub(crate) async fn save_backup(&self, next: &Backup, fence: Fence<'_>, more: Vec<Write>) -> Result<Written> {
        let mut writes = vec![put_backup(next)?.only_if(fence.condition())];
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

    /// Removes a backup's record and what hangs on it. Its objects must be gone.
    pub(crate) async fn delete_backup(&self, backup: &Backup) -> Result<Written> {
        self.delete_what_hangs_on(&backup.account, backup.id).await?;
        let key = keys::backup(&backup.account, backup.job, backup.id);
        let gone = Write::delete(key).only_if(Condition::Exists);
        self.transact(vec![gone, count_backup(&backup.account, backup.job, -1)]).await
    }

    /// Every backup of a job that has objects, oldest first: costs only those, whatever the job has run.
    pub(crate) async fn stored_backups(&self, account: &AccountId, job: Uuid) -> Result<Vec<Backup>> {
        let order = Order { by: SortBy::Stored, descending: false };
        self.all(Query { order, ..Query::of(keys::backups(account, job)) }).await
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

    /// The first `size` backups of a job after `after` that pass; see [`Table::find`].
    pub(crate) async fn find_backups(
        &self,
        account: &AccountId,
        job: Uuid,
        order: Order,
        size: i32,
        after: Option<&Cursor>,
        passes: impl Fn(&Backup) -> bool,
    ) -> Result<Page<Backup>> {
        let place = |backup: &Backup| (keys::backup(account, job, backup.id), backup_indexes(backup));
        self.find(Query { order, after, ..Query::of(keys::backups(account, job)) }, size, passes, place).await
    }
}

impl Fence<'_> {
    fn condition(self) -> Condition {
        match self {
            Self::Seen(seen) => Condition::All(vec![
                Condition::equals("status", seen.status),
                Condition::equals("attempt", seen.attempt),
                Condition::equals("cancel_requested", seen.cancel_requested),
                Condition::unchanged("lease_until", seen.lease_until),
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
fn backup_indexes(backup: &Backup) -> Vec<(&'static str, String)> {
    let at = |time: Option<Timestamp>| sorted_by(&time.map(sortable).unwrap_or_default(), backup.id);
    let mut indexes = vec![
        ("by_name", sorted_by(&backup.name, backup.id)),
        ("by_created", at(Some(backup.created_at))),
        ("by_ran", at(backup.started_at)),
        ("by_changed", at(backup.completed_at)),
    ];
    if !backup.copies.is_empty() {
        indexes.push(("by_stored", at(backup.completed_at)));
    }
    indexes
}

/// A backup with its index attributes: what lists sort by, and where maintenance finds it.
fn put_backup(backup: &Backup) -> Result<Write> {
    let mut more = backup_indexes(backup);
    let due = match backup.status {
        Status::Pending => Some((Due::Pending, backup.retry_at.unwrap_or(backup.created_at))),
        Status::Running => backup.lease_until.map(|until| (Due::Lease, until)),
        _ => None,
    };
    if let Some((kind, at)) = due {
        more.extend([("due_kind", kind.as_str().to_owned()), ("due_at", sortable(at))]);
    }
    Write::put(&keys::backup(&backup.account, backup.job, backup.id), backup, more)
}

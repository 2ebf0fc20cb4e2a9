//! Removal: what the worker may delete, and how the last trace of a deleted job or backup goes.
//!
//! An object exists only if a backup's record names it, or the attempt that writes it still holds its lease. A deletion is
//! recorded first, then its objects go, and the record that leads to them goes last: whichever step dies, what is left
//! says what there is to do, and maintenance has it done.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::Service;
use super::conflict::{TRIES, contended, pause};
use crate::aws::table::{Cursor, DeletedJob, Due, Fence, Order, Page, Purge, SortBy, Written};
use crate::domain::account::AccountId;
use crate::domain::backup::{Backup, Copy, Status};
use crate::domain::message::Task;
use crate::domain::object_key::ObjectKey;
use crate::error::{Error, Result};

/// How long a slot of a deleted backup is remembered, days: its message can come again for as long as SQS keeps one.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const SLOT_REMEMBERED_DAYS: i64 = 15;
/// How soon a deletion that nothing is heard of is asked for again, minutes.
const ASK_AGAIN_MINS: i64 = 10;
/// How soon one that an object lock refused is tried again, hours: locks last days.
const LOCKED_HOURS: i64 = 24;
/// What a copy tells while a lock keeps it.
const KEPT_BY_LOCK: &str = "an object lock keeps it; it goes once the lock has ended";

/// What there is still to do for a deleted job.
#[derive(Debug, Clone, PartialEq)]
pub enum Leftover {
    /// Delete this backup's objects, then call [`Service::forget_backup`], then ask again.
    Backup(Box<Backup>),
    /// A run of it is being stopped: ask again later.
    Running,
    /// Nothing: the last trace is gone.
    Nothing,
}

/// What became of the wish to delete a backup.
#[derive(Debug, Clone, PartialEq)]
pub enum Doomed {
    /// Its record says so now: delete its objects, then call [`Service::forget_backup`].
    Yes(Box<Backup>),
    /// It is being stopped first: ask again later.
    Running,
    /// It is gone already.
    Gone,
}

impl Service {
    /// Has every backup of a job deleted that was recorded until now, and answers how many those are. Those that run are
    /// cancelled, those that start later are not touched.
    pub async fn delete_backups(&self, account: &AccountId, job: Uuid) -> Result<u64> {
        let job = self.job(account, job).await?;
        let count = self.aws.table.tally(account, job.id).await?.total;
        let purge = Purge { account: account.clone(), job: job.id, until: self.clock.now() };
        let _ = self.aws.table.put_purge(&purge).await?;
        if let Err(error) = self.ask_to_purge(&purge).await {
            tracing::warn!(error = error.chain(), "a job's backups are left to maintenance to delete");
        }
        Ok(count)
    }

    /// Has a backup deleted. A conflict while it waits or runs. Harmless to repeat.
    pub async fn delete_backup(&self, account: &AccountId, id: Uuid) -> Result<()> {
        let seen = self.backup(account, id).await?;
        if !seen.status.has_ended() {
            return Err(Error::conflict(format!("the backup is {}; cancel it first", seen.status.as_str())));
        }
        if let Doomed::Yes(doomed) = self.doom(&seen).await? {
            self.ask_to_delete_backup(&doomed).await;
        }
        Ok(())
    }

    /// The wish to delete all backups of a job, for the worker; `None` when there is none, or no such job any more.
    pub async fn purge(&self, account: &AccountId, job: Uuid) -> Result<Option<Purge>> {
        match self.aws.table.job(account, job).await? {
            Some(_) => self.aws.table.purge(account, job).await,
            // A deleted job takes its backups along.
            None => Ok(None),
        }
    }

    /// One page of the backups that a purge means, the oldest first; whoever asks shows that it is being carried out.
    pub async fn purged_backups(&self, purge: &Purge, after: Option<&Cursor>) -> Result<Page<Backup>> {
        let _ = self.aws.table.postpone_purge(purge, self.ask_again_at()).await?;
        self.aws.table.purged_backups(purge, after).await
    }

    /// Notes that all backups that a purge meant are gone; `No` when another one was asked for meanwhile.
    pub async fn end_purge(&self, purge: &Purge) -> Result<Written> {
        self.aws.table.settle_purge(purge).await
    }

    /// Makes a backup's record say that it is being deleted, before the first of its objects goes.
    pub async fn doom(&self, backup: &Backup) -> Result<Doomed> {
        for _ in 0..TRIES {
            let found = self.aws.table.backup(&backup.account, backup.job, backup.id).await?;
            let Some(seen) = found else { return Ok(Doomed::Gone) };
            if seen.is_held(self.clock.now()) {
                self.aws.table.request_cancel(&seen).await?;
                return Ok(Doomed::Running);
            }
            if seen.deletion_requested_at.is_some() {
                return Ok(Doomed::Yes(Box::new(seen)));
            }
            let next = seen.being_deleted(self.clock.now());
            if self.aws.table.save_backup(&next, Fence::Seen(&seen), Vec::new()).await?.is_yes() {
                return Ok(Doomed::Yes(Box::new(next)));
            }
            pause().await;
        }
        Err(contended())
    }

    /// Whether an object, or an upload to it, is or may become part of a backup.
    pub async fn is_wanted(&self, key: &ObjectKey) -> Result<bool> {
        let directory = key.directory();
        let found = self.aws.table.backup(&directory.account, directory.job, directory.backup).await?;
        Ok(found.is_some_and(|backup| backup.names(key) || self.may_commit(&backup, key)))
    }

    /// Whether the attempt that wrote `key` still holds its lease.
    fn may_commit(&self, backup: &Backup, key: &ObjectKey) -> bool {
        backup.attempt == key.attempt() && backup.is_held(self.clock.now())
    }

    /// One backup, for the worker; `None` when it is gone.
    pub async fn backup_record(&self, account: &AccountId, job: Uuid, backup: Uuid) -> Result<Option<Backup>> {
        self.aws.table.backup(account, job, backup).await
    }

    /// A deleted job whose objects may still exist.
    pub async fn deleted_job(&self, account: &AccountId, job: Uuid) -> Result<Option<DeletedJob>> {
        self.aws.table.deleted_job(account, job).await
    }

    /// What there is to delete next of a deleted job; the job itself is forgotten when nothing is left. Resumable: what
    /// was not finished is answered again.
    pub async fn next_leftover(&self, deleted: &DeletedJob) -> Result<Leftover> {
        let (account, job) = (&deleted.job.account, deleted.job.id);
        let order = Order { by: SortBy::Id, descending: false };
        let page = self.aws.table.list_backups(account, job, order, 1, None::<&Cursor>).await?;
        let Some(backup) = page.records.into_iter().next() else {
            return Ok(match self.aws.table.forget_job(deleted).await? {
                Written::Yes => Leftover::Nothing,
                Written::No => Leftover::Running,
            });
        };
        if backup.status == Status::Running && backup.is_held(self.clock.now()) {
            self.aws.table.request_cancel(&backup).await?;
            return Ok(Leftover::Running);
        }
        Ok(Leftover::Backup(Box::new(backup)))
    }

    /// Removes a backup's record, progress and log. Its objects must be gone. The slot that it was of makes no other one.
    pub async fn forget_backup(&self, backup: &Backup) -> Result<Written> {
        // A deleted job makes no backups: there, nothing needs to be remembered.
        let remembered = backup.slot.is_some() && backup.deletion_requested_at.is_some();
        let until = self.clock.now() + SignedDuration::from_hours(24 * SLOT_REMEMBERED_DAYS);
        self.aws.table.delete_backup(backup, remembered.then_some(until)).await
    }

    /// Asks for a deleted job's objects to be deleted, and sees that it is asked again should that be lost.
    pub(super) async fn ask_to_delete(&self, deleted: &DeletedJob) -> Result<()> {
        self.aws.table.postpone_deleted_job(deleted, self.ask_again_at()).await?;
        let (account, job) = (deleted.job.account.clone(), deleted.job.id);
        self.send_or_warn(Task::DeleteJob { account, job }, 0).await;
        Ok(())
    }

    /// The same for all backups of a job.
    pub(super) async fn ask_to_purge(&self, purge: &Purge) -> Result<()> {
        let _ = self.aws.table.postpone_purge(purge, self.ask_again_at()).await?;
        let (account, job) = (purge.account.clone(), purge.job);
        self.send_or_warn(Task::DeleteBackups { account, job }, 0).await;
        Ok(())
    }

    /// The same for one backup, whose record says that it is being deleted.
    pub(super) async fn ask_to_delete_backup(&self, backup: &Backup) {
        if let Err(error) = self.aws.table.postpone(backup, Due::Deletion, self.ask_again_at()).await {
            tracing::warn!(error = error.chain(), "a deletion may be asked for twice");
        }
        let (account, job) = (backup.account.clone(), backup.job);
        self.send_or_warn(Task::DeleteBackup { account, job, backup: backup.id }, 0).await;
    }

    /// Notes in an expired backup which of its copies an object lock keeps. Harmless to repeat.
    pub async fn note_locked(&self, backup: &Backup, storages: &[u64]) -> Result<()> {
        let noted = backup.copies.iter().cloned().map(|copy| match storages.contains(&copy.storage_id) {
            true => Copy { error: Some(KEPT_BY_LOCK.to_owned()), ..copy },
            false => copy,
        });
        let next = Backup { copies: noted.collect(), ..backup.clone() };
        if next != *backup {
            // Whoever changed it meanwhile finds the lock as well.
            let _ = self.aws.table.save_backup(&next, Fence::Seen(backup), Vec::new()).await?;
        }
        Ok(())
    }

    /// Has the deletion of a backup that an object lock keeps tried again after a day.
    pub async fn rest_deletion(&self, backup: &Backup) -> Result<()> {
        self.aws.table.postpone(backup, Due::Deletion, self.after_a_lock()).await.map(drop)
    }

    /// The same for all backups of a job.
    pub async fn rest_purge(&self, purge: &Purge) -> Result<()> {
        self.aws.table.postpone_purge(purge, self.after_a_lock()).await.map(drop)
    }

    /// The same for a deleted job.
    pub async fn rest_deleted_job(&self, deleted: &DeletedJob) -> Result<()> {
        self.aws.table.postpone_deleted_job(deleted, self.after_a_lock()).await
    }

    fn after_a_lock(&self) -> Timestamp {
        self.clock.now() + SignedDuration::from_hours(LOCKED_HOURS)
    }

    fn ask_again_at(&self) -> Timestamp {
        self.clock.now() + SignedDuration::from_mins(ASK_AGAIN_MINS)
    }
}

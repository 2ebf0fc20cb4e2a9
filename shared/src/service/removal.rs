//! Removal: what the worker may delete, and how the last trace of a deleted job goes.
//!
//! An object exists only if a backup's record names it, or the attempt that writes it still holds its lease.

use jiff::SignedDuration;
use uuid::Uuid;

use super::Service;
use crate::aws::table::{Cursor, DeletedJob, Order, SortBy, Written};
use crate::domain::account::AccountId;
use crate::domain::backup::{Backup, Status};
use crate::domain::object_key::ObjectKey;
use crate::error::Result;

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

impl Service {
    /// Whether an object, or an upload to it, is or may become part of a backup.
    pub async fn is_wanted(&self, key: &ObjectKey) -> Result<bool> {
        let directory = key.directory();
        let found = self.aws.table.backup(&directory.account, directory.job, directory.backup).await?;
        Ok(found.is_some_and(|backup| wants(&backup, key) || self.may_commit(&backup, key)))
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

    /// Removes a backup's record, progress and log. Its objects must be gone.
    pub async fn forget_backup(&self, backup: &Backup) -> Result<Written> {
        self.aws.table.delete_backup(backup).await
    }

    /// Asks for a deleted job's objects to be deleted, and sees that it is asked again should that be lost.
    pub(super) async fn ask_to_delete(&self, deleted: &DeletedJob) -> Result<()> {
        let due_at = self.clock.now() + SignedDuration::from_mins(10);
        self.aws.table.postpone_deleted_job(deleted, due_at).await?;
        let (account, job) = (deleted.job.account.clone(), deleted.job.id);
        self.send_or_warn(crate::domain::message::Task::DeleteJob { account, job }, 0).await;
        Ok(())
    }
}

/// Whether a backup's record names an object.
fn wants(backup: &Backup, key: &ObjectKey) -> bool {
    let key = key.to_string();
    backup.status.is_stored() && backup.copies.iter().any(|copy| copy.keys.contains(&key))
}

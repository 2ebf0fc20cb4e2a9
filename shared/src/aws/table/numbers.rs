//! Numbers: how surfaces that know no UUIDs name jobs and backups. Each has a row that tells which record it is.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Table, Write, keys};
use crate::domain::account::AccountId;
use crate::domain::backup::Backup;
use crate::domain::job::Job;
use crate::error::Result;

/// Which job has a number.
#[derive(Serialize, Deserialize)]
struct NumberedJob {
    job: Uuid,
}

/// Which backup has a number, and of which job it is.
#[derive(Serialize, Deserialize)]
struct NumberedBackup {
    job: Uuid,
    backup: Uuid,
}

impl Table {
    /// The job with that number.
    pub(crate) async fn job_of_number(&self, account: &AccountId, number: u64) -> Result<Option<Uuid>> {
        let row: Option<NumberedJob> = self.get(&keys::job_of_number(account, number)).await?;
        Ok(row.map(|row| row.job))
    }

    /// The backup with that number, as `(job, backup)`.
    pub(crate) async fn backup_of_number(&self, account: &AccountId, number: u64) -> Result<Option<(Uuid, Uuid)>> {
        let row: Option<NumberedBackup> = self.get(&keys::backup_of_number(account, number)).await?;
        Ok(row.map(|row| (row.job, row.backup)))
    }
}

/// Puts the row of a job that is new.
pub(super) fn put_job_number(job: &Job) -> Result<Write> {
    Write::put(&keys::job_of_number(&job.account, job.number), &NumberedJob { job: job.id }, [])
}

/// Removes the row of a job that goes.
pub(super) fn delete_job_number(job: &Job) -> Write {
    Write::delete(keys::job_of_number(&job.account, job.number))
}

/// Puts the row of a backup that is new.
pub(super) fn put_backup_number(backup: &Backup) -> Result<Write> {
    let row = NumberedBackup { job: backup.job, backup: backup.id };
    Write::put(&keys::backup_of_number(&backup.account, backup.number), &row, [])
}

/// Removes the row of a backup that goes.
pub(super) fn delete_backup_number(backup: &Backup) -> Write {
    Write::delete(keys::backup_of_number(&backup.account, backup.number))
}

//! Numbers: how surfaces that know no UUIDs name jobs, their schedules and backups. Each has a row that tells which record
//! it is.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Table, Write, keys};
use crate::domain::account::AccountId;
use crate::domain::backup::Backup;
use crate::domain::job::Job;
use crate::error::Result;

/// Which job has a number, or a schedule with it.
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

    /// The job that has that schedule.
    pub(crate) async fn job_of_schedule(&self, account: &AccountId, schedule: u64) -> Result<Option<Uuid>> {
        let row: Option<NumberedJob> = self.get(&keys::job_of_schedule(account, schedule)).await?;
        Ok(row.map(|row| row.job))
    }

    /// The backup with that number, as `(job, backup)`.
    pub(crate) async fn backup_of_number(&self, account: &AccountId, number: u64) -> Result<Option<(Uuid, Uuid)>> {
        let row: Option<NumberedBackup> = self.get(&keys::backup_of_number(account, number)).await?;
        Ok(row.map(|row| (row.job, row.backup)))
    }
}

/// Puts the rows of a job that is new.
pub(super) fn put_job_numbers(job: &Job) -> Result<Vec<Write>> {
    let row = NumberedJob { job: job.id };
    let schedules = job.schedules.iter().map(|schedule| keys::job_of_schedule(&job.account, schedule.id));
    let keys = schedules.chain([keys::job_of_number(&job.account, job.number)]);
    keys.map(|key| Write::put(&key, &row, [])).collect()
}

/// What changes of the rows of a job whose schedules change.
pub(super) fn move_job_numbers(seen: &Job, next: &Job) -> Result<Vec<Write>> {
    let row = NumberedJob { job: next.id };
    let key = |id: u64| keys::job_of_schedule(&next.account, id);
    let has = |job: &Job, id: u64| job.schedules.iter().any(|schedule| schedule.id == id);
    let gone =
        seen.schedules.iter().filter(|schedule| !has(next, schedule.id)).map(|one| Ok(Write::delete(key(one.id))));
    let new = next.schedules.iter().filter(|schedule| !has(seen, schedule.id));
    gone.chain(new.map(|one| Write::put(&key(one.id), &row, []))).collect()
}

/// Removes the rows of a job that goes.
pub(super) fn delete_job_numbers(job: &Job) -> Vec<Write> {
    let schedules = job.schedules.iter().map(|schedule| keys::job_of_schedule(&job.account, schedule.id));
    schedules.chain([keys::job_of_number(&job.account, job.number)]).map(Write::delete).collect()
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

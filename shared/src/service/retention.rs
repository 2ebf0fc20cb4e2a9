//! Retention in use: which backups expire, and the order in which they go.
//!
//! The record goes first: from then on it no longer says that it can be restored. Its objects are deleted by the worker
//! afterwards, and only then does it forget where they were; a crash in between is caught up by the next run.

use jiff::Timestamp;
use uuid::Uuid;

use super::Service;
use crate::aws::table::{Fence, Written};
use crate::domain::account::AccountId;
use crate::domain::backup::{Backup, Status};
use crate::domain::job::Job;
use crate::domain::retention::{Kept, expired};
use crate::error::Result;

impl Service {
    /// Marks what retention no longer keeps of a job as `expired`, and answers every expired backup whose objects may
    /// still exist, for the worker to delete.
    pub async fn expire_backups(&self, account: &AccountId, job: Uuid) -> Result<Vec<Backup>> {
        let Some(job) = self.aws.table.job(account, job).await? else { return Ok(Vec::new()) };
        let stored = self.aws.table.stored_backups(account, job.id).await?;
        let chosen = chosen_to_expire(&job, &stored);
        let mut to_delete = Vec::new();
        for backup in stored {
            if backup.status == Status::Expired {
                to_delete.push(backup);
            } else if chosen.contains(&backup.id) {
                let next = Backup { status: Status::Expired, ..backup.clone() };
                if self.aws.table.save_backup(&next, Fence::Seen(&backup), Vec::new()).await?.is_yes() {
                    to_delete.push(next);
                }
            }
        }
        Ok(to_delete)
    }

    /// Notes that an expired backup's objects are gone.
    pub async fn objects_deleted(&self, backup: &Backup) -> Result<Written> {
        let next = Backup { files: Vec::new(), copies: Vec::new(), ..backup.clone() };
        self.aws.table.save_backup(&next, Fence::Seen(backup), Vec::new()).await
    }
}

/// Each schedule keeps by its own policy; what a schedule that is gone has stored is kept.
fn chosen_to_expire(job: &Job, stored: &[Backup]) -> Vec<Uuid> {
    let of_schedule =
        |id: u64| -> Vec<Kept> { stored.iter().filter(|backup| backup.schedule == Some(id)).map(kept).collect() };
    job.schedules.iter().flat_map(|schedule| expired(&of_schedule(schedule.id), schedule.retention)).collect()
}

fn kept(backup: &Backup) -> Kept {
    let at: Timestamp = backup.slot.unwrap_or(backup.created_at);
    Kept { id: backup.id, at, tags: backup.tags, status: backup.status }
}

//! Copies: a storage that missed its copy of a backup gets it later, from one that has it.

use super::Service;
use super::conflict::{TRIES, contended, pause};
use crate::aws::table::Fence;
use crate::domain::backup::{Backup, Copy, CopyOutcome};
use crate::domain::message::Task;
use crate::error::Result;

impl Service {
    /// Records what came of a try to make a missing copy of a backup, which is `completed` once none is missing any more.
    /// `false`: the backup is gone or expired meanwhile, and what was copied is for the worker to delete.
    pub async fn settle_copy(&self, backup: &Backup, storage_id: u64, outcome: CopyOutcome) -> Result<bool> {
        for _ in 0..TRIES {
            let found = self.aws.table.backup(&backup.account, backup.job, backup.id).await?;
            let Some(seen) = found.filter(|found| found.status.is_stored()) else { return Ok(false) };
            let next = seen.clone().with_copy(storage_id, &outcome, self.clock.now());
            if self.aws.table.save_backup(&next, Fence::Seen(&seen), Vec::new()).await?.is_yes() {
                return Ok(true);
            }
            pause().await;
        }
        Err(contended())
    }

    /// Asks a worker to make the copies that a backup misses, if it misses any.
    pub(super) async fn ask_to_copy(&self, backup: &Backup, delay_secs: u32) {
        if backup.copies.iter().all(Copy::holds) {
            return;
        }
        let (account, job) = (backup.account.clone(), backup.job);
        self.send_or_warn(Task::CopyBackup { account, job, backup: backup.id }, delay_secs).await;
    }
}

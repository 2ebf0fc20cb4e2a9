//! Retention in use: which backups expire, and the order in which they go.
//!
//! The record goes first: from then on it no longer says that it can be restored. Its objects are deleted by the worker
//! afterwards, and only then does it forget where they were; a crash in between is caught up by the next run.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::Service;
use crate::aws::table::{Fence, Written};
use crate::domain::account::AccountId;
use crate::domain::backup::{Backup, Status};
use crate::domain::job::Job;
use crate::domain::retention::{Verdict, judge_job};
use crate::error::Result;

/// What the next run of a job would have go, and what it would keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// What would go, in the order in which it would.
    pub goes: Vec<(Backup, Verdict)>,
    /// What would stay, the newest first.
    pub stays: Vec<(Backup, Verdict)>,
}

impl Service {
    /// Marks what retention no longer keeps of a job as `expired`, and answers every expired backup whose objects may
    /// still exist, for the worker to delete.
    pub async fn expire_backups(&self, account: &AccountId, job: Uuid) -> Result<Vec<Backup>> {
        let Some(job) = self.aws.table.job(account, job).await? else { return Ok(Vec::new()) };
        let stored = self.aws.table.stored_backups(account, job.id).await?;
        let verdicts = judge_job(&job, &stored, self.clock.now()).into_iter();
        let going: HashSet<Uuid> = verdicts.filter(Verdict::goes).map(|verdict| verdict.backup).collect();
        let mut to_delete = Vec::new();
        for backup in stored {
            if backup.status == Status::Expired {
                to_delete.push(backup);
            } else if going.contains(&backup.id) {
                let next = Backup { status: Status::Expired, ..backup.clone() };
                if self.aws.table.save_backup(&next, Fence::Seen(&backup), Vec::new()).await?.is_yes() {
                    to_delete.push(next);
                }
            }
        }
        Ok(to_delete)
    }

    /// What [`Service::expire_backups`] would do now, and why. Nothing is changed.
    pub async fn retention_outlook(&self, account: &AccountId, job: Uuid) -> Result<Outlook> {
        let job: Job = self.job(account, job).await?;
        let stored = self.aws.table.stored_backups(account, job.id).await?;
        let verdicts = judge_job(&job, &stored, self.clock.now());
        let mut verdicts: HashMap<Uuid, Verdict> =
            verdicts.into_iter().map(|verdict| (verdict.backup, verdict)).collect();
        let judged =
            stored.into_iter().filter_map(|backup| verdicts.remove(&backup.id).map(|verdict| (backup, verdict)));
        let (goes, mut stays): (Vec<_>, Vec<_>) = judged.partition(|(_, verdict)| verdict.goes());
        stays.reverse();
        Ok(Outlook { goes, stays })
    }

    /// Notes that an expired backup's objects are gone.
    pub async fn objects_deleted(&self, backup: &Backup) -> Result<Written> {
        let next = Backup { files: Vec::new(), copies: Vec::new(), ..backup.clone() };
        self.aws.table.save_backup(&next, Fence::Seen(backup), Vec::new()).await
    }
}

//! Backups, as their owner sees them: started by hand, listed, followed. How they run is in [`super::runs`].

use aws_lc_rs::digest::{SHA256, digest};
use jiff::SignedDuration;
use uuid::Uuid;

use super::Service;
use super::conflict::{TRIES, contended, pause};
use super::listing::Listing;
use crate::aws::table::{BackupFilter, IdempotencyKey, KeyUse, Order, Window, keys};
use crate::domain::account::AccountId;
use crate::domain::backup::{Backup, Progress, Status};
use crate::domain::slot::Tags;
use crate::error::{Error, Result};

/// How long an `Idempotency-Key` is remembered.
const IDEMPOTENCY_HOURS: i64 = 24;

/// An `Idempotency-Key` and the body that it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency<'a> {
    /// The key, as its sender chose it.
    pub key: &'a str,
    /// The body, in a form that does not depend on how it was written.
    pub body: &'a str,
}

/// A backup and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupDetail {
    /// The backup.
    pub backup: Backup,
    /// The last report of its present or last attempt; `None` before the first one, and in lists once it does not run.
    pub progress: Option<Progress>,
}

/// Where a reader of a log is: attempt and chunk of the last text that it has. Displays as `1.12`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    attempt: u32,
    sequence: u32,
}

/// What is new in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogText {
    /// Whole lines; empty when nothing is new.
    pub text: String,
    /// Where to go on.
    pub next: LogPosition,
    /// Nothing will ever follow.
    pub is_complete: bool,
}

impl LogPosition {
    /// Reads what Display wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (attempt, sequence) = text.split_once('.')?;
        Some(Self { attempt: attempt.parse().ok()?, sequence: sequence.parse().ok()? })
    }
}

impl std::fmt::Display for LogPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.attempt, self.sequence)
    }
}

impl Service {
    /// Records a backup of a job and asks a worker to run it. An idempotency key that was seen in the last 24 hours answers
    /// what it started then, and is refused with another body. A conflict while a backup of the job is running.
    pub async fn start_backup(
        &self,
        account: &AccountId,
        job: Uuid,
        tags: Tags,
        idempotency: Option<Idempotency<'_>>,
    ) -> Result<Backup> {
        let key = idempotency.map(|sent| self.idempotency_key(sent));
        for _ in 0..TRIES {
            let now = self.clock.now();
            let before = self.aws.table.before_start(account, job, key.as_ref(), now).await?;
            let found = before.job.ok_or_else(|| Error::not_found("job"))?;
            if let Some(started) = self.started_before(account, job, before.key_use).await? {
                return Ok(started);
            }
            if !self.held_by_others(account, &before.seats, Uuid::nil(), now).await?.is_empty() {
                return Err(Error::conflict("a backup of this job is running; wait for its end or cancel it"));
            }
            let backup = Backup { tags, ..self.new_backup(&found).await? };
            if self.aws.table.create_backup(&backup, key.as_ref(), &before.tally).await?.is_yes() {
                self.ask_to_run(&backup, 0).await;
                return Ok(backup);
            }
            // The job went, the same key came twice at once, or another start was counted in between.
            pause().await;
        }
        Err(contended())
    }

    fn idempotency_key(&self, sent: Idempotency<'_>) -> IdempotencyKey {
        let sha256 = |text: &str| hex::encode(digest(&SHA256, text.as_bytes()));
        let expires_at = self.clock.now() + SignedDuration::from_hours(IDEMPOTENCY_HOURS);
        IdempotencyKey { sha256: sha256(sent.key), body_sha256: sha256(sent.body), expires_at }
    }

    /// What the key started; a conflict when that was deleted since, a fault of the key when it came with another body.
    async fn started_before(&self, account: &AccountId, job: Uuid, key_use: KeyUse) -> Result<Option<Backup>> {
        let id = match key_use {
            KeyUse::New => return Ok(None),
            KeyUse::Started(id) => id,
            KeyUse::OtherBody => {
                let message = "came with another body within the last 24 hours; send another key";
                return Err(Error::invalid("Idempotency-Key", message));
            }
        };
        let found = self.aws.table.backup(account, job, id).await?;
        let deleted = || Error::conflict("this idempotency key started a backup that was deleted; send another key");
        found.map(Some).ok_or_else(deleted)
    }

    /// One backup, whichever job it is of.
    pub async fn backup(&self, account: &AccountId, id: Uuid) -> Result<Backup> {
        let job = self.aws.table.job_of_backup(account, id).await?.ok_or_else(|| Error::not_found("backup"))?;
        self.aws.table.backup(account, job, id).await?.ok_or_else(|| Error::not_found("backup"))
    }

    /// The backup with that number, whichever job it is of.
    pub async fn backup_of_number(&self, account: &AccountId, number: u64) -> Result<Backup> {
        let found = self.aws.table.backup_of_number(account, number).await?;
        let (job, id) = found.ok_or_else(|| Error::not_found("backup"))?;
        self.aws.table.backup(account, job, id).await?.ok_or_else(|| Error::not_found("backup"))
    }

    /// Stops a backup and answers it as it is then: `cancelled` if it waited, still `running` if its worker has to stop it
    /// first. A conflict when it has ended.
    pub async fn cancel(&self, account: &AccountId, id: Uuid) -> Result<BackupDetail> {
        let backup = self.backup(account, id).await?;
        self.cancel_backup(account, backup.job, id).await?;
        self.backup_detail(account, id).await
    }

    /// One backup and how far it is.
    pub async fn backup_detail(&self, account: &AccountId, id: Uuid) -> Result<BackupDetail> {
        let found = self.aws.table.backup_with_progress(account, id).await?;
        let (backup, progress) = found.ok_or_else(|| Error::not_found("backup"))?;
        Ok(BackupDetail { backup, progress })
    }

    async fn progress_of(&self, backup: &Backup) -> Result<Option<Progress>> {
        self.aws.table.progress(&backup.account, backup.id).await
    }

    /// One page of a job's backups. With times under a sort that they do not bound it can be short, and still have a next
    /// page.
    pub async fn list_backups(
        &self,
        account: &AccountId,
        job: Uuid,
        filter: &BackupFilter,
        order: Order,
        window: &Window,
    ) -> Result<Listing<BackupDetail>> {
        let known = self.aws.table.records(vec![keys::job(account, job), keys::backup_tally(account, job)]).await?;
        if !known.has(&keys::job(account, job)) {
            return Err(Error::not_found("job"));
        }
        let tally = known.tally(account, job);
        let page = self.aws.table.filter_backups(account, job, filter, &tally, order, window).await?;
        let mut records = Vec::with_capacity(page.records.len());
        for backup in page.records {
            // At most one backup of a job runs, so a page costs at most one more read.
            let progress = if backup.status == Status::Running { self.progress_of(&backup).await? } else { None };
            records.push(BackupDetail { backup, progress });
        }
        Ok(Listing { records, next: page.next, total: tally.count(filter) })
    }

    /// What a backup's log holds after `position`; at most so much that it must be asked again until it is complete.
    pub async fn log_after(&self, account: &AccountId, id: Uuid, position: LogPosition) -> Result<LogText> {
        // The status first: a log that is read after its backup ended is read to its end.
        let has_ended = self.backup(account, id).await?.status.has_ended();
        let page = self.aws.table.log_after(account, id, (position.attempt, position.sequence)).await?;
        let last = page.records.last();
        Ok(LogText {
            next: last.map_or(position, |chunk| LogPosition { attempt: chunk.attempt, sequence: chunk.sequence }),
            is_complete: has_ended && page.next.is_none(),
            text: page.records.into_iter().map(|chunk| chunk.text).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_back() {
        let position = LogPosition { attempt: 2, sequence: 17 };
        assert_eq!(LogPosition::parse(&position.to_string()), Some(position));
        for text in ["", "1", "1.", ".1", "a.b", "1.2.3", "-1.2", "99999999999.1"] {
            assert_eq!(LogPosition::parse(text), None, "{text}");
        }
    }
}

//! Maintenance: a pass each minute over all that a crash, an outage or a lost message can leave behind.
//!
//! Every step is idempotent and bounded; what one pass does not reach, the next one does. A step that fails is logged and
//! does not keep the others from running.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Service;
use super::runs::{lost_worker, waiting};
use crate::aws::table::{DeletedJob, Due, Fence, MISSED_AFTER_SECS, OutboxRow, Purge, Sweep, Watch};
use crate::domain::backup::{Backup, Failure, LEASE_GRACE_SECS, MAX_ATTEMPTS, SkipReason, Status};
use crate::domain::job::Job;
use crate::domain::message::{Message, Task};
use crate::domain::schedule::Schedule;
use crate::domain::slot::Slot;
use crate::error::{Error, Result};

/// How much of one kind a pass takes on.
const BATCH: i32 = 100;
/// How long a pending backup may wait before its message counts as lost, seconds.
const MESSAGE_LOST_AFTER_SECS: i64 = 120;
/// How long until the message of a backup that still waits is sent again, seconds.
const RESEND_AFTER_SECS: i64 = 900;

/// What a pass did, by count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Schedules that were made equal in Scheduler.
    pub outbox_applied: usize,
    /// Scheduler entries that no job has any more.
    pub entries_removed: usize,
    /// Pending backups whose message was sent again.
    pub messages_resent: usize,
    /// Backups whose worker vanished.
    pub leases_expired: usize,
    /// Slots that passed without a backup.
    pub slots_missed: usize,
    /// Messages that no worker could handle.
    pub dead_letters: usize,
    /// Deletions that were asked for again: of jobs, of all backups of one, of single backups.
    pub deletions_resent: usize,
    /// Backups whose missing copies were asked for again.
    pub copies_asked: usize,
    /// Storages that were asked to be walked for objects that no record names.
    pub sweeps_sent: usize,
    /// Records whose secrets were sealed anew under the newest key.
    pub secrets_resealed: usize,
    /// Steps that failed; the log tells why.
    pub failed_steps: usize,
}

impl Service {
    /// One pass.
    pub async fn maintain(&self) -> Report {
        let mut report = Report::default();
        report.outbox_applied = counted(&mut report, "outbox", self.apply_due_outbox(BATCH).await);
        report.entries_removed = counted(&mut report, "scheduler", self.reconcile_scheduler().await);
        report.leases_expired = counted(&mut report, "leases", self.expire_leases().await);
        report.dead_letters = counted(&mut report, "dead letters", self.record_dead_letters().await);
        report.slots_missed = counted(&mut report, "watches", self.check_watches().await);
        report.messages_resent = counted(&mut report, "messages", self.resend_messages().await);
        report.deletions_resent = counted(&mut report, "deletions", self.resend_deletions().await);
        report.copies_asked = counted(&mut report, "copies", self.ask_for_copies().await);
        report.sweeps_sent = counted(&mut report, "sweeps", self.send_sweeps().await);
        report.secrets_resealed = counted(&mut report, "sealing", self.reseal().await);
        report
    }

    /// Backups whose lease ran out wait for their next attempt, or are `failed` after the last.
    async fn expire_leases(&self) -> Result<usize> {
        let now = self.clock.now();
        let until = now - SignedDuration::from_secs(LEASE_GRACE_SECS);
        let lapsed: Vec<Backup> = self.aws.table.due(Due::Lease, until, BATCH).await?;
        let mut expired = 0;
        for seen in lapsed.iter().filter(|backup| !backup.is_held(now)) {
            let next = if seen.cancel_requested {
                seen.ended(Status::Cancelled, now)
            } else if seen.attempt >= MAX_ATTEMPTS {
                self.lost_for_good(seen, now)
            } else {
                waiting(seen, Some(lost_worker(seen.attempt)), now)
            };
            if !self.aws.table.save_backup(&next, Fence::Seen(seen), Vec::new()).await?.is_yes() {
                continue;
            }
            expired += 1;
            tracing::warn!(backup = %next.id, attempt = next.attempt, "a worker vanished in the middle of a run");
            match next.status {
                Status::Pending => self.ask_to_run(&next, 0).await,
                _ => self.ask_to_sweep(&next).await,
            }
        }
        Ok(expired)
    }

    /// Pending backups that waited too long get their message again: the first one may never have been sent.
    async fn resend_messages(&self) -> Result<usize> {
        let now = self.clock.now();
        let until = now - SignedDuration::from_secs(MESSAGE_LOST_AFTER_SECS);
        let waiting: Vec<Backup> = self.aws.table.due(Due::Pending, until, BATCH).await?;
        let mut resent = 0;
        for backup in &waiting {
            let again = now + SignedDuration::from_secs(RESEND_AFTER_SECS);
            if self.aws.table.postpone_pending(backup, again).await?.is_some() {
                self.ask_to_run(backup, 0).await;
                resent += 1;
            }
        }
        Ok(resent)
    }

    /// Schedules whose slot passed without a backup.
    async fn check_watches(&self) -> Result<usize> {
        let now = self.clock.now();
        let watches: Vec<Watch> = self.aws.table.due(Due::Watch, now, BATCH).await?;
        let mut missed = 0;
        for watch in &watches {
            missed += self.check_watch(watch, now).await?;
        }
        Ok(missed)
    }

    /// Records slots without a backup as missed. The newest one is caught up instead, unless one after it is due already.
    async fn check_watch(&self, watch: &Watch, now: Timestamp) -> Result<usize> {
        let job = self.aws.table.job(&watch.account, watch.job).await?;
        let due = job.as_ref().and_then(|job| job.active_schedule(watch.schedule).map(|schedule| (job, schedule)));
        let Some((job, schedule)) = due else {
            let _ = self.aws.table.advance_watch(watch, None).await?;
            return Ok(0);
        };
        let until = now - SignedDuration::from_secs(MISSED_AFTER_SECS);
        let before_first = watch.next_slot - SignedDuration::from_secs(1);
        let slots = schedule.runs_between(before_first, until, usize::try_from(BATCH).map_err(Error::internal)?);
        let mut missed = 0;
        for slot in &slots {
            let id = Slot::new(schedule.id, *slot).backup_id(job.id);
            let table = &self.aws.table;
            if table.backup(&job.account, job.id, id).await?.is_some() || table.was_deleted(&job.account, id).await? {
                continue;
            }
            missed += 1;
            let superseded = !schedule.runs_between(*slot, now, 1).is_empty();
            if !self.may_run(&job.account, *slot).await? {
                // Nobody missed it: it is recorded as what it is.
                self.record_slot(&job.account, job.id, schedule.id, *slot).await?;
            } else if superseded {
                self.record_missed(job, schedule, *slot).await?
            } else {
                self.catch_up(job, schedule, *slot).await?
            }
        }
        let last = slots.last().copied().unwrap_or(before_first);
        let next = schedule.next_runs(last, 1).first().copied();
        let _ = self.aws.table.advance_watch(watch, next).await?;
        Ok(missed)
    }

    async fn record_missed(&self, job: &Job, schedule: &Schedule, slot: Timestamp) -> Result<()> {
        tracing::warn!(job = %job.id, schedule = schedule.id, %slot, "a slot passed without a backup");
        let backup = self.slot_backup(job, schedule, slot).await?;
        let missed =
            Backup { skip_reason: Some(SkipReason::Missed), ..backup.ended(Status::Skipped, self.clock.now()) };
        self.create_slot_backup(&missed).await
    }

    /// Sends the slot that Scheduler did not, and has Scheduler's entries written again: one may be gone.
    async fn catch_up(&self, job: &Job, schedule: &Schedule, slot: Timestamp) -> Result<()> {
        tracing::warn!(job = %job.id, schedule = schedule.id, %slot, "a slot passed without a backup; running it now");
        let row =
            OutboxRow { account: job.account.clone(), job: job.id, schedule: schedule.id, revision: job.revision };
        let _ = self.aws.table.put_outbox(&row, self.clock.now()).await?;
        let task = Task::Slot { account: job.account.clone(), job: job.id, schedule: schedule.id, slot };
        self.aws.queue.send(&Message::new(task), 0).await
    }

    /// Messages that were received too often are recorded as what they are: backups that failed.
    async fn record_dead_letters(&self) -> Result<usize> {
        let letters = self.aws.dead_letters.receive(10, 0).await?;
        for letter in &letters {
            match serde_json::from_str::<Message>(&letter.body) {
                Ok(message) => self.record_dead_letter(message.task).await?,
                Err(error) => tracing::error!(%error, bytes = letter.body.len(), "an unreadable message was dropped"),
            }
            self.aws.dead_letters.delete(&letter.receipt).await?;
        }
        Ok(letters.len())
    }

    async fn record_dead_letter(&self, task: Task) -> Result<()> {
        tracing::error!(?task, "no worker could handle a message");
        let (account, job, backup) = match task {
            Task::Slot { account, job, schedule, slot } => {
                let Some(backup) = self.record_slot(&account, job, schedule, slot).await? else { return Ok(()) };
                (account, job, backup)
            }
            Task::Run { account, job, backup } => (account, job, backup),
            // Maintenance itself asks for these again.
            _ => return Ok(()),
        };
        let Some(seen) = self.aws.table.backup(&account, job, backup).await? else { return Ok(()) };
        let now = self.clock.now();
        if seen.status.has_ended() || seen.is_held(now) {
            return Ok(());
        }
        let message = "no worker could handle the message of this backup; the worker's log tells why".to_owned();
        let failure = Some(Failure { kind: "dead_letter".to_owned(), message });
        let next = Backup { failure, ..seen.ended(Status::Failed, now) };
        let _ = self.aws.table.save_backup(&next, Fence::Seen(&seen), Vec::new()).await?;
        self.ask_to_sweep(&next).await;
        Ok(())
    }

    async fn resend_deletions(&self) -> Result<usize> {
        let deleted: Vec<DeletedJob> = self.aws.table.due(Due::DeletedJob, self.clock.now(), BATCH).await?;
        for job in &deleted {
            self.ask_to_delete(job).await?;
        }
        let purges: Vec<Purge> = self.aws.table.due(Due::Purge, self.clock.now(), BATCH).await?;
        for purge in &purges {
            self.ask_to_purge(purge).await?;
        }
        let doomed: Vec<Backup> = self.aws.table.due(Due::Deletion, self.clock.now(), BATCH).await?;
        for backup in &doomed {
            self.ask_to_delete_backup(backup).await;
        }
        Ok(deleted.len() + purges.len() + doomed.len())
    }

    /// Stored backups whose copies are still missing: each try that fails sets the time of the next one.
    async fn ask_for_copies(&self) -> Result<usize> {
        let now = self.clock.now();
        let due: Vec<Backup> = self.aws.table.due(Due::Copy, now, BATCH).await?;
        for backup in &due {
            let again = now + SignedDuration::from_secs(RESEND_AFTER_SECS);
            self.aws.table.postpone(backup, Due::Copy, again).await?;
            self.ask_to_copy(backup, 0).await;
        }
        Ok(due.len())
    }

    /// Asks for each storage to be walked once a day.
    async fn send_sweeps(&self) -> Result<usize> {
        let now = self.clock.now();
        let due: Vec<Sweep> = self.aws.table.due(Due::Sweep, now, BATCH).await?;
        for sweep in &due {
            if self.aws.table.postpone_sweep(sweep, now).await?.is_yes() {
                let task = Task::SweepStorage { account: sweep.account.clone(), storage: sweep.storage };
                self.aws.queue.send(&Message::new(task), 0).await?;
            }
        }
        Ok(due.len())
    }
}

fn counted(report: &mut Report, step: &'static str, done: Result<usize>) -> usize {
    done.unwrap_or_else(|error| {
        tracing::error!(step, error = error.chain(), "a step of maintenance failed; the next pass tries again");
        report.failed_steps += 1;
        0
    })
}

//! Runs: how a worker takes a backup, keeps it, and records what came of it.
//!
//! The table is the truth and a message only a hint: a message that comes twice, late or never does no harm. Every write
//! is fenced by the attempt, so a worker that was stopped and wakes up again changes nothing.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::Service;
use crate::aws::table::{Fence, LogChunk, Noun, Seat, Seats, Write, Written, job_ran, keys};
use crate::domain::account::AccountId;
use crate::domain::backup::{
    Backup, Failure, LEASE_SECS, MAX_ATTEMPTS, MAX_FILES, Outcome, Progress, SkipReason, Status,
};
use crate::domain::job::Job;
use crate::domain::message::{Message, Task};
use crate::domain::retry::Retry;
use crate::domain::schedule::Schedule;
use crate::domain::server::Server;
use crate::domain::slot::{Slot, Tags};
use crate::domain::storage::Storage;
use crate::error::{Error, Result};

/// How often a write that lost to another one is tried again before the message goes back.
const TRIES: u32 = 10;
/// How long a message waits when its server has no seat left, seconds.
const BUSY_DELAY_SECS: u32 = 15;
/// How soon a copy that a storage missed is tried first, seconds.
const FIRST_COPY_SECS: u32 = 30;
/// The first retry's delay, seconds; each further one waits twice as long.
const RETRY_DELAY_SECS: u32 = 30;

/// A backup that this worker holds, and all that its run needs to know.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The backup; its `attempt` is this claim's fencing number.
    pub backup: Backup,
    /// The job as it is now.
    pub job: Job,
    /// Where it runs; `None` where its compute is no server.
    pub server: Option<Server>,
    /// Where copies go, by priority.
    pub storages: Vec<Storage>,
}

/// What came of an attempt to claim.
#[derive(Debug)]
pub enum ClaimOutcome {
    /// The backup is held: run it.
    Run(Box<Claim>),
    /// Nothing to do, now or later: it ended, was skipped, is gone, or another worker holds it.
    Drop,
    /// The server runs as many backups as it may: ask again.
    Busy {
        /// When to ask again.
        retry_after_secs: u32,
    },
}

/// What a heartbeat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The lease was extended.
    Held,
    /// The lease was extended, and the owner wants the run stopped.
    CancelRequested,
    /// The lease is another's or ran out: stop, and delete what was stored.
    Lost,
}

/// What a recorded failure led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// It waits for its next attempt.
    Retry {
        /// Until then.
        delay_secs: u32,
    },
    /// It is `failed` for good.
    Ended,
    /// The lease was no longer this worker's: nothing was recorded.
    Lost,
}

impl Service {
    /// Records the backup of a due slot and answers its id; `None` when its job or schedule is gone or paused, or when
    /// its owner deleted that backup.
    /// A slot that comes again answers the same id.
    pub async fn record_slot(
        &self,
        account: &AccountId,
        job: Uuid,
        schedule: u64,
        slot: Timestamp,
    ) -> Result<Option<Uuid>> {
        let id = Slot::new(schedule, slot).backup_id(job);
        if self.aws.table.backup(account, job, id).await?.is_some() {
            return Ok(Some(id));
        }
        if self.aws.table.was_deleted(account, id).await? {
            return Ok(None);
        }
        let Some(job) = self.aws.table.job(account, job).await? else { return Ok(None) };
        let Some(due) = job.active_schedule(schedule) else { return Ok(None) };
        let mut backup = self.slot_backup(&job, due, slot).await?;
        if !self.may_run(account, slot).await? {
            // Seen in the list, as every run that did not take place; and nothing is left to catch up.
            let skip_reason = Some(SkipReason::AccountDisabled);
            backup = Backup { skip_reason, ..backup.ended(Status::Skipped, self.clock.now()) };
        }
        self.create_slot_backup(&backup).await?;
        Ok(Some(id))
    }

    /// A pending backup for a slot, not recorded yet.
    pub(super) async fn slot_backup(&self, job: &Job, schedule: &Schedule, slot: Timestamp) -> Result<Backup> {
        Ok(Backup {
            id: Slot::new(schedule.id, slot).backup_id(job.id),
            schedule: Some(schedule.id),
            slot: Some(slot),
            path: job.readable_path(slot),
            tags: Tags::of_slot(schedule, slot),
            ..self.new_backup(job).await?
        })
    }

    /// A pending backup of a job with a random id, not recorded yet.
    pub(super) async fn new_backup(&self, job: &Job) -> Result<Backup> {
        let now = self.clock.now();
        Ok(Backup {
            id: Uuid::new_v4(),
            number: self.aws.table.next_number(&job.account, Noun::Backup).await?,
            account: job.account.clone(),
            job: job.id,
            name: job.name.clone(),
            path: job.readable_path(now),
            schedule: None,
            slot: None,
            tags: Tags::default(),
            status: Status::Pending,
            attempt: 0,
            lease_until: None,
            heartbeat_at: None,
            retry_at: None,
            cancel_requested: false,
            deletion_requested_at: None,
            created_at: now,
            started_at: None,
            completed_at: None,
            files: Vec::new(),
            copies: Vec::new(),
            source_errors: Vec::new(),
            encrypted_to: Vec::new(),
            failure: None,
            skip_reason: None,
        })
    }

    /// Records a slot's backup, whoever else does so at the same time.
    pub(super) async fn create_slot_backup(&self, backup: &Backup) -> Result<()> {
        for _ in 0..TRIES {
            let table = &self.aws.table;
            let tally = table.tally(&backup.account, backup.job).await?;
            if table.create_backup(backup, None, &tally).await?.is_yes() {
                return Ok(());
            }
            let exists = table.backup(&backup.account, backup.job, backup.id).await?.is_some();
            let deleted = table.was_deleted(&backup.account, backup.id).await?;
            if exists || deleted || table.job(&backup.account, backup.job).await?.is_none() {
                return Ok(());
            }
            pause().await;
        }
        Err(contended())
    }

    /// Takes a backup for this worker: status, attempt + 1 and lease as one write with the seats of job and server.
    ///
    /// One job never runs twice at once: a backup that finds another running is `skipped`. A lease that ran out is taken
    /// over, until [`MAX_ATTEMPTS`] are used up.
    pub async fn claim(&self, account: &AccountId, job: Uuid, backup: Uuid) -> Result<ClaimOutcome> {
        for _ in 0..TRIES {
            let Some(seen) = self.aws.table.backup(account, job, backup).await? else { return Ok(ClaimOutcome::Drop) };
            if let Some(outcome) = self.try_claim(&seen).await? {
                return Ok(outcome);
            }
            pause().await;
        }
        Ok(ClaimOutcome::Busy { retry_after_secs: BUSY_DELAY_SECS })
    }

    /// One try: `None` when another write came in between.
    async fn try_claim(&self, seen: &Backup) -> Result<Option<ClaimOutcome>> {
        let now = self.clock.now();
        if seen.status.has_ended() || seen.is_held(now) {
            return Ok(Some(ClaimOutcome::Drop));
        }
        let Some(job) = self.aws.table.job(&seen.account, seen.job).await? else {
            return self.drop_as(seen, seen.ended(Status::Cancelled, now)).await;
        };
        if seen.cancel_requested {
            return self.drop_as(seen, seen.ended(Status::Cancelled, now)).await;
        }
        if seen.attempt >= MAX_ATTEMPTS {
            return self.drop_as(seen, self.lost_for_good(seen, now)).await;
        }
        let job_key = keys::job_seats(&seen.account, seen.job);
        let job_seats = self.aws.table.seats(&job_key).await?;
        if !self.held_by_others(&seen.account, &job_seats, seen.id, now).await?.is_empty() {
            return self.drop_as(seen, out_of_turn(seen, now)).await;
        }
        let seat = Seat { job: seen.job, backup: seen.id };
        let server = self.server_of(&job).await?;
        let on_server = match &server {
            None => None,
            Some(server) => match self.seat_on(server, seen, seat, now).await? {
                None => return Ok(Some(ClaimOutcome::Busy { retry_after_secs: BUSY_DELAY_SECS })),
                taken => taken,
            },
        };
        let next = Backup {
            status: Status::Running,
            attempt: seen.attempt + 1,
            lease_until: Some(lease_from(now)),
            heartbeat_at: Some(now),
            retry_at: None,
            started_at: seen.started_at.or(Some(now)),
            ..seen.clone()
        };
        let mut writes = vec![job_seats.replace(&job_key, vec![seat])?];
        writes.extend(on_server);
        writes.extend(job_ran(&job, now));
        match self.aws.table.save_backup(&next, Fence::Seen(seen), writes).await? {
            Written::No => Ok(None),
            Written::Yes => {
                let storages = self.storages_of(&job).await?;
                Ok(Some(ClaimOutcome::Run(Box::new(Claim { backup: next, job, server, storages }))))
            }
        }
    }

    /// The server that a job runs on, if it runs on one.
    async fn server_of(&self, job: &Job) -> Result<Option<Server>> {
        let Some(id) = job.compute.server_id() else { return Ok(None) };
        self.aws.table.server(&job.account, id).await?.ok_or_else(|| gone("server")).map(Some)
    }

    /// What takes a seat on the server; `None` when it runs as many backups as it may, and `seen` waits.
    async fn seat_on(&self, server: &Server, seen: &Backup, seat: Seat, now: Timestamp) -> Result<Option<Write>> {
        let key = keys::server_seats(&seen.account, server.id);
        let seats = self.aws.table.seats(&key).await?;
        let mut taken = self.held_by_others(&seen.account, &seats, seen.id, now).await?;
        if taken.len() >= usize::try_from(server.max_parallel).map_err(Error::internal)? {
            let due_at = now + SignedDuration::from_secs(i64::from(BUSY_DELAY_SECS));
            self.aws.table.postpone_pending(seen, due_at).await?;
            return Ok(None);
        }
        taken.push(seat);
        Ok(Some(seats.replace(&key, taken)?))
    }

    /// Ends a backup that will not run; `None` when another write came in between.
    async fn drop_as(&self, seen: &Backup, next: Backup) -> Result<Option<ClaimOutcome>> {
        if !self.aws.table.save_backup(&next, Fence::Seen(seen), Vec::new()).await?.is_yes() {
            return Ok(None);
        }
        tracing::info!(backup = %next.id, status = next.status.as_str(), "backup ended without a run");
        if seen.attempt > 0 {
            self.ask_to_sweep(seen).await;
        }
        Ok(Some(ClaimOutcome::Drop))
    }

    /// Seats that other backups really hold.
    pub(super) async fn held_by_others(
        &self,
        account: &AccountId,
        seats: &Seats,
        own: Uuid,
        now: Timestamp,
    ) -> Result<Vec<Seat>> {
        let mut held = Vec::new();
        for seat in seats.taken.iter().filter(|seat| seat.backup != own) {
            let holder = self.aws.table.backup(account, seat.job, seat.backup).await?;
            if holder.is_some_and(|holder| holder.is_held(now)) {
                held.push(*seat);
            }
        }
        Ok(held)
    }

    async fn storages_of(&self, job: &Job) -> Result<Vec<Storage>> {
        let mut wanted = job.storages.clone();
        wanted.sort_by_key(|storage| storage.priority);
        let mut storages = Vec::with_capacity(wanted.len());
        for storage in wanted {
            let found = self.aws.table.storage(&job.account, storage.storage_id).await?;
            storages.push(found.ok_or_else(|| gone("storage"))?);
        }
        Ok(storages)
    }

    /// Extends the lease. A lease that ran out cannot be extended, even if nobody took it: its holder slept too long.
    pub async fn heartbeat(&self, claim: &Claim) -> Result<Beat> {
        let now = self.clock.now();
        let renewed = self.aws.table.renew_lease(&claim.backup, now, lease_from(now)).await?;
        Ok(match renewed {
            None => Beat::Lost,
            Some(backup) if backup.cancel_requested => Beat::CancelRequested,
            Some(_) => Beat::Held,
        })
    }

    /// Shows how far a run is.
    pub async fn report_progress(&self, claim: &Claim, progress: &Progress) -> Result<()> {
        self.aws.table.put_progress(&claim.backup.account, claim.backup.id, progress).await.map(drop)
    }

    /// Adds whole lines to the log; chunks of an attempt count from 1.
    pub async fn append_log(&self, claim: &Claim, sequence: u32, text: &str) -> Result<()> {
        let chunk = LogChunk { attempt: claim.backup.attempt, sequence, text: text.to_owned() };
        self.aws.table.put_log(&claim.backup.account, claim.backup.id, &chunk).await.map(drop)
    }

    /// Makes a backup `completed`, with all that was proved, as one write. `false`: the lease was no longer this
    /// worker's, nothing was recorded, and what it stored is for it to delete.
    pub async fn commit(&self, claim: &Claim, outcome: Outcome) -> Result<bool> {
        let fits = outcome.clipped();
        let Outcome { status, files, copies, source_errors, encrypted_to } =
            fits.ok_or_else(|| Error::internal(format!("a backup has more than {MAX_FILES} files")))?;
        let now = self.clock.now();
        let ended = claim.backup.ended(status, now);
        let stored_bytes = files.iter().map(|file| file.stored_bytes).sum();
        let next = Backup { files, source_errors, encrypted_to, failure: None, ..ended }.with_copies(copies, now);
        if !self.end_held(&next).await? {
            return Ok(false);
        }
        self.ask_to_copy(&next, FIRST_COPY_SECS).await;
        // Only an estimate for those who look: the next run notes it again.
        if let Err(error) = self.aws.table.job_stored(&next.account, next.job, stored_bytes).await {
            tracing::debug!(error = error.chain(), "how much a job stored could not be noted");
        }
        Ok(true)
    }

    /// Records that a run was stopped at its owner's wish; `false` as for [`Service::commit`].
    pub async fn cancelled(&self, claim: &Claim) -> Result<bool> {
        self.end_held(&claim.backup.ended(Status::Cancelled, self.clock.now())).await
    }

    /// Records a failed attempt: it waits for its next one, or is `failed` for good.
    pub async fn fail(&self, claim: &Claim, failure: Failure, retry: Retry) -> Result<AfterFailure> {
        let (now, failure) = (self.clock.now(), failure.clipped());
        let attempt = claim.backup.attempt;
        if retry == Retry::Never || attempt >= MAX_ATTEMPTS {
            let next = Backup { failure: Some(failure), ..claim.backup.ended(Status::Failed, now) };
            return Ok(if self.end_held(&next).await? { AfterFailure::Ended } else { AfterFailure::Lost });
        }
        let delay_secs = RETRY_DELAY_SECS << attempt.saturating_sub(1).min(5);
        let next = waiting(&claim.backup, Some(failure), now + SignedDuration::from_secs(i64::from(delay_secs)));
        if !self.end_held(&next).await? {
            return Ok(AfterFailure::Lost);
        }
        self.ask_to_run(&next, delay_secs).await;
        Ok(AfterFailure::Retry { delay_secs })
    }

    /// Gives a backup back because this worker is stopping: it waits for another, at once.
    pub async fn release(&self, claim: &Claim) -> Result<()> {
        let next = waiting(&claim.backup, claim.backup.failure.clone(), self.clock.now());
        if self.end_held(&next).await? {
            self.ask_to_run(&next, 0).await;
        }
        Ok(())
    }

    /// Replaces a backup that this attempt holds; `false` when it does not hold it.
    async fn end_held(&self, next: &Backup) -> Result<bool> {
        for _ in 0..TRIES {
            let now = self.clock.now();
            if self.aws.table.save_backup(next, Fence::Held(next.attempt, now), Vec::new()).await?.is_yes() {
                return Ok(true);
            }
            let found = self.aws.table.backup(&next.account, next.job, next.id).await?;
            let Some(found) = found.filter(|found| found.attempt == next.attempt) else { return Ok(false) };
            if found.status == next.status && found.completed_at == next.completed_at {
                // An earlier try took place, and only its answer was lost.
                return Ok(true);
            }
            if found.status != Status::Running || found.lease_until.is_none_or(|until| until < now) {
                return Ok(false);
            }
            pause().await;
        }
        Err(contended())
    }

    /// Stops a backup: one that waits is `cancelled` at once, one that runs at its worker's next heartbeat.
    pub async fn cancel_backup(&self, account: &AccountId, job: Uuid, backup: Uuid) -> Result<()> {
        for _ in 0..TRIES {
            let found = self.aws.table.backup(account, job, backup).await?;
            let seen = found.ok_or_else(|| Error::not_found("backup"))?;
            if seen.status.has_ended() {
                return Err(Error::conflict(format!("the backup has ended: it is {}", seen.status.as_str())));
            }
            if seen.status == Status::Running {
                if self.aws.table.request_cancel(&seen).await?.is_some() {
                    return Ok(());
                }
                continue;
            }
            let next = seen.ended(Status::Cancelled, self.clock.now());
            if self.aws.table.save_backup(&next, Fence::Seen(&seen), Vec::new()).await?.is_yes() {
                if seen.attempt > 0 {
                    self.ask_to_sweep(&seen).await;
                }
                return Ok(());
            }
            pause().await;
        }
        Err(contended())
    }

    /// A held-too-long backup as `failed`: every attempt lost its worker.
    pub(super) fn lost_for_good(&self, seen: &Backup, now: Timestamp) -> Backup {
        Backup { failure: Some(lost_worker(seen.attempt)), ..seen.ended(Status::Failed, now) }
    }

    /// Sends the message that runs a backup. Maintenance sends it again should this one be lost.
    pub(super) async fn ask_to_run(&self, backup: &Backup, delay_secs: u32) {
        let (account, job) = (backup.account.clone(), backup.job);
        self.send_or_warn(Task::Run { account, job, backup: backup.id }, delay_secs).await;
    }

    /// Asks a worker to delete what failed attempts left.
    pub(super) async fn ask_to_sweep(&self, backup: &Backup) {
        let (account, job) = (backup.account.clone(), backup.job);
        self.send_or_warn(Task::SweepBackup { account, job, backup: backup.id }, 0).await;
    }

    /// Sends a message that maintenance would send again, so that its loss is only worth a warning.
    pub(super) async fn send_or_warn(&self, task: Task, delay_secs: u32) {
        if let Err(error) = self.aws.queue.send(&Message::new(task), delay_secs).await {
            tracing::warn!(error = error.chain(), "a message could not be sent; maintenance will send it again");
        }
    }
}

/// Why a backup whose workers vanished waits or failed.
pub(super) fn lost_worker(attempt: u32) -> Failure {
    let message = format!("attempt {attempt} lost its worker: it stopped without a word");
    Failure { kind: "lost_worker".to_owned(), message }
}

/// A held backup as one that waits for its next attempt at `retry_at`.
pub(super) fn waiting(held: &Backup, failure: Option<Failure>, retry_at: Timestamp) -> Backup {
    Backup { status: Status::Pending, lease_until: None, retry_at: Some(retry_at), failure, ..held.clone() }
}

/// A backup that found another of its job running: skipped, or failed if it had begun.
fn out_of_turn(seen: &Backup, now: Timestamp) -> Backup {
    if seen.attempt == 0 {
        return Backup { skip_reason: Some(SkipReason::JobRunning), ..seen.ended(Status::Skipped, now) };
    }
    let message = "a later backup of this job began while this one waited for its next attempt".to_owned();
    let failure = Failure { kind: "superseded".to_owned(), message };
    Backup { failure: Some(failure), ..seen.ended(Status::Failed, now) }
}

fn lease_from(now: Timestamp) -> Timestamp {
    now + SignedDuration::from_secs(LEASE_SECS)
}

fn gone(what: &str) -> Error {
    Error::internal(format!("a job names a {what} that does not exist"))
}

pub(super) fn contended() -> Error {
    Error::unavailable("the record", "too many writers at once")
}

/// Lets the other writer finish: 5 to 50 ms.
pub(super) async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(rand::random_range(5..50))).await;
}

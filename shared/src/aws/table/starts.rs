//! What has to be known before a backup is started, in one request.

use jiff::Timestamp;
use uuid::Uuid;

use super::{IdempotencyKey, KeyUse, Seats, Table, Tally, keys};
use crate::domain::account::AccountId;
use crate::domain::job::Job;
use crate::error::Result;

/// A job as a start finds it.
#[derive(Debug)]
pub(crate) struct BeforeStart {
    /// The job; `None` when it is gone.
    pub job: Option<Job>,
    /// Who may be running on it: seats of backups that have ended are left out, as far as the tally knows them.
    pub seats: Seats,
    /// Its tally.
    pub tally: Tally,
    /// What became of the idempotency key; a new one where none was sent.
    pub key_use: KeyUse,
}

impl Table {
    /// Reads a job and what a start of it has to know, strongly consistent.
    pub(crate) async fn before_start(
        &self,
        account: &AccountId,
        job: Uuid,
        key: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<BeforeStart> {
        let (job_key, seats_key) = (keys::job(account, job), keys::job_seats(account, job));
        let sent = key.map(|key| (key, keys::idempotency(account, job, &key.sha256)));
        let wanted = [job_key.clone(), seats_key.clone(), keys::backup_tally(account, job)];
        let mut found =
            self.records(wanted.into_iter().chain(sent.iter().map(|(_, row)| row.clone())).collect()).await?;
        let tally = found.tally(account, job);
        let mut seats: Seats = found.take(&seats_key)?.unwrap_or_default();
        let has_ended = |id| tally.summary(id).is_some_and(|summary| summary.status.has_ended());
        seats.taken.retain(|seat| !has_ended(seat.backup));
        let key_use = match sent {
            Some((key, row)) => key.used(found.take(&row)?, now),
            None => KeyUse::New,
        };
        Ok(BeforeStart { job: found.take(&job_key)?, seats, tally, key_use })
    }
}

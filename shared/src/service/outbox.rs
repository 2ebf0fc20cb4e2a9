//! The outbox: makes EventBridge Scheduler equal to what the table says.
//!
//! A job's transaction leaves a row for each schedule that Scheduler may not match yet. Applying it writes what the table
//! says at that moment, whole, so it can be repeated, interrupted and carried out by two at once.

use std::collections::BTreeSet;

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::Service;
use crate::aws::ScheduleEntry;
use crate::aws::table::{Due, OutboxRow};
use crate::domain::account::AccountId;
use crate::domain::job::Job;
use crate::domain::message::{Message, Task};
use crate::domain::schedule::Schedule;
use crate::error::{Error, Result};

/// What Scheduler puts the due instant in the place of.
/// <https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html>
const SCHEDULED_TIME: &str = "<aws.scheduler.scheduled-time>";
/// How often a row is applied anew because its job changed meanwhile, before that is left to maintenance.
const ROUNDS: u32 = 5;
/// Entries are compared with the table by the first two hex digits of their job, one pair each minute.
const SLICES: i64 = 256;

impl Service {
    /// Makes the entries of one schedule be what its job says, and settles the row. Harmless to repeat.
    pub async fn apply_outbox(&self, row: &OutboxRow) -> Result<()> {
        for _ in 0..ROUNDS {
            let job = self.aws.table.job(&row.account, row.job).await?;
            self.write_entries(row, job.as_ref()).await?;
            // Another writer may have read an older job and written after us; who reads last must have written last.
            let again = self.aws.table.job(&row.account, row.job).await?;
            if revision(again.as_ref()) == revision(job.as_ref()) {
                let _ = self.aws.table.settle_outbox(row).await?;
                return Ok(());
            }
        }
        Err(Error::conflict("the job changes faster than its schedules can be written"))
    }

    /// Applies rows that a crash or an outage left, oldest first, at most `limit`; answers how many were applied.
    pub async fn apply_due_outbox(&self, limit: i32) -> Result<usize> {
        let rows: Vec<OutboxRow> = self.aws.table.due(Due::Outbox, self.clock.now(), limit).await?;
        Ok(self.apply_all(&rows).await)
    }

    /// Applies the rows that writing `job` left: of its schedules and of those that it had `before`. What fails is left to
    /// maintenance: the job is saved all the same.
    pub(super) async fn apply_outbox_of(&self, job: &Job, before: &[Schedule]) {
        let ids: BTreeSet<u64> = job.schedules.iter().chain(before).map(|schedule| schedule.id).collect();
        let rows: Vec<_> = ids.into_iter().map(|schedule| row_of(job, schedule)).collect();
        self.apply_all(&rows).await;
    }

    async fn apply_all(&self, rows: &[OutboxRow]) -> usize {
        let outcomes = join_all(rows.iter().map(|row| self.apply_outbox(row))).await;
        for (row, outcome) in rows.iter().zip(&outcomes) {
            if let Err(error) = outcome {
                let (job, schedule, error) = (row.job, row.schedule, error.chain());
                tracing::warn!(%job, schedule, error, "a schedule could not be written; maintenance will try again");
            }
        }
        outcomes.iter().filter(|outcome| outcome.is_ok()).count()
    }

    async fn write_entries(&self, row: &OutboxRow, job: Option<&Job>) -> Result<()> {
        let entries = match job {
            Some(job) => entries_of(job, row.schedule)?,
            None => Vec::new(),
        };
        for entry in &entries {
            self.aws.scheduler.put(entry).await?;
        }
        let prefix = EntryName::prefix(row.job, row.schedule);
        for name in self.entry_names(&prefix).await? {
            if !entries.iter().any(|entry| entry.name == name) {
                self.aws.scheduler.delete(&name).await?;
            }
        }
        Ok(())
    }

    async fn entry_names(&self, prefix: &str) -> Result<Vec<String>> {
        let (mut names, mut next) = self.aws.scheduler.list(Some(prefix), None).await?;
        while next.is_some() {
            let page = self.aws.scheduler.list(Some(prefix), next).await?;
            names.extend(page.0);
            next = page.1;
        }
        Ok(names)
    }

    /// Compares a slice of Scheduler's entries with the table and puts right what differs; answers how many schedules that
    /// were. Slices follow the clock, so that passes a minute apart have seen every entry in a few hours.
    pub async fn reconcile_scheduler(&self) -> Result<usize> {
        let minute = self.clock.now().as_second().div_euclid(60);
        self.reconcile_entries(&format!("{:02x}", minute.rem_euclid(SLICES))).await
    }

    /// The same for every entry whose name begins with `prefix`. Entries that are not ours are left alone.
    pub async fn reconcile_entries(&self, prefix: &str) -> Result<usize> {
        let mut rows = Vec::new();
        for name in self.entry_names(prefix).await? {
            let row = self.row_if_different(&name).await?;
            rows.extend(row.filter(|row| !rows.contains(row)));
        }
        for row in &rows {
            // First noted, then done: a crash in between loses nothing, and an edit at the same time settles nothing early.
            let _ = self.aws.table.put_outbox(row, self.clock.now()).await?;
        }
        Ok(self.apply_all(&rows).await)
    }

    /// What has to be applied because the entry is not what the table says; `None` when it is.
    async fn row_if_different(&self, name: &str) -> Result<Option<OutboxRow>> {
        let Some(parsed) = EntryName::parse(name) else { return Ok(None) };
        let Some(entry) = self.aws.scheduler.get(name).await? else { return Ok(None) };
        let Some(account) = account_of(&entry.input) else {
            tracing::warn!(name, "an entry of Scheduler has our form of name but not of message; it is left alone");
            return Ok(None);
        };
        let Some(job) = self.aws.table.job(&account, parsed.job).await? else {
            tracing::warn!(name, "an entry of Scheduler belongs to no job; it is removed");
            return Ok(Some(OutboxRow { account, job: parsed.job, schedule: parsed.schedule, revision: 0 }));
        };
        if entries_of(&job, parsed.schedule)?.contains(&entry) {
            return Ok(None);
        }
        tracing::warn!(name, "an entry of Scheduler differs from its job; it is written again");
        Ok(Some(row_of(&job, parsed.schedule)))
    }
}

fn row_of(job: &Job, schedule: u64) -> OutboxRow {
    OutboxRow { account: job.account.clone(), job: job.id, schedule, revision: job.revision }
}

fn revision(job: Option<&Job>) -> Option<u64> {
    job.map(|job| job.revision)
}

/// The entries that a schedule should have; none when the job no longer has it.
fn entries_of(job: &Job, schedule: u64) -> Result<Vec<ScheduleEntry>> {
    let Some(schedule) = job.schedules.iter().find(|found| found.id == schedule) else { return Ok(Vec::new()) };
    let input = input_of(&job.account, job.id, schedule.id)?;
    let entry = |(index, expression)| ScheduleEntry {
        name: EntryName { job: job.id, schedule: schedule.id, index }.to_string(),
        expression,
        timezone: schedule.timezone().as_str().to_owned(),
        enabled: job.active_schedule(schedule.id).is_some(),
        input: input.clone(),
    };
    Ok(schedule.expressions().into_iter().enumerate().map(entry).collect())
}

/// The message of a slot, with Scheduler's placeholder for the instant.
fn input_of(account: &AccountId, job: Uuid, schedule: u64) -> Result<String> {
    let slot = Timestamp::UNIX_EPOCH;
    let message = Message::new(Task::Slot { account: account.clone(), job, schedule, slot });
    let mut message = serde_json::to_value(message).map_err(Error::internal)?;
    message["slot"] = Value::from(SCHEDULED_TIME);
    Ok(message.to_string())
}

/// Whose slot an entry sends; `None` when it sends something else.
fn account_of(input: &str) -> Option<AccountId> {
    let message: Value = serde_json::from_str(input).ok()?;
    AccountId::parse(message.get("account")?.as_str()?)
}

/// The name of an entry: `{job}-{schedule}-{index of its expression}`, at most 59 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EntryName {
    job: Uuid,
    schedule: u64,
    index: usize,
}

impl EntryName {
    /// What the names of one schedule begin with. The dash at its end keeps schedule 1 apart from 10.
    fn prefix(job: Uuid, schedule: u64) -> String {
        format!("{job}-{schedule}-")
    }

    /// Reads a name that Display wrote; `None` for every other text, also for one that merely looks alike.
    fn parse(text: &str) -> Option<Self> {
        let (job, rest) = text.split_at_checked(36)?;
        let (schedule, index) = rest.strip_prefix('-')?.split_once('-')?;
        let name = Self { job: job.parse().ok()?, schedule: schedule.parse().ok()?, index: index.parse().ok()? };
        (name.to_string() == text).then_some(name)
    }
}

impl std::fmt::Display for EntryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", Self::prefix(self.job, self.schedule), self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_slot_is_the_domain_s_own() {
        let account = AccountId::parse("acme").unwrap();
        let input = input_of(&account, Uuid::nil(), 7).unwrap();
        assert_eq!(account_of(&input), Some(account.clone()));
        let sent = input.replace(SCHEDULED_TIME, "2026-03-09T02:30:00Z");
        let message: Message = serde_json::from_str(&sent).unwrap();
        let slot = "2026-03-09T02:30:00Z".parse().unwrap();
        assert_eq!(message, Message::new(Task::Slot { account, job: Uuid::nil(), schedule: 7, slot }));
    }

    #[test]
    fn names_read_back_and_nothing_else_is_a_name() {
        let name = EntryName { job: Uuid::from_u128(7), schedule: u64::MAX, index: 7 };
        assert!(name.to_string().len() <= 64, "Scheduler's limit on a name");
        assert_eq!(EntryName::parse(&name.to_string()), Some(name));
        let text = EntryName { job: Uuid::from_u128(7), schedule: 1, index: 0 }.to_string();
        let others = [
            String::new(),
            text.replace("-1-0", "-01-0"),
            text.replace("-1-0", "-1-+0"),
            text.replace("-1-0", "-1"),
            text.replace("-1-0", "-1-0-0"),
            text.replace("0000-0000", "0000_0000"),
            format!("x{text}"),
        ];
        for other in others {
            assert_eq!(EntryName::parse(&other), None, "{other}");
        }
    }
}

//! The outbox: schedules whose Scheduler entries may not match the table yet.
//!
//! A row is written in the same transaction as the change of the job, and removed once Scheduler has it. Applying a row
//! sends what the job says at that moment, all of it, so that applying twice is harmless.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{self, sortable};
use super::{Condition, Due, Table, Write, Written};
use crate::domain::account::AccountId;
use crate::error::Result;

/// One schedule to be made equal in Scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// Whose job.
    pub account: AccountId,
    /// Which job.
    pub job: Uuid,
    /// Which schedule; it may be gone from the job, and then goes from Scheduler.
    pub schedule: u64,
    /// The job's revision that asked for it.
    pub revision: u64,
}

impl OutboxRow {
    /// Writes the row, over an older one.
    pub(super) fn put(&self, now: Timestamp) -> Result<Write> {
        let key = keys::outbox(&self.account, self.job, self.schedule);
        Write::put(&key, self, [("due_kind", Due::Outbox.as_str().to_owned()), ("due_at", sortable(now))])
    }
}

impl Table {
    /// Writes rows by themselves: maintenance found Scheduler to differ.
    pub(crate) async fn put_outbox(&self, row: &OutboxRow, now: Timestamp) -> Result<Written> {
        self.write(row.put(now)?).await
    }

    /// Removes a row that was applied, unless a later change has replaced it.
    pub(crate) async fn settle_outbox(&self, row: &OutboxRow) -> Result<Written> {
        let key = keys::outbox(&row.account, row.job, row.schedule);
        let unchanged = Condition::Any(vec![Condition::Absent, Condition::equals("revision", row.revision)]);
        self.write(Write::delete(key).only_if(unchanged)).await
    }
}

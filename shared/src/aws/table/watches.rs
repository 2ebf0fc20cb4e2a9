//! Watches: for each schedule, the slot that should next have made a backup.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{self, sortable};
use super::{Condition, Due, Table, Write, Written};
use crate::domain::account::AccountId;
use crate::error::Result;

/// How long after its instant a slot without a backup counts as missed, seconds. Scheduler delivers within a minute.
pub const MISSED_AFTER_SECS: i64 = 300;

/// A schedule and the slot that is looked for next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Whose job.
    pub account: AccountId,
    /// Which job.
    pub job: Uuid,
    /// Which schedule.
    pub schedule: u64,
    /// The slot that should make a backup.
    pub next_slot: Timestamp,
}

impl Watch {
    /// Writes the watch, over an older one.
    pub(super) fn put(&self) -> Result<Write> {
        let due_at = self.next_slot + SignedDuration::from_secs(MISSED_AFTER_SECS);
        let key = keys::watch(&self.account, self.job, self.schedule);
        Write::put(&key, self, [("due_kind", Due::Watch.as_str().to_owned()), ("due_at", sortable(due_at))])
    }

    /// Removes the watch.
    pub(super) fn delete(account: &AccountId, job: Uuid, schedule: u64) -> Write {
        Write::delete(keys::watch(account, job, schedule))
    }
}

impl Table {
    /// The watch of a schedule; `None` where none of its slots is looked for.
    pub(crate) async fn watch(&self, account: &AccountId, job: Uuid, schedule: u64) -> Result<Option<Watch>> {
        self.get(&keys::watch(account, job, schedule)).await
    }

    /// Moves a watch on to `next`, or removes it where no slot follows; refused when the schedule changed in between.
    pub(crate) async fn advance_watch(&self, seen: &Watch, next: Option<Timestamp>) -> Result<Written> {
        let write = match next {
            Some(next_slot) => Watch { next_slot, ..seen.clone() }.put()?,
            None => Watch::delete(&seen.account, seen.job, seen.schedule),
        };
        self.write(write.only_if(Condition::equals("next_slot", seen.next_slot))).await
    }
}

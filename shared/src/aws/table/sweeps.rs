//! Sweeps: for each storage, when it is next walked for objects that no record names.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::keys::{self, sortable};
use super::{Condition, Due, Table, Write, Written};
use crate::domain::account::AccountId;
use crate::error::Result;

/// How often a storage is walked, hours.
const EVERY_HOURS: i64 = 24;

/// A storage to be walked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// Whose storage.
    pub account: AccountId,
    /// Which storage.
    pub storage: u64,
}

impl Sweep {
    /// Asks for a walk a day after `now`, over an earlier wish.
    pub(super) fn put(&self, now: Timestamp) -> Result<Write> {
        let due_at = now + SignedDuration::from_hours(EVERY_HOURS);
        let key = keys::sweep(&self.account, self.storage);
        Write::put(&key, self, [("due_kind", Due::Sweep.as_str().to_owned()), ("due_at", sortable(due_at))])
    }
}

impl Table {
    /// Puts a sweep off by a day; `No` when the storage is gone.
    pub(crate) async fn postpone_sweep(&self, sweep: &Sweep, now: Timestamp) -> Result<Written> {
        self.write(sweep.put(now)?.only_if(Condition::Exists)).await
    }
}

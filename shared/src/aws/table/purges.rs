//! Purges: wishes to delete every backup of a job that was recorded until an instant.
//!
//! The row is the wish; a message only hurries it. It goes when the last of those backups is gone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{self, sortable};
use super::{Condition, Cursor, Due, Order, Page, SortBy, Table, Update, Write, Written};
use crate::domain::account::AccountId;
use crate::domain::backup::Backup;
use crate::error::Result;

/// A wish to delete backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// Whose job.
    pub account: AccountId,
    /// Which job.
    pub job: Uuid,
    /// Backups that were recorded after this instant stay.
    pub until: Timestamp,
}

impl Table {
    /// Puts a wish, over an older one of the job.
    pub(crate) async fn put_purge(&self, purge: &Purge) -> Result<Written> {
        let key = keys::purge(&purge.account, purge.job);
        let due = [("due_kind", Due::Purge.as_str().to_owned()), ("due_at", sortable(purge.until))];
        self.write(Write::put(&key, purge, due)?).await
    }

    /// The wish of a job.
    pub(crate) async fn purge(&self, account: &AccountId, job: Uuid) -> Result<Option<Purge>> {
        self.get(&keys::purge(account, job)).await
    }

    /// Moves the instant at which maintenance asks again; `No` when the wish was carried out or replaced.
    pub(crate) async fn postpone_purge(&self, purge: &Purge, due_at: Timestamp) -> Result<Written> {
        let update = Update::of(keys::purge(&purge.account, purge.job)).set("due_at", sortable(due_at));
        self.write(update.only_if(Condition::equals("until", purge.until)).into()).await
    }

    /// Removes a wish that was carried out; `No` when a later one has replaced it.
    pub(crate) async fn settle_purge(&self, purge: &Purge) -> Result<Written> {
        let same = Condition::Any(vec![Condition::Absent, Condition::equals("until", purge.until)]);
        self.write(Write::delete(keys::purge(&purge.account, purge.job)).only_if(same)).await
    }

    /// One page of the backups that a wish means, the oldest first.
    pub(crate) async fn purged_backups(&self, purge: &Purge, after: Option<&Cursor>) -> Result<Page<Backup>> {
        let oldest_first = Order { by: SortBy::Created, descending: false };
        let mut page = self.list_backups(&purge.account, purge.job, oldest_first, 100, after).await?;
        let read = page.records.len();
        page.records.retain(|backup| backup.created_at <= purge.until);
        page.next = page.next.filter(|_| page.records.len() == read);
        Ok(page)
    }
}

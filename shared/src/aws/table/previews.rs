//! Previews: the last dry run of each job, a row of its own beside the job, which holds it no longer than it is of use.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Condition, Table, Write, Written, keys};
use crate::domain::account::AccountId;
use crate::domain::preview::Preview;
use crate::error::Result;

/// How long one is kept, days.
const KEPT_DAYS: i64 = 7;

#[derive(Serialize, Deserialize)]
struct Row {
    id: Uuid,
    preview: Preview,
    /// Epoch seconds after which DynamoDB removes the row, late as it does.
    ttl: i64,
}

impl Row {
    fn of(preview: &Preview) -> Self {
        let until: Timestamp = preview.requested_at + SignedDuration::from_hours(24 * KEPT_DAYS);
        Self { id: preview.id, preview: preview.clone(), ttl: until.as_second() }
    }
}

impl Table {
    /// The last preview of a job.
    pub(crate) async fn preview(&self, account: &AccountId, job: Uuid) -> Result<Option<Preview>> {
        Ok(self.get::<Row>(&keys::preview(account, job)).await?.map(|row| row.preview))
    }

    /// Puts a preview that is asked for, over an older one.
    pub(crate) async fn put_preview(&self, account: &AccountId, job: Uuid, preview: &Preview) -> Result<Written> {
        self.write(Write::put(&keys::preview(account, job), &Row::of(preview), [])?).await
    }

    /// Replaces a preview by its answer; `No` when another one was asked for meanwhile, or when the job is gone.
    pub(crate) async fn answer_preview(&self, account: &AccountId, job: Uuid, preview: &Preview) -> Result<Written> {
        let same = Condition::equals("id", preview.id);
        self.write(Write::put(&keys::preview(account, job), &Row::of(preview), [])?.only_if(same)).await
    }
}

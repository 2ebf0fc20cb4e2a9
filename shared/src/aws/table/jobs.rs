//! Jobs: a job, its outbox rows and its watches change as one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::counters::count_job;
use super::keys::{self, sortable, sorted_by};
use super::{Condition, Cursor, Due, Order, OutboxRow, Page, Query, Table, Update, Watch, Write, Written};
use crate::domain::account::AccountId;
use crate::domain::job::Job;
use crate::error::Result;

/// A job that its owner deleted, while its objects still exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeletedJob {
    /// The job as it was.
    pub job: Job,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

impl Table {
    /// One job.
    pub(crate) async fn job(&self, account: &AccountId, id: Uuid) -> Result<Option<Job>> {
        self.get(&keys::job(account, id)).await
    }

    /// Puts a new job, an outbox row and a watch per schedule; `No` when a server or storage of it is gone.
    pub(crate) async fn create_job(&self, job: &Job, watches: &[Watch]) -> Result<Written> {
        let mut writes =
            vec![Write::put_new(&keys::job(&job.account, job.id), job, job_indexes(job))?, count_job(&job.account, 1)];
        writes.extend(users_of(job, 1));
        writes.extend(outbox_rows(job, [], job.created_at)?);
        for watch in watches {
            writes.push(watch.put()?);
        }
        self.transact(writes).await
    }

    /// Replaces `seen` by `next`, whose revision is one higher; `No` when it changed in between, or when a server or
    /// storage that it newly names is gone. `watches` replace those of `seen`.
    pub(crate) async fn update_job(&self, seen: &Job, next: &Job, watches: &[Watch]) -> Result<Written> {
        // Runs write `last_ran_at`; an edit must not put back what it read of it.
        let but = ["last_ran_at"];
        let mut update = Update::of(keys::job(&next.account, next.id)).set_record(next, &but)?;
        for (name, text) in job_indexes(next).into_iter().filter(|(name, _)| *name != "by_ran") {
            update = update.set(name, text);
        }
        let mut writes = vec![update.only_if(Condition::equals("revision", seen.revision)).into()];
        writes.extend(changed_users(seen, next));
        writes.extend(outbox_rows(next, seen.schedules.iter().map(|schedule| schedule.id), next.updated_at)?);
        for schedule in seen.schedules.iter().map(|schedule| schedule.id) {
            if !watches.iter().any(|watch| watch.schedule == schedule) {
                writes.push(Watch::delete(&seen.account, seen.id, schedule));
            }
        }
        for watch in watches {
            writes.push(watch.put()?);
        }
        self.transact(writes).await
    }

    /// Moves a job out of sight, to where maintenance finds it; `No` when it changed in between.
    pub(crate) async fn delete_job(&self, seen: &Job, now: Timestamp) -> Result<Written> {
        let key = keys::deleted_job(&seen.account, seen.id);
        let due = [("due_kind", Due::DeletedJob.as_str().to_owned()), ("due_at", sortable(now))];
        let mut writes = vec![
            Write::delete(keys::job(&seen.account, seen.id)).only_if(Condition::equals("revision", seen.revision)),
            Write::put(&key, &DeletedJob { job: seen.clone(), deleted_at: now }, due)?,
            count_job(&seen.account, -1),
        ];
        writes.extend(outbox_rows(seen, [], now)?);
        writes.extend(seen.schedules.iter().map(|schedule| Watch::delete(&seen.account, seen.id, schedule.id)));
        self.transact(writes).await
    }

    /// A deleted job whose objects may still exist.
    pub(crate) async fn deleted_job(&self, account: &AccountId, id: Uuid) -> Result<Option<DeletedJob>> {
        self.get(&keys::deleted_job(account, id)).await
    }

    /// Moves the instant at which maintenance asks again for a deleted job's objects to be deleted.
    pub(crate) async fn postpone_deleted_job(&self, deleted: &DeletedJob, due_at: Timestamp) -> Result<()> {
        let update = Update::of(keys::deleted_job(&deleted.job.account, deleted.job.id))
            .set("due_at", sortable(due_at))
            .only_if(Condition::Exists);
        self.update::<DeletedJob>(update).await.map(drop)
    }

    /// Removes the last trace of a job, and what it held of servers and storages.
    pub(crate) async fn forget_job(&self, deleted: &DeletedJob) -> Result<Written> {
        let job = &deleted.job;
        let mut writes = vec![
            Write::delete(keys::deleted_job(&job.account, job.id)).only_if(Condition::Exists),
            Write::delete(keys::job_seats(&job.account, job.id)),
            Write::delete(keys::counter(&job.account, &format!("BACKUPS_OF#{}", job.id))),
        ];
        writes.extend(users_of(job, -1));
        self.transact(writes).await
    }

    /// The first `size` jobs after `after` that pass; see [`Table::find`].
    pub(crate) async fn find_jobs(
        &self,
        account: &AccountId,
        order: Order,
        size: i32,
        after: Option<&Cursor>,
        passes: impl Fn(&Job) -> bool,
    ) -> Result<Page<Job>> {
        let place = |job: &Job| (keys::job(account, job.id), job_indexes(job).to_vec());
        self.find(Query { order, after, ..Query::of(keys::jobs(account)) }, size, passes, place).await
    }
}

/// Notes that a backup of the job started, as part of its claim; refused when the job is gone.
pub(crate) fn job_ran(job: &Job, at: Timestamp) -> Write {
    Update::of(keys::job(&job.account, job.id))
        .set("last_ran_at", at)
        .set("by_ran", sorted_by(&sortable(at), job.id))
        .only_if(Condition::Exists)
        .into()
}

fn job_indexes(job: &Job) -> [(&'static str, String); 4] {
    let ran = job.last_ran_at.map(sortable).unwrap_or_default();
    [
        ("by_name", sorted_by(&job.name, job.id)),
        ("by_ran", sorted_by(&ran, job.id)),
        ("by_created", sorted_by(&sortable(job.created_at), job.id)),
        ("by_changed", sorted_by(&sortable(job.updated_at), job.id)),
    ]
}

/// An outbox row for every schedule of the job, and for those that it no longer has.
fn outbox_rows(job: &Job, gone: impl IntoIterator<Item = u64>, now: Timestamp) -> Result<Vec<Write>> {
    let mut ids: Vec<u64> = job.schedules.iter().map(|schedule| schedule.id).chain(gone).collect();
    ids.sort_unstable();
    ids.dedup();
    let row = |schedule| OutboxRow { account: job.account.clone(), job: job.id, schedule, revision: job.revision };
    ids.into_iter().map(|schedule| row(schedule).put(now)).collect()
}

/// Servers and storages count who uses them, so that none is deleted under a job: `by` for each that the job names.
fn users_of(job: &Job, by: i64) -> Vec<Write> {
    used_keys(job).into_iter().map(|key| count_user(key, by)).collect()
}

fn changed_users(seen: &Job, next: &Job) -> Vec<Write> {
    let (before, after) = (used_keys(seen), used_keys(next));
    let gone = before.iter().filter(|key| !after.contains(key)).map(|key| count_user(key.clone(), -1));
    let new = after.iter().filter(|key| !before.contains(key)).map(|key| count_user(key.clone(), 1));
    gone.chain(new).collect()
}

fn used_keys(job: &Job) -> Vec<super::Key> {
    let storages = job.storages.iter().map(|storage| keys::storage(&job.account, storage.storage_id));
    storages.chain(job.compute.server_id().map(|id| keys::server(&job.account, id))).collect()
}

/// Counts a user of a record in or out; refused when the record is gone. Its deletion asks for `users` to be 0.
pub(crate) fn count_user(key: super::Key, by: i64) -> Write {
    Update::of(key).add("users", by).only_if(Condition::Exists).into()
}

//! Jobs: a job, its outbox rows and its watches change as one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::counters::{count_job, count_job_of_server};
use super::facets::Row;
use super::keys::{self, sortable, sorted_by};
use super::numbers::{delete_job_numbers, move_job_numbers, put_job_numbers};
use super::walk::{List, at_least, from};
use super::{
    Condition, Cursor, Due, Order, OutboxRow, Page, Query, SortBy, Table, Update, Watch, Window, Write, Written,
};
use crate::domain::account::AccountId;
use crate::domain::job::Job;
use crate::error::Result;

/// What runs write; an edit must not put back what it read of it.
const WORKERS: [&str; 2] = ["last_ran_at", "last_stored_bytes"];

/// A job that its owner deleted, while its objects still exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeletedJob {
    /// The job as it was.
    pub job: Job,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

/// Which jobs a listing answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only of servers with exactly this host.
    pub host: Option<String>,
    /// Only of this server; goes before `host`.
    pub server: Option<u64>,
    /// Only those that were changed at this instant or later.
    pub modified_since: Option<Timestamp>,
}

impl Table {
    /// One job.
    pub(crate) async fn job(&self, account: &AccountId, id: Uuid) -> Result<Option<Job>> {
        self.get(&keys::job(account, id)).await
    }

    /// Puts a new job, an outbox row and a watch per schedule; `No` when something that it names is gone.
    pub(crate) async fn create_job(&self, job: &Job, watches: &[Watch]) -> Result<Written> {
        let mut writes = vec![put_job(job)?.only_if(Condition::Absent), count_job(&job.account, 1)];
        writes.extend(put_job_numbers(job)?);
        writes.extend(rows_of_new(job)?);
        writes.extend(users_of(job, 1));
        writes.extend(outbox_rows(job, [], job.created_at)?);
        for watch in watches {
            writes.push(watch.put()?);
        }
        self.transact(writes).await
    }

    /// Replaces `seen` by `next`, whose revision is one higher; `No` when it changed in between, or when
    /// something that it newly names is gone. `watches` replace those of `seen`.
    pub(crate) async fn update_job(&self, seen: &Job, next: &Job, watches: &[Watch]) -> Result<Written> {
        let mut update = Update::of(keys::job(&next.account, next.id)).set_record(next, &WORKERS)?;
        for (name, text) in edited_attributes(next) {
            update = update.set(name, text);
        }
        let mut unchanged = vec![Condition::equals("revision", seen.revision)];
        if server_of(seen) != server_of(next) {
            // The row under the new server is made of what was read; a run must not have started meanwhile.
            unchanged.push(Condition::unchanged("last_ran_at", seen.last_ran_at));
        }
        let mut writes = vec![update.only_if(Condition::All(unchanged)).into()];
        writes.extend(moved_rows(seen, next)?);
        writes.extend(move_job_numbers(seen, next)?);
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
        writes.extend(delete_job_numbers(seen));
        writes.extend(rows_of_gone(seen));
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

    /// Removes the last trace of a job, and what it held of others.
    pub(crate) async fn forget_job(&self, deleted: &DeletedJob) -> Result<Written> {
        let job = &deleted.job;
        let mut writes = vec![
            Write::delete(keys::deleted_job(&job.account, job.id)).only_if(Condition::Exists),
            Write::delete(keys::job_seats(&job.account, job.id)),
            Write::delete(keys::backup_tally(&job.account, job.id)),
            Write::delete(keys::purge(&job.account, job.id)),
            Write::delete(keys::preview(&job.account, job.id)),
        ];
        writes.extend(users_of(job, -1));
        self.transact(writes).await
    }

    /// Notes how much the last good backup of a job stored; `No` when the job is gone.
    pub(crate) async fn job_stored(&self, account: &AccountId, id: Uuid, bytes: u64) -> Result<Written> {
        let update = Update::of(keys::job(account, id)).set("last_stored_bytes", bytes);
        self.write(update.only_if(Condition::Exists).into()).await
    }

    /// One page of the jobs that pass; `servers` are those with the host that the filter asks for, if it does. With a time
    /// that does not bound the sort attribute it can be short and have a next page all the same, see [`super::walk`].
    pub(crate) async fn filter_jobs(
        &self,
        account: &AccountId,
        servers: Option<&[u64]>,
        modified_since: Option<Timestamp>,
        order: Order,
        window: &Window,
    ) -> Result<Page<Job>> {
        let mut list = List::of(keys::jobs(account), order);
        let partition = |server: &u64| keys::jobs_of_server(account, *server);
        list.facets = servers.map(|servers| servers.iter().map(partition).collect());
        match modified_since {
            Some(since) if order.by == SortBy::Changed => list.ranges.push(from(since)),
            Some(since) => list.conditions.push(at_least(SortBy::Changed, since)),
            None => {}
        }
        self.list(&list, window).await
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
        let place = |job: &Job| (keys::job(account, job.id), sort_attributes(job).to_vec());
        self.find(Query { order, after, ..Query::of(keys::jobs(account)) }, size, passes, place).await
    }
}

/// Notes that a backup of the job started, as part of its claim; refused when the job is gone, or on another server.
pub(crate) fn job_ran(job: &Job, at: Timestamp) -> Vec<Write> {
    let by_ran = sorted_by(&sortable(at), job.id);
    let noted = Update::of(keys::job(&job.account, job.id)).set("last_ran_at", at).set("by_ran", &by_ran);
    let row = server_of(job).map(|server| {
        let row = Update::of(keys::job_of_server(&job.account, server, job.id)).set("by_ran", &by_ran);
        row.only_if(Condition::Exists).into()
    });
    row.into_iter().chain([noted.only_if(Condition::Exists).into()]).collect()
}

/// A job with its index attributes.
pub(super) fn put_job(job: &Job) -> Result<Write> {
    let id = [(keys::ID_INDEX, job.id.to_string())];
    Write::put(&keys::job(&job.account, job.id), job, sort_attributes(job).into_iter().chain(id))
}

/// The rows of a job that is new: one under its server, counted.
pub(super) fn rows_of_new(job: &Job) -> Result<Vec<Write>> {
    let Some(server) = server_of(job) else { return Ok(Vec::new()) };
    let row = Write::put(&keys::job_of_server(&job.account, server, job.id), &Row {}, sort_attributes(job))?;
    Ok(vec![row, count_job_of_server(&job.account, server, 1)])
}

fn rows_of_gone(job: &Job) -> Vec<Write> {
    let Some(server) = server_of(job) else { return Vec::new() };
    let row = Write::delete(keys::job_of_server(&job.account, server, job.id));
    vec![row, count_job_of_server(&job.account, server, -1)]
}

fn moved_rows(seen: &Job, next: &Job) -> Result<Vec<Write>> {
    match (server_of(seen), server_of(next)) {
        (Some(before), Some(after)) if before == after => {
            let row = Update::of(keys::job_of_server(&next.account, after, next.id));
            let row = edited_attributes(next).fold(row, |row, (name, text)| row.set(name, text));
            Ok(vec![row.only_if(Condition::Exists).into()])
        }
        _ => Ok(rows_of_gone(seen).into_iter().chain(rows_of_new(next)?).collect()),
    }
}

/// The server that a job is listed under.
pub(super) fn server_of(job: &Job) -> Option<u64> {
    job.compute.server_id()
}

/// What lists sort jobs by.
fn sort_attributes(job: &Job) -> [(&'static str, String); 4] {
    let ran = job.last_ran_at.map(sortable).unwrap_or_default();
    [
        ("by_name", sorted_by(&job.name, job.id)),
        ("by_ran", sorted_by(&ran, job.id)),
        ("by_created", sorted_by(&sortable(job.created_at), job.id)),
        ("by_changed", sorted_by(&sortable(job.updated_at), job.id)),
    ]
}

/// The same without what runs write.
fn edited_attributes(job: &Job) -> impl Iterator<Item = (&'static str, String)> {
    sort_attributes(job).into_iter().filter(|(name, _)| *name != "by_ran")
}

/// An outbox row for every schedule of the job, and for those that it no longer has.
fn outbox_rows(job: &Job, gone: impl IntoIterator<Item = u64>, now: Timestamp) -> Result<Vec<Write>> {
    let mut ids: Vec<u64> = job.schedules.iter().map(|schedule| schedule.id).chain(gone).collect();
    ids.sort_unstable();
    ids.dedup();
    let row = |schedule| OutboxRow { account: job.account.clone(), job: job.id, schedule, revision: job.revision };
    ids.into_iter().map(|schedule| row(schedule).put(now)).collect()
}

/// Servers, storages, encryption keys and proxies count who uses them, so that none is deleted under a job: `by` for each
/// that the job names.
fn users_of(job: &Job, by: i64) -> Vec<Write> {
    used_keys(job).into_iter().map(|key| count_user(key, by)).collect()
}

fn changed_users(seen: &Job, next: &Job) -> Vec<Write> {
    let (before, after) = (used_keys(seen), used_keys(next));
    let gone = before.iter().filter(|key| !after.contains(key)).map(|key| count_user(key.clone(), -1));
    let new = after.iter().filter(|key| !before.contains(key)).map(|key| count_user(key.clone(), 1));
    gone.chain(new).collect()
}

pub(super) fn used_keys(job: &Job) -> Vec<super::Key> {
    let storages = job.storages.iter().map(|storage| keys::storage(&job.account, storage.storage_id));
    let server = job.compute.server_id().map(|id| keys::server(&job.account, id));
    let encryption_keys = job.encryption_key_ids.iter().map(|id| keys::encryption_key(&job.account, *id));
    let proxy = job.proxy_id.map(|id| keys::proxy(&job.account, id));
    storages.chain(server).chain(encryption_keys).chain(proxy).collect()
}

/// Counts a user of a record in or out; refused when the record is gone. Its deletion asks for `users` to be 0.
pub(crate) fn count_user(key: super::Key, by: i64) -> Write {
    Update::of(key).add("users", by).only_if(Condition::Exists).into()
}

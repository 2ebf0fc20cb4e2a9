//! Jobs: what their owner does with them. Their runs are in [`super::runs`].

use std::collections::HashSet;

use jiff::Timestamp;
use uuid::Uuid;

use super::Service;
use super::conflict::{TRIES, contended, pause};
use super::listing::Listing;
use crate::aws::table::{Cursor, DeletedJob, Noun, Order, SortBy};
use crate::domain::account::AccountId;
use crate::domain::backup::Backup;
use crate::domain::job::{Compute, Job, JobChange, JobInput};
use crate::domain::recipe::{Recipe, RecipeDraft};
use crate::domain::revision::Expected;
use crate::domain::schedule::Schedule;
use crate::domain::sealed::{Sealed, Secret};
use crate::domain::server::Server;
use crate::domain::ssh_key::SshKey;
use crate::domain::storage::Storage;
use crate::error::{Error, FieldErrors, Result};

/// How many of its newest backups a job shows.
const LAST_BACKUPS: i32 = 3;

/// Which jobs a listing answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only of servers with exactly this host.
    pub host: Option<String>,
    /// Only those that were changed at this instant or later.
    pub modified_since: Option<Timestamp>,
}

/// A job and what it refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct JobDetail {
    /// The job.
    pub job: Job,
    /// Its server and the key that logs in there; `None` for a job that runs without one.
    pub server: Option<(Server, SshKey)>,
    /// Its storages with their priorities, in that order.
    pub storages: Vec<(Storage, u32)>,
    /// Its newest backups, the newest first.
    pub last_backups: Vec<Backup>,
}

impl Service {
    /// Makes a job and puts its schedules in Scheduler. Fails with all offending fields at once.
    pub async fn create_job(&self, account: &AccountId, input: &JobInput) -> Result<Job> {
        let change = self.checked(account, input.read_new()).await?;
        let storages = change.storages_by_priority();
        let (Some(name), Some(recipe), Some(compute), Some(storages)) =
            (change.name, change.recipe, change.compute, storages)
        else {
            return Err(Error::internal("a required field is absent, but no fault was told"));
        };
        let (now, id) = (self.clock.now(), Uuid::new_v4());
        let job = Job {
            id,
            number: self.aws.table.next_number(account, Noun::Job).await?,
            account: account.clone(),
            name,
            recipe: self.sealed_recipe(account, id, recipe)?,
            compute,
            storages,
            schedules: self.numbered(account, change.schedules.unwrap_or_default()).await?,
            paused_at: None,
            last_ran_at: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let watches = self.watches_of(None, &job).await?;
        for _ in 0..TRIES {
            if self.aws.table.create_job(&job, &watches).await?.is_yes() {
                self.apply_outbox_of(&job, &[]).await;
                return Ok(job);
            }
            // A server or storage that went meanwhile is named; anything else was another writer.
            self.checked(account, input.read_new()).await?;
            pause().await;
        }
        Err(contended())
    }

    /// One job.
    pub async fn job(&self, account: &AccountId, id: Uuid) -> Result<Job> {
        self.aws.table.job(account, id).await?.ok_or_else(|| Error::not_found("job"))
    }

    /// Changes what the input names. Fails with all offending fields at once.
    pub async fn update_job(
        &self,
        account: &AccountId,
        id: Uuid,
        input: &JobInput,
        expected: &Expected,
    ) -> Result<Job> {
        for _ in 0..TRIES {
            let seen = self.job(account, id).await?;
            expected.check(seen.revision)?;
            let change = self.checked(account, input.read_change(&seen)).await?;
            let schedules = match change.schedules.clone() {
                Some(schedules) => self.numbered(account, schedules).await?,
                None => seen.schedules.clone(),
            };
            let storages = change.storages_by_priority();
            let recipe = match change.recipe {
                Some(recipe) => self.sealed_recipe(account, id, recipe)?,
                None => seen.recipe.clone(),
            };
            let next = Job {
                name: change.name.unwrap_or_else(|| seen.name.clone()),
                recipe,
                compute: change.compute.unwrap_or_else(|| seen.compute.clone()),
                storages: storages.unwrap_or_else(|| seen.storages.clone()),
                schedules,
                ..seen.clone()
            };
            if let Some(job) = self.replace_job(&seen, next).await? {
                return Ok(job);
            }
        }
        Err(changed_meanwhile())
    }

    /// Stops a job's schedules from firing; a backup that runs goes on. Harmless to repeat.
    pub async fn pause_job(&self, account: &AccountId, id: Uuid) -> Result<Job> {
        self.set_paused(account, id, true).await
    }

    /// Lets a job's schedules fire again, from the next slot on. Harmless to repeat.
    pub async fn resume_job(&self, account: &AccountId, id: Uuid) -> Result<Job> {
        self.set_paused(account, id, false).await
    }

    async fn set_paused(&self, account: &AccountId, id: Uuid, paused: bool) -> Result<Job> {
        for _ in 0..TRIES {
            let seen = self.job(account, id).await?;
            if seen.paused_at.is_some() == paused {
                return Ok(seen);
            }
            let paused_at = paused.then(|| self.clock.now());
            if let Some(job) = self.replace_job(&seen, Job { paused_at, ..seen.clone() }).await? {
                return Ok(job);
            }
        }
        Err(changed_meanwhile())
    }

    /// Replaces `seen` by `next` as its next revision; `None` when it changed meanwhile.
    pub(super) async fn replace_job(&self, seen: &Job, next: Job) -> Result<Option<Job>> {
        let next = Job { updated_at: self.clock.now(), revision: seen.revision + 1, ..next };
        let watches = self.watches_of(Some(seen), &next).await?;
        if !self.aws.table.update_job(seen, &next, &watches).await?.is_yes() {
            pause().await;
            return Ok(None);
        }
        self.apply_outbox_of(&next, &seen.schedules).await;
        Ok(Some(next))
    }

    /// Deletes a job. Its schedules stop at once; its backups and their objects go in the background.
    pub async fn delete_job(&self, account: &AccountId, id: Uuid, expected: &Expected) -> Result<()> {
        for _ in 0..TRIES {
            let seen = self.job(account, id).await?;
            expected.check(seen.revision)?;
            let deleted = DeletedJob { job: seen, deleted_at: self.clock.now() };
            if self.aws.table.delete_job(&deleted.job, deleted.deleted_at).await?.is_yes() {
                self.apply_outbox_of(&deleted.job, &[]).await;
                if let Err(error) = self.ask_to_delete(&deleted).await {
                    tracing::warn!(error = error.chain(), "a job's objects are left to maintenance to delete");
                }
                return Ok(());
            }
            pause().await;
        }
        Err(changed_meanwhile())
    }

    /// One page of jobs: at most `limit`. With a filter that few pass it can be short, and still have a next page.
    pub async fn list_jobs(
        &self,
        account: &AccountId,
        filter: &JobFilter,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<Job>> {
        let servers = match &filter.host {
            Some(host) => Some(self.servers_with_host(account, host).await?),
            None => None,
        };
        let passes = |job: &Job| {
            let runs_on = |servers: &HashSet<u64>| job.compute.server_id().is_some_and(|id| servers.contains(&id));
            servers.as_ref().is_none_or(runs_on) && filter.modified_since.is_none_or(|since| job.updated_at >= since)
        };
        let page = self.aws.table.find_jobs(account, order, limit, after, passes).await?;
        let total = match *filter == JobFilter::default() {
            true => Some(self.aws.table.total_jobs(account).await?),
            false => None,
        };
        Ok(Listing { records: page.records, next: page.next, total })
    }

    /// A job with what it refers to.
    pub async fn job_detail(&self, job: Job) -> Result<JobDetail> {
        let account = &job.account;
        let server = match job.compute.server_id() {
            Some(id) => self.aws.table.server(account, id).await?,
            None => None,
        };
        let server = match server {
            Some(server) => self.aws.table.ssh_key(account, server.ssh_key_id).await?.map(|key| (server, key)),
            None => None,
        };
        let mut storages = Vec::with_capacity(job.storages.len());
        for storage in &job.storages {
            let found = self.aws.table.storage(account, storage.storage_id).await?;
            storages.extend(found.map(|found| (found, storage.priority)));
        }
        let newest_first = Order { by: SortBy::Created, descending: true };
        let newest = self.aws.table.find_backups(account, job.id, newest_first, LAST_BACKUPS, None, |_| true).await?;
        Ok(JobDetail { server, storages, last_backups: newest.records, job })
    }

    /// The change, if it can be carried out: what its servers and storages are is looked up, and told with all other faults.
    async fn checked(&self, account: &AccountId, mut change: JobChange) -> Result<JobChange> {
        if let Some(server_id) = change.compute.as_ref().and_then(Compute::server_id)
            && self.aws.table.server(account, server_id).await?.is_none()
        {
            change.faults.push("compute.server_id", "names no server of this account");
        }
        for (index, storage) in change.storages.iter().flatten() {
            if self.aws.table.storage(account, storage.storage_id).await?.is_none() {
                change.faults.push(format!("storage.{index}.storage_id"), "names no storage of this account");
            }
        }
        let faults: FieldErrors = std::mem::take(&mut change.faults);
        Ok(faults.check(change)?)
    }

    /// The recipe of a job, with its new secrets sealed for that job.
    fn sealed_recipe(&self, account: &AccountId, job: Uuid, draft: RecipeDraft) -> Result<Recipe> {
        draft.seal(|key, secret| self.sealer.seal(account, &secret_name(job, key), secret))
    }

    /// A recipe of the job `from`, with its secrets sealed for the job `to` of the same account.
    pub fn resealed_recipe(&self, account: &AccountId, recipe: Recipe, from: Uuid, to: Uuid) -> Result<Recipe> {
        recipe.resealed(|key, sealed| {
            let secret = self.sealer.open(account, &secret_name(from, key), sealed)?;
            self.sealer.seal(account, &secret_name(to, key), &secret)
        })
    }

    /// A secret of a job's config in the open, by its field's key; an internal error if it was altered or is another's.
    pub fn open_config_secret(&self, job: &Job, key: &str, sealed: &Sealed) -> Result<Secret> {
        self.sealer.open(&job.account, &secret_name(job.id, key), sealed)
    }

    /// The schedules, with a number for each new one.
    async fn numbered(&self, account: &AccountId, mut schedules: Vec<Schedule>) -> Result<Vec<Schedule>> {
        let new = schedules.iter().filter(|schedule| schedule.id == 0).count();
        if new == 0 {
            return Ok(schedules);
        }
        let count = u32::try_from(new).map_err(Error::internal)?;
        let first = self.aws.table.next_numbers(account, Noun::Schedule, count).await?;
        for (id, schedule) in (first..).zip(schedules.iter_mut().filter(|schedule| schedule.id == 0)) {
            schedule.id = id;
        }
        Ok(schedules)
    }

    async fn servers_with_host(&self, account: &AccountId, host: &str) -> Result<HashSet<u64>> {
        let mut found = HashSet::new();
        let order = Order { by: SortBy::Id, descending: false };
        let mut after = None;
        loop {
            let page = self.aws.table.list_servers(account, order, 100, after.as_ref()).await?;
            found.extend(page.records.iter().filter(|server| *server.host == *host).map(|server| server.id));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }
}

/// What a secret of a job's config is sealed for: it opens for no other job and no other field.
fn secret_name(job: Uuid, key: &str) -> String {
    format!("job/{job}/config/{key}")
}

pub(super) fn changed_meanwhile() -> Error {
    Error::conflict("the job was changed by someone else at the same time; read it and try again")
}

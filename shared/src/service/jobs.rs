//! Jobs: what their owner does with them. Their runs are in [`super::runs`].

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::Service;
use super::conflict::{TRIES, contended, pause};
use super::listing::Listing;
use crate::aws::table::{
    DeletedJob, Gathering, JobFilter, Key, Noun, Order, Records, SortBy, Tally, Window, Written, keys,
};
use crate::domain::ability::Ability;
use crate::domain::account::AccountId;
use crate::domain::backup_summary::BackupSummary;
use crate::domain::hooks::Hooks;
use crate::domain::job::{Compute, Job, JobChange, JobInput, JobStorage};
use crate::domain::recipe::Reached;
use crate::domain::revision::Expected;
use crate::domain::schedule::Schedule;
use crate::domain::server::Server;
use crate::domain::ssh_key::SshKey;
use crate::domain::storage::Storage;
use crate::domain::token::lacks;
use crate::error::{Error, FieldErrors, Result};

/// How many of its newest backups a job shows.
const LAST_BACKUPS: usize = 3;

/// How many servers with one host a list of their jobs joins.
const MAX_SERVERS_OF_HOST: usize = 100;

/// A job and what it refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct JobDetail {
    /// The job.
    pub job: Job,
    /// Its server and the key that logs in there; `None` for a job that runs without one.
    pub server: Option<(Arc<Server>, Arc<SshKey>)>,
    /// Its storages with their priorities, in that order.
    pub storages: Vec<(Arc<Storage>, u32)>,
    /// Its newest backups in short, the newest first.
    pub last_backups: Vec<BackupSummary>,
}

impl Service {
    /// Makes a job and puts its schedules in Scheduler. Fails with all offending fields at once.
    pub async fn create_job(&self, account: &AccountId, input: &JobInput) -> Result<JobDetail> {
        let change = allowed(input, input.read_new(), None)?;
        let (change, mut read) = self.checked(account, change).await?;
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
            compression: change.compression.unwrap_or_default(),
            encryption_key_ids: change.encryption_keys.unwrap_or_default().into_iter().map(|(_, id)| id).collect(),
            encryption_password: self.sealed_password(account, id, change.encryption_password.as_ref(), None)?,
            path_template: change.path_template.flatten(),
            proxy_id: change.proxy_id.flatten(),
            manual_retention: change.manual_retention.unwrap_or_default(),
            limits: change.limits.unwrap_or_default(),
            hooks: self.sealed_hooks(account, id, &change.hooks, Hooks::default())?,
            paused_at: None,
            last_ran_at: None,
            last_stored_bytes: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        for _ in 0..TRIES {
            if self.put_new_job(&job).await?.is_yes() {
                read.assume_absent(keys::backup_tally(account, id));
                return self.detail(job, &mut read).await;
            }
            // What it names and went meanwhile is told; anything else was another writer.
            (_, read) = self.checked(account, input.read_new()).await?;
            pause().await;
        }
        Err(contended())
    }

    /// Makes a job like another one: the same source, storages, key and proxy, and schedules of its own like the other's. It
    /// starts paused, so that nothing is backed up twice unasked. Without a `name` it is called a copy of the other.
    pub async fn clone_job(&self, account: &AccountId, id: Uuid, name: Option<String>) -> Result<Job> {
        for _ in 0..TRIES {
            let seen = self.job(account, id).await?;
            let (now, copy) = (self.clock.now(), Uuid::new_v4());
            let schedules = seen.schedules.iter().map(|schedule| Schedule { id: 0, ..schedule.clone() }).collect();
            let job = Job {
                id: copy,
                number: self.aws.table.next_number(account, Noun::Job).await?,
                recipe: self.resealed_recipe(account, seen.recipe.clone(), id, copy)?,
                hooks: self.resealed_hooks(account, &seen.hooks, id, copy)?,
                encryption_password: self.resealed_password(account, seen.encryption_password.as_ref(), id, copy)?,
                name: name.clone().unwrap_or_else(|| seen.name_of_copy()),
                schedules: self.numbered(account, schedules).await?,
                paused_at: Some(now),
                last_ran_at: None,
                last_stored_bytes: None,
                created_at: now,
                updated_at: now,
                revision: 1,
                ..seen
            };
            if self.put_new_job(&job).await?.is_yes() {
                return Ok(job);
            }
            // Something that the other one named went meanwhile, and it changed with it.
            pause().await;
        }
        Err(contended())
    }

    /// Puts a new job and then its schedules in Scheduler; `No` when something that it names is gone.
    async fn put_new_job(&self, job: &Job) -> Result<Written> {
        let watches = self.watches_of(None, job).await?;
        let written = self.aws.table.create_job(job, &watches).await?;
        if written.is_yes() {
            self.apply_outbox_of(job, &[]).await;
        }
        Ok(written)
    }

    /// One job.
    pub async fn job(&self, account: &AccountId, id: Uuid) -> Result<Job> {
        self.aws.table.job(account, id).await?.ok_or_else(|| Error::not_found("job"))
    }

    /// The job with that number.
    pub async fn job_of_number(&self, account: &AccountId, number: u64) -> Result<Job> {
        let id = self.aws.table.job_of_number(account, number).await?;
        self.job(account, id.ok_or_else(|| Error::not_found("job"))?).await
    }

    /// The job that has that schedule.
    pub async fn job_of_schedule(&self, account: &AccountId, schedule: u64) -> Result<Job> {
        let id = self.aws.table.job_of_schedule(account, schedule).await?;
        self.job(account, id.ok_or_else(|| Error::not_found("schedule"))?).await
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
            let change = allowed(input, input.read_change(&seen), Some(&seen))?;
            let (change, _) = self.checked(account, change).await?;
            let schedules = match change.schedules.clone() {
                Some(schedules) => self.numbered(account, schedules).await?,
                None => seen.schedules.clone(),
            };
            let storages = change.storages_by_priority();
            let encryption_keys = change.encryption_keys.map(|keys| keys.into_iter().map(|(_, id)| id).collect());
            let recipe = match change.recipe {
                Some(recipe) => self.sealed_recipe(account, id, recipe)?,
                None => seen.recipe.clone(),
            };
            let (password, seen_password) = (change.encryption_password, seen.encryption_password.clone());
            let next = Job {
                name: change.name.unwrap_or_else(|| seen.name.clone()),
                recipe,
                compute: change.compute.unwrap_or_else(|| seen.compute.clone()),
                storages: storages.unwrap_or_else(|| seen.storages.clone()),
                schedules,
                compression: change.compression.unwrap_or(seen.compression),
                encryption_key_ids: encryption_keys.unwrap_or_else(|| seen.encryption_key_ids.clone()),
                encryption_password: self.sealed_password(account, id, password.as_ref(), seen_password)?,
                path_template: change.path_template.unwrap_or_else(|| seen.path_template.clone()),
                proxy_id: change.proxy_id.unwrap_or(seen.proxy_id),
                manual_retention: change.manual_retention.unwrap_or(seen.manual_retention),
                limits: change.limits.unwrap_or(seen.limits),
                hooks: self.sealed_hooks(account, id, &change.hooks, seen.hooks.clone())?,
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

    /// One page of jobs with what they refer to. With `modified_since` under another sort it can be short, and still have
    /// a next page.
    pub async fn list_jobs(
        &self,
        account: &AccountId,
        filter: &JobFilter,
        order: Order,
        window: &Window,
    ) -> Result<Listing<JobDetail>> {
        let servers = match (filter.server, &filter.host) {
            (Some(server), _) => Some(vec![server]),
            (None, Some(host)) => Some(self.servers_with_host(account, host).await?),
            (None, None) => None,
        };
        let table = &self.aws.table;
        let page = table.filter_jobs(account, servers.as_deref(), filter.modified_since, order, window).await?;
        // What is changed since then, nobody counts.
        let is_counted = filter.modified_since.is_none();
        let counters: Vec<Key> = match servers {
            _ if !is_counted => Vec::new(),
            Some(servers) => servers.iter().map(|server| keys::jobs_of_server_counter(account, *server)).collect(),
            None => vec![keys::jobs_counter(account)],
        };
        let keys = page.records.iter().flat_map(keys_of_job).chain(counters.iter().cloned());
        let mut read = table.gather();
        read.read(keys.collect::<Vec<_>>()).await?;
        let total = is_counted.then(|| read.found().total(&counters)).transpose()?;
        Ok(Listing { records: self.details(page.records, &mut read).await?, next: page.next, total })
    }

    /// A job with what it refers to.
    pub async fn job_detail(&self, job: Job) -> Result<JobDetail> {
        let mut read = self.aws.table.gather();
        self.detail(job, &mut read).await
    }

    /// One job with what it refers to.
    pub async fn show_job(&self, account: &AccountId, id: Uuid) -> Result<JobDetail> {
        let key = keys::job(account, id);
        let mut read = self.aws.table.gather();
        read.read([key.clone(), keys::backup_tally(account, id)]).await?;
        let job: Job = read.take(&key)?.ok_or_else(|| Error::not_found("job"))?;
        read.remember(&key, &keys_of_job(&job));
        self.detail(job, &mut read).await
    }

    async fn detail(&self, job: Job, read: &mut Gathering<'_>) -> Result<JobDetail> {
        self.details(vec![job], read).await?.pop().ok_or_else(|| Error::internal("a job has no detail"))
    }

    /// Jobs with what they refer to, in the same order: what several of them refer to is read once.
    async fn details(&self, jobs: Vec<Job>, read: &mut Gathering<'_>) -> Result<Vec<JobDetail>> {
        read.read(jobs.iter().flat_map(keys_of_job)).await?;
        let tallies: Vec<_> = jobs.iter().map(|job| read.found().tally(&job.account, job.id)).collect();
        let near = Near::of(&jobs, &tallies, read).await?;
        let mut details = Vec::with_capacity(jobs.len());
        for (job, tally) in jobs.into_iter().zip(tallies) {
            let expected = LAST_BACKUPS.min(usize::try_from(tally.total).unwrap_or(LAST_BACKUPS));
            let mut last_backups = newest(&job, &tally, read.found())?;
            if last_backups.len() < expected {
                // One of the newest was deleted: only the list knows which one comes after them.
                last_backups = self.newest_backups(&job).await?;
            }
            last_backups.sort_by_key(|backup| std::cmp::Reverse((backup.created_at, backup.id)));
            details.push(near.detail(job, last_backups));
        }
        Ok(details)
    }

    async fn newest_backups(&self, job: &Job) -> Result<Vec<BackupSummary>> {
        let newest_first = Order { by: SortBy::Created, descending: true };
        let limit = i32::try_from(LAST_BACKUPS).map_err(Error::internal)?;
        let page = self.aws.table.list_backups(&job.account, job.id, newest_first, limit, None).await?;
        Ok(page.records.iter().map(BackupSummary::of).collect())
    }

    /// The change, if it can be carried out, and what it names, which is looked up at once: what is missing is told with
    /// all other faults.
    async fn checked<'a>(&'a self, account: &AccountId, mut change: JobChange) -> Result<(JobChange, Gathering<'a>)> {
        let mut named = Vec::new();
        if let Some(server_id) = change.compute.as_ref().and_then(Compute::server_id) {
            named.push(("compute.server_id".to_owned(), "server", keys::server(account, server_id)));
        }
        for (index, storage) in change.storages.iter().flatten() {
            named.push((format!("storage.{index}.storage_id"), "storage", keys::storage(account, storage.storage_id)));
        }
        for (field, id) in change.encryption_keys.iter().flatten() {
            named.push((field.clone(), "encryption key", keys::encryption_key(account, *id)));
        }
        if let Some(Some(id)) = change.proxy_id {
            named.push(("proxy_id".to_owned(), "proxy", keys::proxy(account, id)));
        }
        let mut read = self.aws.table.gather();
        read.read(named.iter().map(|(.., key)| key.clone())).await?;
        for (field, what, _) in named.into_iter().filter(|(.., key)| !read.found().has(key)) {
            change.faults.push(field, format!("names no {what} of this account"));
        }
        for (field, reached) in &change.reached {
            if let Err(message) = self.may_be_reached(reached) {
                change.faults.push(field, message);
            }
        }
        let faults: FieldErrors = std::mem::take(&mut change.faults);
        Ok((faults.check(change)?, read))
    }

    /// Whether a worker may connect there by itself; the error is the field's message.
    fn may_be_reached(&self, reached: &Reached) -> std::result::Result<(), String> {
        let guard = &self.aws.outside.guard;
        match reached {
            Reached::Host(host) => guard.host(host).map(drop),
            Reached::Url(url) => guard.url(url.expose()).map(drop),
        }
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

    async fn servers_with_host(&self, account: &AccountId, host: &str) -> Result<Vec<u64>> {
        let limit = i32::try_from(MAX_SERVERS_OF_HOST + 1).map_err(Error::internal)?;
        let found = self.aws.table.servers_with_host(account, host, limit).await?;
        if found.len() > MAX_SERVERS_OF_HOST {
            let message = format!("is of more than {MAX_SERVERS_OF_HOST} servers; a list cannot join so many");
            return Err(Error::invalid("host", message));
        }
        Ok(found)
    }
}

/// What jobs refer to, by their keys; each record is read once, whoever refers to it.
struct Near {
    servers: HashMap<Key, (Arc<Server>, Arc<SshKey>)>,
    storages: HashMap<Key, Arc<Storage>>,
}

impl Near {
    /// Reads what is still missing: the keys that log in to the servers, and backups that the tallies do not have in short.
    async fn of(jobs: &[Job], tallies: &[Tally], read: &mut Gathering<'_>) -> Result<Self> {
        let mut found_servers: HashMap<Key, Arc<Server>> = HashMap::new();
        let mut storages = HashMap::new();
        let mut ways = Vec::new();
        let mut far = Vec::new();
        for (job, tally) in jobs.iter().zip(tallies) {
            if let Some(key) = server_key(job).filter(|key| !found_servers.contains_key(key))
                && let Some(server) = read.take::<Server>(&key)?
            {
                ways.push((key.clone(), keys::ssh_key(&job.account, server.login.ssh_key_id)));
                found_servers.insert(key, Arc::new(server));
            }
            for storage in &job.storages {
                let key = keys::storage(&job.account, storage.storage_id);
                if let Some(storage) = read.take::<Storage>(&key)? {
                    storages.insert(key, Arc::new(storage));
                }
            }
            far.extend(untold(job, tally));
        }
        for (server, ssh_key) in &ways {
            read.remember(server, std::slice::from_ref(ssh_key));
        }
        read.read(ways.iter().map(|(_, ssh_key)| ssh_key.clone()).chain(far)).await?;
        let mut servers = HashMap::new();
        for (key, ssh_key) in ways {
            if let Some((server, ssh_key)) = found_servers.remove(&key).zip(read.found().get(&ssh_key)?) {
                servers.insert(key, (server, Arc::new(ssh_key)));
            }
        }
        Ok(Self { servers, storages })
    }

    fn detail(&self, job: Job, last_backups: Vec<BackupSummary>) -> JobDetail {
        let storage = |storage: &JobStorage| {
            let found = self.storages.get(&keys::storage(&job.account, storage.storage_id))?;
            Some((found.clone(), storage.priority))
        };
        let storages = job.storages.iter().filter_map(storage).collect();
        let server = server_key(&job).and_then(|key| self.servers.get(&key).cloned());
        JobDetail { server, storages, last_backups, job }
    }
}

/// The newest backups of a job that are still there.
fn newest(job: &Job, tally: &Tally, found: &Records) -> Result<Vec<BackupSummary>> {
    let told = tally.newest.iter().map(|id| match tally.summary(*id) {
        Some(summary) => Ok(Some(summary.clone())),
        None => Ok(found.get(&keys::backup(&job.account, job.id, *id))?.as_ref().map(BackupSummary::of)),
    });
    told.filter_map(Result::transpose).collect()
}

/// The newest backups that only their records tell of.
fn untold(job: &Job, tally: &Tally) -> Vec<Key> {
    let untold = tally.newest.iter().filter(|id| tally.total > 0 && tally.summary(**id).is_none());
    untold.map(|id| keys::backup(&job.account, job.id, *id)).collect()
}

fn server_key(job: &Job) -> Option<Key> {
    job.compute.server_id().map(|id| keys::server(&job.account, id))
}

/// What is read first of a job's surroundings.
fn keys_of_job(job: &Job) -> Vec<Key> {
    let account = &job.account;
    let storages = job.storages.iter().map(|storage| keys::storage(account, storage.storage_id));
    let server = job.compute.server_id().map(|id| keys::server(account, id));
    storages.chain(server).chain([keys::backup_tally(account, job.id)]).collect()
}

/// The change, unless it says what scripts run where and who sends it may not.
fn allowed(input: &JobInput, change: JobChange, before: Option<&Job>) -> Result<JobChange> {
    match change.is_about_scripts(before) && !input.may_script {
        true => Err(lacks(Ability::Scripts)),
        false => Ok(change),
    }
}

pub(super) fn changed_meanwhile() -> Error {
    Error::conflict("the job was changed by someone else at the same time; read it and try again")
}

//! Delete: removes objects that no record names, and records that are no longer wanted.
//!
//! Records decide: an object is deleted only after its record said that it is not wanted. Everything here can be applied
//! twice and be interrupted anywhere.

use std::sync::Arc;

use futures::{StreamExt, stream};
use holdfast_shared::Result;
use holdfast_shared::aws::objects::{Objects, ObjectsError, Swept};
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::backup::Backup;
use holdfast_shared::domain::job::Job;
use holdfast_shared::domain::object_key::{ObjectKey, prefix_of_account};
use holdfast_shared::service::{Doomed, Leftover, Service};
use holdfast_shared::{Error, ErrorKind};
use uuid::Uuid;

use crate::check;

/// How many backups of a job are deleted at once.
const AT_ONCE: usize = 4;

/// What became of a task that may have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Done.
    Done,
    /// A run is still being stopped: ask again later.
    Wait,
    /// An object lock keeps some of it; it was noted when to ask again.
    Locked,
}

impl Deletion {
    /// Of two tasks together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Wait, _) | (_, Self::Wait) => Self::Wait,
            (Self::Locked, _) | (_, Self::Locked) => Self::Locked,
            (Self::Done, Self::Done) => Self::Done,
        }
    }
}

/// Deletes what failed attempts of a backup left: every object of it that its record does not name, but those of an
/// attempt that is under way.
pub async fn sweep_backup(service: &Service, account: &AccountId, job: Uuid, backup: Uuid) -> Result<()> {
    // Without a record its job is being deleted, and its objects with it.
    let Some(backup) = service.backup_record(account, job, backup).await? else { return Ok(()) };
    let under_way = |key: &ObjectKey| {
        key.attempt() > backup.attempt || (key.attempt() == backup.attempt && !backup.status.has_ended())
    };
    let keep = |key: &str| ObjectKey::parse(key).is_none_or(|key| backup.names(&key) || under_way(&key));
    let record = match service.job(account, job).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        record => record?,
    };
    for storage in &record.storages {
        sweep(service, account, storage.storage_id, &backup.directory().prefix_of_backup(), keep).await?;
    }
    Ok(())
}

/// Applies a job's retention: deletes the objects of what it no longer keeps. What fails is tried at the next run.
pub async fn expire(service: &Service, account: &AccountId, job: Uuid) {
    if let Err(error) = try_expire(service, account, job).await {
        tracing::warn!(%job, error = error.chain(), "retention is not done; the next run of the job does it");
    }
}

async fn try_expire(service: &Service, account: &AccountId, job: Uuid) -> Result<()> {
    // One that cannot be deleted now does not keep the others from it.
    let mut outcome = Ok(());
    for backup in service.expire_backups(account, job).await? {
        outcome = outcome.and(expire_one(service, &backup).await);
    }
    outcome
}

async fn expire_one(service: &Service, backup: &Backup) -> Result<()> {
    let storages = backup.copies.iter().map(|copy| copy.storage_id).collect();
    match delete_objects(service, backup, storages).await? {
        Deletion::Done => service.objects_deleted(backup).await.map(drop),
        // Expired with copies, it is asked for again after the next run.
        _ => Ok(()),
    }
}

/// Deletes a deleted job's objects and backups, then its last trace.
pub async fn delete_job(service: &Service, account: &AccountId, job: Uuid) -> Result<Deletion> {
    let Some(deleted) = service.deleted_job(account, job).await? else { return Ok(Deletion::Done) };
    loop {
        match service.next_leftover(&deleted).await? {
            Leftover::Nothing => return Ok(Deletion::Done),
            Leftover::Running => return Ok(Deletion::Wait),
            Leftover::Backup(backup) => {
                if delete_backup(service, &backup, storages_of(&deleted.job)).await? == Deletion::Locked {
                    service.rest_deleted_job(&deleted).await?;
                    return Ok(Deletion::Locked);
                }
            }
        }
    }
}

/// Deletes the backups of a job that its owner wished away, oldest first. What cannot be deleted does not keep the others
/// from it: it is told at the end, and comes again.
pub async fn delete_backups(service: &Service, account: &AccountId, job: Uuid) -> Result<Deletion> {
    while let Some(purge) = service.purge(account, job).await? {
        let job = Arc::new(service.job(account, job).await?);
        let mut after = None;
        let mut outcome: Result<Deletion> = Ok(Deletion::Done);
        loop {
            let page = service.purged_backups(&purge, after.as_ref()).await?;
            let deletions = page.records.into_iter().map(|backup| delete_doomed(service.clone(), job.clone(), backup));
            let done: Vec<_> = stream::iter(deletions).buffer_unordered(AT_ONCE).collect().await;
            outcome = done.into_iter().fold(outcome, |sum, one| Ok(sum?.and(one?)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        match outcome? {
            Deletion::Done => {}
            Deletion::Wait => return Ok(Deletion::Wait),
            Deletion::Locked => {
                service.rest_purge(&purge).await?;
                return Ok(Deletion::Locked);
            }
        }
        if service.end_purge(&purge).await?.is_yes() {
            break;
        }
    }
    Ok(Deletion::Done)
}

async fn delete_doomed(service: Service, job: Arc<Job>, backup: Backup) -> Result<Deletion> {
    match service.doom(&backup).await? {
        Doomed::Gone => Ok(Deletion::Done),
        Doomed::Running => Ok(Deletion::Wait),
        Doomed::Yes(backup) => delete_backup(&service, &backup, storages_of(&job)).await,
    }
}

/// Deletes one backup that its owner wished away.
pub async fn delete_one(service: &Service, account: &AccountId, job: Uuid, backup: Uuid) -> Result<()> {
    let Some(backup) = service.backup_record(account, job, backup).await? else { return Ok(()) };
    if backup.deletion_requested_at.is_none() {
        return Ok(());
    }
    match service.job(account, job).await {
        Ok(job) => match delete_backup(service, &backup, storages_of(&job)).await? {
            Deletion::Locked => service.rest_deletion(&backup).await,
            Deletion::Done | Deletion::Wait => Ok(()),
        },
        // A deleted job takes its backups along.
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn storages_of(job: &Job) -> impl Iterator<Item = u64> {
    job.storages.iter().map(|storage| storage.storage_id)
}

/// Deletes all objects of a backup, sees that they are gone, and then removes its record. The record stays for as long as
/// a lock keeps any: it is what leads to them.
async fn delete_backup(service: &Service, backup: &Backup, storages: impl Iterator<Item = u64>) -> Result<Deletion> {
    let mut storages: Vec<u64> = storages.chain(backup.copies.iter().map(|copy| copy.storage_id)).collect();
    storages.sort_unstable();
    storages.dedup();
    let deletion = delete_objects(service, backup, storages).await?;
    if deletion == Deletion::Done {
        let _ = service.forget_backup(backup).await?;
    }
    Ok(deletion)
}

/// Deletes all objects of a backup in these storages, as far as no lock keeps them; that is told in its copies.
async fn delete_objects(service: &Service, backup: &Backup, storages: Vec<u64>) -> Result<Deletion> {
    let prefix = backup.directory().prefix_of_backup();
    let mut locked = Vec::new();
    for storage in storages {
        if sweep(service, &backup.account, storage, &prefix, |_| false).await?.locked > 0 {
            locked.push(storage);
        }
    }
    if locked.is_empty() {
        return Ok(Deletion::Done);
    }
    tracing::info!(backup = %backup.id, storages = ?locked, "an object lock keeps what was to be deleted");
    service.note_locked(backup, &locked).await?;
    Ok(Deletion::Locked)
}

/// Walks a storage for objects and uploads of the account that no record names, and deletes them.
pub async fn sweep_storage(service: &Service, account: &AccountId, storage: u64) -> Result<()> {
    let Some(objects) = bucket(service, account, storage).await? else { return Ok(()) };
    let prefix = prefix_of_account(account);
    let mut swept = Swept::default();
    for upload in objects.list_uploads(&prefix).await.map_err(unavailable)? {
        if !is_wanted(service, &upload.key).await? {
            objects.abort_upload(&upload.key, &upload.upload_id).await.map_err(unavailable)?;
            swept.uploads += 1;
        }
    }
    let mut after = None;
    loop {
        let page = objects.list(&prefix, after.as_deref()).await.map_err(unavailable)?;
        for object in &page.objects {
            if !is_wanted(service, &object.key).await? {
                match objects.delete(&object.key).await {
                    Ok(()) => swept.objects += 1,
                    Err(ObjectsError::Locked { .. }) => swept.locked += 1,
                    Err(error) => return Err(unavailable(error)),
                }
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if swept != Swept::default() {
        let Swept { objects, uploads, locked } = swept;
        tracing::info!(storage, objects, uploads, locked, "swept what no record names");
    }
    Ok(())
}

/// Whether a record names the key. What does not look like ours is not ours to delete, but for probes of checks.
async fn is_wanted(service: &Service, key: &str) -> Result<bool> {
    match ObjectKey::parse(key) {
        Some(key) => service.is_wanted(&key).await,
        None => Ok(!check::is_probe(key)),
    }
}

async fn sweep(
    service: &Service,
    account: &AccountId,
    storage: u64,
    prefix: &str,
    keep: impl Fn(&str) -> bool,
) -> Result<Swept> {
    let Some(objects) = bucket(service, account, storage).await? else { return Ok(Swept::default()) };
    let swept = objects.sweep_prefix(prefix, keep).await.map_err(unavailable)?;
    if swept != Swept::default() {
        let Swept { objects, uploads, locked } = swept;
        tracing::info!(storage, prefix, objects, uploads, locked, "swept");
    }
    Ok(swept)
}

/// The bucket of a storage; `None` if its owner has removed it, and with it our way to its objects.
async fn bucket(service: &Service, account: &AccountId, storage: u64) -> Result<Option<Objects>> {
    match service.storage(account, storage).await {
        Ok(storage) => service.objects(account, &storage).map(Some),
        Err(error) if error.kind == ErrorKind::NotFound => {
            tracing::warn!(storage, "objects stay in a storage that was removed");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn unavailable(error: ObjectsError) -> Error {
    Error::unavailable("the storage", error)
}

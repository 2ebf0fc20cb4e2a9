//! Copy: gives a storage the copy of a backup that it missed, from one that holds.
//!
//! What is read is hashed on its way and must be what the backup's record says before the object is completed: a copy that
//! was damaged is not passed on. A file that is there already, and proves to be the same, is not copied again.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use holdfast_shared::aws::objects::{Objects, ObjectsError, Part, Upload, crc64_of_joined};
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::backup::{Backup, CopyOutcome, File};
use holdfast_shared::domain::object_key::{FileName, MANIFEST};
use holdfast_shared::domain::part_size::PartSizes;
use holdfast_shared::domain::storage::Storage;
use holdfast_shared::service::Service;
use holdfast_shared::{Error, ErrorKind, Result};
use uuid::Uuid;

/// How much is read at a time to look at what is there already.
const LOOK_BYTES: u64 = 5 << 20;

/// A copy could not be made. Display is safe to show to the backup's owner.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    /// The storage that is to have it.
    #[error("{0}")]
    Target(ObjectsError),
    /// Every storage that has it.
    #[error("no good copy could be read: {0}")]
    Source(String),
    /// One of our own records.
    #[error(transparent)]
    Service(#[from] Error),
}

/// Why a file could not be read from one copy, or not be written.
enum FileError {
    Read(String),
    Write(ObjectsError),
}

/// Copies a backup to every storage that missed it, and records what came of it. A storage that fails is tried again
/// later, for as long as the backup is kept.
pub async fn copy_backup(service: &Service, account: &AccountId, job: Uuid, backup: Uuid) -> Result<()> {
    let Some(backup) = service.backup_record(account, job, backup).await? else { return Ok(()) };
    if !backup.status.is_stored() {
        return Ok(());
    }
    let missing: Vec<u64> = backup.copies.iter().filter(|copy| !copy.holds()).map(|copy| copy.storage_id).collect();
    for storage in missing {
        let outcome = match copy_to(service, &backup, storage).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(backup = %backup.id, storage, %error, "a missing copy could not be made; it is tried again");
                CopyOutcome::Failed(error.to_string())
            }
        };
        let made = outcome == CopyOutcome::Stored;
        let recorded = service.settle_copy(&backup, storage, outcome).await?;
        if made && recorded {
            tracing::info!(backup = %backup.id, storage, "a missing copy was made");
        } else if made {
            // The backup went meanwhile: so does this.
            let objects = objects_of(service, account, storage).await?;
            if let Some(objects) = objects {
                let swept = objects.sweep_prefix(&backup.directory().prefix_of_backup(), |_| false).await;
                swept.map_err(|error| Error::unavailable("the storage", error))?;
            }
        }
    }
    Ok(())
}

async fn copy_to(service: &Service, backup: &Backup, storage: u64) -> std::result::Result<CopyOutcome, CopyError> {
    let Some(target) = storage_of(service, &backup.account, storage).await? else {
        return Ok(CopyOutcome::StorageGone);
    };
    let to = service.objects(&backup.account, &target)?;
    let Some(keys) = backup.copies.iter().find(|copy| copy.storage_id == storage).map(|copy| &copy.keys) else {
        return Ok(CopyOutcome::StorageGone);
    };
    let mut sources = Vec::new();
    for copy in backup.copies.iter().filter(|copy| copy.holds()) {
        sources.extend(objects_of(service, &backup.account, copy.storage_id).await?);
    }
    for (key, file) in keys.iter().zip(&backup.files) {
        let parts = match target.needs_equal_parts() {
            true => PartSizes::equal_for(file.stored_bytes),
            false => PartSizes::Growing,
        };
        copy_file(&sources, &to, key, file, parts).await?;
    }
    copy_manifest(&sources, &to, backup).await?;
    Ok(CopyOutcome::Stored)
}

/// The bucket of a storage, as long as its owner has not removed it.
async fn objects_of(service: &Service, account: &AccountId, storage: u64) -> Result<Option<Objects>> {
    let storage = storage_of(service, account, storage).await?;
    storage.map(|storage| service.objects(account, &storage)).transpose()
}

async fn storage_of(service: &Service, account: &AccountId, storage: u64) -> Result<Option<Storage>> {
    match service.storage(account, storage).await {
        Ok(storage) => Ok(Some(storage)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn copy_file(
    sources: &[Objects],
    to: &Objects,
    key: &str,
    file: &File,
    parts: PartSizes,
) -> std::result::Result<(), CopyError> {
    if is_there(to, key, file).await.map_err(CopyError::Target)? {
        return Ok(());
    }
    // What an earlier try began and never ended.
    for upload in to.list_uploads(key).await.map_err(CopyError::Target)? {
        to.abort_upload(&upload.key, &upload.upload_id).await.map_err(CopyError::Target)?;
    }
    let mut why = "there is none".to_owned();
    for from in sources {
        let upload = to.start_upload(key).await.map_err(CopyError::Target)?;
        let Err(error) = transfer(from, &upload, key, file, parts).await else { return Ok(()) };
        if let Err(error) = upload.discard().await {
            tracing::debug!(key, %error, "an upload stays behind until the next try");
        }
        match error {
            FileError::Read(error) => why = error,
            FileError::Write(error) => return Err(CopyError::Target(error)),
        }
    }
    Err(CopyError::Source(why))
}

/// Whether the object is what the record says, to the last byte.
async fn is_there(to: &Objects, key: &str, file: &File) -> std::result::Result<bool, ObjectsError> {
    if to.size_bytes(key).await? != Some(file.stored_bytes) {
        return Ok(false);
    }
    let mut hash = Context::new(&SHA256);
    let mut at = 0;
    while at < file.stored_bytes {
        let bytes = to.get_range(key, at, LOOK_BYTES.min(file.stored_bytes - at)).await?;
        hash.update(&bytes);
        at += bytes.len() as u64;
    }
    Ok(hex::encode(hash.finish()) == file.stored_sha256)
}

async fn transfer(
    from: &Objects,
    upload: &Upload,
    key: &str,
    file: &File,
    parts: PartSizes,
) -> std::result::Result<(), FileError> {
    let (mut hash, mut crc64, mut at, mut number) = (Context::new(&SHA256), 0, 0, 0);
    // An object without content has one empty part.
    while at < file.stored_bytes || number == 0 {
        number += 1;
        let bytes = match (parts.bytes(number) as u64).min(file.stored_bytes - at) {
            0 => Bytes::new(),
            wanted => from.get_range(key, at, wanted).await.map_err(|error| FileError::Read(error.to_string()))?,
        };
        hash.update(&bytes);
        at += bytes.len() as u64;
        let part = Part::new(number, bytes);
        crc64 = crc64_of_joined(crc64, part.crc64, part.bytes.len() as u64);
        upload.put_part(&part).await.map_err(FileError::Write)?;
    }
    let sha256 = hex::encode(hash.finish());
    if sha256 != file.stored_sha256 {
        let bucket = from.bucket();
        let what = format!("bucket {bucket} holds something else at {key} than what was stored: SHA-256 {sha256}");
        tracing::error!(bucket, key, "a stored copy is damaged");
        return Err(FileError::Read(what));
    }
    upload.complete(file.stored_bytes, crc64).await.map_err(FileError::Write)?;
    Ok(())
}

async fn copy_manifest(sources: &[Objects], to: &Objects, backup: &Backup) -> std::result::Result<(), CopyError> {
    let Some(name) = FileName::new(MANIFEST) else { return Ok(()) };
    let key = backup.directory().object(backup.attempt, name).to_string();
    let mut why = "there is none".to_owned();
    for from in sources {
        match from.get(&key).await {
            Ok(bytes) => return to.put(&key, bytes).await.map_err(CopyError::Target),
            // Backups of older versions have none.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    Err(CopyError::Source(why))
}

//! Encryption keys: public keys of owners who keep the private halves.

use super::listing::{Listing, check_cursor};
use super::{Service, conflict};
use crate::aws::table::{Cursor, Noun, Order, keys};
use crate::domain::account::AccountId;
use crate::domain::encryption_key::{EncryptionKey, NewEncryptionKey};
use crate::domain::job::Job;
use crate::domain::revision::Expected;
use crate::error::{Error, Result};

impl Service {
    /// Records a public key.
    pub async fn create_encryption_key(&self, account: &AccountId, new: NewEncryptionKey) -> Result<EncryptionKey> {
        let now = self.clock.now();
        let id = self.aws.table.next_number(account, Noun::EncryptionKey).await?;
        let key = EncryptionKey { id, name: new.name, key: new.key, created_at: now, updated_at: now, revision: 1 };
        match self.aws.table.create_encryption_key(account, &key).await?.is_yes() {
            true => Ok(key),
            false => Err(conflict::contended()),
        }
    }

    /// One encryption key.
    pub async fn encryption_key(&self, account: &AccountId, id: u64) -> Result<EncryptionKey> {
        self.aws.table.encryption_key(account, id).await?.ok_or_else(|| Error::not_found("encryption key"))
    }

    /// The account's encryption keys, page by page.
    pub async fn list_encryption_keys(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<EncryptionKey>> {
        check_cursor(after, &keys::encryption_keys(account))?;
        let page = self.aws.table.list_encryption_keys(account, order, limit, after).await?;
        Ok(Listing::of(page, self.aws.table.total_of(account, Noun::EncryptionKey).await?))
    }

    /// The keys that a job's backups are encrypted to, in its order; an error when any of them is gone.
    pub async fn encryption_keys_of(&self, job: &Job) -> Result<Vec<EncryptionKey>> {
        let mut keys = Vec::with_capacity(job.encryption_key_ids.len());
        for id in &job.encryption_key_ids {
            keys.push(self.encryption_key(&job.account, *id).await?);
        }
        Ok(keys)
    }

    /// Renames an encryption key; nothing else of it can change. `None` leaves the name as it is.
    pub async fn rename_encryption_key(
        &self,
        account: &AccountId,
        id: u64,
        name: Option<String>,
        expected: &Expected,
    ) -> Result<EncryptionKey> {
        for _ in 0..conflict::TRIES {
            let seen = self.encryption_key(account, id).await?;
            expected.check(seen.revision)?;
            let name = name.clone().unwrap_or_else(|| seen.name.clone());
            let (updated_at, revision) = (self.clock.now(), seen.revision + 1);
            let next = EncryptionKey { name, updated_at, revision, ..seen.clone() };
            if self.aws.table.update_encryption_key(account, &seen, &next).await?.is_yes() {
                return Ok(next);
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Removes an encryption key; a conflict that names the jobs while any uses it.
    pub async fn delete_encryption_key(&self, account: &AccountId, id: u64, expected: &Expected) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let seen = self.encryption_key(account, id).await?;
            expected.check(seen.revision)?;
            if self.aws.table.delete_encryption_key(account, &seen).await?.is_yes() {
                return Ok(());
            }
            let jobs = self.jobs_where(account, |job| job.encryption_key_ids.contains(&id)).await?;
            if !jobs.is_empty() {
                return Err(conflict::in_use("encryption key", "job", &jobs));
            }
            conflict::pause().await;
        }
        Err(conflict::still_held("encryption key"))
    }
}

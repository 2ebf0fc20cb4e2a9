//! Encryption keys; jobs are their users.

use super::counters::count;
use super::keys::{self, sortable, sorted_by};
use super::users::unused;
use super::{Condition, Cursor, Noun, Order, Page, Query, Table, Update, Write, Written};
use crate::domain::account::AccountId;
use crate::domain::encryption_key::EncryptionKey;
use crate::error::Result;

impl Table {
    /// One encryption key.
    pub(crate) async fn encryption_key(&self, account: &AccountId, id: u64) -> Result<Option<EncryptionKey>> {
        self.get(&keys::encryption_key(account, id)).await
    }

    /// Puts a new encryption key.
    pub(crate) async fn create_encryption_key(&self, account: &AccountId, key: &EncryptionKey) -> Result<Written> {
        let indexes =
            [("by_name", sorted_by(&key.name, key.id)), ("by_created", sorted_by(&sortable(key.created_at), key.id))];
        let put = Write::put_new(&keys::encryption_key(account, key.id), key, indexes)?;
        self.transact(vec![put, count(account, Noun::EncryptionKey, 1)]).await
    }

    /// Replaces what its owner may change; `No` when it was edited meanwhile, or is gone.
    pub(crate) async fn update_encryption_key(
        &self,
        account: &AccountId,
        seen: &EncryptionKey,
        next: &EncryptionKey,
    ) -> Result<Written> {
        let update = Update::of(keys::encryption_key(account, seen.id)).set_record(next, &[])?;
        let update = update.set("by_name", sorted_by(&next.name, next.id));
        self.write(update.only_if(Condition::equals("revision", seen.revision)).into()).await
    }

    /// Removes an encryption key; `No` when a job uses it, when it was edited meanwhile, or when it is gone.
    pub(crate) async fn delete_encryption_key(&self, account: &AccountId, seen: &EncryptionKey) -> Result<Written> {
        let unedited = Condition::equals("revision", seen.revision);
        let delete = Write::delete(keys::encryption_key(account, seen.id));
        let delete = delete.only_if(Condition::All(vec![unused(), unedited]));
        self.transact(vec![delete, count(account, Noun::EncryptionKey, -1)]).await
    }

    /// One page of the account's encryption keys.
    pub(crate) async fn list_encryption_keys(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<EncryptionKey>> {
        self.page(Query { order, limit, after, ..Query::of(keys::encryption_keys(account)) }).await
    }
}

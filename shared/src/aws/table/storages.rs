//! Storages; jobs are their users.

use super::counters::count;
use super::keys::{self, sortable, sorted_by};
use super::users::unused;
use super::{Condition, Cursor, Noun, Order, Page, Query, Sweep, Table, Update, Write, Written};
use crate::domain::account::AccountId;
use crate::domain::storage::Storage;
use crate::error::Result;

impl Table {
    /// One storage.
    pub(crate) async fn storage(&self, account: &AccountId, id: u64) -> Result<Option<Storage>> {
        self.get(&keys::storage(account, id)).await
    }

    /// Puts a new storage.
    pub(crate) async fn create_storage(&self, account: &AccountId, storage: &Storage) -> Result<Written> {
        let indexes = [
            ("by_name", sorted_by(&storage.name, storage.id)),
            ("by_created", sorted_by(&sortable(storage.created_at), storage.id)),
        ];
        let put = Write::put_new(&keys::storage(account, storage.id), storage, indexes)?;
        let sweep = Sweep { account: account.clone(), storage: storage.id }.put(storage.created_at)?;
        self.transact(vec![put, sweep, count(account, Noun::Storage, 1)]).await
    }

    /// Replaces what its owner may change; `No` when it was edited meanwhile, or is gone, or, if it must be `unused`,
    /// when a job uses it.
    pub(crate) async fn update_storage(
        &self,
        account: &AccountId,
        seen: &Storage,
        next: &Storage,
        must_be_unused: bool,
    ) -> Result<Written> {
        let update = Update::of(keys::storage(account, seen.id)).set_record(next, &["check"])?;
        let mut conditions = vec![Condition::equals("revision", seen.revision)];
        conditions.extend(must_be_unused.then(unused));
        let update = update.set("by_name", sorted_by(&next.name, next.id)).only_if(Condition::All(conditions));
        self.write(update.into()).await
    }

    /// Removes a storage; `No` when a job uses it, when it was edited meanwhile, or when it is gone.
    pub(crate) async fn delete_storage(&self, account: &AccountId, seen: &Storage) -> Result<Written> {
        let unedited = Condition::equals("revision", seen.revision);
        let delete = Write::delete(keys::storage(account, seen.id)).only_if(Condition::All(vec![unused(), unedited]));
        let sweep = Write::delete(keys::sweep(account, seen.id));
        self.transact(vec![delete, sweep, count(account, Noun::Storage, -1)]).await
    }

    /// One page of the account's storages.
    pub(crate) async fn list_storages(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<Storage>> {
        self.page(Query { order, limit, after, ..Query::of(keys::storages(account)) }).await
    }
}

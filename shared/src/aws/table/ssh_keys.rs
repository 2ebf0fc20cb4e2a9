//! SSH keys; servers and proxies are their users.

use jiff::Timestamp;

use super::counters::count;
use super::keys::{self, sortable, sorted_by};
use super::users::unused;
use super::{Condition, Cursor, Noun, Order, Page, Query, Table, Update, Write, Written};
use crate::domain::account::AccountId;
use crate::domain::ssh_key::SshKey;
use crate::error::Result;

impl Table {
    /// One SSH key.
    pub(crate) async fn ssh_key(&self, account: &AccountId, id: u64) -> Result<Option<SshKey>> {
        self.get(&keys::ssh_key(account, id)).await
    }

    /// Puts a new key.
    pub(crate) async fn create_ssh_key(&self, account: &AccountId, key: &SshKey) -> Result<Written> {
        let indexes =
            [("by_name", sorted_by(&key.name, key.id)), ("by_created", sorted_by(&sortable(key.created_at), key.id))];
        let put = Write::put_new(&keys::ssh_key(account, key.id), key, indexes)?;
        self.transact(vec![put, count(account, Noun::SshKey, 1)]).await
    }

    /// Removes a key; `No` when a server or proxy uses it, or when it is gone.
    pub(crate) async fn delete_ssh_key(&self, account: &AccountId, id: u64) -> Result<Written> {
        let delete = Write::delete(keys::ssh_key(account, id)).only_if(unused());
        self.transact(vec![delete, count(account, Noun::SshKey, -1)]).await
    }

    /// Notes that a connection used the key; `No` when it is gone.
    pub(crate) async fn ssh_key_used(&self, account: &AccountId, id: u64, at: Timestamp) -> Result<Written> {
        let update = Update::of(keys::ssh_key(account, id)).set("last_used_at", at).only_if(Condition::Exists);
        self.write(update.into()).await
    }

    /// One page of the account's keys.
    pub(crate) async fn list_ssh_keys(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<SshKey>> {
        self.page(Query { order, limit, after, ..Query::of(keys::ssh_keys(account)) }).await
    }
}

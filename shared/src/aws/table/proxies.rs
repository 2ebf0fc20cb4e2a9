//! Proxies; jobs are their users, and they are users of SSH keys.

use super::counters::count;
use super::keys::{self, sortable, sorted_by};
use super::logins::update_with_login;
use super::users::unused;
use super::{Condition, Cursor, Noun, Order, Page, Query, Table, Write, Written, count_user};
use crate::domain::account::AccountId;
use crate::domain::proxy::Proxy;
use crate::error::Result;

impl Table {
    /// One proxy.
    pub(crate) async fn proxy(&self, account: &AccountId, id: u64) -> Result<Option<Proxy>> {
        self.get(&keys::proxy(account, id)).await
    }

    /// Puts a new proxy; `No` when its SSH key is gone.
    pub(crate) async fn create_proxy(&self, account: &AccountId, proxy: &Proxy) -> Result<Written> {
        let indexes = [
            ("by_name", sorted_by(&proxy.name, proxy.id)),
            ("by_created", sorted_by(&sortable(proxy.created_at), proxy.id)),
        ];
        self.transact(vec![
            Write::put_new(&keys::proxy(account, proxy.id), proxy, indexes)?,
            count_user(keys::ssh_key(account, proxy.login.ssh_key_id), 1),
            count(account, Noun::Proxy, 1),
        ])
        .await
    }

    /// Replaces what its owner may change; `No` when the proxy was edited or pinned meanwhile, or when the SSH key that
    /// it newly names is gone.
    pub(crate) async fn update_proxy(&self, account: &AccountId, seen: &Proxy, next: &Proxy) -> Result<Written> {
        let (key, by_name) = (keys::proxy(account, seen.id), sorted_by(&next.name, next.id));
        let (before, after) = ((seen.revision, &seen.login), (next, &next.login));
        self.transact(update_with_login(account, key, before, after, by_name)?).await
    }

    /// Removes a proxy; `No` when a job uses it, when it changed meanwhile, or when it is gone.
    pub(crate) async fn delete_proxy(&self, account: &AccountId, seen: &Proxy) -> Result<Written> {
        let unedited = Condition::equals("revision", seen.revision);
        self.transact(vec![
            Write::delete(keys::proxy(account, seen.id)).only_if(Condition::All(vec![unused(), unedited])),
            count_user(keys::ssh_key(account, seen.login.ssh_key_id), -1),
            count(account, Noun::Proxy, -1),
        ])
        .await
    }

    /// One page of the account's proxies.
    pub(crate) async fn list_proxies(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<Proxy>> {
        self.page(Query { order, limit, after, ..Query::of(keys::proxies(account)) }).await
    }
}

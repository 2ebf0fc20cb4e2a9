//! Servers; jobs are their users, and they are users of SSH keys.

use super::counters::count;
use super::facets::Row;
use super::keys::{self, sortable, sorted_by};
use super::logins::update_with_login;
use super::users::unused;
use super::{Condition, Cursor, Noun, Order, Page, Query, Table, Write, Written, count_user};
use crate::domain::account::AccountId;
use crate::domain::server::Server;
use crate::error::Result;

impl Table {
    /// One server.
    pub(crate) async fn server(&self, account: &AccountId, id: u64) -> Result<Option<Server>> {
        self.get(&keys::server(account, id)).await
    }

    /// Puts a new server; `No` when its SSH key is gone.
    pub(crate) async fn create_server(&self, account: &AccountId, server: &Server) -> Result<Written> {
        let indexes = [
            ("by_name", sorted_by(&server.name, server.id)),
            ("by_created", sorted_by(&sortable(server.created_at), server.id)),
        ];
        self.transact(vec![
            Write::put_new(&keys::server(account, server.id), server, indexes)?,
            Write::put(&keys::server_of_host(account, &server.login.host, server.id), &Row {}, [])?,
            count_user(keys::ssh_key(account, server.login.ssh_key_id), 1),
            count(account, Noun::Server, 1),
        ])
        .await
    }

    /// Replaces what its owner may change; `No` when the server was edited or pinned meanwhile, or when the SSH key that
    /// it newly names is gone.
    pub(crate) async fn update_server(&self, account: &AccountId, seen: &Server, next: &Server) -> Result<Written> {
        let (key, by_name) = (keys::server(account, seen.id), sorted_by(&next.name, next.id));
        let (before, after) = ((seen.revision, &seen.login), (next, &next.login));
        let mut writes = update_with_login(account, key, before, after, by_name)?;
        let (old, new) = (&seen.login.host, &next.login.host);
        if new != old {
            writes.push(Write::delete(keys::server_of_host(account, old, seen.id)));
            writes.push(Write::put(&keys::server_of_host(account, new, next.id), &Row {}, [])?);
        }
        self.transact(writes).await
    }

    /// Removes a server; `No` when a job uses it, when it changed meanwhile, or when it is gone.
    pub(crate) async fn delete_server(&self, account: &AccountId, seen: &Server) -> Result<Written> {
        let unedited = Condition::equals("revision", seen.revision);
        self.transact(vec![
            Write::delete(keys::server(account, seen.id)).only_if(Condition::All(vec![unused(), unedited])),
            Write::delete(keys::server_seats(account, seen.id)),
            Write::delete(keys::server_of_host(account, &seen.login.host, seen.id)),
            Write::delete(keys::jobs_of_server_counter(account, seen.id)),
            count_user(keys::ssh_key(account, seen.login.ssh_key_id), -1),
            count(account, Noun::Server, -1),
        ])
        .await
    }

    /// The ids of the servers with exactly this host, at most `limit`.
    pub(crate) async fn servers_with_host(&self, account: &AccountId, host: &str, limit: i32) -> Result<Vec<u64>> {
        #[derive(serde::Deserialize)]
        struct Id {
            sk: String,
        }
        let rows: Page<Id> = self.page(Query { limit, ..Query::of(keys::servers_of_host(account, host)) }).await?;
        Ok(rows.records.into_iter().filter_map(|row| row.sk.parse().ok()).collect())
    }

    /// One page of the account's servers.
    pub(crate) async fn list_servers(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<Server>> {
        self.page(Query { order, limit, after, ..Query::of(keys::servers(account)) }).await
    }
}

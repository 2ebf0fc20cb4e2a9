//! Servers; jobs are their users, and they are users of SSH keys.
//!
//! Owner and worker write different attributes, so that neither puts back what the other one changed meanwhile.

use jiff::Timestamp;

use super::counters::count;
use super::facets::Row;
use super::keys::{self, sortable, sorted_by};
use super::users::unused;
use super::{Condition, Cursor, Noun, Order, Page, Query, Table, Update, Write, Written, count_user};
use crate::domain::account::AccountId;
use crate::domain::check::Check;
use crate::domain::server::{HostKey, Server, ServerStatus};
use crate::error::Result;

/// What the worker writes; an owner's edit leaves it alone.
const WORKERS: [&str; 4] = ["status", "last_used_at", "check", "host_key"];

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
            Write::put(&keys::server_of_host(account, &server.host, server.id), &Row {}, [])?,
            count_user(keys::ssh_key(account, server.ssh_key_id), 1),
            count(account, Noun::Server, 1),
        ])
        .await
    }

    /// Replaces what its owner may change; `No` when the server was edited or pinned meanwhile, or when the SSH key that
    /// it newly names is gone.
    pub(crate) async fn update_server(&self, account: &AccountId, seen: &Server, next: &Server) -> Result<Written> {
        let mut update = Update::of(keys::server(account, seen.id)).set_record(next, &WORKERS)?;
        update = update.set("by_name", sorted_by(&next.name, next.id));
        if next.host_key != seen.host_key {
            update = update.set("host_key", &next.host_key);
        }
        let unedited = Condition::equals("revision", seen.revision);
        let unpinned = Condition::unchanged("host_key", seen.host_key.as_ref());
        let mut writes = vec![update.only_if(Condition::All(vec![unedited, unpinned])).into()];
        if next.host != seen.host {
            writes.push(Write::delete(keys::server_of_host(account, &seen.host, seen.id)));
            writes.push(Write::put(&keys::server_of_host(account, &next.host, next.id), &Row {}, [])?);
        }
        if next.ssh_key_id != seen.ssh_key_id {
            writes.push(count_user(keys::ssh_key(account, seen.ssh_key_id), -1));
            writes.push(count_user(keys::ssh_key(account, next.ssh_key_id), 1));
        }
        self.transact(writes).await
    }

    /// Removes a server; `No` when a job uses it, when it changed meanwhile, or when it is gone.
    pub(crate) async fn delete_server(&self, account: &AccountId, seen: &Server) -> Result<Written> {
        let unedited = Condition::equals("revision", seen.revision);
        self.transact(vec![
            Write::delete(keys::server(account, seen.id)).only_if(Condition::All(vec![unused(), unedited])),
            Write::delete(keys::server_seats(account, seen.id)),
            Write::delete(keys::server_of_host(account, &seen.host, seen.id)),
            Write::delete(keys::jobs_of_server_counter(account, seen.id)),
            count_user(keys::ssh_key(account, seen.ssh_key_id), -1),
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

    /// Pins a key, provided that none is pinned and that the server is still the same machine as when it was read.
    pub(crate) async fn pin_host_key(&self, account: &AccountId, seen: &Server, key: &HostKey) -> Result<Written> {
        let update = Update::of(keys::server(account, seen.id)).set("host_key", key).only_if(Condition::All(vec![
            Condition::equals("host", &seen.host),
            Condition::equals("port", seen.port),
            Condition::unchanged::<HostKey>("host_key", None),
        ]));
        self.write(update.into()).await
    }

    /// Notes what came of a connection; `No` when the server is gone.
    pub(crate) async fn server_used(
        &self,
        account: &AccountId,
        id: u64,
        status: ServerStatus,
        at: Timestamp,
    ) -> Result<Written> {
        let update = Update::of(keys::server(account, id)).set("status", status).set("last_used_at", at);
        self.write(update.only_if(Condition::Exists).into()).await
    }

    /// Replaces the last check; `No` when another one came in between, or when the server is gone.
    pub(crate) async fn put_server_check(&self, account: &AccountId, seen: &Server, check: &Check) -> Result<Written> {
        self.put_check(keys::server(account, seen.id), seen.check.as_ref(), check).await
    }

    /// The same for any record that has an attribute `check`.
    pub(super) async fn put_check(&self, key: super::Key, seen: Option<&Check>, next: &Check) -> Result<Written> {
        let same = Condition::All(vec![Condition::Exists, Condition::unchanged("check", seen)]);
        self.write(Update::of(key).set("check", next).only_if(same).into()).await
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

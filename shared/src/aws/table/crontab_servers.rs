//! Crontab servers and their alerts; crontabs are their users.

use serde::{Deserialize, Serialize};

use super::counters::count;
use super::keys::{self, sortable, sorted_by};
use super::users::unused;
use super::{Condition, Cursor, Noun, Order, Page, Query, Table, Update, Write, Written};
use crate::domain::account::AccountId;
use crate::domain::crontab_server::{Alert, CrontabServer};
use crate::error::Result;

/// A row under an identifier.
#[derive(Serialize, Deserialize)]
struct CrontabServerId {
    id: u64,
}

impl Table {
    /// One crontab server.
    pub(crate) async fn crontab_server(&self, account: &AccountId, id: u64) -> Result<Option<CrontabServer>> {
        self.get(&keys::crontab_server(account, id)).await
    }

    /// The id of the crontab server with that identifier.
    pub(crate) async fn crontab_server_of_identifier(
        &self,
        account: &AccountId,
        identifier: &str,
    ) -> Result<Option<u64>> {
        let row: Option<CrontabServerId> = self.get(&keys::crontab_server_of_identifier(account, identifier)).await?;
        Ok(row.map(|row| row.id))
    }

    /// Puts a new crontab server; `No` when its identifier is taken.
    pub(crate) async fn create_crontab_server(&self, account: &AccountId, server: &CrontabServer) -> Result<Written> {
        let indexes = [
            ("by_name", sorted_by(&server.name, server.id)),
            ("by_created", sorted_by(&sortable(server.created_at), server.id)),
        ];
        let by_identifier = keys::crontab_server_of_identifier(account, &server.identifier);
        self.transact(vec![
            Write::put_new(&keys::crontab_server(account, server.id), server, indexes)?,
            Write::put_new(&by_identifier, &CrontabServerId { id: server.id }, [])?,
            count(account, Noun::CrontabServer, 1),
        ])
        .await
    }

    /// Replaces what its owner may change; `No` when it was edited meanwhile, or is gone.
    pub(crate) async fn update_crontab_server(
        &self,
        account: &AccountId,
        seen: &CrontabServer,
        next: &CrontabServer,
    ) -> Result<Written> {
        let update = Update::of(keys::crontab_server(account, seen.id)).set_record(next, &["alerts"])?;
        let update = update.set("by_name", sorted_by(&next.name, next.id));
        self.write(update.only_if(Condition::equals("revision", seen.revision)).into()).await
    }

    /// Removes a crontab server; `No` when it has a crontab or an alert, when it was edited meanwhile, or when it is gone.
    pub(crate) async fn delete_crontab_server(&self, account: &AccountId, seen: &CrontabServer) -> Result<Written> {
        let idle = vec![unused(), Condition::equals("revision", seen.revision), Condition::equals("alerts", 0)];
        self.transact(vec![
            Write::delete(keys::crontab_server(account, seen.id)).only_if(Condition::All(idle)),
            Write::delete(keys::crontab_server_of_identifier(account, &seen.identifier)),
            count(account, Noun::CrontabServer, -1),
        ])
        .await
    }

    /// One page of the account's crontab servers.
    pub(crate) async fn list_crontab_servers(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<CrontabServer>> {
        self.page(Query { order, limit, after, ..Query::of(keys::crontab_servers(account)) }).await
    }

    /// Puts a new alert; `No` when its crontab server is gone.
    pub(crate) async fn create_crontab_alert(
        &self,
        account: &AccountId,
        server: u64,
        alert: &Alert,
    ) -> Result<Written> {
        let put = Write::put_new(&keys::crontab_alert(account, server, alert.id), alert, [])?;
        self.transact(vec![put, count_alerts(account, server, 1)]).await
    }

    /// Removes alerts, at most 99; `No` when one of them is gone already.
    pub(crate) async fn delete_crontab_alerts(
        &self,
        account: &AccountId,
        server: u64,
        alerts: &[Alert],
    ) -> Result<Written> {
        let keys = alerts.iter().map(|alert| keys::crontab_alert(account, server, alert.id));
        let deletes = keys.map(|key| Write::delete(key).only_if(Condition::Exists));
        let gone = i64::try_from(alerts.len()).unwrap_or(i64::MAX);
        self.transact(deletes.chain([count_alerts(account, server, -gone)]).collect()).await
    }

    /// One page of a crontab server's alerts.
    pub(crate) async fn list_crontab_alerts(
        &self,
        account: &AccountId,
        server: u64,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Page<Alert>> {
        self.page(Query { order, limit, after, ..Query::of(keys::crontab_alerts(account, server)) }).await
    }
}

fn count_alerts(account: &AccountId, server: u64, by: i64) -> Write {
    Update::of(keys::crontab_server(account, server)).add("alerts", by).only_if(Condition::Exists).into()
}

//! Crontab servers: machines that send their users' crontabs by themselves, and tell what went wrong.

use std::net::IpAddr;

use super::listing::{Listing, check_cursor};
use super::resealing::{AlertOf, Renewal, Sealing};
use super::{Service, conflict};
use crate::aws::table::{Condition, Cursor, Noun, Order, SortBy, Update, keys};
use crate::domain::account::AccountId;
use crate::domain::crontab_server::{Alert, CrontabServer, CrontabServerEdit, NewAlert, NewCrontabServer, PlainAlert};
use crate::domain::revision::Expected;
use crate::error::{Error, ErrorKind, Result};

/// How many alerts are deleted at a time: with their server's count they are one transaction.
const DELETED_AT_ONCE: i32 = 90;

impl Service {
    /// Records a crontab server; its identifier must not be taken.
    pub async fn create_crontab_server(&self, account: &AccountId, new: NewCrontabServer) -> Result<CrontabServer> {
        let now = self.clock.now();
        let server = CrontabServer {
            id: self.aws.table.next_number(account, Noun::CrontabServer).await?,
            name: new.name,
            identifier: new.identifier,
            ip_address: new.ip_address,
            created_at: now,
            updated_at: now,
            revision: 1,
            alerts: 0,
        };
        for _ in 0..conflict::TRIES {
            if self.aws.table.create_crontab_server(account, &server).await?.is_yes() {
                return Ok(server);
            }
            if self.aws.table.crontab_server_of_identifier(account, &server.identifier).await?.is_some() {
                return Err(Error::invalid("identifier", "is taken by another crontab server"));
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// One crontab server.
    pub async fn crontab_server(&self, account: &AccountId, id: u64) -> Result<CrontabServer> {
        self.aws.table.crontab_server(account, id).await?.ok_or_else(|| Error::not_found("crontab server"))
    }

    /// The crontab server that calls itself so.
    pub async fn crontab_server_of(&self, account: &AccountId, identifier: &str) -> Result<Option<CrontabServer>> {
        match self.aws.table.crontab_server_of_identifier(account, identifier).await? {
            Some(id) => self.aws.table.crontab_server(account, id).await,
            None => Ok(None),
        }
    }

    /// The crontab server that calls itself so, provided that `peer` is its address. What was sent from elsewhere is
    /// refused as [`ErrorKind::Forbidden`]. `peer` is where the connection came from, never what a header says.
    pub async fn crontab_server_at(
        &self,
        account: &AccountId,
        identifier: &str,
        peer: IpAddr,
    ) -> Result<CrontabServer> {
        let found = self.crontab_server_of(account, identifier).await?;
        let server = found.ok_or_else(|| Error::not_found("crontab server"))?;
        match server.is_at(peer) {
            true => Ok(server),
            false => Err(Error::new(ErrorKind::Forbidden, "this does not come from the address of the crontab server")),
        }
    }

    /// The same, wherever it came from.
    pub(super) async fn named_crontab_server(&self, account: &AccountId, identifier: &str) -> Result<CrontabServer> {
        let found = self.crontab_server_of(account, identifier).await?;
        found.ok_or_else(|| Error::invalid("server", "is not the identifier of a crontab server"))
    }

    /// The account's crontab servers, page by page.
    pub async fn list_crontab_servers(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<CrontabServer>> {
        check_cursor(after, &keys::crontab_servers(account))?;
        let page = self.aws.table.list_crontab_servers(account, order, limit, after).await?;
        Ok(Listing::of(page, self.aws.table.total_of(account, Noun::CrontabServer).await?))
    }

    /// Changes what its owner says of a crontab server.
    pub async fn update_crontab_server(
        &self,
        account: &AccountId,
        id: u64,
        edit: CrontabServerEdit,
        expected: &Expected,
    ) -> Result<CrontabServer> {
        for _ in 0..conflict::TRIES {
            let seen = self.crontab_server(account, id).await?;
            expected.check(seen.revision)?;
            let next = CrontabServer {
                name: edit.name.clone().unwrap_or_else(|| seen.name.clone()),
                ip_address: edit.ip_address.unwrap_or(seen.ip_address),
                updated_at: self.clock.now(),
                revision: seen.revision + 1,
                ..seen.clone()
            };
            if self.aws.table.update_crontab_server(account, &seen, &next).await?.is_yes() {
                return Ok(next);
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Removes a crontab server with its alerts; a conflict that names the users while any has a crontab there.
    ///
    /// The record goes last, so that what dies in between leaves nothing that cannot be deleted again.
    pub async fn delete_crontab_server(&self, account: &AccountId, id: u64, expected: &Expected) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let seen = self.crontab_server(account, id).await?;
            expected.check(seen.revision)?;
            let users = self.crontab_users_of(account, id).await?;
            if !users.is_empty() {
                return Err(conflict::in_use("crontab server", "crontab", &users));
            }
            self.delete_alerts(account, id).await?;
            if self.aws.table.delete_crontab_server(account, &seen).await?.is_yes() {
                return Ok(());
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    async fn delete_alerts(&self, account: &AccountId, server: u64) -> Result<()> {
        let oldest_first = Order { by: SortBy::Id, descending: false };
        loop {
            let page = self.aws.table.list_crontab_alerts(account, server, oldest_first, DELETED_AT_ONCE, None).await?;
            if page.records.is_empty() {
                return Ok(());
            }
            if !self.aws.table.delete_crontab_alerts(account, server, &page.records).await?.is_yes() {
                // Somebody else deletes them too, or one came in: the caller looks again.
                return Ok(());
            }
        }
    }

    /// Records that a command of a crontab did not do well.
    pub async fn create_crontab_alert(&self, account: &AccountId, server: u64, new: NewAlert) -> Result<PlainAlert> {
        self.crontab_server(account, server).await?;
        let id = self.aws.table.next_number(account, Noun::CrontabAlert).await?;
        let command = self.sealer.seal(account, &alert_name(id), &new.command)?;
        let alert = Alert { id, username: new.username, command, created_at: self.clock.now() };
        for _ in 0..conflict::TRIES {
            if self.aws.table.create_crontab_alert(account, server, &alert).await?.is_yes() {
                return Ok(PlainAlert { alert, command: new.command });
            }
            self.crontab_server(account, server).await?;
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// The alerts of a crontab server, page by page.
    pub async fn list_crontab_alerts(
        &self,
        account: &AccountId,
        server: u64,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<PlainAlert>> {
        check_cursor(after, &keys::crontab_alerts(account, server))?;
        let total = self.crontab_server(account, server).await?.alerts;
        let page = self.aws.table.list_crontab_alerts(account, server, order, limit, after).await?;
        let open = |alert: Alert| {
            let command = self.sealer.open(account, &alert_name(alert.id), &alert.command)?;
            Ok(PlainAlert { alert, command })
        };
        let records = page.records.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Listing { records, next: page.next, total: Some(total) })
    }
}

fn alert_name(id: u64) -> String {
    format!("crontab_alert/{id}/command")
}

impl Sealing for AlertOf {
    fn renew(&mut self, renewal: &mut Renewal<'_>) {
        renewal.secret(&alert_name(self.alert.id), &mut self.alert.command);
    }

    fn rewrite(&self, account: &AccountId, seen: &Self) -> Update {
        let update = Update::of(keys::crontab_alert(account, self.server, self.alert.id));
        update.set("command", &self.alert.command).only_if(Condition::equals("command", &seen.alert.command))
    }
}

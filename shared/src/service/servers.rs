//! Servers: what their owners say of them, and what the worker finds.

use uuid::Uuid;

use super::listing::{Listing, check_cursor};
use super::{Service, conflict};
use crate::aws::table::{Cursor, Noun, Order, SortBy, keys};
use crate::domain::account::AccountId;
use crate::domain::check::{Check, CheckOutcome};
use crate::domain::message::{Message, Task};
use crate::domain::revision::Expected;
use crate::domain::server::{HostKey, NewServer, Server, ServerEdit, ServerStatus};
use crate::error::{Error, Result};

impl Service {
    /// Records a server. Nothing connects to it yet.
    pub async fn create_server(&self, account: &AccountId, new: NewServer) -> Result<Server> {
        let now = self.clock.now();
        let server = Server {
            id: self.aws.table.next_number(account, Noun::Server).await?,
            name: new.name,
            host: new.host,
            port: new.port,
            user: new.user,
            ssh_key_id: new.ssh_key_id,
            max_parallel: new.max_parallel,
            host_key: new.host_key,
            status: ServerStatus::Pending,
            created_at: now,
            updated_at: now,
            revision: 1,
            last_used_at: None,
            check: None,
        };
        for _ in 0..conflict::TRIES {
            if self.aws.table.create_server(account, &server).await?.is_yes() {
                return Ok(server);
            }
            self.require_ssh_key(account, server.ssh_key_id).await?;
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// One server.
    pub async fn server(&self, account: &AccountId, id: u64) -> Result<Server> {
        self.aws.table.server(account, id).await?.ok_or_else(|| Error::not_found("server"))
    }

    /// The account's servers, page by page.
    pub async fn list_servers(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<Server>> {
        check_cursor(after, &keys::servers(account))?;
        let page = self.aws.table.list_servers(account, order, limit, after).await?;
        Ok(Listing::of(page, self.aws.table.total_of(account, Noun::Server).await?))
    }

    /// Changes what its owner says of a server; see [`ServerEdit::apply`] for what becomes of a pinned key.
    pub async fn update_server(
        &self,
        account: &AccountId,
        id: u64,
        edit: ServerEdit,
        expected: &Expected,
    ) -> Result<Server> {
        self.edit_server(account, id, expected, |seen| edit.clone().apply(seen, self.clock.now())).await
    }

    /// Accepts another host key: the one given, or, where none is, whichever the next connection sees.
    pub async fn accept_host_key(&self, account: &AccountId, id: u64, key: Option<HostKey>) -> Result<Server> {
        let now = self.clock.now();
        let accept = |seen: &Server| Server {
            host_key: key.clone(),
            updated_at: now,
            revision: seen.revision + 1,
            ..seen.clone()
        };
        self.edit_server(account, id, &Expected::Any, accept).await
    }

    async fn edit_server(
        &self,
        account: &AccountId,
        id: u64,
        expected: &Expected,
        edit: impl Fn(&Server) -> Server,
    ) -> Result<Server> {
        for _ in 0..conflict::TRIES {
            let seen = self.server(account, id).await?;
            expected.check(seen.revision)?;
            let next = edit(&seen);
            if self.aws.table.update_server(account, &seen, &next).await?.is_yes() {
                return Ok(next);
            }
            self.require_ssh_key(account, next.ssh_key_id).await?;
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Removes a server; a conflict that names the jobs while any uses it.
    pub async fn delete_server(&self, account: &AccountId, id: u64, expected: &Expected) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let seen = self.server(account, id).await?;
            expected.check(seen.revision)?;
            if self.aws.table.delete_server(account, &seen).await?.is_yes() {
                return Ok(());
            }
            let jobs = self.jobs_where(account, |job| job.compute.server_id() == Some(id)).await?;
            if !jobs.is_empty() {
                return Err(conflict::in_use("server", "job", &jobs));
            }
            conflict::pause().await;
        }
        Err(conflict::still_held("server"))
    }

    /// Asks a worker to connect to a server and report; the server's `check` shows the answer.
    pub async fn check_server(&self, account: &AccountId, id: u64) -> Result<Server> {
        for _ in 0..conflict::TRIES {
            let seen = self.server(account, id).await?;
            let check = Check::pending(Uuid::new_v4(), self.clock.now());
            if self.aws.table.put_server_check(account, &seen, &check).await?.is_yes() {
                let task = Task::CheckServer { account: account.clone(), server: id, check: check.id };
                self.aws.queue.send(&Message::new(task), 0).await?;
                return Ok(Server { check: Some(check), ..seen });
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Records what a check found. An answer to an older check, or about a server that is gone, is dropped.
    pub async fn finish_check_server(
        &self,
        account: &AccountId,
        id: u64,
        check: Uuid,
        outcome: CheckOutcome,
    ) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let Some(seen) = self.aws.table.server(account, id).await? else { return Ok(()) };
            let Some(asked) = seen.check.as_ref().filter(|asked| asked.id == check) else { return Ok(()) };
            let answered = asked.finished(outcome.clone(), self.clock.now());
            if self.aws.table.put_server_check(account, &seen, &answered).await?.is_yes() {
                return Ok(());
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Pins the key that the first connection to `seen` showed, and answers the key that is pinned then: another
    /// connection, or the owner, may have been first.
    pub async fn pin_host_key(&self, account: &AccountId, seen: &Server, key: HostKey) -> Result<HostKey> {
        for _ in 0..conflict::TRIES {
            if self.aws.table.pin_host_key(account, seen, &key).await?.is_yes() {
                return Ok(key);
            }
            let found = self.server(account, seen.id).await?;
            if found.host != seen.host || found.port != seen.port {
                return Err(Error::conflict("the server's address changed while it was being connected to"));
            }
            if let Some(pinned) = found.host_key {
                return Ok(pinned);
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Notes what came of a connection, for the server and its key.
    pub async fn server_used(&self, account: &AccountId, id: u64, status: ServerStatus) -> Result<()> {
        let now = self.clock.now();
        let Some(server) = self.aws.table.server(account, id).await? else { return Ok(()) };
        // Whoever deleted one of them meanwhile does not want to know when it was used.
        let _ = self.aws.table.server_used(account, id, status, now).await?;
        let _ = self.aws.table.ssh_key_used(account, server.ssh_key_id, now).await?;
        Ok(())
    }

    /// Names of the servers that log in with a key, as a conflict shows them.
    pub(super) async fn servers_with_key(&self, account: &AccountId, ssh_key: u64) -> Result<Vec<String>> {
        let order = Order { by: SortBy::Id, descending: false };
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let page = self.aws.table.list_servers(account, order, 100, after.as_ref()).await?;
            let using = page.records.into_iter().filter(|server| server.ssh_key_id == ssh_key);
            names.extend(using.map(|server| server.name));
            match page.next {
                Some(next) if names.len() <= conflict::MAX_NAMED => after = Some(next),
                _ => return Ok(names),
            }
        }
    }

    async fn require_ssh_key(&self, account: &AccountId, id: u64) -> Result<()> {
        match self.aws.table.ssh_key(account, id).await? {
            Some(_) => Ok(()),
            None => Err(Error::invalid("ssh_key", format!("there is no SSH key {id}"))),
        }
    }
}

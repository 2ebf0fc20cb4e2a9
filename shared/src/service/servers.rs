//! Servers: what their owners say of them.

use super::listing::{Listing, check_cursor};
use super::{Service, conflict};
use crate::aws::table::{Cursor, Noun, Order, SortBy, keys};
use crate::domain::account::AccountId;
use crate::domain::check::Checked;
use crate::domain::job::Compute;
use crate::domain::login::{HostKey, Login, LoginStatus};
use crate::domain::revision::Expected;
use crate::domain::server::{NewServer, Server, ServerEdit};
use crate::error::{Error, Result};

impl Service {
    /// Records a server. Nothing connects to it yet.
    pub async fn create_server(&self, account: &AccountId, new: NewServer) -> Result<Server> {
        let now = self.clock.now();
        let server = Server {
            id: self.aws.table.next_number(account, Noun::Server).await?,
            name: new.name,
            login: new.login,
            max_parallel: new.max_parallel,
            status: LoginStatus::Pending,
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
            self.require_ssh_key(account, server.login.ssh_key_id).await?;
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

    /// Changes what its owner says of a server.
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
            login: Login { host_key: key.clone(), ..seen.login.clone() },
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
            self.require_ssh_key(account, next.login.ssh_key_id).await?;
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
            let uses = |compute: &Compute| matches!(compute, Compute::Server { server_id } if *server_id == id);
            let jobs = self.jobs_where(account, |job| uses(&job.compute)).await?;
            if !jobs.is_empty() {
                return Err(conflict::in_use("server", "job", &jobs));
            }
            conflict::pause().await;
        }
        Err(conflict::still_held("server"))
    }

    /// Asks a worker to connect to a server and report; the server's `check` shows the answer.
    pub async fn check_server(&self, account: &AccountId, id: u64) -> Result<Server> {
        let check = self.ask_check(account, Checked::Server(id)).await?;
        Ok(Server { check: Some(check), ..self.server(account, id).await? })
    }

    /// Names of the servers that log in with a key, as a conflict shows them.
    pub(super) async fn servers_with_key(&self, account: &AccountId, ssh_key: u64) -> Result<Vec<String>> {
        let order = Order { by: SortBy::Id, descending: false };
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let page = self.aws.table.list_servers(account, order, 100, after.as_ref()).await?;
            let using = page.records.into_iter().filter(|server| server.login.ssh_key_id == ssh_key);
            names.extend(using.map(|server| server.name));
            match page.next {
                Some(next) if names.len() <= conflict::MAX_NAMED => after = Some(next),
                _ => return Ok(names),
            }
        }
    }
}

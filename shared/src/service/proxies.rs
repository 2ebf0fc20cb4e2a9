//! Proxies: what their owners say of them.

use super::listing::{Listing, check_cursor};
use super::{Service, conflict};
use crate::aws::table::{Cursor, Noun, Order, SortBy, keys};
use crate::domain::account::AccountId;
use crate::domain::check::Checked;
use crate::domain::login::{HostKey, Login, LoginStatus};
use crate::domain::proxy::{NewProxy, Proxy, ProxyEdit};
use crate::domain::revision::Expected;
use crate::error::{Error, Result};

impl Service {
    /// Records a proxy. Nothing connects to it yet.
    pub async fn create_proxy(&self, account: &AccountId, new: NewProxy) -> Result<Proxy> {
        let now = self.clock.now();
        let proxy = Proxy {
            id: self.aws.table.next_number(account, Noun::Proxy).await?,
            name: new.name,
            login: new.login,
            status: LoginStatus::Pending,
            created_at: now,
            updated_at: now,
            revision: 1,
            last_used_at: None,
            check: None,
        };
        for _ in 0..conflict::TRIES {
            if self.aws.table.create_proxy(account, &proxy).await?.is_yes() {
                return Ok(proxy);
            }
            self.require_ssh_key(account, proxy.login.ssh_key_id).await?;
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// One proxy.
    pub async fn proxy(&self, account: &AccountId, id: u64) -> Result<Proxy> {
        self.aws.table.proxy(account, id).await?.ok_or_else(|| Error::not_found("proxy"))
    }

    /// Whether the account has any proxy.
    pub async fn has_proxy(&self, account: &AccountId) -> Result<bool> {
        Ok(self.aws.table.total_of(account, Noun::Proxy).await? > 0)
    }

    /// The account's proxies, page by page.
    pub async fn list_proxies(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<Proxy>> {
        check_cursor(after, &keys::proxies(account))?;
        let page = self.aws.table.list_proxies(account, order, limit, after).await?;
        Ok(Listing::of(page, self.aws.table.total_of(account, Noun::Proxy).await?))
    }

    /// Changes what its owner says of a proxy.
    pub async fn update_proxy(
        &self,
        account: &AccountId,
        id: u64,
        edit: ProxyEdit,
        expected: &Expected,
    ) -> Result<Proxy> {
        self.edit_proxy(account, id, expected, |seen| edit.clone().apply(seen, self.clock.now())).await
    }

    /// Accepts another host key: the one given, or, where none is, whichever the next connection sees.
    pub async fn accept_proxy_host_key(&self, account: &AccountId, id: u64, key: Option<HostKey>) -> Result<Proxy> {
        let now = self.clock.now();
        let accept = |seen: &Proxy| Proxy {
            login: Login { host_key: key.clone(), ..seen.login.clone() },
            updated_at: now,
            revision: seen.revision + 1,
            ..seen.clone()
        };
        self.edit_proxy(account, id, &Expected::Any, accept).await
    }

    async fn edit_proxy(
        &self,
        account: &AccountId,
        id: u64,
        expected: &Expected,
        edit: impl Fn(&Proxy) -> Proxy,
    ) -> Result<Proxy> {
        for _ in 0..conflict::TRIES {
            let seen = self.proxy(account, id).await?;
            expected.check(seen.revision)?;
            let next = edit(&seen);
            if self.aws.table.update_proxy(account, &seen, &next).await?.is_yes() {
                return Ok(next);
            }
            self.require_ssh_key(account, next.login.ssh_key_id).await?;
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Removes a proxy; a conflict that names the jobs while any uses it.
    pub async fn delete_proxy(&self, account: &AccountId, id: u64, expected: &Expected) -> Result<()> {
        for _ in 0..conflict::TRIES {
            let seen = self.proxy(account, id).await?;
            expected.check(seen.revision)?;
            if self.aws.table.delete_proxy(account, &seen).await?.is_yes() {
                return Ok(());
            }
            let jobs = self.jobs_where(account, |job| job.proxy_id == Some(id)).await?;
            if !jobs.is_empty() {
                return Err(conflict::in_use("proxy", "job", &jobs));
            }
            conflict::pause().await;
        }
        Err(conflict::still_held("proxy"))
    }

    /// Asks a worker to connect to a proxy and report; the proxy's `check` shows the answer.
    pub async fn check_proxy(&self, account: &AccountId, id: u64) -> Result<Proxy> {
        let check = self.ask_check(account, Checked::Proxy(id)).await?;
        Ok(Proxy { check: Some(check), ..self.proxy(account, id).await? })
    }

    /// Names of the proxies that log in with a key, as a conflict shows them.
    pub(super) async fn proxies_with_key(&self, account: &AccountId, ssh_key: u64) -> Result<Vec<String>> {
        let order = Order { by: SortBy::Id, descending: false };
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let page = self.aws.table.list_proxies(account, order, 100, after.as_ref()).await?;
            let using = page.records.into_iter().filter(|proxy| proxy.login.ssh_key_id == ssh_key);
            names.extend(using.map(|proxy| proxy.name));
            match page.next {
                Some(next) if names.len() <= conflict::MAX_NAMED => after = Some(next),
                _ => return Ok(names),
            }
        }
    }
}

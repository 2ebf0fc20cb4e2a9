//! Logins: what connections to servers and proxies find, and the SSH keys that they need.

use super::{Service, conflict};
use crate::aws::table::keys;
use crate::domain::account::AccountId;
use crate::domain::login::{HostKey, Login, LoginStatus, SshHost};
use crate::error::{Error, Result};

impl Service {
    /// Pins the key that the first connection by `seen` showed, and answers the key that is pinned then: another
    /// connection, or the owner, may have been first.
    pub async fn pin_host_key(
        &self,
        account: &AccountId,
        host: SshHost,
        seen: &Login,
        host_key: HostKey,
    ) -> Result<HostKey> {
        for _ in 0..conflict::TRIES {
            let key = keys::ssh_host(account, host);
            if self.aws.table.pin_host_key(key.clone(), seen, &host_key).await?.is_yes() {
                return Ok(host_key);
            }
            let found = self.aws.table.login(&key).await?.ok_or_else(|| Error::not_found(noun(host)))?;
            if found.host != seen.host || found.port != seen.port {
                return Err(Error::conflict(format!(
                    "the {}'s address changed while it was being connected to",
                    noun(host)
                )));
            }
            if let Some(pinned) = found.host_key {
                return Ok(pinned);
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// Notes what came of a connection, for the host and its SSH key.
    pub async fn login_used(&self, account: &AccountId, host: SshHost, status: LoginStatus) -> Result<()> {
        let (now, key) = (self.clock.now(), keys::ssh_host(account, host));
        let Some(login) = self.aws.table.login(&key).await? else { return Ok(()) };
        // Whoever deleted one of them meanwhile does not want to know when it was used.
        let _ = self.aws.table.login_used(key, status, now).await?;
        let _ = self.aws.table.ssh_key_used(account, login.ssh_key_id, now).await?;
        Ok(())
    }

    /// Fails, naming the field, unless there is such an SSH key.
    pub(super) async fn require_ssh_key(&self, account: &AccountId, id: u64) -> Result<()> {
        match self.aws.table.ssh_key(account, id).await? {
            Some(_) => Ok(()),
            None => Err(Error::invalid("ssh_key", format!("there is no SSH key {id}"))),
        }
    }
}

fn noun(host: SshHost) -> &'static str {
    match host {
        SshHost::Server(_) => "server",
        SshHost::Proxy(_) => "proxy",
    }
}

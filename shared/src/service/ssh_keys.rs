//! SSH keys: made here, their private halves sealed at once and opened for the worker only.

use rand::Rng;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use super::listing::{Listing, check_cursor};
use super::resealing::{Renewal, Sealing};
use super::{Service, conflict};
use crate::aws::table::{Condition, Cursor, Noun, Order, Update, keys};
use crate::domain::account::AccountId;
use crate::domain::sealed::Secret;
use crate::domain::ssh_key::SshKey;
use crate::error::{Error, Result};

/// Ends every public key, so that an `authorized_keys` file tells where a line came from.
const COMMENT: &str = "holdfast";

impl Service {
    /// Makes an Ed25519 key pair.
    pub async fn create_ssh_key(&self, account: &AccountId, name: &str) -> Result<SshKey> {
        let pair = generate()?;
        let private = pair.to_openssh(LineEnding::LF).map_err(Error::internal)?;
        let id = self.aws.table.next_number(account, Noun::SshKey).await?;
        let key = SshKey {
            id,
            name: name.to_owned(),
            public_key: pair.public_key().to_openssh().map_err(Error::internal)?,
            fingerprint: pair.fingerprint(HashAlg::Sha256).to_string(),
            private_key: self.sealer.seal(account, &sealed_name(id), &Secret::new(private.as_str()))?,
            created_at: self.clock.now(),
            last_used_at: None,
        };
        match self.aws.table.create_ssh_key(account, &key).await?.is_yes() {
            true => Ok(key),
            false => Err(conflict::contended()),
        }
    }

    /// One key.
    pub async fn ssh_key(&self, account: &AccountId, id: u64) -> Result<SshKey> {
        self.aws.table.ssh_key(account, id).await?.ok_or_else(|| Error::not_found("SSH key"))
    }

    /// The account's keys, page by page.
    pub async fn list_ssh_keys(
        &self,
        account: &AccountId,
        order: Order,
        limit: i32,
        after: Option<&Cursor>,
    ) -> Result<Listing<SshKey>> {
        check_cursor(after, &keys::ssh_keys(account))?;
        let page = self.aws.table.list_ssh_keys(account, order, limit, after).await?;
        Ok(Listing::of(page, self.aws.table.total_of(account, Noun::SshKey).await?))
    }

    /// Removes a key; a conflict that names the servers or proxies while any uses it.
    pub async fn delete_ssh_key(&self, account: &AccountId, id: u64) -> Result<()> {
        for _ in 0..conflict::TRIES {
            if self.aws.table.delete_ssh_key(account, id).await?.is_yes() {
                return Ok(());
            }
            self.ssh_key(account, id).await?;
            let servers = self.servers_with_key(account, id).await?;
            let proxies = self.proxies_with_key(account, id).await?;
            if !servers.is_empty() || !proxies.is_empty() {
                return Err(conflict::in_use_by("SSH key", &[("server", &servers), ("proxy", &proxies)]));
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }

    /// The private half in OpenSSH's format, for a connection that is about to be made.
    pub async fn open_ssh_key(&self, account: &AccountId, id: u64) -> Result<Secret> {
        let key = self.ssh_key(account, id).await?;
        self.sealer.open(account, &sealed_name(id), &key.private_key)
    }
}

fn sealed_name(id: u64) -> String {
    format!("ssh_key/{id}")
}

fn generate() -> Result<PrivateKey> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::rng().fill(&mut *seed);
    let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    key.set_comment(COMMENT);
    Ok(key)
}

impl Sealing for SshKey {
    fn renew(&mut self, renewal: &mut Renewal<'_>) {
        renewal.secret(&sealed_name(self.id), &mut self.private_key);
    }

    fn rewrite(&self, account: &AccountId, seen: &Self) -> Update {
        let update = Update::of(keys::ssh_key(account, self.id)).set("private_key", &self.private_key);
        update.only_if(Condition::equals("private_key", &seen.private_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_openssh_reads() {
        let pair = generate().unwrap();
        let public = pair.public_key().to_openssh().unwrap();
        assert!(public.starts_with("ssh-ed25519 AAAA") && public.ends_with(" holdfast"), "{public}");
        let text = pair.to_openssh(LineEnding::LF).unwrap();
        assert!(text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert_eq!(PrivateKey::from_openssh(text.as_str()).unwrap().public_key(), pair.public_key());
        assert!(pair.fingerprint(HashAlg::Sha256).to_string().starts_with("SHA256:"));
    }
}

//! Small integers per account, and totals that lists show without counting.

use serde::Deserialize;

use super::{Key, Records, Table, Update, Write, keys};
use crate::domain::account::AccountId;
use crate::error::{Error, Result};

/// What is numbered per account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    /// Tokens.
    Token,
    /// SSH keys.
    SshKey,
    /// Servers.
    Server,
    /// Proxies.
    Proxy,
    /// Storages.
    Storage,
    /// Encryption keys.
    EncryptionKey,
    /// Jobs.
    Job,
    /// Schedules.
    Schedule,
    /// Backups.
    Backup,
}

impl Noun {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Token => "TOKEN",
            Self::SshKey => "SSH_KEY",
            Self::Server => "SERVER",
            Self::Proxy => "PROXY",
            Self::Storage => "STORAGE",
            Self::EncryptionKey => "ENCRYPTION_KEY",
            Self::Job => "JOB",
            Self::Schedule => "SCHEDULE",
            Self::Backup => "BACKUP",
        }
    }
}

#[derive(Deserialize, Default)]
struct Counter {
    #[serde(default)]
    last: u64,
    #[serde(default)]
    total: i64,
}

impl Table {
    /// The next `count` numbers of a noun, as the first of them. Never given twice; gaps are normal.
    pub(crate) async fn next_numbers(&self, account: &AccountId, noun: Noun, count: u32) -> Result<u64> {
        let update = Update::of(keys::counter(account, noun.as_str())).add("last", i64::from(count));
        let counter: Counter =
            self.update(update).await?.ok_or_else(|| Error::internal("an unconditional update was refused"))?;
        Ok(counter.last + 1 - u64::from(count))
    }

    /// The next number of a noun.
    pub(crate) async fn next_number(&self, account: &AccountId, noun: Noun) -> Result<u64> {
        self.next_numbers(account, noun, 1).await
    }

    /// How many of a noun the account has, where [`count`] is part of making and deleting one.
    pub(crate) async fn total_of(&self, account: &AccountId, noun: Noun) -> Result<u64> {
        self.total(account, noun.as_str()).await
    }

    async fn total(&self, account: &AccountId, noun: &str) -> Result<u64> {
        let counter: Counter = self.get(&keys::counter(account, noun)).await?.unwrap_or_default();
        Ok(u64::try_from(counter.total).unwrap_or(0))
    }
}

impl Records {
    /// What these counters say together, which were asked for by their keys.
    pub(crate) fn total(&self, counters: &[Key]) -> Result<u64> {
        let counters = counters.iter().filter_map(|key| self.get::<Counter>(key).transpose());
        counters.map(|counter| Ok(u64::try_from(counter?.total).unwrap_or(0))).sum()
    }
}

/// Counts one of a noun in or out, as part of the transaction that makes or deletes it.
pub(super) fn count(account: &AccountId, noun: Noun, by: i64) -> Write {
    Update::of(keys::counter(account, noun.as_str())).add("total", by).into()
}

/// Counts a job in or out, as part of the transaction that makes or deletes it.
pub(super) fn count_job(account: &AccountId, by: i64) -> Write {
    Update::of(keys::jobs_counter(account)).add("total", by).into()
}

/// Counts a job in or out of its server's, as part of the transaction that makes, moves or deletes it.
pub(super) fn count_job_of_server(account: &AccountId, server: u64, by: i64) -> Write {
    Update::of(keys::jobs_of_server_counter(account, server)).add("total", by).into()
}

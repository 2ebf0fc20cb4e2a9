//! Accounts, each also in the installation's directory.
//!
//! The directory's rows are whole copies, written in the transactions that write the accounts, so that a list of them
//! costs its page and never scans.

use super::keys;
use super::{Condition, Cursor, Page, Query, Table, Write, Written};
use crate::domain::account::{Account, AccountId};
use crate::error::Result;

impl Table {
    /// Puts a new account; `No` when its id is taken.
    pub(crate) async fn create_account(&self, account: &Account) -> Result<Written> {
        self.put_account(account, Condition::Absent).await
    }

    /// One account.
    pub(crate) async fn account(&self, id: &AccountId) -> Result<Option<Account>> {
        self.get(&keys::account(id)).await
    }

    /// Replaces an account; `No` when it was changed since it was read.
    pub(crate) async fn update_account(&self, seen: &Account, next: &Account) -> Result<Written> {
        // One that was written before accounts counted their edits has no revision and counts as the first.
        let unedited = Condition::equals("revision", seen.revision);
        let unedited = match seen.revision {
            1 => Condition::Any(vec![unedited, Condition::Missing("revision")]),
            _ => unedited,
        };
        self.put_account(next, Condition::All(vec![Condition::Exists, unedited])).await
    }

    async fn put_account(&self, account: &Account, condition: Condition) -> Result<Written> {
        self.transact(vec![
            Write::put(&keys::account(&account.id), account, [])?.only_if(condition),
            Write::put(&keys::listed_account(&account.id), account, [])?,
        ])
        .await
    }

    /// One page of all accounts, by id.
    pub(crate) async fn list_accounts(&self, limit: i32, after: Option<&Cursor>) -> Result<Page<Account>> {
        self.page(Query { limit, after, ..Query::of(keys::ACCOUNTS.to_owned()) }).await
    }
}

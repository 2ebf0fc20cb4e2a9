//! Accounts: their owners' view of them, and what the operator of an installation does with them.

use jiff::Timestamp;
use rand::Rng;

use super::{Listing, Service, conflict};
use crate::aws::table::{Cursor, keys};
use crate::domain::ability::EVERYTHING;
use crate::domain::account::{Account, AccountEdit, AccountId, NewAccount};
use crate::domain::revision::Expected;
use crate::domain::sealed::Secret;
use crate::domain::timezone::Timezone;
use crate::error::{Error, Result};

impl Service {
    /// Makes an account with a random id. It owns nothing yet.
    pub async fn create_account(&self, name: &str) -> Result<Account> {
        self.create_account_with(NewAccount { name: name.to_owned(), timezone: Timezone::default() }).await
    }

    async fn create_account_with(&self, new: NewAccount) -> Result<Account> {
        let account = Account::new(random_account_id()?, new, self.clock.now());
        match self.aws.table.create_account(&account).await?.is_yes() {
            true => Ok(account),
            false => Err(Error::conflict("the account's id was taken; try again")),
        }
    }

    /// Makes an account that can be used at once: it has the installation's own bucket as its first storage, and a token
    /// that may do everything in it, whose text is answered this once.
    pub async fn open_account(&self, new: NewAccount) -> Result<(Account, Secret)> {
        let account = self.create_account_with(new).await?;
        self.create_default_storage(&account.id).await?;
        let (_, token) = self.create_token(&account.id, "first", vec![EVERYTHING.to_owned()]).await?;
        Ok((account, token))
    }

    /// Makes the account `id` unless it is there, for a caller that goes on where it was broken off.
    pub async fn ensure_account(&self, id: &AccountId, name: &str) -> Result<()> {
        let new = NewAccount { name: name.to_owned(), timezone: Timezone::default() };
        // Refused means that it is there.
        let _ = self.aws.table.create_account(&Account::new(id.clone(), new, self.clock.now())).await?;
        Ok(())
    }

    /// One account.
    pub async fn account(&self, id: &AccountId) -> Result<Account> {
        self.aws.table.account(id).await?.ok_or_else(|| Error::not_found("account"))
    }

    /// All accounts of the installation, by id, page by page.
    pub async fn list_accounts(&self, limit: i32, after: Option<&Cursor>) -> Result<Listing<Account>> {
        super::listing::check_cursor(after, keys::ACCOUNTS)?;
        let page = self.aws.table.list_accounts(limit, after).await?;
        Ok(Listing { records: page.records, next: page.next, total: None })
    }

    /// Changes what its owner says of an account.
    pub async fn update_account(&self, id: &AccountId, edit: AccountEdit, expected: &Expected) -> Result<Account> {
        self.edit_account(id, expected, |seen| seen.edited(edit.clone(), self.clock.now())).await
    }

    /// Disables an account: its tokens are refused within seconds, its schedules no longer run, its data stays. What it
    /// runs right now is finished.
    pub async fn disable_account(&self, id: &AccountId) -> Result<Account> {
        self.edit_account(id, &Expected::Any, |seen| seen.switched(true, self.clock.now())).await
    }

    /// Enables an account again. What was due meanwhile is not caught up.
    pub async fn enable_account(&self, id: &AccountId) -> Result<Account> {
        self.edit_account(id, &Expected::Any, |seen| seen.switched(false, self.clock.now())).await
    }

    /// Whether what a schedule of the account has due at `slot` may run: see [`Account::may_run`].
    pub(super) async fn may_run(&self, id: &AccountId, slot: Timestamp) -> Result<bool> {
        Ok(self.aws.table.account(id).await?.is_none_or(|account| account.may_run(slot)))
    }

    async fn edit_account(
        &self,
        id: &AccountId,
        expected: &Expected,
        edit: impl Fn(&Account) -> Account,
    ) -> Result<Account> {
        for _ in 0..conflict::TRIES {
            let seen = self.account(id).await?;
            expected.check(seen.revision)?;
            let next = edit(&seen);
            if next == seen || self.aws.table.update_account(&seen, &next).await?.is_yes() {
                return Ok(next);
            }
            conflict::pause().await;
        }
        Err(conflict::contended())
    }
}

fn random_account_id() -> Result<AccountId> {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    let text: String = (0..16).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect();
    AccountId::parse(&text).ok_or_else(|| Error::internal("a random account id was malformed"))
}

//! Accounts and their tokens.

use super::{Table, Write, Written, keys};
use crate::domain::account::{Account, AccountId};
use crate::domain::token::Token;
use crate::error::Result;

impl Table {
    /// Puts a new account; `No` when its id is taken.
    pub(crate) async fn create_account(&self, account: &Account) -> Result<Written> {
        self.write(Write::put_new(&keys::account(&account.id), account, [])?).await
    }

    /// Puts a new token.
    pub(crate) async fn create_token(&self, token: &Token) -> Result<Written> {
        self.write(Write::put_new(&keys::token(&token.account, &token.sha256), token, [])?).await
    }

    /// The token of an account whose text has this SHA-256, lowercase hex.
    pub(crate) async fn token(&self, account: &AccountId, sha256: &str) -> Result<Option<Token>> {
        self.get(&keys::token(account, sha256)).await
    }
}

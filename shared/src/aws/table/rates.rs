//! How many requests an account and its tokens made, one row per account and window.

use std::collections::HashMap;

use super::{Table, Update, keys};
use crate::domain::account::AccountId;
use crate::error::{Error, Result};

/// What the account's own count is called; a token's is `t` and its id.
const ACCOUNT: &str = "account";

/// What a window holds once permits were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Permits that were taken with all tokens of the account.
    pub by_account: u64,
    /// Permits that were taken with this token.
    pub by_token: u64,
}

impl Table {
    /// Takes `permits` of the window that begins at `window`, epoch seconds, for a token: one write. DynamoDB removes the
    /// row some time after `ttl`, epoch seconds.
    pub(crate) async fn take_permits(
        &self,
        account: &AccountId,
        token: u64,
        window: i64,
        permits: u32,
        ttl: i64,
    ) -> Result<Taken> {
        let token = format!("t{token}");
        let permits = i64::from(permits);
        let update = Update::of(keys::rate(account, window)).add(ACCOUNT, permits).add(token.as_str(), permits);
        let counts: HashMap<String, u64> = self.update_counts(update.set("ttl", ttl)).await?;
        let count = |name: &str| counts.get(name).copied().ok_or_else(|| Error::internal("a count was not answered"));
        Ok(Taken { by_account: count(ACCOUNT)?, by_token: count(&token)? })
    }
}

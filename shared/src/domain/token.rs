//! A bearer token and what it may do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ability::{Ability, EVERYTHING};
use super::account::AccountId;
use crate::error::{Error, ErrorKind, Result};

/// Starts every token's text, so that secret scanners can find one that leaked.
pub const TOKEN_PREFIX: &str = "hfst_";

/// A token as it is kept: its text is shown once and never stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Integer id, counted per account.
    pub id: u64,
    /// Whose it is.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the whole text, lowercase hex.
    pub sha256: String,
    /// What it may do; `*` is everything.
    pub abilities: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Splits a token's text `hfst_ACCOUNT_SECRET` and answers the account; `None` for any other shape.
pub fn account_of(text: &str) -> Option<AccountId> {
    let (account, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    (secret.len() == 43).then_some(())?;
    AccountId::parse(account)
}

impl Token {
    /// Whether the token may do what `ability` names.
    pub fn may(&self, ability: Ability) -> bool {
        let name = ability.to_string();
        self.abilities.iter().any(|own| own == EVERYTHING || *own == name)
    }

    /// Fails with [`ErrorKind::Forbidden`], naming the ability, unless the token has it.
    pub fn demand(&self, ability: Ability) -> Result<()> {
        match self.may(ability) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Forbidden, format!("this token lacks the ability {ability}"))),
        }
    }
}

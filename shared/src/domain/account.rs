//! An account: the tenant that owns everything else.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The id of an account: 1 to 32 lowercase ASCII letters and digits. It stands first in every key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

impl AccountId {
    /// Takes `text` as an id; `None` unless it is 1 to 32 lowercase letters and digits.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=32).contains(&text.len());
        let clean = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        (fits && clean).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AccountId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("an account id is 1 to 32 lowercase letters and digits")
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.0
    }
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Stands first in every key.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

//! An account: the tenant that owns everything else.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::timezone::Timezone;

/// The company id that an account has unless its owner says otherwise.
pub const DEFAULT_COMPANY_ID: u64 = 1;

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
    /// The zone that its owner's clock shows.
    #[serde(default)]
    pub timezone: Timezone,
    /// What surfaces show that number accounts; it identifies nothing here.
    #[serde(default = "default_company_id")]
    pub company_id: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed; `None` until it is.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
    /// Counts its edits, from 1: each one states the revision that it read, and loses to an edit in between.
    #[serde(default = "first_revision")]
    pub revision: u64,
    /// Since when it is disabled; `None` while it is not.
    #[serde(default)]
    pub disabled_at: Option<Timestamp>,
    /// When it was last enabled again; `None` if it never was disabled.
    #[serde(default)]
    pub enabled_at: Option<Timestamp>,
}

fn default_company_id() -> u64 {
    DEFAULT_COMPANY_ID
}

fn first_revision() -> u64 {
    1
}

/// What is said of a new account.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAccount {
    /// What to call it.
    pub name: String,
    /// The zone that its owner's clock shows.
    pub timezone: Timezone,
}

/// What its owner changes of an account; `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccountEdit {
    /// What to call it.
    pub name: Option<String>,
    /// The zone that its owner's clock shows.
    pub timezone: Option<Timezone>,
    /// What surfaces show that number accounts.
    pub company_id: Option<u64>,
}

impl Account {
    /// A new account.
    pub fn new(id: AccountId, new: NewAccount, now: Timestamp) -> Self {
        Self {
            id,
            name: new.name,
            timezone: new.timezone,
            company_id: DEFAULT_COMPANY_ID,
            created_at: now,
            updated_at: None,
            revision: 1,
            disabled_at: None,
            enabled_at: None,
        }
    }

    /// Whether its tokens are refused.
    pub fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }

    /// Whether a schedule's run that was due at `slot` may take place: neither now that it is disabled, nor afterwards
    /// for what was due meanwhile.
    pub fn may_run(&self, slot: Timestamp) -> bool {
        !self.is_disabled() && self.enabled_at.is_none_or(|enabled| slot >= enabled)
    }

    /// The account after its owner's edit.
    #[must_use]
    pub fn edited(&self, edit: AccountEdit, now: Timestamp) -> Self {
        let seen = self.clone();
        Self {
            name: edit.name.unwrap_or(seen.name),
            timezone: edit.timezone.unwrap_or(seen.timezone),
            company_id: edit.company_id.unwrap_or(seen.company_id),
            updated_at: Some(now),
            revision: seen.revision + 1,
            ..seen
        }
    }

    /// The account once it is disabled or enabled; the same where it is so already.
    #[must_use]
    pub fn switched(&self, disabled: bool, now: Timestamp) -> Self {
        if self.is_disabled() == disabled {
            return self.clone();
        }
        Self {
            disabled_at: disabled.then_some(now),
            enabled_at: if disabled { self.enabled_at } else { Some(now) },
            updated_at: Some(now),
            revision: self.revision + 1,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn account() -> Account {
        let new = NewAccount { name: "acme".to_owned(), timezone: Timezone::default() };
        Account::new(AccountId::parse("acme").unwrap(), new, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_was_due_while_it_was_disabled_never_runs() {
        let at = |hours| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let disabled = account().switched(true, at(2));
        assert!(account().may_run(at(1)) && !disabled.may_run(at(1)) && !disabled.may_run(at(3)));
        assert_eq!(disabled.switched(true, at(3)), disabled, "disabled is disabled");
        let enabled = disabled.switched(false, at(4));
        assert!(!enabled.may_run(at(3)) && enabled.may_run(at(4)) && enabled.may_run(at(5)));
        assert_eq!(enabled.revision, 3);
    }

    #[test]
    fn a_record_without_the_newer_parts_is_read() {
        let old = r#"{"id": "acme", "name": "acme", "created_at": "1970-01-01T00:00:00Z"}"#;
        assert_eq!(serde_json::from_str::<Account>(old).unwrap(), account());
    }
}

//! A proxy: a jump host, an SSH host that servers are reached through.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::login::{Login, LoginEdit, LoginStatus};

/// A jump host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proxy {
    /// Integer id, counted per account.
    pub id: u64,
    /// What its owner calls it.
    pub name: String,
    /// How it is reached.
    #[serde(flatten)]
    pub login: Login,
    /// Whether the last connection worked.
    #[serde(default)]
    pub status: LoginStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// Counts its owner's edits, from 1: each one states the revision that it read, and loses to an edit in between.
    pub revision: u64,
    /// When a connection last used it.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
    /// The last check.
    #[serde(default)]
    pub check: Option<Check>,
}

/// What its owner says of a new proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct NewProxy {
    /// What to call it.
    pub name: String,
    /// How it is reached.
    pub login: Login,
}

/// What its owner changes of a proxy; `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProxyEdit {
    /// What to call it.
    pub name: Option<String>,
    /// How it is reached; see [`LoginEdit::apply`] for what becomes of a pinned key.
    pub login: LoginEdit,
}

impl ProxyEdit {
    /// The proxy as it is after the edit.
    pub fn apply(self, seen: &Proxy, now: Timestamp) -> Proxy {
        Proxy {
            name: self.name.unwrap_or_else(|| seen.name.clone()),
            login: self.login.apply(&seen.login),
            updated_at: now,
            revision: seen.revision + 1,
            ..seen.clone()
        }
    }
}

//! A server: an SSH host with a pinned host key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::login::{Login, LoginEdit, LoginStatus};

/// How many backups one server runs at a time unless its owner says otherwise.
pub const DEFAULT_MAX_PARALLEL: u32 = 2;
/// How many its owner may ask for.
pub const MAX_PARALLEL_LIMIT: u32 = 32;

/// An SSH host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Integer id, counted per account.
    pub id: u64,
    /// What its owner calls it.
    pub name: String,
    /// How it is reached.
    #[serde(flatten)]
    pub login: Login,
    /// How many backups run on it at once.
    pub max_parallel: u32,
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

/// What its owner says of a new server.
#[derive(Debug, Clone, PartialEq)]
pub struct NewServer {
    /// What to call it.
    pub name: String,
    /// How it is reached.
    pub login: Login,
    /// How many backups may run on it at once.
    pub max_parallel: u32,
}

/// What its owner changes of a server; `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServerEdit {
    /// What to call it.
    pub name: Option<String>,
    /// How it is reached; see [`LoginEdit::apply`] for what becomes of a pinned key.
    pub login: LoginEdit,
    /// How many backups may run on it at once.
    pub max_parallel: Option<u32>,
}

impl ServerEdit {
    /// The server as it is after the edit.
    pub fn apply(self, seen: &Server, now: Timestamp) -> Server {
        let mut next = seen.clone();
        next.name = self.name.unwrap_or(next.name);
        next.login = self.login.apply(&seen.login);
        next.max_parallel = self.max_parallel.unwrap_or(next.max_parallel);
        next.updated_at = now;
        next.revision = seen.revision + 1;
        next
    }
}

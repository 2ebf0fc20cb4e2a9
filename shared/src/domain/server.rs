//! A server: an SSH host with a pinned host key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::check::Check;
pub use super::host::{Host, LoginName};
pub use super::host_key::{HostKey, HostKeySource};

/// How many backups one server runs at a time unless its owner says otherwise.
pub const DEFAULT_MAX_PARALLEL: u32 = 2;
/// How many its owner may ask for.
pub const MAX_PARALLEL_LIMIT: u32 = 32;
/// Where sshd listens unless its owner says otherwise.
pub const DEFAULT_PORT: u16 = 22;

/// Whether the last connection worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerStatus {
    /// Never connected.
    #[default]
    Pending,
    /// The last connection worked.
    Success,
    /// The last connection failed.
    Failed,
}

/// An SSH host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Integer id, counted per account.
    pub id: u64,
    /// What its owner calls it.
    pub name: String,
    /// Host name or address.
    pub host: Host,
    /// TCP port, 1 to 65,535.
    pub port: u16,
    /// Login name.
    pub user: LoginName,
    /// The key that logs in.
    pub ssh_key_id: u64,
    /// How many backups run on it at once.
    pub max_parallel: u32,
    /// The pinned key; `None` until the first connection, unless given.
    #[serde(default)]
    pub host_key: Option<HostKey>,
    /// Whether the last connection worked.
    #[serde(default)]
    pub status: ServerStatus,
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
    /// Host name or address.
    pub host: Host,
    /// TCP port, 1 to 65,535.
    pub port: u16,
    /// Login name.
    pub user: LoginName,
    /// The key that logs in.
    pub ssh_key_id: u64,
    /// How many backups may run on it at once.
    pub max_parallel: u32,
    /// The key that it must show; `None` to pin what the first connection sees.
    pub host_key: Option<HostKey>,
}

/// What its owner changes of a server; `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServerEdit {
    /// What to call it.
    pub name: Option<String>,
    /// Host name or address.
    pub host: Option<Host>,
    /// TCP port, 1 to 65,535.
    pub port: Option<u16>,
    /// Login name.
    pub user: Option<LoginName>,
    /// The key that logs in.
    pub ssh_key_id: Option<u64>,
    /// How many backups may run on it at once.
    pub max_parallel: Option<u32>,
    /// The key that it must show.
    pub host_key: Option<HostKey>,
}

impl ServerEdit {
    /// The server as it is after the edit.
    ///
    /// A key that was pinned from the first connection belongs to the machine that was connected to, so it goes when
    /// host or port change; one that the owner gave or accepted stays.
    pub fn apply(self, seen: &Server, now: Timestamp) -> Server {
        let mut next = seen.clone();
        next.name = self.name.unwrap_or(next.name);
        next.host = self.host.unwrap_or(next.host);
        next.port = self.port.unwrap_or(next.port);
        next.user = self.user.unwrap_or(next.user);
        next.ssh_key_id = self.ssh_key_id.unwrap_or(next.ssh_key_id);
        next.max_parallel = self.max_parallel.unwrap_or(next.max_parallel);
        let moved = next.host != seen.host || next.port != seen.port;
        next.host_key = self.host_key.or(next.host_key.filter(|key| !(moved && key.source == HostKeySource::FirstUse)));
        next.updated_at = now;
        next.revision = seen.revision + 1;
        next
    }
}

//! A server: an SSH host with a pinned host key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::check::Check;

/// How many backups one server runs at a time unless its owner says otherwise.
pub const DEFAULT_MAX_PARALLEL: u32 = 2;

/// How a host key came to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostKeySource {
    /// Given by the owner when the server was made or changed.
    Given,
    /// Pinned from the first connection.
    FirstUse,
    /// Accepted by the owner after it changed.
    Accepted,
}

/// The host key that a server must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// `SHA256:` and base64, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// `ALGORITHM BASE64`, the key itself; absent while only its fingerprint is known.
    #[serde(default)]
    pub public_key: Option<String>,
    /// How it came to be trusted.
    pub source: HostKeySource,
    /// When it was pinned.
    pub pinned_at: Timestamp,
}

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
    /// Host name or address; from an allow-list of characters, no leading dash.
    pub host: String,
    /// TCP port, 1 to 65,535.
    pub port: u16,
    /// Login name; from an allow-list of characters, no leading dash.
    pub user: String,
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
    /// When a connection last used it.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
    /// The last check.
    #[serde(default)]
    pub check: Option<Check>,
}

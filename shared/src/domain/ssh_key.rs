//! An SSH key pair that Holdfast made; its private half never leaves.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sealed::Sealed;

/// An Ed25519 key pair for logging in to servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SshKey {
    /// Integer id, counted per account.
    pub id: u64,
    /// What its owner calls it.
    pub name: String,
    /// One `authorized_keys` line: `ssh-ed25519 AAAA… comment`.
    pub public_key: String,
    /// `SHA256:` and base64, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The private half in OpenSSH's format, sealed.
    pub private_key: Sealed,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a connection last used it.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
}

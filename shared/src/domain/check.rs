//! A check: a question that the worker answers about a server or a storage.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// Asked for; no worker has taken it up yet.
    Pending,
    /// Everything asked was found in order.
    Success,
    /// A step failed; `failed_step` and `message` tell which and why.
    Failed,
}

/// The last check of a server or a storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Identifies this check: an answer to an older one is dropped.
    pub id: uuid::Uuid,
    /// How far it is.
    pub status: CheckStatus,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When the worker answered.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// The step that failed: `connect`, `host_key`, `login`, `write`, `read`, `delete` ….
    #[serde(default)]
    pub failed_step: Option<String>,
    /// What failed and what to do; holds no secret.
    #[serde(default)]
    pub message: Option<String>,
    /// What was found, by name: `ssh`, `tar`, `sudo` … and the version or `"missing"`.
    #[serde(default)]
    pub found: std::collections::BTreeMap<String, String>,
}

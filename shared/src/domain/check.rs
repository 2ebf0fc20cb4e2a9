//! A check: a question that the worker answers about a server, a proxy or a storage.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What can be checked, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// A server: can it be logged in to, and what is there?
    Server(u64),
    /// A proxy: can it be logged in to, and does it let connections through?
    Proxy(u64),
    /// A storage: can it be written, read and deleted from?
    Storage(u64),
}

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

/// The last check of a server, a proxy or a storage.
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
    /// The step that failed: `connect`, `host_key`, `login`, `forwarding`, `write`, `read`, `delete` ….
    #[serde(default)]
    pub failed_step: Option<String>,
    /// What failed and what to do; holds no secret.
    #[serde(default)]
    pub message: Option<String>,
    /// What was found, by name: `ssh`, `tar`, `sudo` … and the version or `"missing"`.
    #[serde(default)]
    pub found: BTreeMap<String, String>,
}

/// What a worker found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckOutcome {
    /// The step that failed, and what to do about it; `None` when everything was in order.
    pub failure: Option<CheckFailure>,
    /// What was found, by name.
    pub found: BTreeMap<String, String>,
}

/// The step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFailure {
    /// `connect`, `host_key`, `login`, `forwarding`, `write`, `read`, `delete` ….
    pub step: String,
    /// What failed and what to do; holds no secret.
    pub message: String,
}

impl Check {
    /// A check that waits for a worker.
    pub fn pending(id: uuid::Uuid, now: Timestamp) -> Self {
        Self {
            id,
            status: CheckStatus::Pending,
            requested_at: now,
            finished_at: None,
            failed_step: None,
            message: None,
            found: BTreeMap::new(),
        }
    }

    /// The same check, answered.
    pub fn finished(&self, outcome: CheckOutcome, now: Timestamp) -> Self {
        let status = if outcome.failure.is_some() { CheckStatus::Failed } else { CheckStatus::Success };
        let (failed_step, message) = outcome.failure.map(|failure| (failure.step, failure.message)).unzip();
        let found = outcome.found;
        Self {
            id: self.id,
            status,
            requested_at: self.requested_at,
            finished_at: Some(now),
            failed_step,
            message,
            found,
        }
    }
}

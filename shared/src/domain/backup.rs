//! A backup: one run of a job, and what it stored.
//!
//! `pending → running → completed | completed_with_errors | failed | cancelled`, `skipped` straight from `pending`, and
//! `expired` once retention or its owner had removed what a completed one stored. `running → pending` is a retry that waits.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::account::AccountId;
use super::object_key::BackupDirectory;
use super::slot::Tags;

/// How long a claim holds without a heartbeat, seconds.
pub const LEASE_SECS: i64 = 120;
/// How often a worker renews its claim, seconds.
pub const HEARTBEAT_SECS: u64 = 30;
/// How long after its end a lease still counts as held, seconds: the clocks of two workers may differ by that much.
pub const LEASE_GRACE_SECS: i64 = 10;
/// How many times a backup is tried before it is `failed`.
pub const MAX_ATTEMPTS: u32 = 5;

/// Where a backup is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Recorded; waits for a worker, or for its next attempt.
    Pending,
    /// A worker holds its lease.
    Running,
    /// Everything asked for is stored and was proved.
    Completed,
    /// Stored and proved, but named parts of the source could not be read.
    CompletedWithErrors,
    /// Nothing is stored; `failure` tells why.
    Failed,
    /// Stopped by its owner.
    Cancelled,
    /// Never ran; `skip_reason` tells why.
    Skipped,
    /// Was completed; retention or its owner had its objects removed.
    Expired,
}

impl Status {
    /// Every status, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::CompletedWithErrors,
        Self::Failed,
        Self::Cancelled,
        Self::Skipped,
        Self::Expired,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::CompletedWithErrors => "completed_with_errors",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Expired => "expired",
        }
    }

    /// The status that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether nothing will happen to it any more but expiry.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Whether its objects exist.
    pub fn is_stored(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithErrors)
    }

    /// Whether a backup may go from this status to `next`. `Running → Running` is a takeover after a lost lease.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Running | Self::Skipped | Self::Cancelled | Self::Failed),
            Self::Running => !matches!(next, Self::Skipped | Self::Expired),
            Self::Completed | Self::CompletedWithErrors => next == Self::Expired,
            Self::Failed | Self::Cancelled | Self::Skipped | Self::Expired => false,
        }
    }
}

/// Why a slot did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// An earlier backup of the same job was still running.
    JobRunning,
    /// The slot passed without a worker being told: downtime, or a schedule that was gone.
    Missed,
    /// The account was disabled when the slot was due.
    AccountDisabled,
}

/// Why a backup failed, in words for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word: `login`, `host_key`, `connect`, `source`, `storage`, `lost_worker`, `config` ….
    pub kind: String,
    /// What failed and what to do; holds no secret.
    pub message: String,
}

/// The longest message of a failure, bytes.
pub const MAX_FAILURE_BYTES: usize = 4 * 1024;

impl Failure {
    /// The same with a message that fits into its record; the log has all of it.
    #[must_use]
    pub fn clipped(self) -> Self {
        Self { message: clipped(self.message, MAX_FAILURE_BYTES), ..self }
    }
}

/// Text cut to at most so many bytes, between two characters.
fn clipped(mut text: String, max_bytes: usize) -> String {
    const MARK: &str = " …";
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes - MARK.len()));
        text.push_str(MARK);
    }
    text
}

/// One stored object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// `1`, `2` …: unique within its backup.
    pub id: u32,
    /// File name, as a download names it.
    pub name: String,
    /// Bytes before compression.
    pub plain_bytes: u64,
    /// Bytes as stored.
    pub stored_bytes: u64,
    /// SHA-256 of the bytes before compression, lowercase hex.
    pub plain_sha256: String,
    /// SHA-256 of the bytes as stored, lowercase hex.
    pub stored_sha256: String,
}

/// A backup's objects in one storage: each file at [`super::object_key::ObjectKey`] of the committed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// The storage.
    pub storage_id: u64,
    /// Object keys, one per file and in the files' order.
    pub keys: Vec<String>,
}

/// What a successful run proved: written as one with the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// `completed` or `completed_with_errors`.
    pub status: Status,
    /// What was stored.
    pub files: Vec<File>,
    /// Where it was stored; at least one.
    pub copies: Vec<Copy>,
    /// What could not be read, one line each; at most [`MAX_SOURCE_ERRORS`] of them.
    pub source_errors: Vec<String>,
}

/// How many source errors a backup keeps; the log has them all.
pub const MAX_SOURCE_ERRORS: usize = 50;
/// The longest of them, bytes.
pub const MAX_SOURCE_ERROR_BYTES: usize = 2 * 1024;
/// How many files a backup can have: more do not fit into its record.
pub const MAX_FILES: usize = 100;

impl Outcome {
    /// The same with source errors that fit into the record; `None` when it has more files than do.
    #[must_use]
    pub fn clipped(mut self) -> Option<Self> {
        self.source_errors.truncate(MAX_SOURCE_ERRORS);
        self.source_errors =
            self.source_errors.into_iter().map(|error| clipped(error, MAX_SOURCE_ERROR_BYTES)).collect();
        (self.files.len() <= MAX_FILES).then_some(self)
    }
}

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// UUIDv5 of schedule and slot, or random for a manual start.
    pub id: Uuid,
    /// The id of the other surfaces, counted per account.
    pub number: u64,
    /// Whose it is.
    pub account: AccountId,
    /// Which job.
    pub job: Uuid,
    /// The job's name when it was recorded.
    pub name: String,
    /// Which schedule; `None` for a manual start.
    #[serde(default)]
    pub schedule: Option<u64>,
    /// The due instant; `None` for a manual start.
    #[serde(default)]
    pub slot: Option<Timestamp>,
    /// Which retention classes it counts for.
    pub tags: Tags,
    /// Where it is in its life.
    pub status: Status,
    /// The fencing number: how many times it was claimed.
    #[serde(default)]
    pub attempt: u32,
    /// Until when the claim holds without a heartbeat.
    #[serde(default)]
    pub lease_until: Option<Timestamp>,
    /// When the holder last renewed its claim.
    #[serde(default)]
    pub heartbeat_at: Option<Timestamp>,
    /// When its next attempt is due, while it waits for one.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
    /// Set when its owner asked to stop it; the holder sees it at its next heartbeat.
    #[serde(default)]
    pub cancel_requested: bool,
    /// Since when it is being deleted: its objects go, and then its record.
    #[serde(default)]
    pub deletion_requested_at: Option<Timestamp>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When its first attempt began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended, however it ended.
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
    /// What it stored; empty until it is completed and after it expired.
    #[serde(default)]
    pub files: Vec<File>,
    /// Where it is stored.
    #[serde(default)]
    pub copies: Vec<Copy>,
    /// What could not be read.
    #[serde(default)]
    pub source_errors: Vec<String>,
    /// Why it failed, or why its last attempt did.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Why it never ran.
    #[serde(default)]
    pub skip_reason: Option<SkipReason>,
}

impl Backup {
    /// Where its attempts put their files: under the UTC day on which it was due or asked for.
    pub fn directory(&self) -> BackupDirectory {
        let date = self.slot.unwrap_or(self.created_at).to_zoned(TimeZone::UTC).date();
        BackupDirectory { account: self.account.clone(), job: self.job, date, backup: self.id }
    }

    /// Whether a worker holds it at `now`, as far as another worker may judge.
    pub fn is_held(&self, now: Timestamp) -> bool {
        let until = |lease: Timestamp| lease + SignedDuration::from_secs(LEASE_GRACE_SECS);
        self.status == Status::Running && self.lease_until.is_some_and(|lease| until(lease) > now)
    }

    /// The backup as it is once it ended with `status` at `now`.
    #[must_use]
    pub fn ended(&self, status: Status, now: Timestamp) -> Self {
        Self { status, lease_until: None, retry_at: None, completed_at: Some(now), ..self.clone() }
    }

    /// The backup as it is from the moment on that its objects go: it no longer says that it can be restored.
    #[must_use]
    pub fn being_deleted(&self, now: Timestamp) -> Self {
        let next = match self.status {
            Status::Pending | Status::Running => self.ended(Status::Cancelled, now),
            Status::Completed | Status::CompletedWithErrors => Self { status: Status::Expired, ..self.clone() },
            Status::Failed | Status::Cancelled | Status::Skipped | Status::Expired => self.clone(),
        };
        Self { deletion_requested_at: self.deletion_requested_at.or(Some(now)), ..next }
    }
}

/// How far a running attempt is. Kept beside the backup, written every few seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The attempt that reports.
    pub attempt: u32,
    /// Bytes that came from the source.
    pub bytes_read: u64,
    /// Bytes that storages have acknowledged.
    pub bytes_stored: u64,
    /// Bytes from the source in the last second or so.
    pub bytes_per_second: u64,
    /// When this was measured.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(clipped("short".to_owned(), 10), "short");
        assert_eq!(clipped("ääääääääää".to_owned(), 11), "äää …");
        let failure = Failure { kind: "source".to_owned(), message: "€".repeat(10_000) }.clipped();
        assert!(failure.message.len() <= MAX_FAILURE_BYTES && failure.message.ends_with("€ …"));
    }
}

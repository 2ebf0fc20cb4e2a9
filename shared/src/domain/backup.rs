//! A backup: one run of a job, and what it stored.
//!
//! `pending → running → completed | completed_with_errors | failed | cancelled`, `skipped` straight from `pending`, and
//! `expired` once retention or its owner had removed what a completed one stored. `running → pending` is a retry that waits.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::account::AccountId;
use super::backup_summary::BackupSummary;
use super::object_key::{BackupDirectory, MANIFEST, ObjectKey, ReadablePath};
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
    /// Stored and proved, but named parts of the source could not be read, or a storage misses its copy.
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
            Self::Completed => next == Self::Expired,
            // Once the last storage that missed its copy has it.
            Self::CompletedWithErrors => matches!(next, Self::Completed | Self::Expired),
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
    /// Whether they are there.
    #[serde(default)]
    pub status: CopyStatus,
    /// Why they are not.
    #[serde(default)]
    pub error: Option<String>,
}

/// Whether a storage has its copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyStatus {
    /// Every file was stored and read back.
    #[default]
    Stored,
    /// It missed some; a worker copies them from a storage that has them, until it holds.
    Missing,
}

impl CopyStatus {
    /// The words on the wire.
    pub const NAMES: [&str; 2] = ["stored", "missing"];
}

/// The longest error of a copy, bytes.
const MAX_COPY_ERROR_BYTES: usize = 512;
/// How soon a copy that is missing is tried again, minutes.
const COPY_AGAIN_MINS: i64 = 15;

impl Copy {
    /// A copy that is there.
    pub fn stored(storage_id: u64, keys: Vec<String>) -> Self {
        Self { storage_id, keys, status: CopyStatus::Stored, error: None }
    }

    /// One that its storage missed.
    pub fn missing(storage_id: u64, keys: Vec<String>, error: String) -> Self {
        Self {
            status: CopyStatus::Missing,
            error: Some(clipped(error, MAX_COPY_ERROR_BYTES)),
            ..Self::stored(storage_id, keys)
        }
    }

    /// Whether it can be downloaded.
    pub fn holds(&self) -> bool {
        self.status == CopyStatus::Stored
    }
}

/// What came of a try to make a copy that was missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyOutcome {
    /// It is there, and proved.
    Stored,
    /// It is not, for this reason.
    Failed(String),
    /// Its storage was removed: nobody waits for it any more.
    StorageGone,
}

/// Stands in the place of a key's fingerprint where a passphrase opens a backup.
pub const A_PASSPHRASE: &str = "a passphrase";

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
    /// See [`Backup::encrypted_to`].
    pub encrypted_to: Vec<String>,
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
    /// The readable part of its keys, as the job had it then; `None` is its day.
    #[serde(default)]
    pub path: Option<ReadablePath>,
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
    /// When its next attempt is due, while it waits for one; once it is stored, when a missing copy is tried next.
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
    /// Fingerprints of the public keys that its files are encrypted to: the private half of any opens them. Only
    /// [`A_PASSPHRASE`] where it is one that opens them, and empty where they are stored in the clear.
    #[serde(default)]
    pub encrypted_to: Vec<String>,
    /// Why it failed, or why its last attempt did.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Why it never ran.
    #[serde(default)]
    pub skip_reason: Option<SkipReason>,
}

impl Backup {
    /// Where its attempts put their files: under its path, or the UTC day on which it was due or asked for.
    pub fn directory(&self) -> BackupDirectory {
        BackupSummary::of(self).directory(&self.account, self.job)
    }

    /// Whether a worker holds it at `now`, as far as another worker may judge.
    pub fn is_held(&self, now: Timestamp) -> bool {
        let until = |lease: Timestamp| lease + SignedDuration::from_secs(LEASE_GRACE_SECS);
        self.status == Status::Running && self.lease_until.is_some_and(|lease| until(lease) > now)
    }

    /// Whether its record names an object: one of its files in a storage, or what tells of them.
    pub fn names(&self, key: &ObjectKey) -> bool {
        let own = key.attempt() == self.attempt && *key.directory() == self.directory();
        let tells = key.file_name().as_str() == MANIFEST && own;
        let text = key.to_string();
        self.status.is_stored() && (tells || self.copies.iter().any(|copy| copy.keys.contains(&text)))
    }

    /// The same with what its copies say: `completed` only where each storage has its own and all of the source was read,
    /// and when one that is missing is tried next.
    #[must_use]
    pub fn with_copies(self, copies: Vec<Copy>, now: Timestamp) -> Self {
        let all_hold = copies.iter().all(Copy::holds);
        let is_whole = all_hold && self.source_errors.is_empty();
        let status = if is_whole { Status::Completed } else { Status::CompletedWithErrors };
        let retry_at = (!all_hold).then(|| now + SignedDuration::from_mins(COPY_AGAIN_MINS));
        Self { status, copies, retry_at, ..self }
    }

    /// The same after a try to make a copy that was missing.
    #[must_use]
    pub fn with_copy(self, storage_id: u64, outcome: &CopyOutcome, now: Timestamp) -> Self {
        let copies = self.copies.iter().cloned().filter_map(|copy| match outcome {
            _ if copy.storage_id != storage_id || copy.holds() => Some(copy),
            CopyOutcome::Stored => Some(Copy::stored(storage_id, copy.keys)),
            CopyOutcome::Failed(error) => Some(Copy::missing(storage_id, copy.keys, error.clone())),
            CopyOutcome::StorageGone => None,
        });
        let copies = copies.collect();
        self.with_copies(copies, now)
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
    use crate::domain::object_key::FileName;

    fn stored(copies: Vec<Copy>) -> Backup {
        let at = "2026-01-01T00:00:00Z";
        let backup = serde_json::json!({
            "id": Uuid::from_u128(2), "number": 1, "account": "acme", "job": Uuid::from_u128(1), "name": "Demo",
            "tags": {}, "status": "completed", "attempt": 1, "created_at": at, "completed_at": at,
        });
        let backup: Backup = serde_json::from_value(backup).unwrap();
        backup.with_copies(copies, at.parse().unwrap())
    }

    #[test]
    fn a_backup_is_complete_once_every_storage_has_its_copy() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let keys = vec!["key".to_owned()];
        let missing = |id| Copy::missing(id, keys.clone(), "down".to_owned());
        let backup = stored(vec![Copy::stored(1, keys.clone()), missing(2), missing(3)]);
        assert_eq!(backup.status, Status::CompletedWithErrors);
        let backup = backup.with_copy(2, &CopyOutcome::Failed("still down".to_owned()), now);
        assert_eq!(backup.copies[1].error.as_deref(), Some("still down"));
        assert_eq!(backup.retry_at, Some(now + SignedDuration::from_mins(COPY_AGAIN_MINS)));
        let backup = backup.with_copy(2, &CopyOutcome::Stored, now);
        assert_eq!((backup.status, backup.copies[1].holds()), (Status::CompletedWithErrors, true));
        // What is there is not taken away by a late word of another worker.
        let backup = backup.with_copy(2, &CopyOutcome::Failed("late".to_owned()), now);
        assert!(backup.copies[1].holds());
        let done = backup.clone().with_copy(3, &CopyOutcome::StorageGone, now);
        assert_eq!((done.status, done.copies.len(), done.retry_at), (Status::Completed, 2, None));
        let unread = Backup { source_errors: vec!["a".to_owned()], ..backup };
        assert_eq!(unread.with_copy(3, &CopyOutcome::Stored, now).status, Status::CompletedWithErrors);
    }

    #[test]
    fn a_stored_backup_names_its_files_and_its_manifest() {
        let empty = stored(Vec::new());
        let object = |attempt, name: &str| empty.directory().object(attempt, FileName::new(name).unwrap());
        let backup = stored(vec![Copy::stored(1, vec![object(1, "a.tar").to_string()])]);
        assert!(backup.names(&object(1, "a.tar")) && backup.names(&object(1, MANIFEST)));
        assert!(!backup.names(&object(1, "b.tar")) && !backup.names(&object(2, MANIFEST)));
        let gone = Backup { status: Status::Expired, ..backup };
        assert!(!gone.names(&object(1, "a.tar")) && !gone.names(&object(1, MANIFEST)));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(clipped("short".to_owned(), 10), "short");
        assert_eq!(clipped("ääääääääää".to_owned(), 11), "äää …");
        let failure = Failure { kind: "source".to_owned(), message: "€".repeat(10_000) }.clipped();
        assert!(failure.message.len() <= MAX_FAILURE_BYTES && failure.message.ends_with("€ …"));
    }
}

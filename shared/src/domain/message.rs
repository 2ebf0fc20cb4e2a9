//! What travels on the queue. Old payloads stay readable: a field may be added, never renamed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::account::AccountId;

/// The version that new messages carry.
pub const MESSAGE_VERSION: u32 = 1;

/// One message: a version and what is asked of the worker. It is a hint, never the truth: the table decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// [`MESSAGE_VERSION`] of the writer.
    pub v: u32,
    /// What is asked.
    #[serde(flatten)]
    pub task: Task,
}

impl Message {
    /// A message of the present version.
    pub fn new(task: Task) -> Self {
        Self { v: MESSAGE_VERSION, task }
    }
}

/// What is asked of the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// A due slot of a schedule, sent by Scheduler itself.
    Slot {
        /// Whose job.
        account: AccountId,
        /// Which job.
        job: Uuid,
        /// Which of its schedules.
        schedule: u64,
        /// The due instant, `<aws.scheduler.scheduled-time>`.
        slot: Timestamp,
    },
    /// A recorded backup that waits to be run: a manual start, a retry, a catch-up.
    Run {
        /// Whose job.
        account: AccountId,
        /// Which job.
        job: Uuid,
        /// Which backup.
        backup: Uuid,
    },
    /// Connect to a server and report.
    CheckServer {
        /// Whose server.
        account: AccountId,
        /// Which server.
        server: u64,
        /// Which check.
        check: Uuid,
    },
    /// Connect to a proxy and report.
    CheckProxy {
        /// Whose proxy.
        account: AccountId,
        /// Which proxy.
        proxy: u64,
        /// Which check.
        check: Uuid,
    },
    /// Probe a storage and report.
    CheckStorage {
        /// Whose storage.
        account: AccountId,
        /// Which storage.
        storage: u64,
        /// Which check.
        check: Uuid,
    },
    /// Tell what a job would take.
    Preview {
        /// Whose job.
        account: AccountId,
        /// Which job.
        job: Uuid,
        /// Which preview.
        preview: Uuid,
    },
    /// Delete what failed attempts of a backup left in its storages.
    SweepBackup {
        /// Whose job.
        account: AccountId,
        /// Which job.
        job: Uuid,
        /// Which backup.
        backup: Uuid,
    },
    /// Delete a deleted job's objects and backups, then the last trace of it.
    DeleteJob {
        /// Whose job.
        account: AccountId,
        /// Which job.
        job: Uuid,
    },
    /// Delete all backups of a job that began before an instant, which the table tells.
    DeleteBackups {
        /// Whose job.
        account: AccountId,
        /// Which job.
        job: Uuid,
    },
    /// Delete a backup's objects and then its record.
    DeleteBackup {
        /// Whose job.
        account: AccountId,
        /// Which job.
        job: Uuid,
        /// Which backup.
        backup: Uuid,
    },
    /// Make the copies of a stored backup that storages missed.
    CopyBackup {
        /// Whose job.
        account: AccountId,
        /// Which job.
        job: Uuid,
        /// Which backup.
        backup: Uuid,
    },
    /// Walk a bucket for objects and uploads that no record names.
    SweepStorage {
        /// Whose storage.
        account: AccountId,
        /// Which storage.
        storage: u64,
    },
}

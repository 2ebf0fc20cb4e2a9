//! A backup in short: what its job shows of it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::account::AccountId;
use super::backup::{Backup, Status};
use super::object_key::{BackupDirectory, Place, ReadablePath};
use super::slot::Tags;

/// What a job shows of one of its newest backups. Nothing of it changes unless the status does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// Its id.
    pub id: Uuid,
    /// Which retention classes it counts for.
    pub tags: Tags,
    /// Where it is in its life.
    pub status: Status,
    /// The due instant; `None` for a manual start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Timestamp>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When its first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended, however it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The readable part of its objects' keys; `None` for the day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<ReadablePath>,
}

impl BackupSummary {
    /// A backup in short.
    pub fn of(backup: &Backup) -> Self {
        let Backup { id, tags, status, slot, created_at, started_at, completed_at, .. } = *backup;
        Self { id, tags, status, slot, created_at, started_at, completed_at, path: backup.path.clone() }
    }

    /// Where its attempts put their files: under its path, or the UTC day on which it was due or asked for.
    pub fn directory(&self, account: &AccountId, job: Uuid) -> BackupDirectory {
        let day = || Place::Day(self.slot.unwrap_or(self.created_at).to_zoned(TimeZone::UTC).date());
        let place = self.path.clone().map_or_else(day, Place::Path);
        BackupDirectory { account: account.clone(), job, place, backup: self.id }
    }
}

//! A job: what to back up, from where, how, when and to where.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::account::AccountId;
use super::recipe::Recipe;
use super::schedule::{Schedule, ScheduleStatus};

/// Where the dump runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Compute {
    /// Over SSH, with the tools of that host.
    Server {
        /// The server's id.
        server_id: u64,
    },
}

/// One storage of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStorage {
    /// The storage's id.
    pub storage_id: u64,
    /// 1 is first.
    pub priority: u32,
}

/// What to back up, from where, how, when and to where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The id of the native surface.
    pub id: Uuid,
    /// The id of the other surfaces, counted per account.
    pub number: u64,
    /// Whose it is.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// What to back up.
    pub recipe: Recipe,
    /// Where the dump runs.
    pub compute: Compute,
    /// Where copies go; at least one, by priority.
    pub storages: Vec<JobStorage>,
    /// When it runs; may be empty.
    pub schedules: Vec<Schedule>,
    /// Since when no schedule fires; `None` while it is active.
    #[serde(default)]
    pub paused_at: Option<Timestamp>,
    /// When a backup of it last started. Written by runs, never by edits.
    #[serde(default)]
    pub last_ran_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// Counts edits: each one states the revision that it read, and loses to an edit in between.
    pub revision: u64,
}

impl Job {
    /// One of its schedules, if that fires: neither the job nor the schedule is paused.
    pub fn active_schedule(&self, id: u64) -> Option<&Schedule> {
        let fires = |schedule: &&Schedule| schedule.id == id && schedule.status == ScheduleStatus::Active;
        self.schedules.iter().find(fires).filter(|_| self.paused_at.is_none())
    }
}

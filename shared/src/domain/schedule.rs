//! Schedules (being written).
use serde::{Deserialize, Serialize};
/// When a job runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Integer id, counted per account.
    pub id: u64,
}

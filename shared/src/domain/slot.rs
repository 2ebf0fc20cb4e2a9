//! Slots and tags (being written).
use serde::{Deserialize, Serialize};
/// Which retention classes a backup counts for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// Started by hand.
    pub manual: bool,
    /// Of an hour-or-finer schedule.
    pub hourly: bool,
    /// First of its local day.
    pub daily: bool,
    /// First of its local week.
    pub weekly: bool,
    /// First of its local month.
    pub monthly: bool,
}

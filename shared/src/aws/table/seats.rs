//! Seats: who runs on a job (one at a time) and on a server (`max_parallel` at a time).
//!
//! A seat only names a backup; whether it is still taken is read from that backup's status and lease. So nothing has to
//! be given back: a seat whose backup ended, or whose lease ran out, is free.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Condition, Key, Table, Write};
use crate::error::Result;

/// A taken seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Whose job.
    pub job: Uuid,
    /// Which of its backups.
    pub backup: Uuid,
}

/// The seats of one job or server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// Who holds one, as far as was last written.
    #[serde(default)]
    pub taken: Vec<Seat>,
    /// Counts writes, so that two claims cannot both take the last seat.
    #[serde(default)]
    pub version: u64,
}

impl Table {
    /// The seats under `key`; empty ones where nobody sat yet.
    pub(crate) async fn seats(&self, key: &Key) -> Result<Seats> {
        Ok(self.get(key).await?.unwrap_or_default())
    }
}

impl Seats {
    /// Replaces these seats, provided that nobody did so in between.
    pub(crate) fn replace(&self, key: &Key, taken: Vec<Seat>) -> Result<Write> {
        let seen = (self.version > 0).then_some(self.version);
        let next = Self { taken, version: self.version + 1 };
        Ok(Write::put(key, &next, [])?.only_if(Condition::unchanged("version", seen)))
    }
}

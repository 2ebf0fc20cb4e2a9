//! Facets: which status and which tags. Every backup of a job is in exactly one of them.
//!
//! Beside its record a backup has a narrow row in the partition of its facet, with the same sort attributes. A list that
//! is filtered by status or tags merges the rows of the facets that match, at most 8 statuses × 16 sets of tags and in
//! practice a handful, and reads only the records of its page. A row moves in the transaction that changes the status.

use jiff::Timestamp;
use serde::Serialize;

use super::backups::sort_attributes;
use super::tally::{self, Tally};
use super::{Write, keys};
use crate::domain::backup::{Backup, Status};
use crate::domain::slot::Tags;
use crate::error::Result;

/// Which backups a listing answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackupFilter {
    /// Only of this status.
    pub status: Option<Status>,
    /// Only with every one of these tags: `manual`, `hourly`, `daily`, `weekly`, `monthly`.
    pub tags: Vec<(String, bool)>,
    /// Only those that started at this instant or later.
    pub started_since: Option<Timestamp>,
    /// Only those that ended at this instant or later.
    pub completed_since: Option<Timestamp>,
}

impl BackupFilter {
    /// Whether it asks for certain facets.
    pub(super) fn is_of_facets(&self) -> bool {
        self.status.is_some() || !self.tags.is_empty()
    }

    /// Whether it asks for times.
    pub(super) fn is_of_times(&self) -> bool {
        self.started_since.is_some() || self.completed_since.is_some()
    }

    /// Whether the backups of a facet pass, as far as status and tags go.
    pub(super) fn passes(&self, facet: Facet) -> bool {
        let tag = |name: &str| match name {
            "manual" => facet.tags.manual,
            "hourly" => facet.tags.hourly,
            "daily" => facet.tags.daily,
            "weekly" => facet.tags.weekly,
            _ => facet.tags.monthly,
        };
        self.status.is_none_or(|status| facet.status == status)
            && self.tags.iter().all(|(name, wanted)| tag(name) == *wanted)
    }
}

/// A status and a set of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Facet {
    status: Status,
    tags: Tags,
}

impl Facet {
    pub(super) fn of(backup: &Backup) -> Self {
        Self { status: backup.status, tags: backup.tags }
    }

    /// `completed_01100`: the tags stand as manual, hourly, daily, weekly, monthly.
    pub(super) fn name(self) -> String {
        let Tags { manual, hourly, daily, weekly, monthly } = self.tags;
        let tags = [manual, hourly, daily, weekly, monthly].map(|tag| if tag { '1' } else { '0' });
        format!("{}_{}", self.status.as_str(), tags.iter().collect::<String>())
    }

    /// Reads what [`Facet::name`] wrote.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (status, tags) = name.rsplit_once('_')?;
        let tags: Vec<bool> = tags.chars().map(|tag| tag == '1').collect();
        let [manual, hourly, daily, weekly, monthly] = *tags.as_slice() else { return None };
        Some(Self { status: Status::parse(status)?, tags: Tags { manual, hourly, daily, weekly, monthly } })
    }
}

/// A row that holds nothing but where it stands.
#[derive(Serialize)]
pub(super) struct Row {}

/// The rows of a backup that is new: in its facet, in the tally, of which `seen` is what was read before, and, if it has
/// any, among those with objects.
pub(super) fn rows_of_new(backup: &Backup, seen: &Tally) -> Result<Vec<Write>> {
    let mut writes = vec![put_row(backup)?, tally::of_new(backup, seen).into()];
    writes.extend(move_stored(false, backup)?);
    Ok(writes)
}

/// What moves when a backup changes from what it was to `next`; `seen` is the tally of its job, where the status changes.
pub(super) fn move_rows(status: Status, had_objects: bool, next: &Backup, seen: &Tally) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    if status != next.status {
        let before = Facet { status, tags: next.tags };
        writes.extend([delete_row(next, before), put_row(next)?, tally::of_move(before, next, seen).into()]);
    }
    writes.extend(move_stored(had_objects, next)?);
    Ok(writes)
}

/// The rows of a backup that goes.
pub(super) fn rows_of_gone(backup: &Backup) -> Vec<Write> {
    let stored = keys::stored_backup(&backup.account, backup.job, backup.id);
    vec![delete_row(backup, Facet::of(backup)), Write::delete(stored), tally::of_gone(backup).into()]
}

fn row_key(backup: &Backup, facet: Facet) -> keys::Key {
    keys::Key::new(keys::backups_of_facet(&backup.account, backup.job, &facet.name()), backup.id.to_string())
}

fn put_row(backup: &Backup) -> Result<Write> {
    Write::put(&row_key(backup, Facet::of(backup)), &Row {}, sort_attributes(backup))
}

fn delete_row(backup: &Backup, facet: Facet) -> Write {
    Write::delete(row_key(backup, facet))
}

fn move_stored(had_objects: bool, next: &Backup) -> Result<Option<Write>> {
    let key = keys::stored_backup(&next.account, next.job, next.id);
    Ok(match (had_objects, !next.copies.is_empty()) {
        (false, true) => Some(Write::put(&key, &Row {}, [])?),
        (true, false) => Some(Write::delete(key)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for status in Status::ALL {
            for bits in 0..32_u8 {
                let bit = |place: u8| bits & (1 << place) != 0;
                let tags = Tags { manual: bit(0), hourly: bit(1), daily: bit(2), weekly: bit(3), monthly: bit(4) };
                let facet = Facet { status, tags };
                assert_eq!(Facet::parse(&facet.name()), Some(facet));
            }
        }
        for name in ["", "completed", "completed_", "completed_1000", "completed_100000", "gone_10000"] {
            assert_eq!(Facet::parse(name), None, "{name}");
        }
    }
}

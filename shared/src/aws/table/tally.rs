//! A job's tally: what is known of all its backups at once, in one small item. It changes in the transactions that make,
//! move and delete backups, so that lists need not count, and a page of jobs need not read backups.

use std::cmp::Ordering;
use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::facets::{BackupFilter, Facet};
use super::{Condition, Item, Records, Table, Update, keys};
use crate::domain::account::AccountId;
use crate::domain::backup::Backup;
use crate::domain::backup_summary::BackupSummary;
use crate::error::Result;

/// How many backups each facet has: `in_completed_10000`.
const IN_FACET: &str = "in_";
/// The newest backups, the newest first.
const NEWEST: [&str; 3] = ["newest_1", "newest_2", "newest_3"];
/// Each of them in short, by its id: `last_00000000000000000000000000000001`.
const LAST: &str = "last_";

/// What is known of all backups of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many there are.
    pub total: u64,
    /// The newest ones, at most three; some may be deleted meanwhile.
    pub newest: Vec<Uuid>,
    /// Those of them that are there in short, and for a while those that were. What was written before there were any, or
    /// was deleted, is not.
    summaries: HashMap<Uuid, BackupSummary>,
    /// What stands in each place of the newest.
    places: [Option<Uuid>; NEWEST.len()],
    facets: Vec<(Facet, u64)>,
    longest: HashMap<&'static str, u32>,
}

/// Two instants of a backup. The tally keeps the longest time between them in powers of two, so that a bound of the later
/// one bounds the earlier one too, and a list that is sorted by the earlier one can end where nothing more can pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lag {
    /// From its record to its start.
    Waited,
    /// From its start to its end.
    Ran,
    /// From its record to its end.
    Took,
}

impl Lag {
    const ALL: [Self; 3] = [Self::Waited, Self::Ran, Self::Took];

    fn name(self) -> &'static str {
        match self {
            Self::Waited => "waited",
            Self::Ran => "ran",
            Self::Took => "took",
        }
    }

    fn of(self, backup: &Backup) -> Option<SignedDuration> {
        let (from, to) = match self {
            Self::Waited => (Some(backup.created_at), backup.started_at),
            Self::Ran => (backup.started_at, backup.completed_at),
            Self::Took => (Some(backup.created_at), backup.completed_at),
        };
        Some(to?.duration_since(from?))
    }
}

impl Tally {
    fn read(item: &Item) -> Self {
        let mut tally = Self::default();
        for (name, value) in item {
            if name == "total" {
                tally.total = number(value);
            } else if let Some(facet) = name.strip_prefix(IN_FACET).and_then(Facet::parse) {
                tally.facets.push((facet, number(value)));
            } else if let Some(id) = name.strip_prefix(LAST).and_then(|id| Uuid::parse_str(id).ok()) {
                let summary = serde_dynamo::from_attribute_value(value.clone());
                tally.summaries.extend(summary.ok().map(|summary: BackupSummary| (id, summary)));
            } else if let Some((lag, power)) = lag_of(name) {
                let longest = tally.longest.entry(lag.name()).or_default();
                *longest = power.max(*longest);
            }
        }
        let id = |name| item.get(name)?.as_s().ok()?.parse().ok();
        tally.places = NEWEST.map(id);
        for id in tally.places.into_iter().flatten() {
            // Tallies of older versions have one twice where there are fewer.
            if !tally.newest.contains(&id) {
                tally.newest.push(id);
            }
        }
        tally
    }

    /// One of the newest backups in short; `None` where only its record tells.
    pub(crate) fn summary(&self, id: Uuid) -> Option<&BackupSummary> {
        self.summaries.get(&id).filter(|_| self.newest.contains(&id))
    }

    /// The facets with backups that a filter asks for.
    pub(super) fn matching(&self, filter: &BackupFilter) -> Vec<(Facet, u64)> {
        self.facets.iter().filter(|(facet, count)| *count > 0 && filter.passes(*facet)).copied().collect()
    }

    /// How many backups a filter lets through; `None` when it asks for times, which nobody counts.
    pub(crate) fn count(&self, filter: &BackupFilter) -> Option<u64> {
        match (filter.is_of_times(), filter.is_of_facets()) {
            (true, _) => None,
            (false, false) => Some(self.total),
            (false, true) => Some(self.matching(filter).iter().map(|(_, count)| count).sum()),
        }
    }

    /// The earliest that the first instant of a lag can be where the second is `since`; `None` is any time.
    pub(super) fn earliest(&self, lag: Lag, since: Timestamp) -> Option<Timestamp> {
        let power = self.longest.get(lag.name()).copied().unwrap_or(0);
        let longest = 1_i64.checked_shl(power).filter(|secs| *secs > 0)?;
        since.checked_sub(SignedDuration::from_secs(longest)).ok()
    }
}

impl Table {
    /// What is known of all backups of a job.
    pub(crate) async fn tally(&self, account: &AccountId, job: Uuid) -> Result<Tally> {
        let item = self.get_item(&keys::backup_tally(account, job)).await?;
        Ok(item.as_ref().map(Tally::read).unwrap_or_default())
    }
}

impl Records {
    /// The tally of a job, which was asked for by its key.
    pub(crate) fn tally(&self, account: &AccountId, job: Uuid) -> Tally {
        self.item(&keys::backup_tally(account, job)).map(Tally::read).unwrap_or_default()
    }
}

/// Counts a new backup in, and puts it in its place among the newest; refused when another one was put there since `seen`
/// was read. What is no longer among them is dropped.
pub(super) fn of_new(backup: &Backup, seen: &Tally) -> Update {
    let update = update(backup).add("total", 1).add(in_facet(Facet::of(backup)), 1);
    let unchanged = NEWEST.into_iter().zip(seen.places).map(|(name, id)| Condition::unchanged(name, id));
    put_newest(update, seen, &[backup]).only_if(Condition::All(unchanged.collect()))
}

/// Counts a backup from one facet into another. `seen` is the job's tally at any moment after the backup was made: whatever
/// is not among the newest there will never be again, so nothing is written that nobody drops.
pub(super) fn of_move(before: Facet, next: &Backup, seen: &Tally) -> Update {
    let update = update(next).add(in_facet(before), -1).add(in_facet(Facet::of(next)), 1);
    match seen.newest.contains(&next.id) {
        true => update.set(&last(next.id), BackupSummary::of(next)),
        false => update,
    }
}

/// Counts a backup out.
pub(super) fn of_gone(backup: &Backup) -> Update {
    update(backup).add("total", -1).add(in_facet(Facet::of(backup)), -1).remove(last(backup.id))
}

/// Counts many new backups of one job in; `None` for none. `seen` is the job's tally before.
pub(super) fn of_many(backups: &[Backup], seen: &Tally) -> Option<Update> {
    let any = backups.first()?;
    let mut counts: HashMap<String, i64> = HashMap::new();
    let mut lags = HashMap::new();
    for backup in backups {
        *counts.entry("total".to_owned()).or_default() += 1;
        *counts.entry(in_facet(Facet::of(backup))).or_default() += 1;
        lags.extend(lags_of(backup).map(|name| (name, true)));
    }
    let update = Update::of(keys::backup_tally(&any.account, any.job));
    let update = lags.into_iter().fold(update, |update, (name, known)| update.set(&name, known));
    let update = put_newest(update, seen, &backups.iter().collect::<Vec<_>>());
    Some(counts.into_iter().fold(update, |update, (name, count)| update.add(name, count)))
}

fn last(id: Uuid) -> String {
    format!("{LAST}{}", id.simple())
}

/// Writes which backups are the newest now that there are these new ones, those of them in short, and drops all others.
fn put_newest(update: Update, seen: &Tally, new: &[&Backup]) -> Update {
    // What is not there in short was made by an older version, before all that is.
    let known = seen.newest.iter().map(|id| (seen.summary(*id).map(|summary| summary.created_at), *id));
    let mut newest: Vec<_> = new.iter().map(|backup| (Some(backup.created_at), backup.id)).chain(known).collect();
    newest.sort_by(|(one, one_id), (other, other_id)| match (one, other) {
        // They keep their order.
        (None, None) => Ordering::Equal,
        _ => (other, other_id).cmp(&(one, one_id)),
    });
    newest.truncate(NEWEST.len());
    let stays = |id: &Uuid| newest.iter().any(|(_, newest)| newest == id);
    let gone = seen.summaries.keys().filter(|id| !stays(id));
    let update = gone.fold(update, |update, id| update.remove(last(*id)));
    let shown = new.iter().filter(|backup| stays(&backup.id));
    let update = shown.fold(update, |update, backup| update.set(&last(backup.id), BackupSummary::of(backup)));
    NEWEST.into_iter().zip(&newest).fold(update, |update, (name, (_, id))| update.set(name, id))
}

fn in_facet(facet: Facet) -> String {
    format!("{IN_FACET}{}", facet.name())
}

/// Notes how long a backup took so far.
fn update(backup: &Backup) -> Update {
    let update = Update::of(keys::backup_tally(&backup.account, backup.job));
    lags_of(backup).fold(update, |update, name| update.set(&name, true))
}

/// The attributes that say how long a backup took so far: `waited_3` is at least 4 and less than 8 seconds.
fn lags_of(backup: &Backup) -> impl Iterator<Item = String> {
    let lags = Lag::ALL.into_iter().filter_map(|lag| Some((lag, lag.of(backup)?)));
    lags.map(|(lag, time)| format!("{}_{}", lag.name(), power_of(time)))
}

/// The smallest n for which the time is less than 2^n seconds.
fn power_of(time: SignedDuration) -> u32 {
    let secs = u64::try_from(time.as_secs()).unwrap_or(0);
    u64::BITS - secs.leading_zeros()
}

fn lag_of(name: &str) -> Option<(Lag, u32)> {
    let (lag, power) = name.rsplit_once('_')?;
    let lag = Lag::ALL.into_iter().find(|known| known.name() == lag)?;
    Some((lag, power.parse().ok()?))
}

fn number(value: &AttributeValue) -> u64 {
    value.as_n().ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_bounds_what_can_still_pass() {
        for (secs, power) in [(-5, 0), (0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (3_600, 12)] {
            assert_eq!(power_of(SignedDuration::from_secs(secs)), power, "{secs}");
        }
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let item = Item::from([
            ("waited_3".to_owned(), AttributeValue::Bool(true)),
            ("waited_12".to_owned(), AttributeValue::Bool(true)),
            ("ran_64".to_owned(), AttributeValue::Bool(true)),
        ]);
        let tally = Tally::read(&item);
        assert_eq!(tally.earliest(Lag::Waited, since), Some(since - SignedDuration::from_secs(4_096)));
        assert_eq!(tally.earliest(Lag::Took, since), Some(since - SignedDuration::from_secs(1)));
        assert_eq!(tally.earliest(Lag::Ran, since), None, "too long to say anything");
    }

    #[test]
    fn facets_and_newest_are_read() {
        let [one, two] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let number = |n: &str| AttributeValue::N(n.to_owned());
        let item = Item::from([
            ("total".to_owned(), number("7")),
            ("in_completed_10000".to_owned(), number("4")),
            ("in_failed_00100".to_owned(), number("3")),
            ("in_pending_10000".to_owned(), number("0")),
            ("newest_1".to_owned(), AttributeValue::S(two.to_string())),
            ("newest_2".to_owned(), AttributeValue::S(one.to_string())),
            ("newest_3".to_owned(), AttributeValue::S(one.to_string())),
        ]);
        let tally = Tally::read(&item);
        assert_eq!((tally.total, &tally.newest), (7, &vec![two, one]));
        let count = |filter: &BackupFilter| tally.matching(filter).iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(tally.matching(&BackupFilter::default()).len(), 2, "empty facets are passed over");
        let daily = BackupFilter { tags: vec![("daily".to_owned(), true)], ..BackupFilter::default() };
        assert_eq!((count(&BackupFilter::default()), count(&daily)), (7, 3));
    }
}

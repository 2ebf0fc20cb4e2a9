//! Retention: which backups have had their time, and why the others stay.
//!
//! Grandfather, father, son: of each class (hourly, daily, weekly, monthly) the newest so many are kept, of all the newest
//! so many, and all that are younger than so many days. A backup stays as long as anything keeps it.
//!
//! What a schedule made goes by that schedule's policy and nothing else; what was started by hand goes by its job's policy
//! for those, and nothing else.

use std::cmp::Reverse;
use std::fmt;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::backup::{Backup, Status};
use super::job::Job;
use super::slot::Tags;

/// The most that a policy can keep of a class, and for how many days.
pub const MAX_KEPT: u32 = 9_999;

/// How many backups to keep. All zero keeps everything.
///
/// As soon as anything is set, a class with 0 keeps none for its own sake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// How many of the runs of a schedule that runs several times a day.
    pub hourly: u32,
    /// How many first runs of a day.
    pub daily: u32,
    /// How many first runs of a week.
    pub weekly: u32,
    /// How many first runs of a month.
    pub monthly: u32,
    /// How many of the newest, whatever their class.
    pub keep_last: u32,
    /// For how many days, whatever their class: until the same wall-clock time so many calendar days later.
    pub days: u32,
}

/// How many of the backups to keep that were started by hand. All zero keeps everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ManualRetention {
    /// How many of the newest.
    pub keep_last: u32,
    /// For how many days, in UTC.
    pub days: u32,
}

impl From<ManualRetention> for Retention {
    fn from(ManualRetention { keep_last, days }: ManualRetention) -> Self {
        Self { keep_last, days, ..Self::default() }
    }
}

/// A backup, as far as retention looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The backup.
    pub id: Uuid,
    /// Its slot, or when it was asked for.
    pub at: Timestamp,
    /// Its classes.
    pub tags: Tags,
    /// Whether it stored something, and all that was asked for.
    pub status: Status,
}

impl From<&Backup> for Kept {
    fn from(backup: &Backup) -> Self {
        let at = backup.slot.unwrap_or(backup.created_at);
        Self { id: backup.id, at, tags: backup.tags, status: backup.status }
    }
}

/// What keeps a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeper {
    /// It is one of the newest hourly ones.
    Hourly,
    /// It is one of the newest daily ones.
    Daily,
    /// It is one of the newest weekly ones.
    Weekly,
    /// It is one of the newest monthly ones.
    Monthly,
    /// It is one of the newest.
    KeepLast,
    /// It is young enough.
    Days,
    /// It is the newest whole one that its rule looks at, or while there is none, the newest partial one.
    LastGood,
    /// Its rule keeps everything.
    KeepsAll,
    /// The schedule that made it is gone, and its rule with it.
    ScheduleGone,
}

impl Keeper {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Hourly,
        Self::Daily,
        Self::Weekly,
        Self::Monthly,
        Self::KeepLast,
        Self::Days,
        Self::LastGood,
        Self::KeepsAll,
        Self::ScheduleGone,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::KeepLast => "keep_last",
            Self::Days => "days",
            Self::LastGood => "last_good",
            Self::KeepsAll => "keeps_all",
            Self::ScheduleGone => "schedule_gone",
        }
    }
}

/// What is to become of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The backup.
    pub backup: Uuid,
    /// All that keeps it; it goes where nothing does.
    pub kept_by: Vec<Keeper>,
    /// What could have kept it and does not, and why; empty where something keeps it.
    pub lost: Vec<Lost>,
}

impl Verdict {
    /// Whether nothing keeps it.
    pub fn goes(&self) -> bool {
        self.kept_by.is_empty()
    }
}

/// Why one part of a policy does not keep a backup. Displays as words for its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// So many newer ones of its class are kept.
    Newer(u32, Keeper),
    /// It is older than so many days.
    TooOld(u32),
    /// It is of no class that the policy keeps.
    NoClass,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(keep, Keeper::KeepLast) => write!(f, "the newest {keep} are kept, and it is older"),
            Self::Newer(keep, class) => {
                write!(f, "the newest {keep} {} ones are kept, and it is older", class.as_str())
            }
            Self::TooOld(days) => write!(f, "it is older than {days} days"),
            Self::NoClass => f.write_str("it is of no class that its rule keeps"),
        }
    }
}

/// One class of a policy: what it is, how many it keeps, and whether a backup is of it.
type Class = (Keeper, u32, fn(&Tags) -> bool);

impl Retention {
    /// Whether this policy never expires anything.
    pub fn keeps_all(&self) -> bool {
        *self == Self::default()
    }

    fn classes(&self) -> [Class; 5] {
        [
            (Keeper::Hourly, self.hourly, |tags| tags.hourly),
            (Keeper::Daily, self.daily, |tags| tags.daily),
            (Keeper::Weekly, self.weekly, |tags| tags.weekly),
            (Keeper::Monthly, self.monthly, |tags| tags.monthly),
            (Keeper::KeepLast, self.keep_last, |_| true),
        ]
    }

    /// What is younger than this stays; `None` where the policy counts no days.
    fn young_since(&self, now: &Zoned) -> Option<Timestamp> {
        (self.days > 0).then(|| now.saturating_sub(i64::from(self.days).days()).timestamp())
    }
}

/// What becomes of the stored backups of a job; `now` decides what is young. Those that store nothing (failed, running,
/// expired …) are passed over.
///
/// Each schedule's policy judges what that schedule made, in the schedule's zone, and the job's own for manual ones judges
/// what was started by hand, whatever it was tagged as. What a schedule has made that is gone is kept.
pub fn judge_job(job: &Job, backups: &[Backup], now: Timestamp) -> Vec<Verdict> {
    let rule_of = |backup: &Backup| if backup.tags.manual { None } else { backup.schedule };
    let of_rule = |rule: Option<u64>| -> Vec<Kept> {
        backups.iter().filter(|backup| rule_of(backup) == rule).map(Kept::from).collect()
    };
    let by_schedules = job.schedules.iter().flat_map(|schedule| {
        let now = now.to_zoned(schedule.timezone().rules().clone());
        judge(&of_rule(Some(schedule.id)), schedule.retention, &now)
    });
    let by_hand = judge(&of_rule(None), job.manual_retention.into(), &now.to_zoned(TimeZone::UTC));
    let is_orphan = |backup: &&Backup| {
        let rule = rule_of(backup);
        backup.status.is_stored() && rule.is_some_and(|id| job.schedules.iter().all(|schedule| schedule.id != id))
    };
    let orphans = backups.iter().filter(is_orphan).map(|backup| kept(backup.id, Keeper::ScheduleGone));
    by_schedules.chain(by_hand).chain(orphans).collect()
}

/// What becomes of `backups`, all of one rule and in any order, at `now` in the rule's zone: oldest first. Those that store
/// nothing are passed over.
///
/// - Only whole backups count towards a class's number. Partial ones are counted apart, so that they never evict a
///   whole one, and leave once as many whole or as many partial ones of their class are newer.
/// - The newest whole backup stays whatever the policy says, and while there is none, the newest partial one.
pub fn judge(backups: &[Kept], policy: Retention, now: &Zoned) -> Vec<Verdict> {
    let mut newest_first: Vec<&Kept> = backups.iter().filter(|backup| backup.status.is_stored()).collect();
    newest_first.sort_by_key(|backup| Reverse((backup.at, backup.id)));
    if policy.keeps_all() {
        return newest_first.iter().rev().map(|backup| kept(backup.id, Keeper::KeepsAll)).collect();
    }
    let last_good = newest_first.iter().find(|backup| backup.status == Status::Completed);
    let last_good = last_good.or(newest_first.first()).map(|backup| backup.id);
    let young_since = policy.young_since(now);

    let mut classes =
        policy.classes().map(|(name, keep, is_of)| ClassCount { name, keep, is_of, whole: 0, partial: 0 });
    let mut verdicts = Vec::with_capacity(newest_first.len());
    for backup in newest_first {
        let mut verdict = Verdict { backup: backup.id, kept_by: Vec::new(), lost: Vec::new() };
        // Every class must see every backup to count it.
        classes.iter_mut().for_each(|class| class.judge(backup, &mut verdict));
        match young_since {
            None => {}
            Some(since) if backup.at <= since => verdict.lost.push(Lost::TooOld(policy.days)),
            Some(_) => verdict.kept_by.push(Keeper::Days),
        }
        if Some(backup.id) == last_good {
            verdict.kept_by.push(Keeper::LastGood);
        }
        match verdict.goes() {
            true if verdict.lost.is_empty() => verdict.lost.push(Lost::NoClass),
            true => {}
            false => verdict.lost.clear(),
        }
        verdicts.push(verdict);
    }
    verdicts.reverse();
    verdicts
}

fn kept(backup: Uuid, by: Keeper) -> Verdict {
    Verdict { backup, kept_by: vec![by], lost: Vec::new() }
}

/// What a class has kept so far, going from the newest backup to the oldest.
struct ClassCount {
    name: Keeper,
    keep: u32,
    is_of: fn(&Tags) -> bool,
    whole: u32,
    partial: u32,
}

impl ClassCount {
    fn judge(&mut self, backup: &Kept, verdict: &mut Verdict) {
        if self.keep == 0 || !(self.is_of)(&backup.tags) {
            return;
        }
        if self.has_room_for(backup.status) {
            verdict.kept_by.push(self.name);
        } else {
            verdict.lost.push(Lost::Newer(self.keep, self.name));
        }
    }

    fn has_room_for(&mut self, status: Status) -> bool {
        if self.whole >= self.keep {
            return false;
        }
        match status {
            Status::Completed => self.whole += 1,
            _ if self.partial >= self.keep => return false,
            _ => self.partial += 1,
        }
        true
    }
}

#[cfg(test)]
mod tests;

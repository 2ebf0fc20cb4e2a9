//! Retention: which backups of a schedule have had their time.
//!
//! Grandfather, father, son: of each class (hourly, daily, weekly, monthly) the newest so many are kept, and a backup
//! stays as long as any class keeps it.

use std::cmp::Reverse;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::backup::Status;
use super::slot::Tags;

/// How many backups to keep. All zero, and no `keep_last`, keeps everything.
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
    /// How many of the newest, whatever their class; 0 is the same as `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
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

/// One class of a policy: how many it keeps, and whether a backup is of it.
type Class = (u32, fn(&Tags) -> bool);

impl Retention {
    /// Whether this policy never expires anything.
    pub fn keeps_all(&self) -> bool {
        self.classes().iter().all(|(keep, _)| *keep == 0)
    }

    fn classes(&self) -> [Class; 5] {
        [
            (self.hourly, |tags| tags.hourly),
            (self.daily, |tags| tags.daily),
            (self.weekly, |tags| tags.weekly),
            (self.monthly, |tags| tags.monthly),
            (self.keep_last.unwrap_or_default(), |_| true),
        ]
    }
}

/// The backups that `policy` no longer keeps, oldest first. `backups` are all of one schedule, in any order;
/// those that store nothing (failed, running, expired …) neither count nor expire.
///
/// - A manual backup is never expired: who asked for it by hand deletes it by hand. It does not count either.
/// - Only whole backups count towards a class's number. Partial ones are counted apart, so that they never evict a
///   whole one, and leave once as many whole or as many partial ones of their class are newer.
/// - The newest whole backup stays whatever the policy says, and while there is none, the newest partial one.
pub fn expired(backups: &[Kept], policy: Retention) -> Vec<Uuid> {
    if policy.keeps_all() {
        return Vec::new();
    }
    let mut newest_first: Vec<&Kept> = backups.iter().filter(|backup| backup.status.is_stored()).collect();
    newest_first.sort_by_key(|backup| Reverse((backup.at, backup.id)));
    let last_good = newest_first.iter().find(|backup| backup.status == Status::Completed);
    let last_good = last_good.or(newest_first.first()).map(|backup| backup.id);

    let mut classes = policy.classes().map(|(keep, is_of)| ClassCount { keep, is_of, completed: 0, partial: 0 });
    let mut expired = Vec::new();
    for backup in newest_first.into_iter().filter(|backup| !backup.tags.manual) {
        // Every class must see every backup to count it, so no short circuit.
        let kept_by = classes.iter_mut().map(|class| usize::from(class.keeps(backup))).sum::<usize>();
        if kept_by == 0 && Some(backup.id) != last_good {
            expired.push(backup.id);
        }
    }
    expired.reverse();
    expired
}

/// What a class has kept so far, going from the newest backup to the oldest.
struct ClassCount {
    keep: u32,
    is_of: fn(&Tags) -> bool,
    completed: u32,
    partial: u32,
}

impl ClassCount {
    fn keeps(&mut self, backup: &Kept) -> bool {
        if !(self.is_of)(&backup.tags) || self.completed >= self.keep {
            return false;
        }
        match backup.status {
            Status::Completed => self.completed += 1,
            _ if self.partial >= self.keep => return false,
            _ => self.partial += 1,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const DAILY: Tags = Tags { manual: false, hourly: false, daily: true, weekly: false, monthly: false };

    /// One backup a day, the newest first: `c` completed, `p` partial, `m` a manual one.
    fn days(outcomes: &str) -> Vec<Kept> {
        let day = |(age, letter): (usize, char)| Kept {
            id: Uuid::from_u128(age as u128),
            at: Timestamp::from_second(2_000_000_000 - 86_400 * age as i64).unwrap(),
            tags: if letter == 'm' { Tags::MANUAL } else { DAILY },
            status: if letter == 'p' { Status::CompletedWithErrors } else { Status::Completed },
        };
        outcomes.chars().enumerate().map(day).collect()
    }

    /// The ages of what expires, newest first.
    fn ages(outcomes: &str, policy: Retention) -> Vec<u128> {
        expired(&days(outcomes), policy).iter().rev().map(|id| id.as_u128()).collect()
    }

    fn daily(daily: u32) -> Retention {
        Retention { daily, ..Retention::default() }
    }

    #[test]
    fn the_newest_of_a_class_stay() {
        assert_eq!(ages("ccccc", daily(3)), [3, 4]);
        assert_eq!(ages("ccc", daily(3)), [0; 0]);
        assert_eq!(ages("", daily(3)), [0; 0]);
        assert_eq!(ages("ccccc", Retention { keep_last: Some(1), ..Retention::default() }), [1, 2, 3, 4]);
    }

    #[test]
    fn all_zero_keeps_all() {
        assert_eq!(ages("cpmc", Retention::default()), [0; 0]);
        assert_eq!(ages("cpmc", Retention { keep_last: Some(0), ..Retention::default() }), [0; 0]);
    }

    #[test]
    fn partial_ones_do_not_count_and_leave_in_their_turn() {
        assert_eq!(ages("pcpcc", daily(2)), [4]);
        assert_eq!(ages("ppppc", daily(2)), [2, 3]);
        assert_eq!(ages("ccp", daily(2)), [2]);
    }

    #[test]
    fn the_last_good_one_stays_without_a_class() {
        let weekly = Retention { weekly: 4, ..Retention::default() };
        assert_eq!(ages("pccc", weekly), [0, 2, 3]);
        assert_eq!(ages("ppp", weekly), [1, 2]);
    }

    #[test]
    fn manual_ones_neither_expire_nor_count() {
        assert_eq!(ages("mcmcmcm", daily(2)), [5]);
    }

    prop_compose! {
        fn any_kept()(
            id in any::<u128>(),
            // Few instants, so that ties happen.
            at in 0_i64..40,
            bits in prop::array::uniform5(any::<bool>()),
            manual in prop::bool::weighted(0.15),
            whole in any::<bool>(),
        ) -> Kept {
            let [hourly, daily, weekly, monthly, _] = bits;
            Kept {
                id: Uuid::from_u128(id),
                at: Timestamp::from_second(at).unwrap(),
                tags: if manual { Tags::MANUAL } else { Tags { manual, hourly, daily, weekly, monthly } },
                status: if whole { Status::Completed } else { Status::CompletedWithErrors },
            }
        }
    }

    prop_compose! {
        fn any_policy()(
            counts in prop::array::uniform4(0_u32..5), keep_last in prop::option::of(0_u32..5),
        ) -> Retention {
            let [hourly, daily, weekly, monthly] = counts;
            Retention { hourly, daily, weekly, monthly, keep_last }
        }
    }

    fn remaining(backups: &[Kept], policy: Retention) -> Vec<Kept> {
        let gone: BTreeSet<Uuid> = expired(backups, policy).into_iter().collect();
        backups.iter().filter(|backup| !gone.contains(&backup.id)).copied().collect()
    }

    proptest! {
        #[test]
        fn manual_ones_stay(backups in prop::collection::vec(any_kept(), 0..40), policy in any_policy()) {
            let stay = remaining(&backups, policy);
            prop_assert!(backups.iter().filter(|backup| backup.tags.manual).all(|backup| stay.contains(backup)));
        }

        #[test]
        fn a_good_one_is_always_left(backups in prop::collection::vec(any_kept(), 1..40), policy in any_policy()) {
            let newest_good = |kept: &[Kept]| {
                let good = kept.iter().filter(|backup| backup.status == Status::Completed);
                good.map(|backup| (backup.at, backup.id)).max()
            };
            let stay = remaining(&backups, policy);
            prop_assert_eq!(newest_good(&stay), newest_good(&backups));
            prop_assert!(!stay.is_empty());
        }

        #[test]
        fn each_class_keeps_its_newest_good_ones(
            backups in prop::collection::vec(any_kept(), 0..40), policy in any_policy(),
        ) {
            let stay = remaining(&backups, policy);
            for (keep, is_of) in policy.classes() {
                let mut good: Vec<&Kept> = backups.iter()
                    .filter(|backup| backup.status == Status::Completed && !backup.tags.manual && is_of(&backup.tags))
                    .collect();
                good.sort_by_key(|backup| Reverse((backup.at, backup.id)));
                prop_assert!(good.iter().take(keep as usize).all(|backup| stay.contains(backup)));
            }
        }

        #[test]
        fn a_partial_one_never_evicts_a_good_one(
            backups in prop::collection::vec(any_kept(), 0..40), partial in any_kept(), policy in any_policy(),
        ) {
            let good = |kept: Vec<Kept>| -> BTreeSet<Uuid> {
                kept.iter().filter(|backup| backup.status == Status::Completed).map(|backup| backup.id).collect()
            };
            let before = good(remaining(&backups, policy));
            let with_partial = [backups, vec![Kept { status: Status::CompletedWithErrors, ..partial }]].concat();
            prop_assert_eq!(good(remaining(&with_partial, policy)), before);
        }

        #[test]
        fn what_stays_is_bounded(backups in prop::collection::vec(any_kept(), 0..60), policy in any_policy()) {
            prop_assume!(!policy.keeps_all());
            let stay = remaining(&backups, policy).iter().filter(|backup| !backup.tags.manual).count();
            let most: u32 = policy.classes().iter().map(|(keep, _)| 2 * keep).sum();
            prop_assert!(stay <= most as usize + 1);
        }

        #[test]
        fn order_of_the_input_and_a_second_pass_change_nothing(
            backups in prop::collection::vec(any_kept(), 0..40), policy in any_policy(),
        ) {
            let reversed: Vec<Kept> = backups.iter().rev().copied().collect();
            prop_assert_eq!(expired(&backups, policy), expired(&reversed, policy));
            prop_assert!(expired(&remaining(&backups, policy), policy).is_empty());
        }
    }
}

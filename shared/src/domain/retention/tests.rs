use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::schedule::Schedule;
use crate::domain::timezone::Timezone;

/// A moment after all the backups of the tests that do not look at it.
fn later() -> Zoned {
    Timestamp::from_second(2_000_000_000).unwrap().to_zoned(TimeZone::UTC)
}

/// What goes, oldest first.
fn expired(backups: &[Kept], policy: Retention) -> Vec<Uuid> {
    gone(&judge(backups, policy, &later()))
}

fn gone(verdicts: &[Verdict]) -> Vec<Uuid> {
    verdicts.iter().filter(|verdict| verdict.goes()).map(|verdict| verdict.backup).collect()
}

const DAILY: Tags = Tags { manual: false, hourly: false, daily: true, weekly: false, monthly: false };

/// One backup a day, the newest first and of this moment: `c` completed, `p` partial.
fn days(outcomes: &str) -> Vec<Kept> {
    let day = |(age, letter): (usize, char)| Kept {
        id: Uuid::from_u128(age as u128),
        at: Timestamp::from_second(2_000_000_000 - 86_400 * age as i64).unwrap(),
        tags: DAILY,
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
    assert_eq!(ages("ccccc", Retention { keep_last: 1, ..Retention::default() }), [1, 2, 3, 4]);
}

#[test]
fn all_zero_keeps_all() {
    assert_eq!(ages("cppc", Retention::default()), [0; 0]);
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
fn days_keep_what_is_young_whatever_else() {
    let days = |days| Retention { days, ..Retention::default() };
    // The newest is of this very moment, the next one day old, and so on.
    assert_eq!(ages("ccpcc", days(3)), [3, 4]);
    assert_eq!(ages("ppppc", days(2)), [2, 3], "the last good one is old and stays");
    assert_eq!(ages("cccccc", Retention { daily: 4, ..days(2) }), [4, 5], "either keeps it");
}

#[test]
fn days_are_those_of_the_calendar() {
    let zone = Timezone::parse("Europe/Berlin").unwrap();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let backup = |id, text| Kept { id: Uuid::from_u128(id), at: at(text), tags: DAILY, status: Status::Completed };
    // The night to 29 March 2026 has 23 hours: 02:30 the day before is a day ago at 02:30, after 23 hours or 24.
    let backups = [backup(1, "2026-03-28T02:00:00Z"), backup(2, "2026-03-28T22:00:00Z")];
    let policy = Retention { days: 1, ..Retention::default() };
    let judged = |now: &str| gone(&judge(&backups, policy, &at(now).to_zoned(zone.rules().clone())));
    assert_eq!(judged("2026-03-29T00:59:59Z"), Vec::<Uuid>::new());
    assert_eq!(judged("2026-03-29T01:00:00Z"), [Uuid::from_u128(1)], "23 hours later the clock says the same");
}

#[test]
fn verdicts_say_what_keeps_and_what_does_not() {
    let policy = Retention { daily: 2, keep_last: 1, days: 1, ..Retention::default() };
    let verdicts = judge(&days("ccc"), policy, &later());
    let kept: Vec<_> = verdicts.iter().map(|verdict| verdict.kept_by.clone()).collect();
    assert_eq!(
        kept,
        [vec![], vec![Keeper::Daily], vec![Keeper::Daily, Keeper::KeepLast, Keeper::Days, Keeper::LastGood]]
    );
    let lost: Vec<_> = verdicts[0].lost.iter().map(Lost::to_string).collect();
    assert_eq!(
        lost,
        [
            "the newest 2 daily ones are kept, and it is older",
            "the newest 1 are kept, and it is older",
            "it is older than 1 days"
        ]
    );
    assert!(verdicts[1].lost.is_empty());
    let weekly = judge(&days("cc"), Retention { weekly: 1, ..Retention::default() }, &later());
    assert_eq!(weekly[0].lost, [Lost::NoClass]);
}

prop_compose! {
    fn any_kept()(
        id in any::<u128>(),
        // Few instants, so that ties happen.
        at in 0_i64..40,
        bits in prop::array::uniform4(any::<bool>()),
        whole in any::<bool>(),
    ) -> Kept {
        let [hourly, daily, weekly, monthly] = bits;
        Kept {
            id: Uuid::from_u128(id),
            at: Timestamp::from_second(at).unwrap(),
            tags: Tags { manual: false, hourly, daily, weekly, monthly },
            status: if whole { Status::Completed } else { Status::CompletedWithErrors },
        }
    }
}

prop_compose! {
    fn any_policy()(
        counts in prop::array::uniform5(0_u32..5),
    ) -> Retention {
        let [hourly, daily, weekly, monthly, keep_last] = counts;
        Retention { hourly, daily, weekly, monthly, keep_last, days: 0 }
    }
}

fn remaining(backups: &[Kept], policy: Retention) -> Vec<Kept> {
    let gone: BTreeSet<Uuid> = expired(backups, policy).into_iter().collect();
    backups.iter().filter(|backup| !gone.contains(&backup.id)).copied().collect()
}

proptest! {
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
        for (_, keep, is_of) in policy.classes() {
            let mut good: Vec<&Kept> = backups.iter()
                .filter(|backup| backup.status == Status::Completed && is_of(&backup.tags))
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
        let stay = remaining(&backups, policy).len();
        let most: u32 = policy.classes().iter().map(|(_, keep, _)| 2 * keep).sum();
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

prop_compose! {
    fn any_schedule()(
        form in prop::sample::select(vec!["h24", "h12", "h6", "h1"]),
        zone in prop::sample::select(vec![
            "UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Africa/Cairo", "Pacific/Apia",
        ]),
    ) -> Schedule {
        Schedule::create(1, &serde_json::from_value(json!({"frequency": form, "timezone": zone})).unwrap()).unwrap()
    }
}

/// The runs of a schedule over some weeks: each is whole, partial, or failed.
fn history(schedule: &Schedule, from: Timestamp, outcomes: &[u8]) -> Vec<Kept> {
    let runs = schedule.next_runs(from, outcomes.len()).into_iter().zip(outcomes);
    let backup = |(number, (at, outcome)): (usize, (Timestamp, &u8))| Kept {
        id: Uuid::from_u128(number as u128),
        at,
        tags: Tags::of_slot(schedule, at),
        status: match outcome {
            0 => Status::Failed,
            1 => Status::CompletedWithErrors,
            _ => Status::Completed,
        },
    };
    runs.enumerate().map(backup).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// As it is used: after each run, on what the passes before have left.
    #[test]
    fn a_life_of_a_schedule(
        schedule in any_schedule(),
        policy in any_policy(),
        days in 0_u32..6,
        // Over the changes of all these zones.
        start_day in 0_i64..400,
        outcomes in prop::collection::vec(0_u8..8, 1..90),
    ) {
        let policy = Retention { days, ..policy };
        let from = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * start_day);
        let zone = schedule.timezone().rules();
        let mut left: Vec<Kept> = Vec::new();
        let all = history(&schedule, from, &outcomes);
        for (done, run) in all.iter().enumerate() {
            left.push(*run);
            // A backup takes a while, and retention comes after it.
            let now = (run.at + SignedDuration::from_mins(7)).to_zoned(zone.clone());
            let going = gone(&judge(&left, policy, &now));
            left.retain(|backup| !going.contains(&backup.id));
            let so_far = &all[..=done];
            let stays = |wanted: &Kept| left.contains(wanted);

            // The last good one, whatever came after it.
            let is_good = |backup: &&Kept| backup.status == Status::Completed;
            prop_assert!(so_far.iter().rev().find(is_good).is_none_or(stays));
            // All that is young.
            let since = now.checked_sub(i64::from(days).days()).unwrap().timestamp();
            let is_young = |backup: &&Kept| days > 0 && backup.status.is_stored() && backup.at > since;
            prop_assert!(so_far.iter().filter(is_young).all(stays));
            // Of each class the newest good ones, each of another local day, week or month.
            for (class, keep, is_of) in policy.classes() {
                let of_class = so_far.iter().rev().filter(is_good).filter(|backup| is_of(&backup.tags));
                let newest: Vec<&Kept> = of_class.take(keep as usize).collect();
                prop_assert!(newest.iter().all(|backup| stays(backup)), "{class:?}");
                let date = |backup: &&Kept| backup.at.to_zoned(zone.clone()).date();
                let dates: BTreeSet<_> = newest.iter().map(date).collect();
                let is_daily = matches!(class, Keeper::Daily | Keeper::Weekly | Keeper::Monthly);
                prop_assert!(!is_daily || dates.len() == newest.len(), "{class:?}");
            }
            // What went, went for a reason, and nothing goes under an empty policy.
            prop_assert!(!policy.keeps_all() || left.len() == done + 1);
        }
    }
}

/// A job whose schedules have these ids, with its own rule for what is started by hand.
fn job(schedules: &[u64], policy: Retention, manual_retention: ManualRetention) -> Job {
    let schedule = |id: &u64| {
        let schedule = Schedule::create(*id, &serde_json::from_value(json!({})).unwrap()).unwrap();
        serde_json::to_value(Schedule { retention: policy, ..schedule }).unwrap()
    };
    let job = json!({
        "id": Uuid::nil(), "number": 1, "account": "acme", "name": "test",
        "recipe": {"recipe": "file-backups", "root_paths": ["/"], "exclude": [], "compression_level": 3, "use_sudo": false},
        "compute": {"type": "server", "server_id": 1}, "storages": [],
        "schedules": schedules.iter().map(schedule).collect::<Vec<_>>(),
        "manual_retention": manual_retention,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "revision": 1,
    });
    serde_json::from_value(job).unwrap()
}

/// One a minute, the newest first: the schedule that made it, 0 for one by hand, and what it is tagged as.
fn backups(made: &[(u64, Tags)]) -> Vec<Backup> {
    let backup = |(age, (schedule, tags)): (usize, &(u64, Tags))| {
        let backup = json!({
            "id": Uuid::from_u128(age as u128), "number": 1, "account": "acme", "job": Uuid::nil(), "name": "test",
            "schedule": Some(schedule).filter(|schedule| **schedule > 0), "tags": tags, "status": "completed",
            "created_at": Timestamp::from_second(2_000_000_000 - 60 * age as i64).unwrap(),
        });
        serde_json::from_value(backup).unwrap()
    };
    made.iter().enumerate().map(backup).collect()
}

fn ages_gone(job: &Job, backups: &[Backup]) -> BTreeSet<u128> {
    let gone = gone(&judge_job(job, backups, later().timestamp()));
    gone.into_iter().map(|id| id.as_u128()).collect()
}

#[test]
fn each_backup_goes_by_the_rule_of_what_made_it() {
    let keep_one = Retention { keep_last: 1, ..Retention::default() };
    let made =
        backups(&[(1, DAILY), (2, DAILY), (0, Tags::MANUAL), (1, DAILY), (2, DAILY), (0, Tags::MANUAL), (0, DAILY)]);
    let no_rule = ManualRetention::default();
    assert_eq!(ages_gone(&job(&[1, 2], keep_one, no_rule), &made), BTreeSet::from([3, 4]));
    let by_hand = ManualRetention { keep_last: 1, days: 0 };
    assert_eq!(ages_gone(&job(&[1, 2], keep_one, by_hand), &made), BTreeSet::from([3, 4, 5, 6]));
    assert_eq!(ages_gone(&job(&[1, 2], Retention::default(), by_hand), &made), BTreeSet::from([5, 6]));
    // What a schedule has made stays when the schedule goes.
    assert_eq!(ages_gone(&job(&[1], keep_one, no_rule), &made), BTreeSet::from([3]));
    let verdicts = judge_job(&job(&[1], keep_one, no_rule), &made, later().timestamp());
    assert_eq!(verdicts.len(), made.len(), "each is told of once");
    let orphans = verdicts.iter().filter(|verdict| verdict.kept_by == [Keeper::ScheduleGone]).count();
    assert_eq!(orphans, 2);
}

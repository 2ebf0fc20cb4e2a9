//! Slot: one due instant of a schedule, the backup that belongs to it, and what it counts as.

use std::fmt;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::schedule::Schedule;
use super::timezone::Timezone;

/// A due instant of a schedule, to the second. Displays as `{schedule}/{instant}`, which is part of the backup's
/// identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Slot {
    schedule_id: u64,
    at: Timestamp,
}

/// A slot as it is written: the instant in RFC 3339.
#[derive(Serialize, Deserialize)]
struct Stored {
    schedule_id: u64,
    at: Timestamp,
}

impl Slot {
    /// The slot of a schedule at an instant, whose fraction of a second is dropped.
    pub fn new(schedule_id: u64, at: Timestamp) -> Self {
        let fraction = SignedDuration::from_nanos(at.subsec_nanosecond().into());
        Self { schedule_id, at: at.saturating_sub(fraction).unwrap_or(at) }
    }

    /// The schedule.
    pub fn schedule_id(&self) -> u64 {
        self.schedule_id
    }

    /// The instant, in whole seconds.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The id of the one backup that a job makes for this slot, however often and late the slot is delivered.
    ///
    /// UUIDv5 of `{schedule}/{instant}` in the job's namespace ([RFC 9562]). This never changes: ids are stored.
    ///
    /// [RFC 9562]: https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-5
    pub fn backup_id(&self, job: Uuid) -> Uuid {
        Uuid::new_v5(&job, self.to_string().as_bytes())
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.schedule_id, self.at)
    }
}

impl From<Stored> for Slot {
    fn from(Stored { schedule_id, at }: Stored) -> Self {
        Self::new(schedule_id, at)
    }
}

impl From<Slot> for Stored {
    fn from(Slot { schedule_id, at }: Slot) -> Self {
        Self { schedule_id, at }
    }
}

/// What a backup counts as, for retention and for whoever reads a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Tags {
    /// Started by hand; then it is nothing else.
    pub manual: bool,
    /// A run of a schedule that runs several times a day.
    pub hourly: bool,
    /// The first run of its schedule on that local day.
    pub daily: bool,
    /// The first run of its schedule in that local week, which begins on Monday.
    pub weekly: bool,
    /// The first run of its schedule in that local month.
    pub monthly: bool,
}

impl Tags {
    /// Started by hand, and nothing else.
    pub const MANUAL: Self = Self { manual: true, hourly: false, daily: false, weekly: false, monthly: false };

    /// What the run of `schedule` at `at` counts as; never nothing.
    ///
    /// Judged by the schedule as it is now: a run is the first of a day when no due time of the schedule lies between
    /// the beginning of that local day and it. What did really run does not matter, so that tags never depend on
    /// failures.
    pub fn of_slot(schedule: &Schedule, at: Timestamp) -> Self {
        let day = at.to_zoned(schedule.timezone().rules().clone()).date();
        let monday = day.saturating_sub(i64::from(day.weekday().to_monday_zero_offset()).days());
        let is_subdaily = schedule.timing.is_subdaily();
        let is_first_since = |date: Date| is_first_since(schedule, date, at);
        Self {
            manual: false,
            hourly: is_subdaily,
            // Also when the schedule has changed since the slot was due: a run without a class would expire at once.
            daily: !is_subdaily || is_first_since(day),
            weekly: is_first_since(monday),
            monthly: is_first_since(day.first_of_month()),
        }
    }

    /// What a backup counts as that is started through the API; `None` is a tag that the call does not name.
    ///
    /// Manual goes before all others, and who names no tag gets a manual one.
    pub fn of_start(
        manual: Option<bool>,
        hourly: Option<bool>,
        daily: Option<bool>,
        weekly: Option<bool>,
        monthly: Option<bool>,
    ) -> Self {
        let [manual, hourly, daily, weekly, monthly] =
            [manual, hourly, daily, weekly, monthly].map(|tag| tag.unwrap_or(false));
        if manual || !(hourly || daily || weekly || monthly) {
            return Self::MANUAL;
        }
        Self { manual, hourly, daily, weekly, monthly }
    }
}

/// Whether `schedule` is not due between the beginning of a local day and `at`.
fn is_first_since(schedule: &Schedule, date: Date, at: Timestamp) -> bool {
    let start = start_of_day(schedule.timezone(), date).unwrap_or(at);
    let before_start = start.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(start);
    schedule.timing.runs_after(before_start).next().is_none_or(|first| first >= at)
}

fn start_of_day(timezone: &Timezone, date: Date) -> Option<Timestamp> {
    date.to_zoned(timezone.rules().clone()).ok().map(|start| start.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(input: serde_json::Value) -> Schedule {
        Schedule::create(15, &serde_json::from_value(input).unwrap()).unwrap()
    }

    /// The letters of what a run counts as.
    fn tags(schedule: &Schedule, slot: &str) -> String {
        let Tags { manual, hourly, daily, weekly, monthly } = Tags::of_slot(schedule, at(slot));
        let letters = [(manual, '!'), (hourly, 'h'), (daily, 'd'), (weekly, 'w'), (monthly, 'm')];
        letters.into_iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect()
    }

    #[test]
    fn ids_of_backups_never_change() {
        let job = Uuid::parse_str("0319170e-2394-425c-a1c2-96be9810314c").unwrap();
        let id = |schedule, slot| Slot::new(schedule, at(slot)).backup_id(job).to_string();
        // Made with Python: uuid.uuid5(job, "15/2026-03-29T01:00:00Z").
        assert_eq!(id(15, "2026-03-29T01:00:00Z"), "c3bae06b-5ff0-5453-a386-e8bb55a637aa");
        assert_eq!(id(1, "2026-03-29T01:00:00Z"), "1d4ca764-7e99-5d8b-86b8-ee2a6cbb9c22");
        assert_eq!(id(15, "2026-03-29T01:00:01Z"), "5ffdb0f1-95d5-5912-8ef7-9782fe7c8ed8");
        // Another spelling of the same second is the same slot.
        assert_eq!(id(15, "2026-03-29T03:00:00.25+02:00"), id(15, "2026-03-29T01:00:00Z"));
    }

    #[test]
    fn written_as_rfc_3339() {
        let slot = Slot::new(15, at("2026-03-29T01:00:00.9Z"));
        let stored = serde_json::to_value(slot).unwrap();
        assert_eq!(stored, json!({"schedule_id": 15, "at": "2026-03-29T01:00:00Z"}));
        assert_eq!(serde_json::from_value::<Slot>(stored).unwrap(), slot);
    }

    #[test]
    fn first_runs_of_day_week_and_month() {
        let six = schedule(json!({"frequency": "h6", "run_offset": 3}));
        // 1 June 2026 is a Monday.
        assert_eq!(tags(&six, "2026-06-01T03:00:00Z"), "hdwm");
        assert_eq!(tags(&six, "2026-06-01T09:00:00Z"), "h");
        assert_eq!(tags(&six, "2026-06-02T03:00:00Z"), "hd");
        assert_eq!(tags(&six, "2026-06-08T03:00:00Z"), "hdw");
        // The first of July is a Wednesday, Sunday before it is no new week.
        assert_eq!(tags(&six, "2026-07-01T03:00:00Z"), "hdm");
        assert_eq!(tags(&six, "2026-06-07T03:00:00Z"), "hd");
        assert_eq!(tags(&schedule(json!({})), "2026-06-02T00:00:00Z"), "d");
    }

    #[test]
    fn days_are_local() {
        let tokyo = schedule(json!({"frequency": "h12", "timezone": "Asia/Tokyo"}));
        assert_eq!(tags(&tokyo, "2026-05-31T15:00:00Z"), "hdwm");
        assert_eq!(tags(&tokyo, "2026-06-01T03:00:00Z"), "h");
        // Midnight of that day does not exist in Cairo: 01:00 is its first run.
        let cairo = schedule(json!({"frequency": "h1", "timezone": "Africa/Cairo"}));
        assert_eq!(tags(&cairo, "2026-04-23T22:00:00Z"), "hd");
    }

    #[test]
    fn coarser_schedules_carry_every_class_that_they_begin() {
        let weekly = schedule(json!({"cron": "0 5 * * FRI"}));
        assert_eq!(tags(&weekly, "2026-06-05T05:00:00Z"), "dwm");
        assert_eq!(tags(&weekly, "2026-06-12T05:00:00Z"), "dw");
        assert_eq!(tags(&schedule(json!({"cron": "0 5 15 * *"})), "2026-06-15T05:00:00Z"), "dwm");
    }

    #[test]
    fn a_slot_of_an_older_schedule_still_counts_as_something() {
        assert_eq!(tags(&schedule(json!({})), "2026-06-02T17:30:00Z"), "d");
        assert_eq!(tags(&schedule(json!({"frequency": "m5"})), "2026-06-02T17:31:00Z"), "h");
    }

    #[test]
    fn started_by_hand() {
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(Tags::of_start(None, None, None, None, None), Tags::MANUAL);
        assert_eq!(Tags::of_start(no, no, None, None, None), Tags::MANUAL);
        assert_eq!(Tags::of_start(yes, yes, yes, yes, yes), Tags::MANUAL);
        let daily = Tags { daily: true, ..Tags::default() };
        assert_eq!(Tags::of_start(None, None, yes, None, no), daily);
        assert_eq!(Tags::of_start(no, None, yes, None, None), daily);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn each_local_day_has_one_daily_run(
            form in prop::sample::select(vec!["h24", "h12", "h6", "h3", "h1", "m30"]),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"]),
            hour in 0_i64..8760,
        ) {
            let schedule = schedule(json!({"frequency": form, "timezone": zone}));
            let from = at("2026-01-01T00:00:00Z") + SignedDuration::from_hours(hour);
            let mut seen = std::collections::BTreeSet::new();
            // The day of `from` may have begun before it.
            for run in schedule.next_runs(from, 120) {
                let date = run.to_zoned(schedule.timezone().rules().clone()).date();
                let starts_here = seen.insert(date) && seen.len() > 1;
                let is_daily = Tags::of_slot(&schedule, run).daily;
                prop_assert!(is_daily == starts_here || (seen.len() == 1 && is_daily), "{run}");
            }
        }
    }
}

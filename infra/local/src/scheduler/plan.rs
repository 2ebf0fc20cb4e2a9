//! When a schedule fires: its expression, zone, bounds and window, all checked.

use aws_lc_rs::digest::{SHA256, digest};
use holdfast_shared::domain::expression::Expression;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::schedule::{FlexibleTimeWindow, Schedule, WindowMode};
use super::{store, validation};
use crate::fault::Fault;

/// Slots of one schedule.
#[derive(Debug)]
pub(super) struct Plan {
    expression: Expression,
    zone: TimeZone,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    /// How long after its slot it fires.
    spread: SignedDuration,
}

impl Plan {
    /// Reads when a schedule fires, or tells as AWS does what is wrong with it.
    pub(super) fn new(name: &str, schedule: &Schedule, created: Timestamp) -> Result<Self, Fault> {
        let text = &schedule.schedule_expression;
        let expression = Expression::parse(text)
            .map_err(|error| validation(format!("Invalid Schedule Expression {text}: {error}.")))?;
        let zone = &schedule.schedule_expression_timezone;
        let zone =
            TimeZone::get(zone).map_err(|_| validation(format!("Invalid Schedule Expression Timezone {zone}.")))?;
        let (mut start, mut end) = (date(schedule.start_date)?, date(schedule.end_date)?);
        match expression {
            Expression::At(_) => (start, end) = (None, None),
            Expression::Rate(_) => start = start.or_else(|| Timestamp::from_second(created.as_second() + 1).ok()),
            Expression::Cron(_) => {}
        }
        let spread = spread(&store::arn(&schedule.group_name, name), &schedule.flexible_time_window)?;
        Ok(Self { expression, zone, start, end, spread })
    }

    /// Refuses bounds that AWS refuses when they are set.
    pub(super) fn check_bounds(&self, now: Timestamp) -> Result<(), Fault> {
        if self.start.is_some_and(|start| start < now - SignedDuration::from_mins(5)) {
            return Err(validation("The StartDate you specify cannot be earlier than 5 minutes ago."));
        }
        if self.end.is_some_and(|end| end <= now || self.start.is_some_and(|start| end <= start)) {
            return Err(validation("The EndDate you specify must be in the future and later than the StartDate."));
        }
        Ok(())
    }

    /// The first slot after an instant.
    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let slot = self.expression.next_after(after, &self.zone, self.start)?;
        self.end.is_none_or(|end| slot <= end).then_some(slot)
    }

    /// The newest slot that should have fired by `now`, given that `first` should have.
    pub(super) fn newest(&self, first: Timestamp, now: Timestamp) -> Timestamp {
        let until = now - self.spread;
        let until = self.end.map_or(until, |end| end.min(until));
        self.expression.latest(first, until, &self.zone, self.start).unwrap_or(first)
    }

    /// When a slot fires.
    pub(super) fn due(&self, slot: Timestamp) -> Timestamp {
        slot + self.spread
    }
}

/// An offset within the window, the same for every slot: they stay in order, and schedules spread out.
fn spread(arn: &str, window: &FlexibleTimeWindow) -> Result<SignedDuration, Fault> {
    let minutes = match (window.mode, window.maximum_window_in_minutes) {
        (WindowMode::Off, None) => return Ok(SignedDuration::ZERO),
        (WindowMode::Flexible, Some(minutes)) if (1..=1440).contains(&minutes) => minutes,
        (WindowMode::Off, Some(_)) => {
            return Err(validation("MaximumWindowInMinutes must not be set when FlexibleTimeWindow mode is OFF."));
        }
        (WindowMode::Flexible, _) => {
            return Err(validation(
                "MaximumWindowInMinutes must be between 1 and 1440 when FlexibleTimeWindow mode is FLEXIBLE.",
            ));
        }
    };
    let hash =
        digest(&SHA256, arn.as_bytes()).as_ref().iter().take(7).fold(0, |hash, byte| hash << 8 | i64::from(*byte));
    Ok(SignedDuration::from_secs(hash % (minutes * 60)))
}

fn date(seconds: Option<f64>) -> Result<Option<Timestamp>, Fault> {
    let read = |seconds: f64| Timestamp::from_millisecond((seconds * 1000.0) as i64);
    seconds.map(read).transpose().map_err(|_| validation("a date lies outside what can be scheduled"))
}

//! EventBridge Scheduler's schedule expressions: `at(…)`, `rate(…)` and `cron(…)`, and the instants they mean.
//!
//! Source: <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>. What that page leaves open is
//! read strictly, so that whatever parses here is accepted by AWS too. Daylight saving time as documented there:
//! a wall-clock time that the spring change skips does not occur, one that the autumn change repeats occurs once
//! (the first time), and a rate counts elapsed time and knows no wall clock.

mod cron;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

pub use cron::CronFields;

/// When something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Once, at this wall-clock time.
    At(DateTime),
    /// Every so much elapsed time, counted from the schedule's start.
    Rate(SignedDuration),
    /// Whenever the wall clock matches the fields.
    Cron(CronFields),
}

/// Why a text is no schedule expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// None of the three forms.
    #[error("write at(yyyy-mm-ddThh:mm:ss), rate(value unit) or cron(fields)")]
    Form,
    /// `at(…)` that holds no date and time.
    #[error("write the time in at(…) as yyyy-mm-ddThh:mm:ss, without a zone")]
    At,
    /// `rate(…)` without a positive number and a unit.
    #[error("write the rate as a positive whole number and one of minutes, hours, days")]
    Rate,
    /// `cron(…)` with more or fewer than six fields.
    #[error("cron has six fields (minutes hours day-of-month month day-of-week year), found {0}")]
    FieldCount(usize),
    /// Neither or both of the day fields are `?`.
    #[error("exactly one of day-of-month and day-of-week must be ?")]
    Days,
    /// A field that cannot be read.
    #[error("{field} cannot be `{text}`: {expected}")]
    Field {
        /// Which of the six.
        field: &'static str,
        /// What stood there.
        text: String,
        /// What may stand there.
        expected: String,
    },
}

impl Expression {
    /// Reads an expression as `CreateSchedule` takes it. Names of months and weekdays may be in any case.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let (form, rest) = text.split_once('(').ok_or(ExpressionError::Form)?;
        let inner = rest.strip_suffix(')').ok_or(ExpressionError::Form)?;
        match form {
            "at" => parse_at(inner).map(Self::At),
            "rate" => parse_rate(inner).map(Self::Rate),
            "cron" => CronFields::parse(inner).map(Self::Cron),
            _ => Err(ExpressionError::Form),
        }
    }

    /// The first due instant strictly after `after`; `None` once there is no further one (cron ends with 2199).
    ///
    /// `start` is the schedule's start: a rate counts from it (and is due at it), a cron is due no earlier, and `at`
    /// ignores it as AWS does. Without it a rate counts from the Unix epoch.
    pub fn next_after(&self, after: Timestamp, tz: &TimeZone, start: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Self::At(at) => instant(tz, *at).filter(|due| *due > after),
            Self::Rate(step) => rate_after(*step, after, start.unwrap_or(Timestamp::UNIX_EPOCH)),
            Self::Cron(fields) => cron_after(fields, after.max(start.map_or(after, just_before)), tz),
        }
    }

    /// All due instants strictly after `after`, in order.
    pub fn upcoming<'a>(
        &'a self,
        after: Timestamp,
        tz: &'a TimeZone,
        start: Option<Timestamp>,
    ) -> impl Iterator<Item = Timestamp> + 'a {
        std::iter::successors(self.next_after(after, tz, start), move |due| self.next_after(*due, tz, start))
    }

    /// The newest due instant after `after` and no later than `until`; what a part that was down has missed last.
    ///
    /// It looks back from `until` in widening steps, so that a long absence costs no walk over all of it.
    pub fn latest(
        &self,
        after: Timestamp,
        until: Timestamp,
        tz: &TimeZone,
        start: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let mut back = SignedDuration::from_mins(1);
        loop {
            let from = until.saturating_sub(back).map_or(after, |from| from.max(after));
            let newest = self.upcoming(from, tz, start).take_while(|due| *due <= until).last();
            if newest.is_some() || from == after {
                return newest;
            }
            back = back.saturating_mul(8);
        }
    }
}

fn parse_at(text: &str) -> Result<DateTime, ExpressionError> {
    // jiff reads more forms than AWS does: ask for the exact shape as well.
    let at: DateTime = text.parse().map_err(|_| ExpressionError::At)?;
    if at.strftime("%Y-%m-%dT%H:%M:%S").to_string() == text { Ok(at) } else { Err(ExpressionError::At) }
}

fn parse_rate(text: &str) -> Result<SignedDuration, ExpressionError> {
    let (value, unit) = text.split_once(' ').ok_or(ExpressionError::Rate)?;
    let minutes = match unit {
        "minute" | "minutes" => 1,
        "hour" | "hours" => 60,
        "day" | "days" => 24 * 60,
        _ => return Err(ExpressionError::Rate),
    };
    match cron::number(value).filter(|value| *value > 0) {
        Some(value) => Ok(SignedDuration::from_mins(i64::from(value) * minutes)),
        None => Err(ExpressionError::Rate),
    }
}

fn rate_after(step: SignedDuration, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
    if after < anchor {
        return Some(anchor);
    }
    let steps = after.duration_since(anchor).as_secs() / step.as_secs() + 1;
    anchor.checked_add(SignedDuration::from_secs(steps.checked_mul(step.as_secs())?)).ok()
}

fn cron_after(fields: &CronFields, after: Timestamp, tz: &TimeZone) -> Option<Timestamp> {
    let mut civil = tz.to_datetime(after);
    // A skipped time has no instant; of a repeated one the first counts, which may lie before `after`.
    loop {
        civil = fields.next_after(civil)?;
        if let Some(due) = instant(tz, civil).filter(|due| *due > after) {
            return Some(due);
        }
    }
}

/// The one instant of a wall-clock time: none in a gap, the first in a fold.
fn instant(tz: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    match tz.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(civil).ok()
        }
        AmbiguousOffset::Gap { .. } => None,
    }
}

fn just_before(instant: Timestamp) -> Timestamp {
    instant.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;

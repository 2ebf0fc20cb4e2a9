//! The six fields of `cron(…)` and the wall-clock times they match.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time, Weekday};

use super::ExpressionError;

/// Fields of a cron expression, with exactly one of the two day fields in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronFields {
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    days: Days,
    months: BTreeSet<u32>,
    years: BTreeSet<u32>,
}

/// Which days of a month; weekdays count from 1 = Sunday as AWS does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    OfMonth(BTreeSet<u32>),
    LastOfMonth,
    NearestWeekday(u32),
    OfWeek(BTreeSet<u32>),
    LastWeekday(u32),
    NthWeekday(u32, u32),
}

/// How one field is written: its range, and names that stand for numbers from `min` on.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
    expected: &'static str,
}

const MINUTES: Field = Field { name: "minutes", min: 0, max: 59, names: &[], expected: "0-59 with , - * /" };
const HOURS: Field = Field { name: "hours", min: 0, max: 23, names: &[], expected: "0-23 with , - * /" };
const DAYS_OF_MONTH: Field =
    Field { name: "day-of-month", min: 1, max: 31, names: &[], expected: "1-31 with , - * ? / L W" };
const MONTHS: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    expected: "1-12 or JAN-DEC with , - * /",
};
const DAYS_OF_WEEK: Field = Field {
    name: "day-of-week",
    min: 1,
    max: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    expected: "1-7 or SUN-SAT with , - * ? L #",
};
const YEARS: Field = Field { name: "year", min: 1970, max: 2199, names: &[], expected: "1970-2199 with , - * /" };

impl CronFields {
    /// Reads what stands between the parentheses of `cron(…)`.
    pub(super) fn parse(text: &str) -> Result<Self, ExpressionError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let &[minutes, hours, day_of_month, month, day_of_week, year] = fields.as_slice() else {
            return Err(ExpressionError::FieldCount(fields.len()));
        };
        Ok(Self {
            minutes: MINUTES.values(minutes)?,
            hours: HOURS.values(hours)?,
            days: match (day_of_month, day_of_week) {
                ("?", "?") => return Err(ExpressionError::Days),
                (days, "?") => Days::of_month(days)?,
                ("?", days) => Days::of_week(days)?,
                _ => return Err(ExpressionError::Days),
            },
            months: MONTHS.values(month)?,
            years: YEARS.values(year)?,
        })
    }

    /// The first matching wall-clock minute strictly after `after`.
    pub(super) fn next_after(&self, after: DateTime) -> Option<DateTime> {
        let first = self.time_from(*self.hours.first()?, 0)?;
        for &year in self.years.range(u32::try_from(after.year()).unwrap_or(0)..) {
            for &month in &self.months {
                let start = Date::new(year as i16, month as i8, 1).ok()?;
                if start.last_of_month() < after.date() {
                    continue;
                }
                for date in self.days.within(start).filter(|date| *date >= after.date()) {
                    let time = if date > after.date() { Some(first) } else { self.time_after(after.time()) };
                    if let Some(time) = time {
                        return Some(date.to_datetime(time));
                    }
                }
            }
        }
        None
    }

    fn time_after(&self, after: Time) -> Option<Time> {
        let (hour, minute) = (after.hour() as u32, after.minute() as u32);
        let same_hour = self.hours.contains(&hour).then(|| self.time_from(hour, minute + 1)).flatten();
        same_hour.or_else(|| self.time_from(*self.hours.range(hour + 1..).next()?, 0))
    }

    fn time_from(&self, hour: u32, minute: u32) -> Option<Time> {
        let minute = *self.minutes.range(minute..).next()?;
        Time::new(hour as i8, minute as i8, 0, 0).ok()
    }
}

impl Days {
    fn of_month(text: &str) -> Result<Self, ExpressionError> {
        if text == "L" {
            return Ok(Self::LastOfMonth);
        }
        match text.strip_suffix('W') {
            Some(day) => DAYS_OF_MONTH.value(day).map(Self::NearestWeekday),
            None => DAYS_OF_MONTH.values(text).map(Self::OfMonth),
        }
    }

    fn of_week(text: &str) -> Result<Self, ExpressionError> {
        // `L` alone is the last day of the week, with a day before it that day's last one of the month.
        if text == "L" {
            return Ok(Self::OfWeek(BTreeSet::from([7])));
        }
        if let Some(day) = text.strip_suffix('L') {
            return DAYS_OF_WEEK.value(day).map(Self::LastWeekday);
        }
        if let Some((day, nth)) = text.split_once('#') {
            let nth = number(nth).filter(|nth| (1..=5).contains(nth)).ok_or_else(|| DAYS_OF_WEEK.error(text))?;
            return Ok(Self::NthWeekday(DAYS_OF_WEEK.value(day)?, nth));
        }
        if text.contains('/') {
            return Err(DAYS_OF_WEEK.error(text));
        }
        DAYS_OF_WEEK.values(text).map(Self::OfWeek)
    }

    /// The matching days of the month that begins with `start`, in order.
    fn within(&self, start: Date) -> impl Iterator<Item = Date> {
        let length = start.days_in_month();
        (1..=length).filter_map(move |day| start.with().day(day).build().ok()).filter(move |date| self.matches(*date))
    }

    fn matches(&self, date: Date) -> bool {
        let (day, weekday) = (date.day() as u32, weekday(date));
        let length = date.days_in_month() as u32;
        match self {
            Self::OfMonth(days) => days.contains(&day),
            Self::LastOfMonth => day == length,
            Self::NearestWeekday(wanted) => nearest_weekday(date.first_of_month(), *wanted) == Some(date),
            Self::OfWeek(days) => days.contains(&weekday),
            Self::LastWeekday(wanted) => weekday == *wanted && day + 7 > length,
            Self::NthWeekday(wanted, nth) => weekday == *wanted && (day - 1) / 7 + 1 == *nth,
        }
    }
}

/// The weekday closest to a day of the month, never leaving the month; none in a month that lacks the day.
fn nearest_weekday(start: Date, day: u32) -> Option<Date> {
    let date = start.with().day(day as i8).build().ok()?;
    let days = match date.weekday() {
        Weekday::Saturday if day == 1 => 2,
        Weekday::Saturday => -1,
        Weekday::Sunday if date == date.last_of_month() => -2,
        Weekday::Sunday => 1,
        _ => 0,
    };
    date.checked_add(days.days()).ok()
}

fn weekday(date: Date) -> u32 {
    date.weekday().to_sunday_one_offset() as u32
}

impl Field {
    /// A list of values, ranges and steps.
    fn values(&self, text: &str) -> Result<BTreeSet<u32>, ExpressionError> {
        let mut values = BTreeSet::new();
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, number(step).filter(|step| (1..=self.max).contains(step))),
                None => (item, Some(1)),
            };
            let step = step.ok_or_else(|| self.error(text))?;
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.min, self.max),
                Some((from, to)) => (self.value(from)?, self.value(to)?),
                None if item.contains('/') => (self.value(range)?, self.max),
                None => (self.value(range)?, self.value(range)?),
            };
            if from > to {
                return Err(self.error(text));
            }
            values.extend((from..=to).step_by(step as usize));
        }
        Ok(values)
    }

    fn value(&self, text: &str) -> Result<u32, ExpressionError> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = named.map(|index| index as u32 + self.min).or_else(|| number(text));
        value.filter(|value| (self.min..=self.max).contains(value)).ok_or_else(|| self.error(text))
    }

    fn error(&self, text: &str) -> ExpressionError {
        ExpressionError::Field { field: self.name, text: text.to_owned(), expected: self.expected.to_owned() }
    }
}

/// A whole number in digits only: no sign, no space.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

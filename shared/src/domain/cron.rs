//! Crontab: the five fields of cron, and how EventBridge Scheduler is told the same.
//!
//! The fields are those of [crontab(5)](https://man7.org/linux/man-pages/man5/crontab.5.html). Scheduler's `cron(…)`
//! differs in three ways that this file hides: weekdays count from 1 = Sunday (so names are sent), exactly one of day
//! of month and day of week is `?`, and there is a year ([schedule types]).
//!
//! [schedule types]: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) mod tests;

/// A crontab expression holds at most so many characters.
const MAX_CHARS: usize = 256;

/// Scheduler's limit on a `ScheduleExpression`, in characters.
const MAX_EXPRESSION_CHARS: usize = 256;

/// One crontab becomes at most so many of Scheduler's schedules; each one costs a call on every change.
const MAX_EXPRESSIONS: usize = 8;

/// Minutes of a day on the wall clock.
pub const DAY_MINUTES: u32 = 24 * 60;

const MONTH_NAMES: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAY_NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The longest each month gets, January first.
const MONTH_DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Numbers that a field names.
type Numbers = BTreeSet<u8>;

/// A crontab expression of five fields that fires at least once in some year.
///
/// Day of month and day of week follow crontab(5): when both are restricted, a day that matches *either* runs. A field
/// that begins with `*` (also `*/2`) does not count as restricted, so with it a day must match *both*; Scheduler cannot
/// express both, and such an expression is refused unless one of the two fields names every day.
///
/// Displays, compares and is stored as the user wrote it, with single spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Crontab {
    text: String,
    minutes: Numbers,
    hours: Numbers,
    months: Numbers,
    /// One set of days, or two when a day that matches either runs.
    days: Vec<Days>,
}

/// Which days of its months an expression runs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Days {
    Every,
    OfMonth(Numbers),
    /// 0 = Sunday.
    OfWeek(Numbers),
}

impl Crontab {
    /// Reads a crontab expression, or one of `@hourly @daily @midnight @weekly @monthly @yearly @annually`.
    ///
    /// The error is a message for its writer: what is wrong and what to do.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > MAX_CHARS {
            return Err(format!("a cron expression has at most {MAX_CHARS} characters; use ranges and steps"));
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let spelled_out = expand_nickname(&text)?;
        let fields: Vec<&str> = spelled_out.split(' ').filter(|field| !field.is_empty()).collect();
        let [minute, hour, day_of_month, month, day_of_week] = fields[..] else {
            return Err(wrong_field_count(fields.len()));
        };
        let months = MONTH.parse(month)?;
        let days = days(day_of_month, day_of_week)?;
        let days = days_that_exist(days, &months)?;
        Ok(Self { minutes: MINUTE.parse(minute)?, hours: HOUR.parse(hour)?, months, days, text })
    }

    /// The expression as its user wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it runs at more than one time on the days on which it runs.
    pub fn is_subdaily(&self) -> bool {
        self.minutes.len() * self.hours.len() > 1
    }

    /// The same times, `offset_minutes` later on the wall clock, as 1 to 8 of Scheduler's `cron(…)` expressions in a
    /// fixed order.
    ///
    /// An offset moves what is written, not what has elapsed: `30 1 * * *` with 60 is 02:30, also on the day of a
    /// change of the clocks. Fails with a message for the user when an offset carries runs over midnight into days that
    /// Scheduler cannot express, or when more than eight expressions would be needed. An offset of 0 never fails.
    pub fn expressions(&self, offset_minutes: u32) -> Result<Vec<String>, String> {
        let mut expressions = Vec::new();
        for (days, minutes_by_hour) in self.shifted(offset_minutes)? {
            let mut hours_by_minutes: BTreeMap<Numbers, Numbers> = BTreeMap::new();
            for (hour, minutes) in minutes_by_hour {
                hours_by_minutes.entry(minutes).or_default().insert(hour);
            }
            for (minutes, hours) in hours_by_minutes {
                expressions.push(expression(&minutes, &hours, &days, &self.months));
            }
        }
        if expressions.len() > MAX_EXPRESSIONS {
            return Err("this cron expression and offset fall apart into too many schedules; use an offset in whole \
                        hours, or write the shifted times into the cron expression"
                .into());
        }
        Ok(expressions)
    }

    /// Minutes by hour by days, each moved by the offset.
    fn shifted(&self, offset_minutes: u32) -> Result<BTreeMap<Days, BTreeMap<u8, Numbers>>, String> {
        if offset_minutes >= DAY_MINUTES {
            return Err(format!("an offset has at most {} minutes", DAY_MINUTES - 1));
        }
        let mut times: BTreeMap<Days, BTreeMap<u8, Numbers>> = BTreeMap::new();
        for days in &self.days {
            let days_after = days.next(self.months.len() == MONTH_NAMES.len());
            for (hour, minute) in self.times_of_day() {
                let at = u32::from(hour) * 60 + u32::from(minute) + offset_minutes;
                let on = if at < DAY_MINUTES { Some(days.clone()) } else { days_after.clone() };
                let on = on.ok_or_else(|| self.carry_message(offset_minutes))?;
                let [hour, minute] = [at / 60 % 24, at % 60].map(|number| number as u8);
                times.entry(on).or_default().entry(hour).or_default().insert(minute);
            }
        }
        Ok(times)
    }

    fn times_of_day(&self) -> impl Iterator<Item = (u8, u8)> {
        self.hours.iter().flat_map(|hour| self.minutes.iter().map(|minute| (*hour, *minute)))
    }

    fn carry_message(&self, offset_minutes: u32) -> String {
        format!(
            "an offset of {offset_minutes} minutes moves `{self}` past midnight into days that cannot be expressed; \
             use a smaller offset, or write the shifted time into the cron expression"
        )
    }
}

impl fmt::Display for Crontab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Crontab {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Crontab {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Crontab> for String {
    fn from(crontab: Crontab) -> Self {
        crontab.text
    }
}

impl Days {
    /// The days after these, where the same months can still be named beside them; `None` where they cannot.
    fn next(&self, in_every_month: bool) -> Option<Self> {
        match self {
            Self::Every if in_every_month => Some(Self::Every),
            Self::OfWeek(days) if in_every_month => Some(Self::OfWeek(days.iter().map(|day| (day + 1) % 7).collect())),
            // The day after the 28th is the 29th or the 1st, depending on the year.
            Self::OfMonth(days) if days.iter().all(|day| *day < 28) => {
                Some(Self::OfMonth(days.iter().map(|day| day + 1).collect()))
            }
            _ => None,
        }
    }
}

/// One of the five fields: what it is called, what it may name, and what its names stand for (first name = `min`).
struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    /// How many different values there are; day of week has 7 although 0 and 7 are both written.
    size: u8,
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", min: 0, max: 59, size: 60, names: &[] };
const HOUR: Field = Field { name: "hour", min: 0, max: 23, size: 24, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day of month", min: 1, max: 31, size: 31, names: &[] };
const MONTH: Field = Field { name: "month", min: 1, max: 12, size: 12, names: &MONTH_NAMES };
const DAY_OF_WEEK: Field = Field { name: "day of week", min: 0, max: 7, size: 7, names: &DAY_NAMES };

impl Field {
    fn parse(&self, text: &str) -> Result<Numbers, String> {
        let mut numbers = Numbers::new();
        for item in text.split(',') {
            numbers.extend(self.parse_item(item)?);
        }
        // Both 0 and 7 are Sunday.
        if self.size == 7 && numbers.remove(&7) {
            numbers.insert(0);
        }
        Ok(numbers)
    }

    /// `*`, `a`, `a-b`, `*/n` or `a-b/n`.
    fn parse_item(&self, item: &str) -> Result<impl Iterator<Item = u8> + use<>, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, self.parse_step(item, step)?),
            None => (item, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.min + self.size - 1),
            Some((first, last)) => (self.parse_value(first)?, self.parse_value(last)?),
            None if item.contains('/') => {
                let Self { name, max, .. } = self;
                return Err(format!("{name} `{item}`: a step needs a range before it; write `{range}-{max}/{step}`"));
            }
            None => {
                let value = self.parse_value(range)?;
                (value, value)
            }
        };
        if first > last {
            let name = self.name;
            return Err(format!("{name} range `{range}` runs backwards; write it as two parts joined by a comma"));
        }
        Ok((first..=last).step_by(step.into()))
    }

    fn parse_step(&self, item: &str, step: &str) -> Result<u8, String> {
        let Self { name, size, .. } = self;
        match parse_number(step) {
            Some(step) if (1..=*size).contains(&step) => Ok(step),
            _ => Err(format!("{name} `{item}`: a step is a whole number from 1 to {size}")),
        }
    }

    fn parse_value(&self, text: &str) -> Result<u8, String> {
        let Self { name, min, max, .. } = self;
        if let Some(index) = self.names.iter().position(|known| known.eq_ignore_ascii_case(text)) {
            return Ok(min + index as u8);
        }
        match parse_number(text) {
            Some(number) if (*min..=*max).contains(&number) => Ok(number),
            Some(_) => Err(format!("{name} `{text}` is out of range; use {min} to {max}")),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => {
                Err(format!("{name} `{text}` is out of range; use {min} to {max}"))
            }
            None => Err(format!("{name} `{text}` is not known; use {}", self.known_values())),
        }
    }

    fn known_values(&self) -> String {
        let Self { min, max, .. } = self;
        match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!("{min} to {max}, {first} to {last}, or `*`"),
            _ => format!("{min} to {max}, or `*`"),
        }
    }
}

/// Digits only: `u8::from_str` alone would take `+5` too.
fn parse_number(text: &str) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn expand_nickname(text: &str) -> Result<&str, String> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    match text.to_ascii_lowercase().as_str() {
        "@hourly" => Ok("0 * * * *"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@monthly" => Ok("0 0 1 * *"),
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        _ => Err(format!("`{text}` is not known; use @hourly, @daily, @weekly, @monthly, @yearly, or five fields")),
    }
}

fn wrong_field_count(count: usize) -> String {
    let hint = if count > 5 { " (seconds and years are not supported)" } else { "" };
    format!("a cron expression has 5 fields: minute hour day-of-month month day-of-week{hint}; this one has {count}")
}

/// Joins the two day fields by the rule of crontab(5).
fn days(day_of_month: &str, day_of_week: &str) -> Result<Vec<Days>, String> {
    let of_month = DAY_OF_MONTH.parse(day_of_month)?;
    let of_week = DAY_OF_WEEK.parse(day_of_week)?;
    let every_of_month = of_month.len() == usize::from(DAY_OF_MONTH.size);
    let every_of_week = of_week.len() == usize::from(DAY_OF_WEEK.size);
    let both_must_match = day_of_month.starts_with('*') || day_of_week.starts_with('*');
    match (every_of_month, every_of_week) {
        (true, true) => Ok(vec![Days::Every]),
        (true, false) | (false, true) if !both_must_match => Ok(vec![Days::Every]),
        (true, false) => Ok(vec![Days::OfWeek(of_week)]),
        (false, true) => Ok(vec![Days::OfMonth(of_month)]),
        (false, false) if both_must_match => Err(format!(
            "day of month `{day_of_month}` with day of week `{day_of_week}` means days that match both, which cannot \
             be scheduled; set one of them to `*`, or list the days instead of `*/n` to run on days that match either"
        )),
        (false, false) => Ok(vec![Days::OfMonth(of_month), Days::OfWeek(of_week)]),
    }
}

/// Leaves out days that none of the months has; refuses when none are left.
fn days_that_exist(mut days: Vec<Days>, months: &Numbers) -> Result<Vec<Days>, String> {
    let longest = months.iter().map(|month| MONTH_DAYS[usize::from(*month) - 1]).max().unwrap_or_default();
    days.retain(|days| match days {
        Days::OfMonth(days) => days.first().is_some_and(|first| *first <= longest),
        Days::Every | Days::OfWeek(_) => true,
    });
    if days.is_empty() {
        return Err(format!("this never runs: its months have at most {longest} days; choose an earlier day of month"));
    }
    Ok(days)
}

/// One of Scheduler's expressions.
fn expression(minutes: &Numbers, hours: &Numbers, days: &Days, months: &Numbers) -> String {
    let expression = [spell_numbers as Spell, spell_runs].map(|spell| {
        let [minutes, hours, months] =
            [(minutes, 60), (hours, 24), (months, 12)].map(|(numbers, size)| spell_field(numbers, size, spell));
        let (of_month, of_week) = match days {
            Days::Every => ("*".into(), "?".into()),
            Days::OfMonth(days) => (spell_field(days, 31, spell), "?".into()),
            Days::OfWeek(days) => ("?".into(), spell_weekdays(days)),
        };
        format!("cron({minutes} {hours} {of_month} {months} {of_week} *)")
    });
    let [numbers, runs] = expression;
    if numbers.len() <= MAX_EXPRESSION_CHARS { numbers } else { runs }
}

/// A way to write numbers: one by one, or neighbours as ranges, which every set of four fields fits Scheduler's limit
/// with.
type Spell = fn(&Numbers) -> String;

fn spell_field(numbers: &Numbers, size: usize, spell: Spell) -> String {
    if numbers.len() == size { "*".into() } else { spell(numbers) }
}

fn spell_numbers(numbers: &Numbers) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

fn spell_runs(numbers: &Numbers) -> String {
    let mut runs: Vec<(u8, u8)> = Vec::new();
    for number in numbers.iter().copied() {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let runs =
        runs.into_iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    runs.collect::<Vec<_>>().join(",")
}

fn spell_weekdays(days: &Numbers) -> String {
    let names = days.iter().map(|day| DAY_NAMES[usize::from(*day)].to_ascii_uppercase());
    names.collect::<Vec<_>>().join(",")
}

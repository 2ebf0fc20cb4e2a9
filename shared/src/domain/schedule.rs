//! Schedule: when a job runs by itself, and how many of those backups are kept.

use std::mem::discriminant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::cron::Crontab;
use super::field::UNKNOWN;
use super::retention::{MAX_KEPT, Retention};
use super::timezone::Timezone;
use super::timing::{Rule, Timing, TimingError};
use crate::error::FieldErrors;

#[cfg(test)]
mod tests;

/// What answers print as `cron` while a frequency rules; an answer sent back unchanged must therefore be understood.
const CRON_BESIDE_FREQUENCY: &str = "0 * * * *";

const DEFAULT_FREQUENCY_HOURS: u32 = 24;
const DEFAULT_NAME: &str = "main";
const MAX_NAME_CHARS: usize = 255;
/// What a schedule shows that nobody can set.
const ONLY_IN_ANSWERS: [&str; 5] = ["id", "status", "next_runs", "resource_type", "resource_id"];
const MAX_ORDER: u32 = 9_999;

/// One of a job's schedules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Counted per account.
    pub id: u64,
    /// What its user calls it.
    #[serde(default = "default_name")]
    pub name: String,
    /// Its place among the job's schedules.
    #[serde(default)]
    pub order: u32,
    /// Whether it runs.
    #[serde(default)]
    pub status: ScheduleStatus,
    /// When it runs.
    pub timing: Timing,
    /// How many of its backups are kept.
    #[serde(default)]
    pub retention: Retention,
}

/// Whether a schedule runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleStatus {
    /// It runs.
    #[default]
    Active,
    /// It keeps its place and does not run.
    Paused,
}

/// A schedule as a client writes it: every field can be missing, numbers can be text as in a form.
///
/// A field that is `null` counts as missing. It can be an answer sent back: what only answers hold is passed over.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ScheduleInput {
    /// `cron`: five fields.
    pub cron: Option<Value>,
    /// `frequency`: a number, or with its mode as in `h24` and `m30`.
    pub frequency: Option<Value>,
    /// `frequency_mode`: `hour` or `minute`.
    pub frequency_mode: Option<Value>,
    /// `timezone`: an IANA name.
    pub timezone: Option<Value>,
    /// `run_offset`: see [`Timing::new`].
    pub run_offset: Option<Value>,
    /// `order`.
    #[serde(alias = "schedule_order")]
    pub order: Option<Value>,
    /// `schedule_name`.
    #[serde(alias = "schedule_name")]
    pub name: Option<Value>,
    /// `retention_hourly`.
    pub retention_hourly: Option<Value>,
    /// `retention_daily`.
    pub retention_daily: Option<Value>,
    /// `retention_weekly`.
    pub retention_weekly: Option<Value>,
    /// `retention_monthly`.
    pub retention_monthly: Option<Value>,
    /// `retention_keep_last`.
    pub retention_keep_last: Option<Value>,
    /// `retention_days`.
    pub retention_days: Option<Value>,
    /// `retention`: the six as answers print them; each `retention_…` above goes before its namesake here.
    pub retention: Option<Value>,
    /// Everything else that was sent.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl Schedule {
    /// A new, active schedule. Without `cron` and `frequency` it runs each midnight; without retention it keeps all.
    ///
    /// Fails with all offending fields at once.
    pub fn create(id: u64, input: &ScheduleInput) -> Result<Self, FieldErrors> {
        let timing = Timing::new(Rule::Hours(DEFAULT_FREQUENCY_HOURS), Timezone::default(), 0).map_err(field_errors)?;
        let (status, retention) = (ScheduleStatus::Active, Retention::default());
        Self { id, name: default_name(), order: 0, status, timing, retention }.apply(input)
    }

    /// This schedule with the given fields changed. A `cron` replaces the frequency and the reverse.
    ///
    /// Fails with all offending fields at once.
    pub fn apply(&self, input: &ScheduleInput) -> Result<Self, FieldErrors> {
        let mut errors = FieldErrors::default();
        let mut fields = Reader { errors: &mut errors };
        fields.refuse_unknown(&input.others);
        let name = fields.name(input).unwrap_or_else(|| self.name.clone());
        let order = fields.number("order", &input.order, MAX_ORDER).unwrap_or(self.order);
        let retention = fields.retention(input, self.retention);
        let timing = fields.timing(input, &self.timing);
        match timing {
            Some(timing) => errors.check(Self { id: self.id, name, order, status: self.status, timing, retention }),
            None => Err(errors),
        }
    }

    /// The number that answers print as `frequency`; `None` while a cron expression rules.
    pub fn frequency(&self) -> Option<u32> {
        match self.timing.rule() {
            Rule::Cron(_) => None,
            Rule::Hours(frequency) | Rule::Minutes(frequency) => Some(*frequency),
        }
    }

    /// `hour` or `minute`; `None` while a cron expression rules.
    pub fn frequency_mode(&self) -> Option<&'static str> {
        match self.timing.rule() {
            Rule::Cron(_) => None,
            Rule::Hours(_) => Some("hour"),
            Rule::Minutes(_) => Some("minute"),
        }
    }

    /// What answers print as `cron`: the expression, or while a frequency rules the meaningless `0 * * * *`.
    pub fn cron(&self) -> &str {
        match self.timing.rule() {
            Rule::Cron(crontab) => crontab.as_str(),
            Rule::Hours(_) | Rule::Minutes(_) => CRON_BESIDE_FREQUENCY,
        }
    }

    /// The zone of its wall clock.
    pub fn timezone(&self) -> &Timezone {
        self.timing.timezone()
    }

    /// How far its runs are moved; see [`Timing::new`].
    pub fn run_offset(&self) -> u32 {
        self.timing.run_offset()
    }

    /// 1 to 8 of Scheduler's expressions; see [`Timing::expressions`].
    pub fn expressions(&self) -> Vec<String> {
        self.timing.expressions()
    }

    /// The next `n` runs strictly after `after`, whether it is paused or not.
    pub fn next_runs(&self, after: Timestamp, n: usize) -> Vec<Timestamp> {
        self.timing.runs_after(after).take(n).collect()
    }

    /// The first `limit` runs after `after` and no later than `until`.
    pub fn runs_between(&self, after: Timestamp, until: Timestamp, limit: usize) -> Vec<Timestamp> {
        self.timing.runs_after(after).take_while(|run| *run <= until).take(limit).collect()
    }
}

fn default_name() -> String {
    DEFAULT_NAME.into()
}

fn field_errors(TimingError { field, message }: TimingError) -> FieldErrors {
    let mut errors = FieldErrors::default();
    errors.push(field, message);
    errors
}

/// Reads fields one by one and notes what is wrong with each. `None` is a field that is missing or wrong.
struct Reader<'a> {
    errors: &'a mut FieldErrors,
}

impl Reader<'_> {
    fn refuse<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        self.errors.push(field, message);
        None
    }

    fn refuse_unknown(&mut self, others: &Map<String, Value>) {
        for name in others.keys().filter(|name| !ONLY_IN_ANSWERS.contains(&name.as_str())) {
            self.errors.push(name, UNKNOWN);
        }
    }

    fn text<'v>(&mut self, field: &str, value: &'v Option<Value>) -> Option<&'v str> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.trim()),
            Some(_) => self.refuse(field, "must be text"),
        }
    }

    fn number(&mut self, field: &str, value: &Option<Value>, max: u32) -> Option<u32> {
        let number = match value {
            None | Some(Value::Null) => return None,
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= max) {
            None => self.refuse(field, format!("must be a whole number from 0 to {max}")),
            number => number,
        }
    }

    fn name(&mut self, input: &ScheduleInput) -> Option<String> {
        let name = self.text("schedule_name", &input.name)?;
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
            return self.refuse("schedule_name", format!("must have 1 to {MAX_NAME_CHARS} printable characters"));
        }
        Some(name.to_owned())
    }

    fn retention(&mut self, input: &ScheduleInput, before: Retention) -> Retention {
        let mut nested = match &input.retention {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(classes)) => classes.clone(),
            Some(_) => self.refuse("retention", "must be an object").unwrap_or_default(),
        };
        let mut class = |class: &str, flat: &Option<Value>, before: u32| {
            let nested = self.number(&format!("retention.{class}"), &nested.remove(class), MAX_KEPT);
            self.number(&format!("retention_{class}"), flat, MAX_KEPT).or(nested).unwrap_or(before)
        };
        let retention = Retention {
            hourly: class("hourly", &input.retention_hourly, before.hourly),
            daily: class("daily", &input.retention_daily, before.daily),
            weekly: class("weekly", &input.retention_weekly, before.weekly),
            monthly: class("monthly", &input.retention_monthly, before.monthly),
            keep_last: class("keep_last", &input.retention_keep_last, before.keep_last),
            days: class("days", &input.retention_days, before.days),
        };
        for class in nested.keys() {
            self.errors.push(format!("retention.{class}"), UNKNOWN);
        }
        retention
    }

    /// `None` when something that belongs to the timing is wrong; it is noted.
    fn timing(&mut self, input: &ScheduleInput, before: &Timing) -> Option<Timing> {
        let rule = self.rule(input, before.rule());
        let timezone = match self.text("timezone", &input.timezone).map(Timezone::parse) {
            Some(Err(message)) => self.refuse("timezone", message),
            Some(Ok(timezone)) => Some(timezone),
            None => Some(before.timezone().clone()),
        };
        let max_offset = rule.as_ref().unwrap_or(before.rule()).max_offset();
        let run_offset = self.number("run_offset", &input.run_offset, max_offset);
        let rule = rule?;
        // Another kind of rule counts its offset in another unit, so the old number would mean something else.
        let same_unit = discriminant(&rule) == discriminant(before.rule());
        let run_offset = run_offset.unwrap_or(if same_unit { before.run_offset() } else { 0 });
        match Timing::new(rule, timezone?, run_offset) {
            Ok(timing) => Some(timing),
            Err(TimingError { field, message }) => self.refuse(field, message),
        }
    }

    fn rule(&mut self, input: &ScheduleInput, before: &Rule) -> Option<Rule> {
        let cron = self.text("cron", &input.cron);
        let has_frequency =
            [&input.frequency, &input.frequency_mode].into_iter().flatten().any(|value| !value.is_null());
        match cron {
            Some(cron) if has_frequency && cron != CRON_BESIDE_FREQUENCY => {
                self.refuse("cron", "cannot be sent together with a frequency; send one of the two")
            }
            Some(cron) if !has_frequency => match Crontab::parse(cron) {
                Ok(crontab) => Some(Rule::Cron(crontab)),
                Err(message) => self.refuse("cron", message),
            },
            _ if has_frequency => self.frequency(input, before),
            _ => Some(before.clone()),
        }
    }

    /// A number without a mode keeps the mode that was, and a mode without a number the number.
    fn frequency(&mut self, input: &ScheduleInput, before: &Rule) -> Option<Rule> {
        let (mode_before, number_before) = match before {
            Rule::Cron(_) => (Mode::Hour, DEFAULT_FREQUENCY_HOURS),
            Rule::Hours(number) => (Mode::Hour, *number),
            Rule::Minutes(number) => (Mode::Minute, *number),
        };
        let mode = match self.text("frequency_mode", &input.frequency_mode) {
            None => None,
            Some("hour") => Some(Mode::Hour),
            Some("minute") => Some(Mode::Minute),
            Some(_) => return self.refuse("frequency_mode", "must be hour or minute"),
        };
        let (prefix, number) = match input.frequency.as_ref().filter(|value| !value.is_null()).map(read_frequency) {
            None => (None, number_before),
            Some(Some(read)) => read,
            Some(None) => return self.refuse("frequency", "must be a number, or one such as h24 or m30"),
        };
        match (prefix, mode) {
            (Some(prefix), Some(mode)) if prefix != mode => {
                self.refuse("frequency_mode", "contradicts the letter of frequency; leave one of the two out")
            }
            _ => Some(prefix.or(mode).unwrap_or(mode_before).rule(number)),
        }
    }
}

/// What a frequency counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Hour,
    Minute,
}

impl Mode {
    fn rule(self, frequency: u32) -> Rule {
        match self {
            Self::Hour => Rule::Hours(frequency),
            Self::Minute => Rule::Minutes(frequency),
        }
    }
}

/// `24`, `"24"`, `"h24"` or `"m30"`.
fn read_frequency(value: &Value) -> Option<(Option<Mode>, u32)> {
    if let Some(number) = value.as_u64() {
        return Some((None, number.try_into().ok()?));
    }
    let text = value.as_str()?.trim();
    let (mode, digits) = match text.split_at_checked(1)? {
        ("h", digits) => (Some(Mode::Hour), digits),
        ("m", digits) => (Some(Mode::Minute), digits),
        _ => (None, text),
    };
    Some((mode, digits.parse().ok()?))
}

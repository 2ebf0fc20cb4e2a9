//! Timing: when a schedule is due, and how EventBridge Scheduler is told so.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cron::{Crontab, DAY_MINUTES};
use super::expression::Expression;
use super::timezone::Timezone;

/// The frequencies in hours, each of which divides a day.
pub const HOUR_FREQUENCIES: [u32; 7] = [24, 12, 6, 4, 3, 2, 1];

/// The frequencies in minutes, each of which divides an hour.
pub const MINUTE_FREQUENCIES: [u32; 6] = [30, 20, 15, 10, 6, 5];

/// What a schedule's runs follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A crontab expression.
    Cron(Crontab),
    /// Every so many hours of the local day; one of [`HOUR_FREQUENCIES`].
    Hours(u32),
    /// Every so many minutes of the hour; one of [`MINUTE_FREQUENCIES`].
    Minutes(u32),
}

impl Rule {
    /// The largest offset, in minutes for cron and minutes, in hours for hours.
    pub fn max_offset(&self) -> u32 {
        match self {
            Self::Cron(_) => DAY_MINUTES - 1,
            Self::Hours(_) => 23,
            Self::Minutes(_) => 59,
        }
    }
}

/// A rule in a timezone, moved by an offset, that Scheduler can express.
///
/// Valid by construction: each of its expressions parses. All times are of the local wall clock, and a change of the
/// clocks is met as Scheduler meets it: a time that is skipped does not run, one that is repeated runs once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Timing {
    stored: Stored,
    /// Each of Scheduler's expressions as text and as read; never empty.
    expressions: Vec<(String, Expression)>,
}

/// What is kept of a timing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    rule: Rule,
    #[serde(default)]
    timezone: Timezone,
    #[serde(default)]
    run_offset: u32,
}

/// Why there is no such timing: the field at fault and a message for its writer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct TimingError {
    /// `frequency` or `run_offset`.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl Timing {
    /// Checks the frequency, and the offset against the rule.
    ///
    /// `run_offset` counts minutes after cron's times (0–1439), minutes into the hour for minutes (0–59), and hours
    /// from local midnight for hours (0–23); the latter two move the cycle, so that 3 with every 6 hours is 03, 09, 15,
    /// 21.
    pub fn new(rule: Rule, timezone: Timezone, run_offset: u32) -> Result<Self, TimingError> {
        if run_offset > rule.max_offset() {
            let message = format!("must be a whole number from 0 to {}", rule.max_offset());
            return Err(TimingError { field: "run_offset", message });
        }
        let texts = match &rule {
            Rule::Cron(crontab) => {
                crontab.expressions(run_offset).map_err(|message| TimingError { field: "run_offset", message })?
            }
            Rule::Hours(hours) => {
                one_of(*hours, &HOUR_FREQUENCIES, "hours")?;
                vec![format!("cron(0 {} * * ? *)", cycle(*hours, 24, run_offset))]
            }
            Rule::Minutes(minutes) => {
                one_of(*minutes, &MINUTE_FREQUENCIES, "minutes")?;
                vec![format!("cron({} * * * ? *)", cycle(*minutes, 60, run_offset))]
            }
        };
        let read = |text: String| match Expression::parse(&text) {
            Ok(expression) => Ok((text, expression)),
            Err(error) => Err(TimingError { field: "cron", message: error.to_string() }),
        };
        let expressions = texts.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { stored: Stored { rule, timezone, run_offset }, expressions })
    }

    /// What the runs follow.
    pub fn rule(&self) -> &Rule {
        &self.stored.rule
    }

    /// Where the wall clock hangs.
    pub fn timezone(&self) -> &Timezone {
        &self.stored.timezone
    }

    /// How far the runs are moved, in the unit of the rule; see [`Timing::new`].
    pub fn run_offset(&self) -> u32 {
        self.stored.run_offset
    }

    /// 1 to 8 of Scheduler's expressions, all in this timing's zone, in an order that only a change of the timing
    /// changes.
    ///
    /// Two of them can name the same instant; it is one run.
    pub fn expressions(&self) -> Vec<String> {
        self.expressions.iter().map(|(text, _)| text.clone()).collect()
    }

    /// Whether it runs at more than one time on the days on which it runs.
    pub fn is_subdaily(&self) -> bool {
        match self.rule() {
            Rule::Cron(crontab) => crontab.is_subdaily(),
            Rule::Hours(hours) => *hours < 24,
            Rule::Minutes(_) => true,
        }
    }

    /// All runs strictly after `after`, in order, each instant once; it ends with Scheduler's last year, 2199.
    pub fn runs_after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next_after(after), |run| self.next_after(*run))
    }

    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let zone = self.timezone().rules();
        self.expressions.iter().filter_map(|(_, expression)| expression.next_after(after, zone, None)).min()
    }
}

impl TryFrom<Stored> for Timing {
    type Error = TimingError;

    fn try_from(Stored { rule, timezone, run_offset }: Stored) -> Result<Self, TimingError> {
        Self::new(rule, timezone, run_offset)
    }
}

impl From<Timing> for Stored {
    fn from(timing: Timing) -> Self {
        timing.stored
    }
}

fn one_of(frequency: u32, known: &[u32], unit: &str) -> Result<(), TimingError> {
    if known.contains(&frequency) {
        return Ok(());
    }
    let known = known.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let message = format!("{frequency} is not a frequency in {unit}; use {known}, or a cron expression");
    Err(TimingError { field: "frequency", message })
}

/// The times of a cycle of `length` that come every `frequency` from `offset` on, in cron's words.
fn cycle(frequency: u32, length: u32, offset: u32) -> String {
    match frequency {
        1 => "*".into(),
        _ => (offset % frequency..length)
            .step_by(frequency as usize)
            .map(|time| time.to_string())
            .collect::<Vec<_>>()
            .join(","),
    }
}

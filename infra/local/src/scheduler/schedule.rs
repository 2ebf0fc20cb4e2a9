//! A schedule as it travels on the wire and lies in the database.

use serde::{Deserialize, Serialize};

/// Everything that `CreateSchedule` and `UpdateSchedule` set. What is left out takes its default, as on AWS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Schedule {
    /// The group; `default` unless given.
    #[serde(default = "default_group")]
    pub group_name: String,
    /// `at(…)`, `rate(…)` or `cron(…)`.
    pub schedule_expression: String,
    /// IANA name; UTC unless given.
    #[serde(default = "utc")]
    pub schedule_expression_timezone: String,
    /// Seconds since the epoch; no slot is due earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_date: Option<f64>,
    /// Seconds since the epoch; no slot is due later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date: Option<f64>,
    /// Whether it fires.
    #[serde(default)]
    pub state: State,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Kept and given back; nothing is encrypted with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    /// How long after its slot it may fire.
    pub flexible_time_window: FlexibleTimeWindow,
    /// What a slot sends, and where to.
    pub target: Target,
    /// What becomes of it after its last slot.
    #[serde(default)]
    pub action_after_completion: ActionAfterCompletion,
}

impl Schedule {
    /// Whether both fire at the same times.
    pub(super) fn fires_like(&self, other: &Schedule) -> bool {
        let times = |schedule: &Schedule| {
            let Schedule { schedule_expression, schedule_expression_timezone, start_date, end_date, state, .. } =
                schedule.clone();
            (schedule_expression, schedule_expression_timezone, start_date, end_date, state)
        };
        times(self) == times(other) && self.flexible_time_window == other.flexible_time_window
    }
}

/// Whether a schedule fires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// It does.
    #[default]
    Enabled,
    /// It does not.
    Disabled,
}

/// What becomes of a schedule that has no further slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ActionAfterCompletion {
    /// It stays.
    #[default]
    None,
    /// It is deleted.
    Delete,
}

/// How long after its slot a schedule may fire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FlexibleTimeWindow {
    /// Whether there is a window.
    pub mode: WindowMode,
    /// Its length, 1–1440; only with a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_window_in_minutes: Option<i64>,
}

/// Whether there is a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum WindowMode {
    /// It fires at its slot.
    Off,
    /// It fires within the window.
    Flexible,
}

/// What a slot sends, and where to. Parameters of targets other than SQS are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Target {
    /// ARN of an embedded queue.
    pub arn: String,
    /// The role that AWS would take; kept, not checked.
    pub role_arn: String,
    /// The message's body, in which `<aws.scheduler.…>` is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// How often and how long to try.
    #[serde(default)]
    pub retry_policy: RetryPolicy,
    /// Where a message goes that the target never took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_config: Option<DeadLetterConfig>,
    /// The message's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqs_parameters: Option<SqsParameters>,
}

/// How often and how long to try after a first failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RetryPolicy {
    /// 60–86,400 seconds.
    #[serde(default = "day_s")]
    pub maximum_event_age_in_seconds: i64,
    /// 0–185.
    #[serde(default = "most_retries")]
    pub maximum_retry_attempts: i64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { maximum_event_age_in_seconds: day_s(), maximum_retry_attempts: most_retries() }
    }
}

/// Where a message goes that the target never took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeadLetterConfig {
    /// ARN of an embedded queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
}

/// What only queues take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SqsParameters {
    /// The message's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_group_id: Option<String>,
}

pub(super) fn default_group() -> String {
    "default".to_owned()
}

fn utc() -> String {
    "UTC".to_owned()
}

fn day_s() -> i64 {
    86_400
}

fn most_retries() -> i64 {
    185
}

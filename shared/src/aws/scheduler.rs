//! EventBridge Scheduler: one entry per expression of a schedule, each sending due slots straight to the queue.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::types::{
    DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, ScheduleState, Target,
};

use crate::config::Config;
use crate::error::{Error, Result};

/// The entries of one group; cheap to clone.
#[derive(Debug, Clone)]
pub struct Scheduler {
    client: Client,
    group: String,
    role_arn: String,
    queue_arn: String,
    dead_letter_queue_arn: String,
}

/// One entry, whole: every field is sent at each write, because an update replaces all of them.
/// <https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleEntry {
    /// Deterministic; 1 to 64 of `[0-9a-zA-Z-_.]`.
    pub name: String,
    /// `cron(…)`.
    pub expression: String,
    /// IANA name.
    pub timezone: String,
    /// Whether it fires.
    pub enabled: bool,
    /// The message, with Scheduler's own placeholders.
    pub input: String,
}

impl Scheduler {
    /// The group that `config` names.
    pub fn new(client: Client, config: &Config) -> Self {
        Self {
            client,
            group: config.schedule_group.clone(),
            role_arn: config.schedule_role_arn.clone(),
            queue_arn: config.queue_arn.clone(),
            dead_letter_queue_arn: config.dead_letter_queue_arn.clone(),
        }
    }

    /// Whether the group answers.
    pub async fn is_ready(&self) -> bool {
        self.client.get_schedule_group().name(&self.group).send().await.is_ok()
    }

    /// Makes the group; does nothing where it exists.
    pub async fn create_group_if_missing(&self) -> Result<()> {
        match self.client.create_schedule_group().name(&self.group).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conflict_exception()) => Ok(()),
            Err(error) => Err(Error::unavailable("the scheduler", error)),
        }
    }

    /// Makes an entry be as given. Harmless to repeat.
    pub async fn put(&self, entry: &ScheduleEntry) -> Result<()> {
        let create = self
            .client
            .create_schedule()
            .group_name(&self.group)
            .name(&entry.name)
            .schedule_expression(&entry.expression)
            .schedule_expression_timezone(&entry.timezone)
            .state(state_of(entry))
            .flexible_time_window(exact()?)
            .target(self.target(entry)?);
        match create.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conflict_exception()) => {
                self.update(entry).await
            }
            Err(error) => Err(Error::unavailable("the scheduler", error)),
        }
    }

    async fn update(&self, entry: &ScheduleEntry) -> Result<()> {
        let update = self
            .client
            .update_schedule()
            .group_name(&self.group)
            .name(&entry.name)
            .schedule_expression(&entry.expression)
            .schedule_expression_timezone(&entry.timezone)
            .state(state_of(entry))
            .flexible_time_window(exact()?)
            .target(self.target(entry)?);
        update.send().await.map_err(|error| Error::unavailable("the scheduler", error))?;
        Ok(())
    }

    /// Removes an entry; does nothing where there is none.
    pub async fn delete(&self, name: &str) -> Result<()> {
        match self.client.delete_schedule().group_name(&self.group).name(name).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => Ok(()),
            Err(error) => Err(Error::unavailable("the scheduler", error)),
        }
    }

    /// One entry; `None` where there is none.
    pub async fn get(&self, name: &str) -> Result<Option<ScheduleEntry>> {
        let found = match self.client.get_schedule().group_name(&self.group).name(name).send().await {
            Ok(found) => found,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::unavailable("the scheduler", error)),
        };
        Ok(Some(ScheduleEntry {
            name: name.to_owned(),
            expression: found.schedule_expression.unwrap_or_default(),
            // Scheduler's own default.
            timezone: found.schedule_expression_timezone.unwrap_or_else(|| "UTC".to_owned()),
            enabled: found.state == Some(ScheduleState::Enabled),
            input: found.target.and_then(|target| target.input).unwrap_or_default(),
        }))
    }

    /// Names of entries that begin with `prefix`, at most 100, from where `after` says; and where to go on.
    pub async fn list(&self, prefix: Option<&str>, after: Option<String>) -> Result<(Vec<String>, Option<String>)> {
        let request = self.client.list_schedules().group_name(&self.group).max_results(100);
        let request = request.set_name_prefix(prefix.map(str::to_owned)).set_next_token(after);
        let answer = request.send().await.map_err(|error| Error::unavailable("the scheduler", error))?;
        Ok((answer.schedules.into_iter().filter_map(|entry| entry.name).collect(), answer.next_token))
    }

    fn target(&self, entry: &ScheduleEntry) -> Result<Target> {
        let retries = RetryPolicy::builder().maximum_event_age_in_seconds(3600).maximum_retry_attempts(20).build();
        Target::builder()
            .arn(&self.queue_arn)
            .role_arn(&self.role_arn)
            .input(&entry.input)
            .retry_policy(retries)
            .dead_letter_config(DeadLetterConfig::builder().arn(&self.dead_letter_queue_arn).build())
            .build()
            .map_err(Error::internal)
    }
}

fn state_of(entry: &ScheduleEntry) -> ScheduleState {
    if entry.enabled { ScheduleState::Enabled } else { ScheduleState::Disabled }
}

fn exact() -> Result<FlexibleTimeWindow> {
    FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().map_err(Error::internal)
}

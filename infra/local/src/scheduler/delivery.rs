//! One fired slot on its way to its target: the message, the retries, the dead letter.

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::schedule::Target;
use crate::fault::Fault;
use crate::queue::{ACCOUNT, AttributeValue, Outgoing, REGION, json as to_json, send_to};

/// The longest pause between two attempts, in seconds.
const MAX_BACKOFF_S: i64 = 900;

/// A slot that fired, as of its next attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub(super) schedule_arn: String,
    pub(super) target: Target,
    /// The slot's true time.
    pub(super) slot: Timestamp,
    /// When it was first tried.
    pub(super) fired: Timestamp,
    /// Which attempt comes next, from 1.
    pub(super) attempt: i64,
}

impl Delivery {
    /// Sends the message; if the queue refuses it, a later attempt is planned or the message becomes a dead letter.
    /// Fails only if the store does.
    pub(super) fn attempt(mut self, db: &Connection, now: Timestamp) -> Result<(), Fault> {
        let message = self.message();
        match send_to(db, now, &self.target.arn, &message) {
            Err(refusal) if !refusal.is_internal() => {
                let retry = self.target.retry_policy;
                let next = now + SignedDuration::from_secs(MAX_BACKOFF_S.min(1 << self.attempt.min(20)));
                let oldest = self.fired + SignedDuration::from_secs(retry.maximum_event_age_in_seconds);
                if self.attempt > retry.maximum_retry_attempts {
                    return self.bury(db, now, message, &refusal, "MaximumRetryAttempts");
                }
                if next > oldest {
                    return self.bury(db, now, message, &refusal, "MaximumEventAgeInSeconds");
                }
                self.attempt += 1;
                let insert = "INSERT INTO deliveries (body, due_ms) VALUES (?1, ?2)";
                db.prepare_cached(insert)?.execute((to_json(&self)?, next.as_millisecond()))?;
                Ok(())
            }
            sent => sent,
        }
    }

    fn message(&self) -> Outgoing {
        let execution = Uuid::new_v4().to_string();
        let time = self.slot.to_string();
        let body = match &self.target.input {
            Some(input) => input
                .replace("<aws.scheduler.schedule-arn>", &self.schedule_arn)
                .replace("<aws.scheduler.scheduled-time>", &time)
                .replace("<aws.scheduler.execution-id>", &execution)
                .replace("<aws.scheduler.attempt-number>", &self.attempt.to_string()),
            // AWS's default: an event that tells of the schedule.
            None => json!({
                "version": "0", "id": execution, "detail-type": "Scheduled Event", "source": "aws.scheduler",
                "account": ACCOUNT, "time": time, "region": REGION, "resources": [self.schedule_arn], "detail": "{}",
            })
            .to_string(),
        };
        let parameters = self.target.sqs_parameters.as_ref();
        let group_id = parameters.and_then(|parameters| parameters.message_group_id.clone());
        Outgoing { group_id, ..Outgoing::new(body) }
    }

    /// Gives up: logs it, and sends the message to the dead-letter queue if there is one.
    ///
    /// Source of the attributes: <https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html>.
    fn bury(
        &self,
        db: &Connection,
        now: Timestamp,
        mut message: Outgoing,
        refusal: &Fault,
        exhausted: &str,
    ) -> Result<(), Fault> {
        tracing::error!(schedule = self.schedule_arn, slot = %self.slot, target = self.target.arn, %refusal,
            "a due slot could not be delivered");
        let Some(arn) = self.target.dead_letter_config.as_ref().and_then(|config| config.arn.as_ref()) else {
            return Ok(());
        };
        let retries = (self.attempt - 1).to_string();
        let time = self.slot.to_string();
        let attributes = [
            ("ERROR_CODE", refusal.code),
            ("ERROR_MESSAGE", refusal.message.as_str()),
            ("EXHAUSTED_RETRY_CONDITION", exhausted),
            ("IS_PAYLOAD_TRUNCATED", "false"),
            ("RETRY_ATTEMPTS", &retries),
            ("SCHEDULED_TIME", &time),
            ("SCHEDULE_ARN", &self.schedule_arn),
            ("TARGET_ARN", &self.target.arn),
        ];
        let named = |(name, value): (&str, &str)| (name.to_owned(), AttributeValue::string(value));
        message.attributes = attributes.map(named).into_iter().collect();
        match send_to(db, now, arn, &message) {
            Err(lost) if !lost.is_internal() => {
                tracing::error!(schedule = self.schedule_arn, slot = %self.slot, dead_letter_queue = arn, %lost,
                    "an undelivered slot could not be kept as a dead letter");
                Ok(())
            }
            sent => sent,
        }
    }
}

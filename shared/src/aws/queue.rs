//! A queue of messages to the worker. Delivery is at least once and in no order; the table decides what a message means.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};

use crate::domain::message::Message;
use crate::error::{Error, Result};

/// The longest delay that SQS takes, seconds.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
pub const MAX_DELAY_SECS: u32 = 900;

/// A queue; cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

/// A message as it was received: out of sight of other consumers until its visibility ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The text; may be anything.
    pub body: String,
    /// What deletes or extends this very delivery.
    pub receipt: String,
    /// How many times it was delivered, this one included.
    pub receive_count: u32,
}

impl Queue {
    /// The queue at `url`.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Whether the queue answers.
    pub async fn is_ready(&self) -> bool {
        self.depth().await.is_ok()
    }

    /// Messages that wait, are delayed, or are being handled; approximate on AWS.
    pub async fn depth(&self) -> Result<u64> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(names.to_vec()));
        let answer = request.send().await.map_err(|error| Error::unavailable("the queue", error))?;
        let counts = answer.attributes.unwrap_or_default();
        Ok(counts.values().filter_map(|count| count.parse::<u64>().ok()).sum())
    }

    /// Sends a message, to be seen after `delay_secs` (at most 900; more is cut to that).
    pub async fn send(&self, message: &Message, delay_secs: u32) -> Result<()> {
        let body = serde_json::to_string(message).map_err(Error::internal)?;
        let delay = i32::try_from(delay_secs.min(MAX_DELAY_SECS)).map_err(Error::internal)?;
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).delay_seconds(delay).send().await;
        sent.map_err(|error| Error::unavailable("the queue", error))?;
        Ok(())
    }

    /// Waits up to `wait_secs` (at most 20) for messages and takes at most `max` (at most 10).
    pub async fn receive(&self, max: u32, wait_secs: u32) -> Result<Vec<Received>> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(max.clamp(1, 10)).map_err(Error::internal)?)
            .wait_time_seconds(i32::try_from(wait_secs.min(20)).map_err(Error::internal)?)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(|error| Error::unavailable("the queue", error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(received).collect())
    }

    /// Removes a delivered message for good.
    pub async fn delete(&self, receipt: &str) -> Result<()> {
        let deleted = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await;
        deleted.map_err(|error| Error::unavailable("the queue", error))?;
        Ok(())
    }

    /// Keeps a delivered message out of sight for `secs` from now; 0 gives it back at once.
    pub async fn extend(&self, receipt: &str, secs: u32) -> Result<()> {
        let secs = i32::try_from(secs).map_err(Error::internal)?;
        let request = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(receipt);
        let changed = request.visibility_timeout(secs).send().await;
        changed.map_err(|error| Error::unavailable("the queue", error))?;
        Ok(())
    }
}

fn received(message: aws_sdk_sqs::types::Message) -> Option<Received> {
    let counts = message.attributes.unwrap_or_default();
    let count = counts.get(&MessageSystemAttributeName::ApproximateReceiveCount);
    Some(Received {
        body: message.body?,
        receipt: message.receipt_handle?,
        receive_count: count.and_then(|count| count.parse().ok()).unwrap_or(1),
    })
}

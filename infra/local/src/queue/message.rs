//! A message as it is sent: its body, its attributes, and the checksums that SQS answers with.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// What a sender gives.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Outgoing {
    /// Text of one character or more; with the attributes no larger than the queue allows.
    #[serde(rename = "MessageBody", default)]
    pub body: String,
    /// Seconds until it becomes visible, 0–900; `None` leaves it to the queue.
    pub delay_seconds: Option<i64>,
    /// At most ten, by name.
    #[serde(rename = "MessageAttributes", default)]
    pub attributes: Attributes,
    /// The tenant of a fair queue; kept and given back.
    #[serde(rename = "MessageGroupId")]
    pub group_id: Option<String>,
    /// Only FIFO queues know it; refused here.
    #[serde(rename = "MessageDeduplicationId")]
    pub deduplication_id: Option<String>,
}

/// Message attributes by name.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// One message attribute: a type and either text or base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttributeValue {
    /// `String`, `Number` or `Binary`, with an optional `.label`.
    pub data_type: String,
    /// The value, unless binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// The value in base64, if binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

impl AttributeValue {
    /// Text.
    pub fn string(value: impl Into<String>) -> Self {
        Self { data_type: "String".to_owned(), string_value: Some(value.into()), binary_value: None }
    }

    /// The value's bytes, and the mark that its checksum begins with; `None` if value and type do not fit.
    fn bytes(&self) -> Option<(u8, Vec<u8>)> {
        let kind = self.data_type.split('.').next().unwrap_or_default();
        let (mark, bytes) = match (kind, &self.string_value, &self.binary_value) {
            ("String", Some(text), None) => (1, text.clone().into_bytes()),
            ("Number", Some(text), None) if text.parse::<f64>().is_ok() => (1, text.clone().into_bytes()),
            ("Binary", None, Some(text)) => (2, STANDARD.decode(text).ok()?),
            _ => return None,
        };
        (!bytes.is_empty()).then_some((mark, bytes))
    }
}

impl Outgoing {
    /// A message of this body and nothing else.
    pub fn new(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Body, attribute names, types and values, as the size limit counts them.
    pub(super) fn size_bytes(&self) -> i64 {
        let size = |(name, value): (&String, &AttributeValue)| {
            name.len() + value.data_type.len() + value.bytes().map_or(0, |(_, bytes)| bytes.len())
        };
        (self.body.len() + self.attributes.iter().map(size).sum::<usize>()) as i64
    }

    /// Refuses what SQS would, with its words, given the queue's largest message.
    pub(super) fn check(&self, max_size_bytes: i64) -> Result<(), Fault> {
        if self.body.is_empty() {
            return Err(Fault::new("MissingParameter", "The request must contain the parameter MessageBody."));
        }
        let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
        if !self.body.chars().all(legal) {
            return Err(Fault::new(
                "InvalidMessageContents",
                "The message contains characters outside the allowed set.",
            ));
        }
        if self.deduplication_id.is_some() {
            return Err(invalid(
                "MessageDeduplicationId",
                "The request include parameter that is not valid for this queue type",
            ));
        }
        if self.delay_seconds.is_some_and(|delay| !(0..=900).contains(&delay)) {
            return Err(invalid("DelaySeconds", "DelaySeconds must be >= 0 and <= 900."));
        }
        let punctuated = |byte: u8| byte.is_ascii_alphanumeric() || byte.is_ascii_punctuation();
        if self.group_id.as_ref().is_some_and(|id| !(1..=128).contains(&id.len()) || !id.bytes().all(punctuated)) {
            return Err(invalid(
                "MessageGroupId",
                "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.",
            ));
        }
        check_attributes(&self.attributes)?;
        if self.size_bytes() > max_size_bytes {
            let reason = format!("Message must be shorter than {max_size_bytes} bytes.");
            return Err(Fault::new(
                "InvalidParameterValue",
                format!("One or more parameters are invalid. Reason: {reason}"),
            ));
        }
        Ok(())
    }
}

fn check_attributes(attributes: &Attributes) -> Result<(), Fault> {
    if attributes.len() > 10 {
        let message = format!("Number of message attributes [{}] exceeds the allowed maximum [10].", attributes.len());
        return Err(Fault::new("InvalidParameterValue", message));
    }
    for (name, value) in attributes {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let reserved = ["aws.", "amazon."].iter().any(|prefix| name.to_ascii_lowercase().starts_with(prefix));
        if !(1..=256).contains(&name.len()) || !name.bytes().all(letter) || reserved {
            return Err(Fault::new(
                "InvalidParameterValue",
                format!("The message attribute name '{name}' is invalid."),
            ));
        }
        if value.bytes().is_none() {
            let message = format!(
                "The message attribute '{name}' must contain a value that fits its type String, Number or Binary."
            );
            return Err(Fault::new("InvalidParameterValue", message));
        }
    }
    Ok(())
}

/// A parameter that cannot be, and why.
pub(super) fn invalid(parameter: &str, reason: &str) -> Fault {
    Fault::new("InvalidParameterValue", format!("Value for parameter {parameter} is invalid. Reason: {reason}"))
}

/// MD5 of a body, in hex.
pub(super) fn body_md5(body: &str) -> String {
    hex::encode(Md5::digest(body))
}

/// MD5 of attributes, in hex; none of none.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>,
/// where names are taken in order, and each name, type and value is preceded by its length in four bytes.
pub(super) fn attributes_md5(attributes: &Attributes) -> Option<String> {
    let mut md5 = Md5::new();
    let mut part = |mark: &[u8], bytes: &[u8]| {
        md5.update(mark);
        md5.update((bytes.len() as u32).to_be_bytes());
        md5.update(bytes);
    };
    for (name, value) in attributes {
        let (mark, bytes) = value.bytes()?;
        part(&[], name.as_bytes());
        part(&[], value.data_type.as_bytes());
        part(&[mark], &bytes);
    }
    (!attributes.is_empty()).then(|| hex::encode(md5.finalize()))
}

//! Attributes of a queue: which there are, what they may hold, what they are unless set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// Name, default, smallest and largest value of an attribute that is a whole number.
const NUMBERS: [(&str, i64, i64, i64); 5] = [
    ("DelaySeconds", 0, 0, 900),
    ("MaximumMessageSize", MAX_SIZE_BYTES, 1024, MAX_SIZE_BYTES),
    ("MessageRetentionPeriod", 345_600, 60, 1_209_600),
    ("ReceiveMessageWaitTimeSeconds", 0, 0, 20),
    ("VisibilityTimeout", 30, 0, 43_200),
];

/// The largest message, and the largest batch: 1 MiB.
pub(super) const MAX_SIZE_BYTES: i64 = 1_048_576;

const REDRIVE: &str = "RedrivePolicy";

/// The attributes that were set, by name; every one is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings(BTreeMap<String, String>);

/// After so many receives a message goes to the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redrive {
    pub(super) target_arn: String,
    pub(super) max_receives: i64,
}

impl Settings {
    /// Reads attributes as `CreateQueue` and `SetQueueAttributes` take them.
    pub(super) fn parse(attributes: BTreeMap<String, String>) -> Result<Self, Fault> {
        for (name, value) in &attributes {
            check(name, value)?;
        }
        Ok(Self(attributes))
    }

    /// Takes over all of `changes`; an empty redrive policy removes it.
    pub(super) fn apply(&mut self, changes: Settings) {
        self.0.extend(changes.0);
        self.0.retain(|_, value| !value.is_empty());
    }

    /// The first of `asked` that is not so here, for an idempotent create.
    pub(super) fn differs_in<'a>(&self, asked: &'a Settings) -> Option<&'a str> {
        let all = self.all();
        let same = |(name, value): &(&String, &String)| all.get(*name).map_or("", String::as_str) == value.as_str();
        asked.0.iter().find(|entry| !same(entry)).map(|(name, _)| name.as_str())
    }

    /// An attribute that is a number: what was set, or its default.
    pub(super) fn number(&self, name: &str) -> i64 {
        let default = NUMBERS.iter().find(|number| number.0 == name).map_or(0, |number| number.1);
        self.0.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// The redrive policy, if there is one.
    pub(super) fn redrive(&self) -> Option<Redrive> {
        self.0.get(REDRIVE).and_then(|value| Redrive::parse(value))
    }

    /// Every attribute with its present value.
    pub(super) fn all(&self) -> BTreeMap<String, String> {
        let mut all: BTreeMap<_, _> =
            NUMBERS.iter().map(|(name, default, ..)| ((*name).to_owned(), default.to_string())).collect();
        all.extend(self.0.clone());
        all
    }
}

impl Redrive {
    fn parse(text: &str) -> Option<Self> {
        let policy: serde_json::Value = serde_json::from_str(text).ok()?;
        let count = policy.get("maxReceiveCount")?;
        // Clients send the count as a number or as text.
        let max_receives = count.as_i64().or_else(|| count.as_str()?.parse().ok())?;
        let target_arn = policy.get("deadLetterTargetArn")?.as_str()?.to_owned();
        (1..=1000).contains(&max_receives).then_some(Self { target_arn, max_receives })
    }
}

fn check(name: &str, value: &str) -> Result<(), Fault> {
    let valid = match NUMBERS.iter().find(|number| number.0 == name) {
        Some((_, _, min, max)) => value.parse().is_ok_and(|value: i64| (*min..=*max).contains(&value)),
        None if name == REDRIVE => value.is_empty() || Redrive::parse(value).is_some(),
        None if name == "FifoQueue" || name == "ContentBasedDeduplication" => return Err(no_fifo()),
        None => return Err(Fault::new("InvalidAttributeName", format!("Unknown Attribute {name}."))),
    };
    if valid {
        return Ok(());
    }
    Err(Fault::new("InvalidAttributeValue", format!("Invalid value for the parameter {name}.")))
}

/// What a request for a FIFO queue is told.
pub(super) fn no_fifo() -> Fault {
    let message = "the embedded SQS has no FIFO queues; use a standard queue";
    Fault::new("AWS.SimpleQueueService.UnsupportedOperation", message)
}

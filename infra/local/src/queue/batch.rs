//! Batches: up to ten entries, each with its own id and its own success or failure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// A batch request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Batch<T> {
    pub(super) queue_url: String,
    entries: Vec<Entry<T>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<T> {
    id: String,
    #[serde(flatten)]
    item: T,
}

/// What became of each entry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Outcome<T> {
    successful: Vec<Entry<T>>,
    failed: Vec<Entry<Failure>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    sender_fault: bool,
    code: &'static str,
    message: String,
}

impl<T> Batch<T> {
    /// All entries' items.
    pub(super) fn items(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.item)
    }

    /// Does `work` for each entry. A client's mistake fails its entry only, a failure of the store the whole batch.
    pub(super) fn each<R>(&self, mut work: impl FnMut(&T) -> Result<R, Fault>) -> Result<Outcome<R>, Fault> {
        self.check()?;
        let mut outcome = Outcome { successful: Vec::new(), failed: Vec::new() };
        for Entry { id, item } in &self.entries {
            match work(item) {
                Ok(item) => outcome.successful.push(Entry { id: id.clone(), item }),
                Err(fault) if fault.is_internal() => return Err(fault),
                Err(Fault { code, message, .. }) => {
                    let item = Failure { sender_fault: true, code, message };
                    outcome.failed.push(Entry { id: id.clone(), item });
                }
            }
        }
        Ok(outcome)
    }

    fn check(&self) -> Result<(), Fault> {
        let ids: BTreeSet<&str> = self.entries.iter().map(|entry| entry.id.as_str()).collect();
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let valid = |id: &&str| (1..=80).contains(&id.len()) && id.bytes().all(letter);
        let (code, message) = match self.entries.len() {
            0 => (
                "AWS.SimpleQueueService.EmptyBatchRequest",
                "There should be at least one entry in the request.".to_owned(),
            ),
            count @ 11.. => {
                let message = format!("Maximum number of entries per request are 10. You have sent {count}.");
                ("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", message)
            }
            count if ids.len() < count => (
                "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
                "Two or more batch entries have the same Id.".to_owned(),
            ),
            _ if !ids.iter().all(valid) => {
                let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
                               It can be at most 80 letters long.";
                ("AWS.SimpleQueueService.InvalidBatchEntryId", message.to_owned())
            }
            _ => return Ok(()),
        };
        Err(Fault::new(code, message))
    }
}

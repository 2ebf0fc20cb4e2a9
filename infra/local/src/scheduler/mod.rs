//! EventBridge Scheduler for one machine: schedules over SQLite that fire into the embedded queues.
//!
//! Rules and words are those of <https://docs.aws.amazon.com/scheduler/latest/APIReference/>. Where AWS is vague:
//!
//! - Firing a slot, recording it and planning the next one is one transaction with the message itself, so a crash
//!   neither loses a slot nor fires it twice. The only targets are the embedded queues.
//! - After downtime the newest missed slot of a schedule fires, once, with its true scheduled-time; older ones do not.
//! - Creating a schedule, or changing when it fires, never fires a slot from before that. An update that leaves its
//!   times as they are leaves a slot that is due or was missed due, so that writing a schedule twice is harmless.
//! - A rate without `StartDate` counts from the first whole second after its creation, through all updates.
//! - A slot that fired goes on being tried although its schedule is changed or deleted meanwhile.
//! - A flexible window shifts all slots of a schedule by one offset that follows from its ARN.
//! - `ClientToken` makes a repeated create succeed; updates need no token, and a repeated delete finds nothing.
//!
//! Not here: tags, customer keys, and any check of roles.

mod delivery;
mod fire;
mod group;
mod plan;
mod schedule;
mod store;
mod wire;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::fault::Fault;
use crate::queue::QueueStore;

/// All schedules of one data folder; cheap to clone.
#[derive(Debug, Clone)]
pub struct SchedulerStore {
    queues: QueueStore,
    changed: Arc<Notify>,
}

impl SchedulerStore {
    /// The schedules in the database of `queues`, under the same clock.
    pub fn new(queues: &QueueStore) -> Self {
        Self { queues: queues.clone(), changed: Arc::new(Notify::new()) }
    }

    /// Lets [`run`](Self::run) look again at once; for tests that moved the clock.
    pub fn wake(&self) {
        self.changed.notify_waiters();
    }
}

/// The refusal of a value.
fn validation(message: impl Into<String>) -> Fault {
    Fault::new("ValidationException", message)
}

#[cfg(test)]
mod tests;

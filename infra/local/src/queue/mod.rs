//! SQS for one machine: standard queues over SQLite, on the wire that the SDKs speak.
//!
//! An answer is given only after SQLite has synced it, so `kill -9` loses nothing that was acknowledged. The rules are
//! those of <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/>; where AWS is vague this is exact:
//!
//! - Delivery is at least once and in the order in which messages become visible.
//! - A receipt handle deletes its message until the message is received again, even after its visibility ran out. An
//!   older handle's delete succeeds and does nothing, and it cannot change the visibility; AWS promises no more.
//! - Time (visibility, delay, retention) is the given clock's. A long poll waits on the real timer for the earliest
//!   change it knows of: after moving a test's clock call [`QueueStore::wake`].
//!
//! Not here: FIFO queues (refused), tags, policies, encryption, message move tasks, and the pauses of 60 s that AWS
//! asks for between two purges or before a deleted name is used again.

mod admin;
mod batch;
mod database;
mod message;
mod receipt;
mod receive;
mod send;
mod settings;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use holdfast_shared::clock::SharedClock;
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::Notify;

use crate::fault::Fault;
use database::Database;
pub(crate) use database::{json, json_column};

pub use admin::queue_arn;
pub use message::{AttributeValue, Outgoing};
pub use send::send_to;

/// The account that the embedded services' ARNs and queue URLs name.
pub const ACCOUNT: &str = "000000000000";
/// The region that the embedded services' ARNs name.
pub const REGION: &str = "us-east-1";

/// All queues of one data folder; cheap to clone. The scheduler keeps its tables in the same database, so that firing
/// a slot and recording it are one transaction.
#[derive(Debug, Clone)]
pub struct QueueStore(Arc<Store>);

#[derive(Debug)]
struct Store {
    database: Database,
    clock: SharedClock,
    changed: Notify,
}

impl QueueStore {
    /// Opens, or makes, `queue.sqlite` in `dir`. The folder must exist.
    pub fn open(dir: &Path, clock: SharedClock) -> rusqlite::Result<Self> {
        let database = Database::open(&dir.join("queue.sqlite"))?;
        Ok(Self(Arc::new(Store { database, clock, changed: Notify::new() })))
    }

    /// Makes the queue, or gives the one of that name these attributes; for the start of an installation.
    pub async fn ensure_queue(&self, name: &str, attributes: BTreeMap<String, String>) -> Result<(), Fault> {
        let name = name.to_owned();
        self.transact(move |db, now| admin::ensure(db, now, &name, attributes)).await
    }

    /// Runs `work` in one transaction, off the async threads; an error rolls it back. Whatever changes wakes waiters.
    pub(crate) async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, Timestamp) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let store = self.0.clone();
        let task = tokio::task::spawn_blocking(move || {
            // The clock is read under the lock, so that what was committed is never from the future.
            let (answer, changed) = store.database.transact(|db| work(db, store.clock.now()))?;
            if changed {
                store.changed.notify_waiters();
            }
            Ok(answer)
        });
        task.await.unwrap_or_else(|error| Err(Fault::internal(error.to_string())))
    }

    /// Lets everything that waits for messages or slots look again; for tests that moved the clock.
    pub fn wake(&self) {
        self.0.changed.notify_waiters();
    }

    pub(crate) fn changed(&self) -> &Notify {
        &self.0.changed
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.0.clock
    }
}

#[cfg(test)]
pub(crate) mod tests;

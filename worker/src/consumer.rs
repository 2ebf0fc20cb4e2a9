//! The consumer: receives what the queue asks for, has it done, and acknowledges it once it is.
//!
//! A message is a hint, never the truth: the table decides. One that comes twice, late or damaged does no harm, and one
//! whose handling fails comes again until it is a dead letter, which maintenance records.

use std::sync::Arc;
use std::time::Duration;

use holdfast_shared::Result;
use holdfast_shared::aws::Received;
use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::backup::HEARTBEAT_SECS;
use holdfast_shared::domain::message::{MESSAGE_VERSION, Message, Task};
use holdfast_shared::service::{ClaimOutcome, Service};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::delete::{self, Deletion};
use crate::{check, copy, preview, remote, run};

/// How many tasks run at once unless told otherwise: as many as two cores compress.
pub const DEFAULT_SLOTS: u32 = 2;
/// How long one poll waits for a message, seconds: the longest that SQS allows, so that idling costs least.
const POLL_SECS: u32 = 20;
/// How long a message that is being handled stays out of sight from each heartbeat on, seconds.
const VISIBILITY_SECS: u32 = 120;
/// How soon a message whose handling failed comes again, seconds; each further time doubles it.
const FAILURE_DELAY_SECS: u32 = 10;
/// The longest of these delays, seconds.
const MAX_FAILURE_DELAY_SECS: u32 = 600;
/// How soon a deletion that has to wait for a run is asked for again, seconds.
const DELETION_DELAY_SECS: u32 = 30;
/// How long tasks have to come to their end once the worker stops.
const STOP_GRACE: Duration = Duration::from_secs(15);
/// How long to rest after a poll that failed.
const POLL_RETRY: Duration = Duration::from_secs(2);

/// How a worker works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// How many tasks run at once; at least 1.
    pub slots: u32,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self { slots: DEFAULT_SLOTS }
    }
}

/// Works until `shutdown` is cancelled; then polls no more, and has runs give their backups back within 15 s.
///
/// A queue that does not answer is waited for, so nothing but a stop ends it.
pub async fn consume(service: Service, options: ConsumerOptions, shutdown: CancellationToken) -> Result<()> {
    let stale = tokio::task::spawn_blocking(remote::remove_stale_folders).await.unwrap_or_default();
    tracing::info!(slots = options.slots, stale, "worker started");
    let slots = options.slots.max(1);
    let free = Arc::new(Semaphore::new(slots as usize));
    while let Some((received, slot)) = next(&service, &free, &shutdown).await {
        let (service, shutdown) = (service.clone(), shutdown.clone());
        tokio::spawn(async move {
            attend(&service, &received, &shutdown).await;
            drop(slot);
        });
    }
    if tokio::time::timeout(STOP_GRACE, free.acquire_many(slots)).await.is_err() {
        tracing::warn!("tasks were still under way at the end; their leases run out and others take over");
    }
    Ok(())
}

/// Waits for a free slot and then for a message; `None` once the worker stops.
async fn next(
    service: &Service,
    free: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(Received, OwnedSemaphorePermit)> {
    let poll = async {
        let slot = free.clone().acquire_owned().await.ok()?;
        loop {
            match service.aws.queue.receive(1, POLL_SECS).await {
                Ok(messages) => {
                    if let Some(message) = messages.into_iter().next() {
                        return Some((message, slot));
                    }
                }
                Err(error) => {
                    tracing::warn!(error = error.chain(), "the queue cannot be polled");
                    tokio::time::sleep(POLL_RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        received = poll => received,
    }
}

/// What becomes of a message.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// It is done with.
    Done,
    /// Another one takes its place after a while.
    Replace(Task, u32),
    /// It comes again by itself, or ends as a dead letter.
    Leave,
}

/// Handles one message, keeping it out of sight meanwhile, and acknowledges it.
async fn attend(service: &Service, received: &Received, shutdown: &CancellationToken) {
    let Some(task) = read(received) else { return };
    let handled = tokio::select! {
        handled = handle(service, task, shutdown) => handled,
        () = keep_invisible(service, received) => return,
    };
    let verdict = handled.unwrap_or_else(|error| {
        tracing::error!(error = error.chain(), receive_count = received.receive_count, "a task failed; it comes again");
        Verdict::Leave
    });
    if let Err(error) = acknowledge(service, received, verdict).await {
        tracing::warn!(error = error.chain(), "a message could not be acknowledged; it comes again");
    }
}

/// Reads a message; one that cannot be read is left, so that it ends as a dead letter that people see.
fn read(received: &Received) -> Option<Task> {
    match serde_json::from_str::<Message>(&received.body) {
        Ok(message) if message.v <= MESSAGE_VERSION => Some(message.task),
        Ok(message) => {
            tracing::error!(version = message.v, "a message is of a newer version; update this worker");
            None
        }
        Err(error) => {
            tracing::error!(%error, receive_count = received.receive_count, "a message cannot be read");
            None
        }
    }
}

/// Extends the visibility until dropped.
async fn keep_invisible(service: &Service, received: &Received) {
    loop {
        tokio::time::sleep(Duration::from_secs(HEARTBEAT_SECS)).await;
        if let Err(error) = service.aws.queue.extend(&received.receipt, VISIBILITY_SECS).await {
            tracing::warn!(error = error.chain(), "a message could not be kept out of sight");
        }
    }
}

async fn acknowledge(service: &Service, received: &Received, verdict: Verdict) -> Result<()> {
    match verdict {
        Verdict::Done => {}
        Verdict::Replace(task, delay_secs) => service.aws.queue.send(&Message::new(task), delay_secs).await?,
        Verdict::Leave => {
            return service.aws.queue.extend(&received.receipt, failure_delay(received.receive_count)).await;
        }
    }
    service.aws.queue.delete(&received.receipt).await
}

fn failure_delay(receive_count: u32) -> u32 {
    FAILURE_DELAY_SECS.saturating_mul(1 << receive_count.saturating_sub(1).min(10)).min(MAX_FAILURE_DELAY_SECS)
}

async fn handle(service: &Service, task: Task, shutdown: &CancellationToken) -> Result<Verdict> {
    let again = task.clone();
    let short = async {
        match task {
            Task::Slot { account, job, schedule, slot } => {
                match service.record_slot(&account, job, schedule, slot).await? {
                    Some(backup) => return run_backup(service, account, job, backup, shutdown).await,
                    None => tracing::info!(%job, schedule, %slot, "a slot is dropped: its schedule is gone or paused"),
                }
            }
            Task::Run { account, job, backup } => return run_backup(service, account, job, backup, shutdown).await,
            Task::CheckServer { account, server, check } => {
                check::check_server(service, &account, server, check).await?
            }
            Task::CheckProxy { account, proxy, check } => check::check_proxy(service, &account, proxy, check).await?,
            Task::CheckStorage { account, storage, check } => {
                check::check_storage(service, &account, storage, check).await?;
            }
            Task::Preview { account, job, preview } => preview::preview(service, &account, job, preview).await?,
            Task::SweepBackup { account, job, backup } => delete::sweep_backup(service, &account, job, backup).await?,
            Task::CopyBackup { account, job, backup } => copy::copy_backup(service, &account, job, backup).await?,
            Task::SweepStorage { account, storage } => delete::sweep_storage(service, &account, storage).await?,
            Task::DeleteJob { account, job } => {
                if delete::delete_job(service, &account, job).await? == Deletion::Wait {
                    return Ok(Verdict::Replace(Task::DeleteJob { account, job }, DELETION_DELAY_SECS));
                }
            }
            Task::DeleteBackups { account, job } => {
                if delete::delete_backups(service, &account, job).await? == Deletion::Wait {
                    return Ok(Verdict::Replace(Task::DeleteBackups { account, job }, DELETION_DELAY_SECS));
                }
            }
            Task::DeleteBackup { account, job, backup } => {
                delete::delete_one(service, &account, job, backup).await?;
            }
        }
        Ok(Verdict::Done)
    };
    if is_run(&again) {
        // It ends by itself when the worker stops, so that it can give its backup back.
        return short.await;
    }
    tokio::select! {
        verdict = short => verdict,
        () = shutdown.cancelled() => Ok(Verdict::Replace(again, 0)),
    }
}

fn is_run(task: &Task) -> bool {
    matches!(task, Task::Slot { .. } | Task::Run { .. })
}

async fn run_backup(
    service: &Service,
    account: AccountId,
    job: Uuid,
    backup: Uuid,
    shutdown: &CancellationToken,
) -> Result<Verdict> {
    match service.claim(&account, job, backup).await? {
        ClaimOutcome::Drop => {}
        ClaimOutcome::Busy { retry_after_secs } => {
            return Ok(Verdict::Replace(Task::Run { account, job, backup }, retry_after_secs));
        }
        ClaimOutcome::Run(claim) => run::run(service, *claim, shutdown).await?,
    }
    Ok(Verdict::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(body: &str) -> Received {
        Received { body: body.to_owned(), receipt: String::new(), receive_count: 1 }
    }

    #[test]
    fn only_messages_that_can_be_read_are_taken() {
        let id = Uuid::nil();
        let task = Task::Run { account: AccountId::parse("acme").unwrap(), job: id, backup: id };
        let text = serde_json::to_string(&Message::new(task.clone())).unwrap();
        assert_eq!(read(&received(&text)), Some(task));
        assert_eq!(read(&received(&text.replace("\"v\":1", "\"v\":2"))), None);
        for body in ["", "{}", "null", "{\"v\":1,\"kind\":\"unknown\"}"] {
            assert_eq!(read(&received(body)), None, "{body}");
        }
    }

    #[test]
    fn failures_come_again_later_each_time() {
        assert_eq!([1, 2, 3, 9, u32::MAX].map(failure_delay), [10, 20, 40, 600, 600]);
    }
}

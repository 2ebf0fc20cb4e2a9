//! The keeper of a run: renews its lease, shows its progress, writes its log, and stops it when it has to stop.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_shared::domain::backup::{HEARTBEAT_SECS, LEASE_SECS, Progress};
use holdfast_shared::service::{Beat, Claim, Service};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::limits::RunLimits;
use super::log::RunLog;
use crate::pipeline::SharedMeter;

/// How often progress and log are written.
const TICK: Duration = Duration::from_secs(1);
/// How soon a heartbeat that failed is repeated.
const HEARTBEAT_RETRY: Duration = Duration::from_secs(5);

/// Why a run was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopCause {
    /// Its owner wants so.
    Cancelled,
    /// The lease is another's, or could not be renewed while it held.
    LeaseLost,
    /// This worker is stopping.
    Shutdown,
    /// It ran into a limit of its job; [`super::execute::RunError::Limit`] tells which.
    Limit,
}

/// What the keeper and the run share.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub service: Service,
    pub claim: Arc<Claim>,
    pub log: Arc<RunLog>,
    pub meter: SharedMeter,
    pub limits: Arc<RunLimits>,
    /// Stops the run.
    pub stop: CancellationToken,
    cause: Arc<Mutex<Option<StopCause>>>,
}

impl Kept {
    pub(super) fn new(service: &Service, claim: Claim, shutdown: &CancellationToken) -> Self {
        Self {
            service: service.clone(),
            limits: Arc::new(RunLimits::new(claim.job.limits)),
            claim: Arc::new(claim),
            log: Arc::new(RunLog::new(service.clock.clone())),
            meter: SharedMeter::default(),
            stop: shutdown.child_token(),
            cause: Arc::default(),
        }
    }

    /// Why the run was stopped, if it was; what came first counts, and the worker's own stopping is the rest.
    pub(super) fn stop_cause(&self) -> Option<StopCause> {
        let cause = *self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        cause.or(self.stop.is_cancelled().then_some(StopCause::Shutdown))
    }

    pub(super) fn stop_because(&self, cause: StopCause) {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
        self.stop.cancel();
    }

    /// Writes how the run ends and all before it. To be called before the end is recorded: whoever sees a backup that
    /// has ended takes its log for whole.
    pub(super) async fn close_log(&self, words: impl AsRef<str>) {
        self.log.last_line(words);
        self.write_log().await;
    }

    async fn write_log(&self) {
        if let Err(error) = self.log.flush(&self.service, &self.claim).await {
            tracing::warn!(backup = %self.claim.backup.id, error = error.chain(), "the end of a log was not written");
        }
    }
}

/// Keeps a run in the background until it is dropped or ended.
pub(super) struct Keeper {
    task: JoinHandle<()>,
    kept: Kept,
}

impl Keeper {
    pub(super) fn start(kept: &Kept) -> Self {
        Self { task: tokio::spawn(keep(kept.clone())), kept: kept.clone() }
    }

    /// Ends it, once the run was recorded, and writes the last of the progress and the log.
    pub(super) async fn end(self) {
        self.task.abort();
        report(&self.kept, self.kept.meter.bytes_read(), self.kept.meter.bytes_stored(), 0).await;
        self.kept.write_log().await;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(kept: Kept) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lease = Lease::new();
    let mut shown = Shown::default();
    loop {
        ticks.tick().await;
        if lease.is_due() {
            lease.renew(&kept).await;
        }
        if let Err(error) = kept.log.flush(&kept.service, &kept.claim).await {
            tracing::debug!(error = error.chain(), "the log could not be written; it is tried again");
        }
        shown.show(&kept).await;
    }
}

/// What is known of the lease, by a clock that runs on while the process is stopped.
struct Lease {
    /// When the last renewal that took place was asked for.
    renewed_at: Instant,
    due_at: Instant,
}

impl Lease {
    fn new() -> Self {
        let now = Instant::now();
        Self { renewed_at: now, due_at: now + Duration::from_secs(HEARTBEAT_SECS) }
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.due_at
    }

    async fn renew(&mut self, kept: &Kept) {
        let asked_at = Instant::now();
        let left = Duration::from_secs(LEASE_SECS.unsigned_abs()).saturating_sub(self.renewed_at.elapsed());
        // An answer that comes when the lease is over is none.
        match tokio::time::timeout(left, kept.service.heartbeat(&kept.claim)).await {
            Ok(Ok(Beat::Held)) => self.renewed(asked_at),
            Ok(Ok(Beat::CancelRequested)) => {
                self.renewed(asked_at);
                kept.stop_because(StopCause::Cancelled);
            }
            Ok(Ok(Beat::Lost)) | Err(_) => kept.stop_because(StopCause::LeaseLost),
            Ok(Err(error)) => {
                tracing::warn!(backup = %kept.claim.backup.id, error = error.chain(), "a heartbeat failed");
                self.due_at = asked_at + HEARTBEAT_RETRY;
            }
        }
    }

    fn renewed(&mut self, asked_at: Instant) {
        self.renewed_at = asked_at;
        self.due_at = asked_at + Duration::from_secs(HEARTBEAT_SECS);
    }
}

/// What was last shown of the progress.
#[derive(Default)]
struct Shown {
    read: u64,
    stored: u64,
    at: Option<Instant>,
    rate: u64,
}

impl Shown {
    /// Writes the progress if it has changed, or its rate has.
    async fn show(&mut self, kept: &Kept) {
        let (read, stored, at) = (kept.meter.bytes_read(), kept.meter.bytes_stored(), Instant::now());
        let secs = self.at.replace(at).map_or(1.0, |before| at.duration_since(before).as_secs_f64());
        let rate = ((read - self.read) as f64 / secs.max(0.001)) as u64;
        if (read, stored, rate) == (self.read, self.stored, self.rate) {
            return;
        }
        (self.read, self.stored, self.rate) = (read, stored, rate);
        report(kept, read, stored, rate).await;
    }
}

async fn report(kept: &Kept, bytes_read: u64, bytes_stored: u64, bytes_per_second: u64) {
    let (attempt, at) = (kept.claim.backup.attempt, kept.service.clock.now());
    let progress = Progress { attempt, bytes_read, bytes_stored, bytes_per_second, at };
    if let Err(error) = kept.service.report_progress(&kept.claim, &progress).await {
        tracing::debug!(error = error.chain(), "progress could not be shown");
    }
}

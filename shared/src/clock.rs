//! The clock that everything above the domain is handed, so that tests can move time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// Tells the time. Two implementations: the system's, and one that a test sets.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

/// A clock that every part of one process shares.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The system's clock moved by an offset that a test sets; it keeps running.
#[derive(Debug, Default)]
pub struct OffsetClock {
    offset_ms: AtomicI64,
}

impl OffsetClock {
    /// Moves the clock by `offset` against the system's, replacing the offset before.
    pub fn set_offset(&self, offset: SignedDuration) {
        self.offset_ms.store(millis(offset), Ordering::SeqCst);
    }

    /// Moves the clock on by `step`, from wherever it is.
    pub fn advance(&self, step: SignedDuration) {
        self.offset_ms.fetch_add(millis(step), Ordering::SeqCst);
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_millis(self.offset_ms.load(Ordering::SeqCst))
    }
}

fn millis(duration: SignedDuration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX)
}

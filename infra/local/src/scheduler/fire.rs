//! The timer: fires what is due, and sleeps until the next slot.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use super::SchedulerStore;
use super::delivery::Delivery;
use super::schedule::ActionAfterCompletion;
use super::store::{self, Stored};
use crate::fault::Fault;
use crate::queue::json_column;

/// The longest sleep: a machine that was suspended, or whose clock was set, is at most this late.
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// The pause after the store failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How many fire in one transaction, so that others get their turn.
const AT_ONCE: i64 = 100;

impl SchedulerStore {
    /// Fires what is due whenever it is, until `closing`.
    pub async fn run(&self, closing: CancellationToken) {
        while !closing.is_cancelled() {
            // Listen before looking, so that no change in between is slept through.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let sleep = match self.tick().await {
                Ok(next) => next.map_or(MAX_SLEEP, |next| self.until(next).min(MAX_SLEEP)),
                Err(fault) => {
                    tracing::error!(?fault, "due slots could not be fired; they are tried again");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(sleep) => {}
                () = closing.cancelled() => {}
            }
        }
    }

    /// Fires all that is due by the clock, and tells when something is due next. [`run`](Self::run) does this; a test
    /// that moves the clock calls it itself.
    pub async fn tick(&self) -> Result<Option<Timestamp>, Fault> {
        while self.queues.transact(fire_some).await? {}
        self.queues.transact(|db, _| next_due(db)).await
    }

    fn until(&self, next: Timestamp) -> Duration {
        let left = next.duration_since(self.queues.clock().now());
        // A millisecond more than none, so that rounding never makes this spin.
        left.max(SignedDuration::ZERO).unsigned_abs() + Duration::from_millis(1)
    }
}

/// Fires some of what is due; whether there may be more.
fn fire_some(db: &Connection, now: Timestamp) -> Result<bool, Fault> {
    let sql = "SELECT * FROM schedules WHERE due_ms <= ?1 ORDER BY due_ms LIMIT ?2";
    let mut select = db.prepare_cached(sql)?;
    let due = select.query_map((now.as_millisecond(), AT_ONCE), Stored::read)?;
    let due = due.collect::<rusqlite::Result<Vec<_>>>()?;
    for stored in &due {
        fire(db, now, stored)?;
    }
    Ok(due.len() as i64 == AT_ONCE || retry_some(db, now)?)
}

fn fire(db: &Connection, now: Timestamp, stored: &Stored) -> Result<(), Fault> {
    let (Some(first), Ok(plan)) = (stored.next_slot, stored.plan()) else {
        tracing::error!(schedule = stored.arn(), "a schedule can no longer be read and will not fire; update it");
        return stored.plan_slot(db, None);
    };
    let slot = plan.newest(first, now);
    if slot != first {
        tracing::warn!(schedule = stored.arn(), from = %first, to = %slot, "slots were missed; the newest fires now");
    }
    let target = stored.schedule.target.clone();
    Delivery { schedule_arn: stored.arn(), target, slot, fired: now, attempt: 1 }.attempt(db, now)?;
    match plan.next(slot) {
        None if stored.schedule.action_after_completion == ActionAfterCompletion::Delete => {
            store::delete(db, &stored.schedule.group_name, &stored.name).map(drop)
        }
        next => stored.plan_slot(db, next.map(|slot| (slot, plan.due(slot)))),
    }
}

/// Tries some of what was refused before; whether there may be more.
fn retry_some(db: &Connection, now: Timestamp) -> Result<bool, Fault> {
    let mut select =
        db.prepare_cached("SELECT id, body FROM deliveries WHERE due_ms <= ?1 ORDER BY due_ms LIMIT ?2")?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>("id")?, json_column::<Delivery>(row, "body")?));
    let due = select.query_map((now.as_millisecond(), AT_ONCE), read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = due.len() as i64 == AT_ONCE;
    for (id, delivery) in due {
        db.prepare_cached("DELETE FROM deliveries WHERE id = ?1")?.execute([id])?;
        delivery.attempt(db, now)?;
    }
    Ok(more)
}

fn next_due(db: &Connection) -> Result<Option<Timestamp>, Fault> {
    let sql = "SELECT min(due_ms) FROM (SELECT min(due_ms) AS due_ms FROM schedules WHERE due_ms IS NOT NULL
               UNION ALL SELECT min(due_ms) FROM deliveries)";
    let due_ms: Option<i64> = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(due_ms.and_then(|due_ms| Timestamp::from_millisecond(due_ms).ok()))
}

//! How many requests tokens may make, over all processes: see [`Window`].
//!
//! A process takes permits from the table in batches that grow with what it has used of the window, by a quarter: a busy
//! one writes a few dozen times where it serves hundreds of requests, an idle one once per request, and what a batch
//! leaves unused is never more than that quarter. If the table does not answer, neither would the request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_shared::domain::account::AccountId;
use holdfast_shared::domain::token::Token;
use holdfast_shared::service::{Service, Window};
use holdfast_shared::{Error, ErrorKind, Result};
use jiff::Timestamp;

/// How many tokens are kept before those of windows gone by are forgotten.
const MAX_BUCKETS: usize = 10_000;
/// A batch is at least one permit and at most this many.
const MAX_BATCH: u32 = 64;
/// A batch is what was used so far, divided by this.
const GROWTH: u32 = 4;

/// What this process may still pass for a token; one at a time takes from it or fills it.
type Shared = Arc<tokio::sync::Mutex<Bucket>>;

/// Permits per token; clones share them.
#[derive(Debug, Clone, Default)]
pub struct RateLimit {
    buckets: Arc<Mutex<HashMap<(AccountId, u64), Shared>>>,
}

#[derive(Debug)]
struct Bucket {
    window: Window,
    left: u32,
    used: u32,
    exhausted: bool,
}

impl Bucket {
    fn of(window: Window) -> Self {
        Self { window, left: 0, used: 0, exhausted: false }
    }
}

impl RateLimit {
    /// Counts one request of a token; [`ErrorKind::Throttled`] when it, or its account, has none left in this window.
    pub async fn take(&self, service: &Service, token: &Token) -> Result<()> {
        let now = service.clock.now();
        let window = Window::at(now);
        let bucket = self.bucket(token, window);
        let mut bucket = bucket.lock().await;
        if bucket.window != window {
            *bucket = Bucket::of(window);
        }
        if bucket.left == 0 && !bucket.exhausted {
            let batch = (bucket.used / GROWTH).clamp(1, MAX_BATCH);
            bucket.left = service.take_permits(&token.account, token.id, window, batch).await?;
            bucket.exhausted = bucket.left < batch;
        }
        if bucket.left == 0 {
            return Err(throttled(window, now));
        }
        bucket.left -= 1;
        bucket.used += 1;
        Ok(())
    }

    fn bucket(&self, token: &Token, window: Window) -> Shared {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (token.account.clone(), token.id);
        if let Some(bucket) = buckets.get(&place) {
            return bucket.clone();
        }
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, bucket| bucket.try_lock().is_ok_and(|bucket| bucket.window == window));
        }
        if buckets.len() >= MAX_BUCKETS {
            // Permits are lost, none is won.
            buckets.clear();
        }
        buckets.entry(place).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(Bucket::of(window)))).clone()
    }
}

fn throttled(window: Window, now: Timestamp) -> Error {
    let retry_after_secs = window.secs_left(now);
    let message = format!("too many requests with this token or in this account; try again in {retry_after_secs} s");
    Error::new(ErrorKind::Throttled { retry_after_secs }, message)
}

//! How many requests one token may make: a token bucket in this process's memory.
//!
//! Each Lambda sandbox and each local process counts for itself, so that a limit costs no write: it keeps one runaway
//! script from starving the others, and is not a quota.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_shared::domain::account::AccountId;
use holdfast_shared::{Error, ErrorKind, Result};

/// How many tokens are kept before those that have rested long enough are forgotten.
const MAX_BUCKETS: usize = 10_000;

/// A bucket per token; clones share them.
#[derive(Debug, Clone)]
pub struct RateLimit {
    per_second: f64,
    burst: f64,
    buckets: Arc<Mutex<HashMap<(AccountId, u64), Bucket>>>,
}

#[derive(Debug)]
struct Bucket {
    level: f64,
    at: Instant,
}

impl RateLimit {
    /// `per_second` requests on average, and twice as many at once after a rest.
    pub fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, burst: 2.0 * per_second, buckets: Arc::default() }
    }

    /// Counts one request of a token at `now`; [`ErrorKind::Throttled`] when it has none left.
    pub fn take(&self, account: &AccountId, token_id: u64, now: Instant) -> Result<()> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            let rest = Duration::from_secs_f64(self.burst / self.per_second);
            buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < rest);
        }
        let full = Bucket { level: self.burst, at: now };
        let bucket = buckets.entry((account.clone(), token_id)).or_insert(full);
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        bucket.level = (bucket.level + gained).min(self.burst);
        bucket.at = now;
        if bucket.level < 1.0 {
            return Err(Error::new(
                ErrorKind::Throttled { retry_after_secs: 1 },
                "too many requests with this token; wait a second and try again",
            ));
        }
        bucket.level -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_a_burst_then_the_rate() {
        let limit = RateLimit::new(5);
        let account = AccountId::parse("a").unwrap();
        let start = Instant::now();
        let passed = |now| (0..20).filter(|_| limit.take(&account, 1, now).is_ok()).count();
        assert_eq!(passed(start), 10);
        assert_eq!(passed(start + Duration::from_secs(1)), 5);
        assert_eq!(passed(start + Duration::from_secs(60)), 10);
    }

    #[test]
    fn counts_each_token_for_itself() {
        let limit = RateLimit::new(1);
        let account = AccountId::parse("a").unwrap();
        let now = Instant::now();
        while limit.take(&account, 1, now).is_ok() {}
        assert!(limit.take(&account, 2, now).is_ok());
        let refused = limit.take(&account, 1, now).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Throttled { retry_after_secs: 1 });
    }
}

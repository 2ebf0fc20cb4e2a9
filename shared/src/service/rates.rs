//! How many requests an account and each of its tokens may make: counted in the table, so that it holds over many
//! processes.
//!
//! Time is cut into windows, and a process takes permits of one in batches, each with a single write. What it does not use
//! up is lost with the window.

use jiff::Timestamp;

use super::Service;
use crate::domain::account::AccountId;
use crate::error::Result;

/// How long a window is. Within one, requests may come as fast as they like.
pub const WINDOW_SECS: i64 = 10;
/// How long after its end DynamoDB may remove a window's row, seconds: clocks differ.
const KEPT_SECS: i64 = 3600;

/// A span of [`WINDOW_SECS`], the same for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    start: i64,
}

impl Window {
    /// The window that `now` is in.
    pub fn at(now: Timestamp) -> Self {
        Self { start: now.as_second().div_euclid(WINDOW_SECS) * WINDOW_SECS }
    }

    /// Whole seconds until the next window begins, at least 1.
    pub fn secs_left(self, now: Timestamp) -> u32 {
        u32::try_from(self.start + WINDOW_SECS - now.as_second()).unwrap_or(1).max(1)
    }
}

impl Service {
    /// Takes up to `permits` requests of a window for a token and answers how many it got: as many as neither token nor
    /// account have used up, maybe none. One write.
    pub async fn take_permits(&self, account: &AccountId, token: u64, window: Window, permits: u32) -> Result<u32> {
        let ttl = window.start + WINDOW_SECS + KEPT_SECS;
        let taken = self.aws.table.take_permits(account, token, window.start, permits, ttl).await?;
        let of_account = granted(permits, taken.by_account, self.config.account_requests_per_second);
        Ok(of_account.min(granted(permits, taken.by_token, self.config.requests_per_second)))
    }
}

/// How many of the last `permits` of all that were `taken` lie within the limit.
fn granted(permits: u32, taken: u64, per_second: u32) -> u32 {
    let limit = u64::from(per_second.max(1)) * WINDOW_SECS.unsigned_abs();
    let before = taken.saturating_sub(u64::from(permits));
    u32::try_from(limit.saturating_sub(before)).map_or(permits, |left| left.min(permits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_granted_up_to_the_limit() {
        assert_eq!(granted(1, 1, 5), 1);
        assert_eq!(granted(8, 50, 5), 8);
        assert_eq!(granted(8, 53, 5), 5);
        assert_eq!(granted(8, 58, 5), 0);
        assert_eq!(granted(1, 1_000_000, 0), 0);
    }

    #[test]
    fn windows_follow_each_other() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        assert_eq!(Window::at(at(9_999)), Window::at(at(0)));
        assert_ne!(Window::at(at(10_000)), Window::at(at(9_999)));
        assert_eq!(Window::at(at(0)).secs_left(at(0)), 10);
        assert_eq!(Window::at(at(9_999)).secs_left(at(9_999)), 1);
    }
}

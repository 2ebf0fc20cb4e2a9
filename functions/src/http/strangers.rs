//! Who sends tokens that do not work: after too many, an address waits.
//!
//! Nobody guesses 256 bits; what this saves is the table, which each guess would read. It is kept in memory, per process,
//! and bounded.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_shared::{Error, ErrorKind, Result};
use jiff::Timestamp;

/// How many tokens that do not work an address may send within `PERIOD_SECS`. Others behind the same address have
/// tokens that do, so it is generous.
pub const MAX_FAILURES: u32 = 100;
/// How long failures count, seconds.
const PERIOD_SECS: i64 = 60;
/// How many addresses are kept.
const MAX_ADDRESSES: usize = 10_000;

/// Failures per address; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Strangers(Arc<Mutex<HashMap<IpAddr, Failures>>>);

#[derive(Debug)]
struct Failures {
    count: u32,
    since: i64,
}

impl Failures {
    fn are_old(&self, now: i64) -> bool {
        !(self.since..self.since + PERIOD_SECS).contains(&now)
    }
}

impl Strangers {
    /// [`ErrorKind::Throttled`] when the address failed too often lately.
    pub fn check(&self, address: IpAddr, now: Timestamp) -> Result<()> {
        let now = now.as_second();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(&group(address)) {
            Some(failures) if failures.count >= MAX_FAILURES && !failures.are_old(now) => {
                let retry_after_secs = u32::try_from(failures.since + PERIOD_SECS - now).unwrap_or(1).max(1);
                let message = "too many tokens that do not work came from this address; wait before you try again";
                Err(Error::new(ErrorKind::Throttled { retry_after_secs }, message))
            }
            _ => Ok(()),
        }
    }

    /// Notes a failure.
    pub fn failed(&self, address: IpAddr, now: Timestamp) {
        let now = now.as_second();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = group(address);
        if all.len() >= MAX_ADDRESSES && !all.contains_key(&address) {
            all.retain(|_, failures| !failures.are_old(now));
            if all.len() >= MAX_ADDRESSES {
                // Who has so many addresses is not held up by counting one more.
                return;
            }
        }
        let failures = all.entry(address).or_insert(Failures { count: 0, since: now });
        if failures.are_old(now) {
            *failures = Failures { count: 0, since: now };
        }
        failures.count += 1;
    }
}

/// One subscriber has a whole /64 of IPv6.
fn group(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    #[test]
    fn an_address_that_failed_too_often_waits() {
        let strangers = Strangers::default();
        let [one, neighbour, other] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        for _ in 0..MAX_FAILURES {
            assert!(strangers.check(one, at(10)).is_ok());
            strangers.failed(one, at(10));
        }
        let refused = strangers.check(neighbour, at(30)).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Throttled { retry_after_secs: 40 });
        assert!(strangers.check(other, at(30)).is_ok());
        assert!(strangers.check(one, at(70)).is_ok());
        strangers.failed(one, at(70));
        assert!(strangers.check(one, at(70)).is_ok(), "it counts from the start again");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let strangers = Strangers::default();
        let address = |number: usize| IpAddr::V4(u32::try_from(number).unwrap().into());
        for number in 0..MAX_ADDRESSES + 10 {
            strangers.failed(address(number), at(0));
        }
        assert_eq!(strangers.0.lock().unwrap().len(), MAX_ADDRESSES);
        strangers.failed(address(MAX_ADDRESSES), at(PERIOD_SECS));
        assert_eq!(strangers.0.lock().unwrap().len(), 1);
    }
}

//! The harness: an installation of its own for each test, on real parts, port 0 and a folder that goes with it.
//!
//! Nothing here sleeps to wait: [`eventually`] looks until something is so, and fails with what it saw last.

pub mod certificates;
pub mod history;
pub mod http;
pub mod injections;
pub mod installation;
pub mod leftovers;
pub mod mariadb;
pub mod mount;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod secrecy;
pub mod sudo;
pub mod table;
pub mod tree;

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

pub use http::{Answer, Client};
pub use installation::{Installation, Setup};

/// How long something may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Looks with `look` until it answers `Ok`, for at most [`PATIENCE`]; then panics with what it saw last.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if started.elapsed() > PATIENCE => panic!("{what}: not within {PATIENCE:?}; last seen: {seen:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

//! Pure values and rules: no IO, no clock, no environment, no AWS.

pub mod ability;
pub mod account;
pub mod backup;
pub mod check;
pub mod cron;
pub mod expression;
pub mod field;
pub mod host;
pub mod host_key;
pub mod job;
pub mod message;
pub mod object_key;
pub mod part_size;
pub mod recipe;
pub mod retention;
pub mod retry;
pub mod revision;
pub mod schedule;
pub mod sealed;
pub mod server;
pub mod slot;
pub mod ssh_key;
pub mod storage;
pub mod timezone;
pub mod timing;
pub mod token;

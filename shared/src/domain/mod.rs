//! Pure values and rules: no IO, no clock, no environment, no AWS.

pub mod account;
pub mod backup;
pub mod check;
<<<<<<< HEAD
pub mod host;
pub mod host_key;
=======
pub mod expression;
>>>>>>> main
pub mod job;
pub mod message;
pub mod recipe;
pub mod schedule;
pub mod sealed;
pub mod server;
pub mod slot;
pub mod ssh_key;
pub mod storage;
pub mod token;

//! The worker: takes what the queue asks for, dumps over SSH, streams to storages, and records only what it proved.
//!
//! It owns the bytes of a backup and every process that is spawned. It deliberately knows no HTTP surface and no record's
//! layout: what a backup may become is decided by the use cases that it calls.

pub mod check;
pub mod consumer;
pub mod copy;
pub mod delete;
pub mod pipeline;
pub mod preview;
pub mod process;
pub mod recipe;
pub mod remote;
pub mod run;

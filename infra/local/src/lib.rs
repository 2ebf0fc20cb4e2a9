//! Holdfast on one machine: AWS's services embedded, and every part in one process.
//!
//! It owns the embedded services (`table`, `queue`, `scheduler`, `objects`), the data folder they keep, and the
//! [`stack::Stack`] that runs the surfaces, the maintenance and a worker over them. It knows no rule of its own: what
//! runs here is the code that runs on AWS.

mod administer;
mod bootstrap;
pub mod cli;
pub mod data;
pub mod demo;
pub mod embedded;
pub mod fault;
mod forward;
mod key_file;
mod key_watch;
mod keys;
mod listener;
mod log;
pub mod objects;
mod public;
pub mod queue;
pub mod running;
pub mod scheduler;
mod serve;
pub mod service;
#[cfg(test)]
mod set_clock;
pub mod signature;
pub mod stack;
pub mod table;

//! Holdfast on one machine: AWS's services embedded, and every part in one process.

pub mod fault;
pub mod objects;
pub mod queue;
pub mod scheduler;
pub mod service;
pub mod signature;

#[cfg(test)]
mod set_clock;

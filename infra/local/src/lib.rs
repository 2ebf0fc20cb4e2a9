//! Holdfast on one machine: the embedded AWS, and what boots it all in one process.

pub mod objects;

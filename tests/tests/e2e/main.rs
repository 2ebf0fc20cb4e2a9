//! Holdfast end to end: each test has an installation of its own, on real parts.

mod downtime;
mod outbox;
mod runs;
mod slots;
mod sources;
mod storage_faults;
mod workers;

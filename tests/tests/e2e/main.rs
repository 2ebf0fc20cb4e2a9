//! Holdfast end to end: each test has an installation of its own, on real parts. A module per subject.

mod abilities;
mod accounts;
mod administration;
mod audit;
mod backups;
mod bad_input;
mod downloads;
mod downtime;
mod fixtures;
mod isolation;
mod jobs;
mod limits;
mod outbox;
mod repetition;
mod resources;
mod routes;
mod runs;
mod serve;
mod slots;
mod sources;
mod storage_faults;
mod workers;

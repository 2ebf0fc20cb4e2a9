//! Holdfast end to end: each test has an installation of its own, on real parts. A module per subject.

mod audit;
mod backup_calls;
mod backups;
mod bad_input;
mod deletion;
mod downloads;
mod downtime;
mod encryption_keys;
mod fixtures;
mod isolation;
mod job_calls;
mod jobs;
mod openapi;
mod outbox;
mod page_cost;
mod proxies;
mod repetition;
mod resources;
mod routes;
mod runs;
mod serve;
mod slots;
mod sources;
mod storage_faults;
mod workers;

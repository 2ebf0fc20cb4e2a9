//! What Holdfast relies on in AWS, stated against the embedded services or any `HOLDFAST_CONFORMANCE_ENDPOINT`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod messaging;
mod scheduler;
mod sqs;

//! What Holdfast relies on in AWS, stated against the embedded services or any `HOLDFAST_CONFORMANCE_ENDPOINT`.

mod messaging;
mod scheduler;
mod sqs;

//! What Holdfast relies on AWS for, stated as tests. They run against the embedded stores, each on a port of its own,
//! or against any endpoint that `HOLDFAST_CONFORMANCE_ENDPOINT` names.

mod kill;
mod messaging;
mod s3;
mod scheduler;
mod sqs;

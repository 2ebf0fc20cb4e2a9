//! `holdfast`, built beside the tests so that they can start it and kill it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    holdfast_local::cli::run().await
}

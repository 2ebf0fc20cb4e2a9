//! The `holdfast` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    holdfast_local::cli::run().await
}

//! The worker, built beside the tests so that they can start it and kill it.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    holdfast_worker::process::run().await
}

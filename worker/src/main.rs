//! `holdfast-worker`.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    holdfast_worker::process::run().await
}

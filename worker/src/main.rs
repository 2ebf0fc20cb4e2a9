//! `holdfast-worker`: works off the queue until SIGTERM or SIGINT. Configured by the environment alone.

use std::sync::Arc;

use anyhow::Context;
use holdfast_shared::aws::{Aws, Sealer};
use holdfast_shared::clock::SystemClock;
use holdfast_shared::config::{Config, log_filter};
use holdfast_shared::service::Service;
use holdfast_shared::telemetry;
use holdfast_worker::consumer::{ConsumerOptions, consume};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    telemetry::init(telemetry::Format::Json, &log_filter());
    let config = Config::from_env().context("the worker cannot start")?;
    let aws = Aws::from_env(&config).await;
    let sealer = Arc::new(Sealer::new(&config.sealing_key)?);
    let service = Service { aws, sealer, clock: Arc::new(SystemClock), config: Arc::new(config) };
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, shutdown.clone()));
    consume(service, ConsumerOptions::default(), shutdown).await?;
    Ok(())
}

async fn cancel_on_signal(
    mut terminate: tokio::signal::unix::Signal,
    mut interrupt: tokio::signal::unix::Signal,
    shutdown: CancellationToken,
) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("the worker is told to stop");
    shutdown.cancel();
}

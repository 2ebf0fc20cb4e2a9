//! The worker as a process: works off the queue until SIGTERM or SIGINT. Configured by the environment alone.

use crate::consumer::{ConsumerOptions, consume};
use anyhow::Context;
use holdfast_shared::config::log_filter;
use holdfast_shared::service::Service;
use holdfast_shared::telemetry::{self, Format};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs until it is told to end; an error when it cannot start.
pub async fn run() -> anyhow::Result<()> {
    telemetry::init(Format::Json, &log_filter());
    let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let service = Service::from_env().await.context("the worker cannot start")?;
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(terminate, interrupt, shutdown.clone()));
    consume(service, ConsumerOptions::default(), shutdown).await?;
    Ok(())
}

async fn cancel_on_signal(mut terminate: Signal, mut interrupt: Signal, shutdown: CancellationToken) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("the worker is told to stop");
    shutdown.cancel();
}

//! `holdfast serve`.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use holdfast_shared::clock::SystemClock;
use holdfast_worker::consumer::ConsumerOptions;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{CANNOT_START, FAILED, Serve, end};
use crate::stack::{Stack, StackOptions};

/// Runs everything until SIGTERM or SIGINT, then ends cleanly.
pub(crate) async fn run(serve: Serve) -> ExitCode {
    let options = StackOptions {
        listen: serve.listen,
        public_url: serve.public_url,
        worker: Some(ConsumerOptions { slots: serve.workers }),
        maintenance: true,
    };
    let has_own_url = options.public_url.is_some();
    let stack = match Stack::start(&serve.data, Arc::new(SystemClock), options).await {
        Ok(stack) => stack,
        Err(error) => return end(CANNOT_START, error),
    };
    println!("holdfast listens on {}", stack.base_url());
    println!("its token is in {}", stack.aws().data().token_path().display());
    if serve.listen.ip().is_unspecified() && !has_own_url {
        println!(
            "links start with {}, which works on this machine only; name --public-url for others",
            stack.base_url()
        );
    }
    if let Err(error) = asked_to_end().await {
        return end(FAILED, format!("signals cannot be waited for: {error}"));
    }
    println!("ending; running backups are given back");
    stack.shutdown().await;
    ExitCode::SUCCESS
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn asked_to_end() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

//! `holdfast serve`.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use holdfast_shared::clock::SystemClock;
use holdfast_shared::config::{self, ConfigError, cors_origins};
use holdfast_shared::domain::address::AllowedNetworks;
use holdfast_worker::consumer::ConsumerOptions;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{CANNOT_START, Serve, end};
use crate::stack::{Stack, StackOptions};

/// Runs everything until SIGTERM or SIGINT, then ends cleanly.
pub(crate) async fn run(serve: Serve) -> ExitCode {
    // From before the start on: whoever asks for the end right away gets a clean one too.
    let mut ending = match Ending::listen() {
        Ok(ending) => ending,
        Err(error) => return end(CANNOT_START, format!("signals cannot be waited for: {error}")),
    };
    if let Err(error) = cors_origins() {
        return end(CANNOT_START, error);
    }
    let allow_networks = match allowed_networks(serve.allow_networks) {
        Ok(networks) => networks,
        Err(error) => return end(CANNOT_START, error),
    };
    let allowed = allow_networks.to_string();
    let options = StackOptions {
        listen: serve.listen,
        public_url: serve.public_url,
        worker: Some(ConsumerOptions { slots: serve.workers }),
        maintenance: true,
        allow_networks,
    };
    let has_own_url = options.public_url.is_some();
    let stack = match Stack::start(&serve.data, Arc::new(SystemClock), options).await {
        Ok(stack) => stack,
        Err(error) => return end(CANNOT_START, error),
    };
    say(format_args!("holdfast listens on {}", stack.base_url()));
    say(format_args!("its token is in {}", stack.aws().data().token_path().display()));
    say(format_args!("beside the open internet it connects to {allowed}; see --allow-networks"));
    if serve.listen.ip().is_unspecified() && !has_own_url {
        say(format_args!(
            "links start with {}, which works on this machine only; name --public-url for others",
            stack.base_url()
        ));
    }
    ending.asked().await;
    say(format_args!("ending; running backups are given back"));
    stack.shutdown().await;
    ExitCode::SUCCESS
}

/// What the command line says, else the environment, else what suits one's own machine.
fn allowed_networks(given: Option<AllowedNetworks>) -> Result<AllowedNetworks, ConfigError> {
    let from_environment = || Ok(config::allowed_networks()?.unwrap_or_else(AllowedNetworks::loopback_and_private));
    given.map_or_else(from_environment, Ok)
}

/// Tells the person who started it; goes on where nobody listens any more.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// SIGTERM and SIGINT, remembered from the moment this is made.
#[derive(Debug)]
pub(crate) struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    /// Starts to listen for both.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits until one of them came.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

//! The log of one machine, for a person's eyes, on standard error.

use std::io::IsTerminal;

use holdfast_shared::config::log_filter;
use holdfast_shared::telemetry::without_secrets;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What the crates below say of every failed condition and every request is not news.
const QUIET: &str = "dynoxide=error,aws_smithy_runtime=error,aws_config=error,hyper=warn,s3s=off";

/// Writes from `level` on, unless `RUST_LOG` asks for something else.
pub fn start(level: &str) {
    let asked = log_filter();
    let directives = if asked == "info" { format!("{level},{QUIET}") } else { asked };
    let log = tracing_subscriber::fmt().compact().with_target(false).with_env_filter(EnvFilter::new(directives));
    // A second start in one process keeps the first log.
    let log = log.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).finish();
    let _ = log.with(without_secrets()).try_init();
}

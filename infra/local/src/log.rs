//! The log of one machine, for a person's eyes, on standard error.

use std::io::IsTerminal;

use holdfast_shared::config::log_filter;
use tracing_subscriber::EnvFilter;

/// What the crates below say of every failed condition and every request is not news.
const QUIET: &str = "dynoxide=error,aws_smithy_runtime=error,aws_config=error,hyper=warn,s3s=off";

/// Writes from `level` on, unless `RUST_LOG` asks for something else.
pub fn start(level: &str) {
    let asked = log_filter();
    let directives = if asked == "info" { format!("{level},{QUIET}") } else { asked };
    let log = tracing_subscriber::fmt().compact().with_target(false).with_env_filter(EnvFilter::new(directives));
    // A second start in one process keeps the first log.
    let _ = log.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).try_init();
}

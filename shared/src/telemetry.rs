//! Where log lines go and how they look.

use tracing_subscriber::EnvFilter;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line on standard output, as CloudWatch Logs reads it.
    Json,
    /// For people, on standard error.
    Human,
}

/// Starts logging what `filter` lets through ([`crate::config::log_filter`]). Call it once, first in `main`; a second
/// call does nothing. A filter that cannot be read lets `info` through.
pub fn init(format: Format, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    let started = match format {
        Format::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        Format::Human => lines.with_writer(std::io::stderr).with_target(false).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started before");
    }
}

//! Where log lines go and how they look.

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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
        Format::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
            lines.finish().with(without_secrets()).try_init()
        }
        Format::Human => {
            lines.with_writer(std::io::stderr).with_target(false).finish().with(without_secrets()).try_init()
        }
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started before");
    }
}

/// Crates that print credentials below `info`: the AWS SDK its whole configuration with the access keys of the storages that
/// users named, the embedded object store the headers of requests.
const TOO_TALKATIVE: [&str; 2] = ["aws", "s3s"];

/// Lets through what may be logged, whatever the operator asks for. Every log has to begin with it.
pub fn without_secrets() -> FilterFn {
    FilterFn::new(may_be_logged)
}

fn may_be_logged(what: &Metadata<'_>) -> bool {
    *what.level() <= Level::INFO || !TOO_TALKATIVE.iter().any(|name| what.target().starts_with(name))
}

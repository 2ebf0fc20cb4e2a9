//! Retry: whether trying again can help. Every error of the worker's parts knows it.

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will fail the same way until somebody changes something: wrong credentials, a changed host key, a bad path.
    Never,
    /// The cause may pass: the network, throttling, a store that answers 5xx.
    Later,
}
